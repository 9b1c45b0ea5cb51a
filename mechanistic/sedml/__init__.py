"""Simulation experiments in SED-ML: read from a file or a COMBINE archive, and run by our own solvers.

for experiment in read_experiments("study.omex"):
    results = run(experiment)
"""

from __future__ import annotations

from mechanistic.sedml.description import Experiment
from mechanistic.sedml.run import Results, run
from mechanistic.sedml.source import is_experiment, read_experiments

__all__ = ["Experiment", "Results", "is_experiment", "read_experiments", "run"]
