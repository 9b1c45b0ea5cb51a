"""cellweave: hybrid mechanistic-neural simulation of cells in tissue.

from sim import Scenario, run
tree = run(Scenario.load("quickstart.yaml"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.controller import run
    from sim.scenario import Scenario
    from sim.store.reader import cells_at, open_run, to_anndata

__all__ = ["Scenario", "cells_at", "open_run", "run", "to_anndata"]

_HOMES = {
    "Scenario": "sim.scenario",
    "run": "sim.controller",
    "open_run": "sim.store.reader",
    "cells_at": "sim.store.reader",
    "to_anndata": "sim.store.reader",
}


def __getattr__(name: str):
    # imported when first used: `import sim` stays as light as a signal handler needs it to be
    if name not in _HOMES:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
