"""One run of a sweep, anywhere: text in, plain arrays out. What a worker executes."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.controller import SAME_TIME

if TYPE_CHECKING:
    from sim.simulation import Simulation


@dataclass(frozen=True)
class Order:
    """What a worker needs to know: plain data, to be sent to another process or machine.

    Attributes:
        text, file: of the scenario; the file says where its models and weights are.
        values: dotted keys to YAML text.
        outcomes: expressions by name.
    """

    text: str
    file: str
    values: dict[str, str]
    seed: int
    outcomes: dict[str, str]
    allow_outside: bool = False


def run_member(order: Order) -> dict[str, Any]:
    """Run one member.

    Returns:
        `status`: done or failed; `log`: why it failed; `outcomes`: number by name; `summary`: arrays
        (time, type) by name, with `time` [unit of the scenario]; `units`. The same bits on any worker.
    """
    from sim.errors import CellweaveError

    try:
        return _run(order)
    except CellweaveError as error:
        return {"status": "failed", "log": error.text}
    except (ArithmeticError, ValueError, MemoryError) as error:
        return {"status": "failed", "log": f"{error}\n{traceback.format_exc()}"}


def _run(order: Order) -> dict[str, Any]:
    from sim.build import plan
    from sim.interpret.observe import observed_all
    from sim.interpret.outcome import parse_outcome
    from sim.machine.threads import use
    from sim.scenario import Scenario
    from sim.simulation import Simulation

    use(1)
    scenario = Scenario.parse(
        order.text, order.file, overrides=order.values, seed=order.seed, allow_outside=order.allow_outside
    )
    planned = plan(scenario)
    outcomes = [parse_outcome(text, planned) for text in order.outcomes.values()]
    courses = Courses(planned)
    stop = float(scenario.time.stop)
    values = observed_all(Simulation(planned), outcomes, watchers=[courses], until=stop)
    return {
        "status": "done",
        "log": "",
        "outcomes": dict(zip(order.outcomes, values)),
        "units": {**dict(zip(order.outcomes, (o.unit for o in outcomes))), **courses.units},
        "summary": courses.arrays(),
    }


class Courses:
    """Count and means by type at the saved times, as the summary of a run has them."""

    def __init__(self, planned):
        from sim.trackers import minutes_per_time_unit

        self._per_unit = minutes_per_time_unit(planned)
        self._every = float(planned.scenario.time.save_every)
        self._quantities = planned.outputs.scalars
        self._types = planned.type_names
        self._times: list[float] = []
        self._rows: list[dict[str, np.ndarray]] = []
        self.units = {"count": "1", **{f"{q.name}.mean": q.unit or "1" for q in self._quantities}}

    def begin(self, simulation: Simulation) -> None:
        """Nothing is due before time 0."""

    def look(self, simulation: Simulation) -> None:
        time = simulation.state.time
        if abs(time / self._every - round(time / self._every)) * self._every > SAME_TIME:
            return
        if self._times and abs(time - self._times[-1]) <= SAME_TIME:
            return
        state, signals = simulation.state, simulation.signals
        living, types = signals["cell.living"] > 0, state["cell.type"]
        row = {"count": np.bincount(types[living], minlength=len(self._types)).astype(float)}
        for q in self._quantities:
            mean = np.full(len(self._types), np.nan)
            for code in range(len(self._types)):
                mine = signals[q.name][living & (types == code)]
                if mine.size and not np.isnan(mine).all():
                    mean[code] = np.nanmean(mine)
            row[f"{q.name}.mean"] = mean
        self._times.append(time)
        self._rows.append(row)

    def arrays(self) -> dict[str, np.ndarray]:
        """`time` and (time, type) arrays by name."""
        found = {name: np.array([r[name] for r in self._rows]) for name in self.units}
        return {"time": np.array([round(t / self._per_unit, 9) for t in self._times]), **found}
