"""What a scenario will take, told before it runs: memory that is not there, steps too long, hours of fields."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sim.planning.settings import step_of

if TYPE_CHECKING:
    from sim.planning.findings import Findings
    from sim.scenario import Scenario

#: updates of voxels in a second on one core, about: benchmarks/tissue.py tells the numbers of this machine
_UPDATES = 1e8
#: seconds of computing from which on the user is told
_LONG = 3600.0


def check_pace(findings: Findings, step: float) -> None:
    """A fault where cells are to divide more than once in a step [min], as a cell does so once at most.

    Rates that something acts on are left alone: what they will be is not known.
    """
    scenario = findings.scenario
    acted = [c.target for c in scenario.couplings] + [r.behaviour or "" for r in scenario.rules]
    acted += [p.quantity or "" for p in scenario.perturbations]
    if any(r.file is not None for r in scenario.rules) or any(
        name == "rate.division" or name.startswith("exit.") for name in acted
    ):
        return
    for name, cell in scenario.cells.items():
        if cell.cycle is None or cell.cycle.division_rate * step <= 1:
            continue
        key = "division" if cell.cycle.division is not None else "phases" if cell.cycle.phases else "model"
        often = f"asks for {cell.cycle.division_rate * step:.3g} divisions in a step of {step:g} min"
        most = f"set time.step to {1 / cell.cycle.division_rate:.2g} min or less"
        findings.fault(("cells", name, "cycle", key), f"{often}, and a cell divides once at most; {most}")


def costs_of(scenario: Scenario) -> list[str]:
    """What will take long, in words for the user."""
    steps = float(scenario.time.stop) / step_of(scenario)
    voxels = math.prod(scenario.space.shape) * len(scenario.space.fields)
    seconds = voxels * steps / _UPDATES
    if seconds < _LONG:
        return []
    long = f"{seconds / 3600:.2g} h" if seconds < 1e6 else f"{seconds / 86400:.2g} days"
    return [
        f"space.voxel: {voxels:.2g} voxels of fields over {steps:.2g} steps take about {long} of computing; "
        f"a larger voxel takes less (now {scenario.space.voxel})"
    ]
