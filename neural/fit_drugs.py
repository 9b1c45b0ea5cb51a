"""Fit of a drug manipulator to wells: control and single-drug wells only, through the population equations.

One batch holds the whole ensemble: member 0 (the reference, which tissues step) sees every training well;
member 1 + k leaves out fold k, stops early on it, and so tells how far a prediction of an unseen well may
be off. The reference stops at the folds' median best iteration. Laboratories differ from day to day: each
experiment has its own small factors on rates and potency, each plate its own background and gains, all with
priors that pull them to none; the shipped network is the laboratory's mean.

Combination wells are never read here: `training_rows` drops them. How drugs join is taught by the rule that foretells
combinations from these same wells (`neural.taught`), each member by the wells that it may see.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from neural.decoders import RateDecoders
from neural.dynamics import DrugDynamics
from neural.population import EPSILON, Monolayer, grow, log_signal
from neural.taught import teach
from neural.wells import Wells

_KNOTS_H = (0.0, 6.0, 12.0, 24.0, 48.0, 72.0)
_NOISE = (0.20, 0.45, 0.50)
_START_SHARES = (0.01, 0.005)


@dataclass(frozen=True)
class Plan:
    """Choices of a fit, all from the training file.

    Attributes:
        pattern: (rate, component) readout that names the components.
        tau: starting time constants [min].
        hidden, residual: width and largest size of the residual network.
        step: largest rk4 step [min].
        frames_worth: how many independent frames the strongly correlated ones of a curve are worth.
        day_to_day: scale of the differences expected between experiments (rates, potency).
        folds, seed, iterations, rate: of the fit; `rate` is Adam's.
        power: of the mean that joins drugs' drives (`neural.dynamics`).
        taught: weight of a foretold combination well beside a measured single-drug well; 0 for none.
        monolayer: `clustering` and `overlap` of `neural.population.Monolayer`.
        drug_background: scale of what drugs may add to the stains' background [%].
        drift: scale of how a plate's background may change after the first hours [%]; an instrument in a tissue
            has one background, so what drifts here is lost there.
    """

    pattern: list[list[float]]
    tau: list[float]
    hidden: int = 16
    residual: float = 0.5
    step: float = 90.0
    frames_worth: float = 4.0
    day_to_day: float = 1.0
    folds: int = 5
    seed: int = 1
    iterations: int = 500
    rate: float = 0.02
    check_every: int = 10
    power: float = 1.0
    taught: float = 0.0
    monolayer: dict[str, float] = field(default_factory=dict)
    drug_background: float = 0.4
    drift: float = 1.0


class Laboratory(nn.Module):
    """What differs between experiments (rates, potency) and plates (background, gains), per member."""

    def __init__(self, members: int, experiments: int, drugs: int, plates: int):
        super().__init__()
        self.rates = nn.Parameter(torch.zeros(members, experiments, 4))
        self.potency = nn.Parameter(torch.zeros(members, experiments, drugs))
        self.background = nn.Parameter(torch.zeros(members, plates, len(_KNOTS_H), 2))
        self.drug_background = nn.Parameter(torch.zeros(members, plates, drugs, len(_KNOTS_H), 2))
        self.log_gain = nn.Parameter(torch.zeros(members, plates, 2))
        self.common_gain = nn.Parameter(torch.log(torch.tensor([0.5, 0.2])).repeat(members, 1))
        self.start = nn.Parameter(torch.log(torch.tensor(_START_SHARES)).repeat(members, plates, 1))

    def gain(self, plate: torch.Tensor) -> torch.Tensor:
        """Area seen of an apoptotic and of a dead cell, relative to the same cell alive: (member, n, 2)."""
        return torch.exp(self.log_gain + self.common_gain[:, None])[:, plate]

    def backgrounds(self, plate: torch.Tensor, given: torch.Tensor, knots: torch.Tensor) -> torch.Tensor:
        """Background of annexin V and dead DNA (T, member, n, 2): the plate's, and what drugs add."""
        of_well = self.background[:, plate] + torch.einsum(
            "nd,mndkc->mnkc", given, self.drug_background[:, plate]
        )
        return torch.einsum("tk,mnkc->tmnc", knots, of_well)

    def populations(self, first: torch.Tensor, plate: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
        """Live, apoptotic and dead (member, n, 3) at the first frame, whose channels are `first` (n, 3).

        Live and dead are read off the frame; annexin V is not, for fresh dye glows for some hours.
        """
        live = first[:, 0].expand(background.shape[:2])
        share = torch.exp(self.start)[:, plate]
        excess = torch.relu(first[:, 1:] - background) / self.gain(plate)
        return torch.stack([live, live * share[..., 0], live * share[..., 1] + excess[..., 1]], -1)

    def penalty(self, starts: torch.Tensor, plan: Plan) -> torch.Tensor:
        """Priors, per member, in half squares; `starts` (plate, knot, 2) is where backgrounds began."""
        later, stains = self.background[:, :, 1:], torch.tensor([1.0, 0.125])

        def squares(x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).square().sum(1)

        common = torch.log(torch.tensor([0.5, 0.2]))
        first = torch.log(torch.tensor(_START_SHARES))
        return 0.5 * (
            squares(self.rates / (plan.day_to_day * torch.tensor([0.1, 0.3, 0.2, 0.2])))
            + squares(self.potency / (plan.day_to_day * 0.4))
            + squares(self.log_gain / 0.3)
            + squares((self.common_gain - common) / 0.4)
            + squares((self.start - first) / 0.7)
            + squares((self.background - starts) / torch.tensor([0.2, 0.1]))
            + squares((later - later.mean(2, keepdim=True)) / (plan.drift * stains))
            + squares(self.drug_background / (plan.drug_background * stains))
        )


@dataclass
class Fitted:
    """An ensemble after the fit: modules with one member each row, and what held-out wells said.

    Attributes:
        best: (member,) iteration each member was taken from.
        residuals: (well, T, 3) observed minus predicted log2 signal of each training well by the member that
            had not seen it (NaN for wells that no fold left out); spread: the ensemble's sd there.
        history: rows (iteration, training loss, held-out loss).
    """

    dynamics: DrugDynamics
    decoders: RateDecoders
    laboratory: Laboratory
    best: np.ndarray
    residuals: np.ndarray
    spread: np.ndarray
    history: list[tuple[int, float, float]] = field(default_factory=list)


def training_rows(wells: Wells) -> np.ndarray:
    """Rows to train on: control and single-drug wells, each measured curve once."""
    rows = np.arange(len(wells.dose))
    return rows[(wells.drugs_given < 2) & (wells.shared == rows)]


def held_out_folds(wells: Wells, rows: np.ndarray, folds: int) -> np.ndarray:
    """(row,) fold that leaves the well out; -1 for controls, which every plate needs."""
    fold = np.full(len(rows), -1)
    order = np.lexsort((*wells.dose[rows].T, wells.experiment[rows]))
    turn = 0
    for i in order:
        if wells.drugs_given[rows[i]] == 1:
            fold[i] = turn % folds
            turn += 1
    return fold


class DrugFit:
    """The fit, an iteration at a time, so that it can report, be stopped and go on (`state`, `restore`)."""

    def __init__(self, wells: Wells, plan: Plan):
        self.wells, self.plan = wells, plan
        self.rows = training_rows(wells)
        self.fold = held_out_folds(wells, self.rows, plan.folds)
        self.members = 1 + plan.folds
        rows = self.rows
        seen = np.ones((self.members, len(rows)), bool)
        for k in range(plan.folds):
            seen[1 + k, self.fold == k] = False
        told = teach(wells, rows if plan.taught else rows[:0], seen if plan.taught else seen[:, :0])
        self.dose = torch.tensor(np.concatenate([wells.dose[rows], told.dose]))
        self.plate = torch.tensor(np.concatenate([wells.plate[rows], told.plate]))
        self.experiment = torch.tensor(np.concatenate([wells.experiment[rows], told.experiment]))
        self.times = torch.tensor(wells.time)
        self.epsilon = torch.tensor(EPSILON, dtype=torch.float64)
        logs = np.log2(np.maximum(wells.curves[rows], 0.0) + np.array(EPSILON)).mean(1)
        everyone = np.broadcast_to(logs, (self.members, *logs.shape))
        # (T, member, well, channel): members are taught apart
        self.target = torch.tensor(np.concatenate([everyone, told.logs], 1)).permute(2, 0, 1, 3)
        first = np.concatenate([logs[:, 0], told.first])
        self.first = torch.tensor(2.0**first - np.array(EPSILON))
        self.knots = torch.tensor(_interpolation(wells.time / 60.0))
        silent = (np.abs(wells.curves[rows]) < 1e-12).all((1, 2))
        silent = np.concatenate([silent, np.zeros((len(told.dose), 3), bool)])
        self.valid = torch.tensor(~silent, dtype=torch.float64)
        self.starts = torch.tensor(_backgrounds(wells, rows))
        self.held = torch.tensor(~seen, dtype=torch.float64)
        lessons = np.full((self.members, len(told.dose)), plan.taught)
        self.weight = torch.tensor(np.concatenate([seen.astype(float), lessons], 1))
        self.iteration = 0
        self.history: list[tuple[int, float, float]] = []
        generator = torch.Generator().manual_seed(plan.seed)
        d = len(plan.tau)
        positive = [wells.dose[rows][:, k][wells.dose[rows][:, k] > 0] for k in range(wells.dose.shape[1])]
        self.dynamics = DrugDynamics(
            self.members, wells.dose.shape[1], d, 1, plan.hidden, plan.residual, plan.power
        ).double()
        self.dynamics.start(plan.tau, [float(np.median(p)) for p in positive], generator, 0.5)
        self.decoders = RateDecoders(self.members, plan.pattern).double()
        self.laboratory = Laboratory(
            self.members, len(wells.experiments), wells.dose.shape[1], len(wells.plates)
        ).double()
        with torch.no_grad():
            self.laboratory.background.copy_(self.starts.expand_as(self.laboratory.background))
        self.modules = nn.ModuleList([self.dynamics, self.decoders, self.laboratory])
        self.optimizer = torch.optim.Adam(self.modules.parameters(), lr=plan.rate)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=plan.rate, total_steps=plan.iterations + 1, pct_start=0.1
        )
        self.best_loss = np.full(self.members, np.inf)
        self.best_at = np.zeros(self.members, int)
        self.best: dict[str, torch.Tensor] = {}
        self.snapshots: dict[int, dict[str, torch.Tensor]] = {}

    def predict(
        self, dose: torch.Tensor, first: torch.Tensor, plate: torch.Tensor, experiment: torch.Tensor
    ) -> torch.Tensor:
        """log2 signal (T, member, n, 3) of wells on known plates; `first` (n, 3) is frame 0."""
        lab = self.laboratory
        drive = self.dynamics.drive(dose, lab.potency[:, experiment])
        background = lab.backgrounds(plate, (dose > 0).to(dose.dtype), self.knots)
        population = lab.populations(first, plate, background[0])
        r0 = torch.zeros(self.members, len(first), len(self.plan.tau), dtype=torch.float64)
        factor = torch.exp(lab.rates)[:, experiment]
        _, people = grow(
            self.dynamics,
            self.decoders,
            r0,
            population,
            drive,
            self.times,
            self.plan.step,
            factor,
            monolayer=Monolayer(**self.plan.monolayer),
        )
        signal = torch.cat([people[..., :1], background + lab.gain(plate) * people[..., 1:]], -1)
        return log_signal(signal, self.epsilon)

    def losses(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Misfit per member and well (member, n), robust; and the penalty (member,)."""
        predicted = self.predict(self.dose, self.first, self.plate, self.experiment)
        gap = (predicted - self.target) / torch.tensor(_NOISE)
        robust = torch.sqrt(1.0 + (gap / 2.0) ** 2) * 4.0 - 4.0
        per_well = (robust * self.valid[:, :]).mean(0).sum(-1)
        laboratory = self.laboratory.penalty(self.starts, self.plan)
        penalty = self.dynamics.penalty() + self.decoders.penalty() + laboratory
        return per_well, penalty

    def advance(self) -> tuple[float, float]:
        """One iteration; returns mean training loss and mean held-out loss over the fold members."""
        self.optimizer.zero_grad()
        per_well, penalty = self.losses()
        trained = (per_well * self.weight).sum(1)
        (self.plan.frames_worth * trained + penalty).sum().backward()
        nn.utils.clip_grad_norm_(self.modules.parameters(), 200.0)
        held = self._held_out(per_well.detach())
        if self.iteration % self.plan.check_every == 0:
            self._note(held)
        self.optimizer.step()
        self.schedule.step()
        row = (self.iteration, float((trained.detach() / self.weight.sum(1)).mean()), float(held[1:].mean()))
        self.history.append(row)
        self.iteration += 1
        return row[1], row[2]

    def finish(self) -> Fitted:
        """Fold members from their best iterations, the reference from the median; held-out residuals."""
        stop = int(np.median(self.best_at[1:]) // self.plan.check_every * self.plan.check_every)
        state = {k: v.clone() for k, v in self.best.items()}
        for key, value in self.snapshots[stop].items():
            state[key][0] = value
        self.modules.load_state_dict(_with_buffers(self.modules, state))
        self.best_at[0] = stop
        with torch.no_grad():
            predicted = self.predict(self.dose, self.first, self.plate, self.experiment).numpy()
        measured = len(self.rows)
        predicted = predicted[:, :, :measured]
        target = self.target[:, 0, :measured].numpy()
        residuals = np.full((len(self.rows), len(target), 3), np.nan)
        for k in range(self.plan.folds):
            out = self.fold == k
            residuals[out] = (target - predicted[:, 1 + k])[:, out].transpose(1, 0, 2)
        silent = self.valid.numpy()[:measured, None, :].repeat(len(target), 1) == 0
        residuals[silent] = np.nan
        spread = predicted[:, 1:].std(1).transpose(1, 0, 2)
        modules = copy.deepcopy((self.dynamics, self.decoders, self.laboratory))
        return Fitted(*modules, self.best_at.copy(), residuals, spread, list(self.history))

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit."""
        return {
            "iteration": self.iteration,
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best_loss": self.best_loss.tolist(),
            "best_at": self.best_at.tolist(),
            "best": self.best,
            "snapshots": self.snapshots,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.iteration, self.history = state["iteration"], [tuple(row) for row in state["history"]]
        self.best_loss, self.best_at = np.array(state["best_loss"]), np.array(state["best_at"])
        self.best, self.snapshots = state["best"], state["snapshots"]

    def _held_out(self, per_well: torch.Tensor) -> np.ndarray:
        measured = per_well[:, : len(self.rows)]
        held = (measured * self.held).sum(1) / self.held.sum(1).clamp_min(1.0)
        return held.numpy()

    def _note(self, held: np.ndarray) -> None:
        now = {k: v.detach().clone() for k, v in self.modules.named_parameters()}
        if not self.best:
            self.best = {k: v.clone() for k, v in now.items()}
        for m in range(1, self.members):
            if held[m] < self.best_loss[m]:
                self.best_loss[m], self.best_at[m] = held[m], self.iteration
                for key, value in now.items():
                    self.best[key][m] = value[m]
        self.snapshots[self.iteration] = {k: v[0].clone() for k, v in now.items()}


def run(
    fit: DrugFit, progress: Callable[[int, int, float, float], None] | None = None, until: int | None = None
) -> None:
    """Iterate to the plan's end (or to `until`), calling progress(iteration, total, training, held_out)."""
    total = fit.plan.iterations
    while fit.iteration < min(total, total if until is None else until):
        trained, held = fit.advance()
        if progress is not None and fit.iteration % fit.plan.check_every == 0:
            progress(fit.iteration, total, trained, held)


def _with_buffers(modules: nn.Module, parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**modules.state_dict(), **parameters}


def _interpolation(hours: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(hours, _KNOTS_H, row) for row in np.eye(len(_KNOTS_H))], 1)


def _backgrounds(wells: Wells, rows: np.ndarray) -> np.ndarray:
    """Starting backgrounds (plate, knot, 2): nine tenths of the faintest decile of a plate's wells."""
    out = np.zeros((len(wells.plates), len(_KNOTS_H), 2))
    at = [int(np.argmin(np.abs(wells.time / 60.0 - h))) for h in _KNOTS_H]
    for p in range(len(wells.plates)):
        mine = rows[wells.plate[rows] == p]
        if not len(mine):
            continue
        faint = np.quantile(wells.curves[mine].mean(1)[:, at, 1:], 0.1, axis=0)
        out[p] = 0.9 * faint
    return out
