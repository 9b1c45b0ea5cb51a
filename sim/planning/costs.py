"""What to tell of a scenario before it runs: hours of computing, steps too long for its rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.planning.settings import step_of

if TYPE_CHECKING:
    from sim.scenario import Scenario

#: updates of voxels in a second on one core, about: benchmarks/tissue.py tells the numbers of this machine
_UPDATES = 1e8
#: seconds of computing from which on the user is told
_LONG = 3600.0


def costs_of(scenario: Scenario) -> list[str]:
    """What will take long or cannot be followed in steps so long, in words for the user."""
    return [*_fields(scenario), *_divisions(scenario)]


def _divisions(scenario: Scenario) -> Iterator[str]:
    """Cells that are to divide more than once in a step, which they do at most once.

    Rates that something acts on are left alone: what they will be is not known.
    """
    acted = [c.target for c in scenario.couplings] + [r.behaviour or "" for r in scenario.rules]
    acted += [p.quantity or "" for p in scenario.perturbations]
    if any(r.file is not None for r in scenario.rules):
        return
    if any(name == "rate.division" or name.startswith("exit.") for name in acted):
        return
    step = step_of(scenario)
    for name, cell in scenario.cells.items():
        if cell.cycle is not None and (asked := cell.cycle.division_rate * step) > 1:
            yield (
                f"cells.{name}.cycle: asks for {asked:.3g} divisions in a step of {step:g} min, and a cell divides "
                f"once at most; time.step: {1 / cell.cycle.division_rate:.2g} min or less would follow it"
            )


def _fields(scenario: Scenario) -> Iterator[str]:
    steps = float(scenario.time.stop) / step_of(scenario)
    voxels = math.prod(scenario.space.shape) * len(scenario.space.fields)
    seconds = voxels * steps / _UPDATES
    if seconds < _LONG:
        return
    long = f"{seconds / 3600:.2g} h" if seconds < 1e6 else f"{seconds / 86400:.2g} days"
    yield (
        f"space.voxel: {voxels:.2g} voxels of fields over {steps:.2g} steps take about {long} of computing; "
        f"a larger voxel takes less (now {scenario.space.voxel})"
    )
