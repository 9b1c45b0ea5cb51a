"""`train` inside a scenario: numbers and networks fitted through fields, mechanics, pathways and manipulators.

The tracks are cut into windows of `horizon` frames. A window begins with what was seen of each cell; what was not seen
(fields, other species) is carried on from the window before, as the scenario has it at the start. Gradients go back
through a window and no further, so that memory goes with cells and horizon. Windows in time: the first are learned
from, the next say when to stop, the last are for the scores. Descent by Adam (Kingma and Ba 2015), numbers on a log
scale between their bounds, from the scenario's values and from `starts` - 1 others drawn between the bounds.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural import weights
from neural.cards import as_markdown
from neural.checkpoints import Checkpoint, sorted_text
from neural.errors import TrainingError
from neural.progress import Progress
from neural.tables import read_measurements
from neural.threads import one_thread
from neural.tissue.tracks import frames_of
from sim.build import plan
from sim.errors import CellweaveError
from sim.learning.scenario_file import ScenarioTraining, load_scenario_training
from sim.learning.simulated_tracks import as_overrides, tracks_of_runs
from sim.scenario import Scenario
from sim.twin import Twin, TwinState, learned_key
from sim.twin.moment import nearest_images

_BETWEEN_CHECKPOINTS = 5


def train_in_scenario(
    path: str | os.PathLike,
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fit what the training file asks for; the path of the weights, with a model card (.md) beside it.

    Raises:
        TrainingError: the file, its scenario or its data are wrong; nothing was written.
    """
    job = load_scenario_training(path)
    target = Path(output) if output is not None else job.output
    try:
        with one_thread():
            fit = _Fit(job, _Tracks.of(job))
            target.parent.mkdir(parents=True, exist_ok=True)
            kept = Checkpoint(target.with_name(f".{target.name}.checkpoint"), fit.mark, resume)
            best = fit.run(kept, progress)
            fit.write(best, target)
    except CellweaveError as error:
        raise TrainingError(path, [(None, "scenario", error.text)]) from None
    except (ValueError, KeyError) as error:
        if isinstance(error, TrainingError):
            raise
        said = str(error.args[0]) if error.args else str(error)
        raise TrainingError(path, [(None, "data", said)]) from error
    target.with_suffix(".md").write_text(as_markdown(target), encoding="utf-8")
    return target


@dataclass(frozen=True)
class _Tracks:
    """times (T,) [min]; places (T, cell, 3) [um]; values (T, cell, quantity); types (cell,); sha256 of the table."""

    times: np.ndarray
    places: np.ndarray
    values: np.ndarray
    types: np.ndarray
    sha256: str

    @classmethod
    def of(cls, job: ScenarioTraining) -> _Tracks:
        if job.data is not None:
            return cls._read(job, job.data)
        asked = job.spec["simulated"]
        given = {**job.spec.get("set", {}), **asked.get("set", {})}
        arrays = tracks_of_runs(job.scenario, given, asked["seeds"], job.spec["quantities"], {}, None)
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "tracks.npz", **arrays)  # type: ignore[arg-type]
            return cls._read(job, Path(folder) / "tracks.npz")

    @classmethod
    def _read(cls, job: ScenarioTraining, path: Path) -> _Tracks:
        table = read_measurements(path)
        try:
            table.column("z")
            axes = ("x", "y", "z")
        except KeyError:
            axes = ("x", "y")
        (times, grid), *others = frames_of(table, (*axes, *job.spec["quantities"]))
        if others:
            raise ValueError("holds several tissues; give one")
        if len(times) < 4 or not np.allclose(np.diff(times), times[1] - times[0], rtol=1e-6):
            raise ValueError("needs at least four evenly spaced times")
        try:
            first = np.asarray(table.column("time"), float) == times[0]
            order = np.argsort(np.asarray(table.column("cell"))[first], kind="stable")
            types = np.asarray(table.column("type")).astype(str)[first][order]
        except KeyError:
            types = np.full(grid.shape[1], "")
        places = np.zeros((*grid.shape[:2], 3))
        places[..., : len(axes)] = grid[..., : len(axes)]
        return cls(times, places, grid[..., len(axes) :], types, table.sha256)


class _Fit:
    """The scenario's twin with the tracks, in windows."""

    def __init__(self, job: ScenarioTraining, tracks: _Tracks):
        self.job, self.tracks, spec = job, tracks, job.spec
        planned = plan(Scenario.load(job.scenario, overrides=as_overrides(spec.get("set", {}))))
        names = np.array(planned.type_names)
        if (tracks.types == "").all() and len(names) == 1:
            kinds = np.zeros(len(tracks.types), int)
        else:
            unknown = sorted(set(tracks.types) - set(names))
            if unknown:
                raise ValueError(f"has cells of type '{unknown[0]}'; the scenario has {', '.join(names)}")
            kinds = np.array([planned.type_names.index(t) for t in tracks.types])
        every = float(tracks.times[1] - tracks.times[0])
        self.steps = max(1, int(np.ceil(every / float(spec.get("step", planned.step)) - 1e-9)))
        learn = (*job.numbers, *([job.network] if job.network else []))
        self.twin = Twin(
            planned, tracks.places[0], kinds, learn=learn, step=every / self.steps, parts=int(spec.get("parts", 1))
        )  # fmt: skip
        for name, (low, high) in job.numbers.items():
            if not low <= self.twin.number(name) <= high:
                raise ValueError(f"{name} is {self.twin.number(name):g} in the scenario, beyond its bounds")
        self.quantities: tuple[str, ...] = tuple(spec["quantities"].values())
        for name in self.quantities:
            self.twin.place_of(name)
        self.values = torch.from_numpy(tracks.values)
        self.places = torch.from_numpy(tracks.places)
        self.moving = bool(np.abs(tracks.places - tracks.places[:1]).max() > 1e-9)
        self.parameters = {
            **{name: self.twin.values[learned_key(name)] for name in job.numbers},
            **(self.twin.learned[job.network] if job.network else {}),
        }
        self.began = {name: p.detach().clone() for name, p in self.parameters.items()}
        options = spec.get("fit", {})
        self.horizon = int(spec.get("horizon", 4))
        windows = (len(tracks.times) - 1) // self.horizon
        held = max(1, round(float(options.get("hold_out", 0.25)) * windows))
        checked = max(1, round(float(options.get("check", 0.15)) * windows))
        self.parts = {"train": windows - held - checked, "check": checked, "test": held}
        if self.parts["train"] < 1:
            raise ValueError(
                f"{len(tracks.times)} frames are {windows} windows of {self.horizon}; some must be left out"
            )
        self.seed, self.iterations = int(options.get("seed", 0)), int(options.get("iterations", 200))
        self.starts, self.rate = int(options.get("starts", 1)), float(options.get("rate", 0.05))
        seen = self.parts["train"] * self.horizon + 1
        self.unit = (self.values[1:seen] - self.values[: seen - 1]).nan_to_num().square().mean((0, 1)).sqrt()
        if float(self.unit.min()) <= 0:
            still = list(spec["quantities"])[int(self.unit.argmin())]
            raise ValueError(f"column '{still}' does not change; there is nothing to learn from it")
        step = self.places[1:seen] - self.places[: seen - 1]
        self.step_unit = float(self._nearest(step).square().sum(-1).mean().sqrt()) or 1.0

    # ---- the course

    def course(self, first: int, count: int, carry: TwinState, slopes: bool) -> tuple[Any, TwinState]:
        """Windows `first` to `first + count`: (misfit, what is left, what there was to tell), and the state after them.

        With `slopes`, gradients of the mean misfit are added to the parameters'.
        """
        total, left, there, h = 0.0, torch.zeros(len(self.quantities) + 1), None, self.horizon
        there = torch.zeros_like(left)
        for w in range(first, first + count):
            now = self._seen(carry.detached(), w * h)
            misfit = torch.zeros((), dtype=torch.float64)
            with torch.set_grad_enabled(slopes):
                for k in range(w * h + 1, w * h + h + 1):
                    now = self.twin(now, self.steps)
                    miss, left_now, there_now = self._missed(now, k, w * h)
                    misfit = misfit + miss / (h * count)
                    left, there = left + left_now, there + there_now
                if slopes:
                    misfit.backward()
            total += float(misfit.detach())
            if not np.isfinite(total):
                raise ValueError("the course leaves all bounds; make step shorter or parts more")
            carry = now
        return (total, left, there), carry.detached()

    def _seen(self, now: TwinState, frame: int) -> TwinState:
        now = TwinState(self.places[frame].clone(), now.fields, now.inner)
        for k, name in enumerate(self.quantities):
            now = self.twin.with_observed(now, name, self.values[frame, :, k])
        return now

    def _missed(
        self, now: TwinState, frame: int, began: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean squared misfit by the units of change; what is left of each quantity and of the places, and what there
        was to tell."""
        parts, left, there = [], [], []
        for k, name in enumerate(self.quantities):
            off = (self.twin.observed(now, name) - self.values[frame, :, k]).nan_to_num()
            parts.append((off / self.unit[k]).square().mean())
            left.append(off.detach().square().sum())
            there.append((self.values[frame, :, k] - self.values[began, :, k]).nan_to_num().square().sum())
        off = self._nearest(now.x - self.places[frame])
        if self.moving:
            parts.append((off / self.step_unit).square().sum(1).mean())
        left.append(off.detach().square().sum())
        there.append(self._nearest(self.places[frame] - self.places[began]).square().sum())
        return torch.stack(parts).mean(), torch.stack(left), torch.stack(there)

    def _nearest(self, away: torch.Tensor) -> torch.Tensor:
        return nearest_images(away, self.twin.plan.box)

    # ---- the descent

    @property
    def mark(self) -> str:
        """What the fit is of."""
        return f"{self.tracks.sha256} {sorted_text(self.job.spec)}"

    def run(self, kept: Checkpoint, progress: Progress | None) -> dict[str, torch.Tensor]:
        """The parameters with the least misfit on the windows that say when to stop."""
        at = kept.read() or {"start": 0, "iteration": 0, "best": None, "least": float("inf")}
        while at["start"] < self.starts:
            descent = self._descent()
            if "now" in at:
                descent.load_state_dict(at["descent"])
            else:
                at |= {"now": self._beginning(at["start"]), "iteration": 0}
            self._take(at["now"])
            while at["iteration"] < self.iterations:
                self._descend(at, descent)
                done = at["start"] * self.iterations + at["iteration"]
                if progress is not None:
                    progress(
                        done, self.starts * self.iterations, f"least misfit on the check {at['least']:.4g}"
                    )
                if done % _BETWEEN_CHECKPOINTS == 0:
                    kept.write({**at, "descent": descent.state_dict()})
            at["start"] += 1
            del at["now"]
        kept.file.unlink(missing_ok=True)
        return at["best"]

    def _descent(self) -> torch.optim.Adam:
        """Each parameter by steps of its own size."""
        groups = [{"params": [p], "lr": 0.0, "size": self._size(n)} for n, p in self.parameters.items()]
        return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-12)

    def _beginning(self, start: int) -> dict[str, torch.Tensor]:
        """The scenario's own numbers; after the first start, numbers drawn between their bounds."""
        rng, begun = np.random.default_rng([self.seed, start]), {n: p.clone() for n, p in self.began.items()}
        for name, (low, high) in self.job.numbers.items() if start else ():
            begun[name] = torch.tensor(rng.uniform(np.log(low), np.log(high)), dtype=torch.float64)
        return begun

    def _take(self, values: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(values[name])

    def _descend(self, at: dict[str, Any], descent: torch.optim.Adam) -> None:
        """One step, after a look at the windows that say when to stop."""
        descent.zero_grad()
        _, carry = self.course(0, self.parts["train"], self.twin.start(), slopes=True)
        (misfit, _, _), _ = self.course(self.parts["train"], self.parts["check"], carry, slopes=False)
        if misfit < at["least"]:
            at["least"] = misfit
            at["best"] = {n: p.detach().clone() for n, p in self.parameters.items()}
        share = 0.5 * (1 + math.cos(math.pi * at["iteration"] / self.iterations))
        at["iteration"] += 1
        for group in descent.param_groups:
            group["lr"] = share * self.rate * group["size"]
        descent.step()
        with torch.no_grad():
            for name, bounds in self.job.numbers.items():
                self.parameters[name].clamp_(*np.log(bounds))
        at["now"] = {n: p.detach().clone() for n, p in self.parameters.items()}

    def _size(self, name: str) -> float:
        """What a step of 1 is worth: of a number the way between its bounds, of weights their own size."""
        if name in self.job.numbers:
            low, high = self.job.numbers[name]
            return float(np.log(high / low))
        return max(float(self.began[name].square().mean().sqrt()), 1e-3)

    # ---- what came out

    def scores(self, best: dict[str, torch.Tensor]) -> dict[str, Any]:
        """R² of change over a horizon on the windows left out, mean over quantities, beside controls."""
        table: dict[str, Any] = {}
        for who, values in (("learned", best), ("as the scenario has it", self.began)):
            self._take(values)
            count = self.parts["train"] + self.parts["check"]
            _, carry = self.course(0, count, self.twin.start(), slopes=False)
            (_, left, there), _ = self.course(count, self.parts["test"], carry, slopes=False)
            told = 1 - left / there.clamp_min(1e-300)
            names = [*self.job.spec["quantities"], *(["places"] if self.moving else [])]
            table[who] = {name: float(r2) for name, r2 in zip(names, told)}
        self._take(best)
        table["no change"] = dict.fromkeys(table["learned"], 0.0)
        return {"change within a horizon, R², left out": table}

    def write(self, best: dict[str, torch.Tensor], target: Path) -> None:
        """The weights with their card: of the network where one was learned, else the numbers alone."""
        job, found = self.job, {n: float(best[n].exp()) for n in self.job.numbers}
        began = {n: float(self.began[n].exp()) for n in job.numbers}
        h = self.horizon
        card = {
            "name": job.spec["name"],
            "learned": found,
            "data": {
                **({"made": f"{job.scenario.name} with {job.spec['simulated']}"} if job.data is None else {}),
                "sha256": self.tracks.sha256, "cells": len(self.tracks.types), "frames": len(self.tracks.times),
            },
            "split": {k: f"{n} windows of {h} frames" for k, n in self.parts.items()},
            "seeds": [self.seed],
            "scores": self.scores(best),
            "notes": [
                *(f"{n}: {v:.6g} (the scenario had {began[n]:.6g}; bounds {list(job.numbers[n])})"
                  for n, v in found.items()),
                "division, death, growth and drawn numbers were left out",
                *job.spec.get("notes", []),
            ],
        }  # fmt: skip
        if job.network is not None:
            network = self.twin.network(job.network)
            network.save(target, {**network.card.raw, **card})
            return
        own = {"kind": "hybrid", "architecture": {"networks": [], "model": job.scenario.name}}
        weights.save(target, {f"parameter/{n}": np.array(v) for n, v in found.items()}, {**card, **own})
