"""A small deterministic simulator that drives the store: toy.py run|resume OUT [PAUSE]."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np

from sim.store.layout import Layout, Variable
from sim.store.writer import RunWriter

STEPS = 24
FRAMES_PER_COMMIT = 2
IDENTITY = {"scenario_sha256": "abc", "version": "1"}

LAYOUT = Layout(
    time_unit="h",
    types=["tumour", "immune"],
    phases=["live", "apoptotic"],
    causes=["apoptosis"],
    cells=[
        Variable("pathway.p.ERK", "uM", "active ERK"),
        Variable("ur.drug", "1", "drug representation", axes=(("drug_latent", 3),)),
    ],
    fields=[Variable("field.oxygen", "mmHg", "oxygen")],
    grid={"z": np.zeros(1), "y": np.arange(4) * 20.0, "x": np.arange(5) * 20.0},
    summary=[Variable("mean.cell.volume", "um^3", "mean volume", "float64")],
    instruments={"incucyte": [Variable("live_area", "1", "covered area")]},
)


class Toy:
    """Cells that drift, divide and die; every draw is keyed by the step, so there is no generator to save."""

    def __init__(self, arrays=None, step: int = 0):
        self.step = step
        start = {"id": np.arange(20), "x": np.linspace(0, 80, 20), "next": np.array(20)}
        self.state = {k: np.array(v) for k, v in (arrays or start).items()}
        self.field = self.state.setdefault("field", np.ones((1, 4, 5)))

    def advance(self, writer: RunWriter) -> None:
        self.step += 1
        random = np.random.Generator(np.random.Philox(key=[7, self.step]))
        state = self.state
        state["x"] = state["x"] + random.normal(size=len(state["x"]))
        state["field"] = state["field"] * 0.97 + 0.01 * random.uniform(size=(1, 4, 5))
        dying = random.choice(state["id"], 1)
        writer.deaths(cell=dying, time=self.step, cause=0)
        new = state["next"] + np.arange(2)
        parents = random.choice(state["id"], 2)
        writer.births(cell=new, time=self.step, parent=parents, type=new % 2)
        writer.event(self.step, kind="kill", target="tumour", text=f"Schritt {self.step} µ", cells=dying)
        alive = state["id"] != dying
        state["x"] = np.concatenate([state["x"][alive], random.uniform(0, 80, 2)])
        state["id"] = np.concatenate([state["id"][alive], new])
        state["next"] = state["next"] + 2

    def frame(self, writer: RunWriter) -> None:
        ids, x, n = self.state["id"], self.state["x"], len(self.state["id"])
        cells = {"cell": ids, "type": ids % 2, "x": x, "y": x / 2, "z": np.zeros(n), "volume": 1000 + x}
        cells |= {"phase": np.zeros(n), "pathway.p.ERK": x * 0.1, "ur.drug": np.outer(x, [1, 2, 3])}
        counts = np.bincount(ids % 2, minlength=2)
        summary = {"count": counts, "births": [1, 1], "deaths": [1, 0], "mean.cell.volume": [1000.0, 1001.0]}
        writer.frame(self.step, cells, {"field.oxygen": self.state["field"]}, summary)
        if self.step % 3 == 0:
            writer.instrument("incucyte", self.step, {"live_area": n / 100})

    def commit(self, writer: RunWriter, status: str) -> None:
        attrs = {"seconds_by_process": {"mechanics": time.time()}}
        writer.commit(self.state, {"step": self.step}, status=status, attrs=attrs)


def start(path: Path | str, **options) -> tuple[RunWriter, Toy]:
    writer = RunWriter.create(
        path, layout=LAYOUT, attrs={"scenario": "toy: 1", "seed": 7}, identity=IDENTITY, **options
    )
    toy = Toy()
    ids = toy.state["id"]
    writer.births(cell=ids, time=0.0, parent=-1, type=ids % 2)
    toy.frame(writer)
    toy.commit(writer, "running")
    return writer, toy


def resume(path: Path | str) -> tuple[RunWriter, Toy]:
    writer, there = RunWriter.resume(path, expect=IDENTITY)
    return writer, Toy(there.arrays, there.meta.get("step", STEPS))


def go_on(
    writer: RunWriter, toy: Toy, stop: list[int], pause: float = 0.0, every: int = FRAMES_PER_COMMIT
) -> int:
    """Runs to the end or to a signal; returns the exit code."""
    with writer:
        if writer.status == "complete":
            return 0
        while toy.step < STEPS:
            toy.advance(writer)
            toy.frame(writer)
            time.sleep(pause)
            if stop:
                toy.commit(writer, "interrupted")
                return 128 + stop[0]
            if toy.step % every == 0 and toy.step < STEPS:
                toy.commit(writer, "running")
        toy.commit(writer, "complete")
    return 0


def main() -> int:
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: stop.append(got))
    action, out = sys.argv[1:3]
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    writer, toy = start(out) if action == "run" else resume(out)
    return go_on(writer, toy, stop, pause)


if __name__ == "__main__":
    sys.exit(main())
