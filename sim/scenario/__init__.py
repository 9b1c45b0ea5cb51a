"""The scenario file: read, checked, told where it is wrong. No torch, numba or numpy is imported."""

from sim.scenario.scenario import Scenario

__all__ = ["Scenario"]
