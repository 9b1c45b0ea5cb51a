"""Shares of mechanism and network in how a quantity changed: the integral of what each process did to it.

Between two steps nothing moves; each step belongs to one process. So the change of a quantity's mean over the living
cells, added up step by step under the name of the process that took it, is the whole change, exactly, and each
part is that process's own (direct) contribution. Perturbations are a contributor, too. Of an outcome that counts
cells, births and deaths are the contributions.

A species of a pathway is taken apart further, into its reactions: stoichiometry times rate, integrated by the
trapezoidal rule over the saved times; what the rule and the tissue's other processes leave is told as `rest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechanistic.errors import ModelError
from sim.interpret.effects import Row, interval, judged
from sim.interpret.question import Answer, Question
from sim.processes.manipulator import ManipulatorProcess
from sim.processes.tissue import TissueProcess

if TYPE_CHECKING:
    from sim.simulation import Simulation

_PERTURBED = "perturbations"


class Share:
    """Contributions of processes to the outcome's quantity, and of reactions to a species."""

    def __init__(self, question: Question, method: str = "share"):
        self.question = question
        self.moved: list[dict[str, float]] = []
        self.reactions: list[list[tuple[float, np.ndarray, float]]] = []
        self.rates = _reactions_of(question)
        question.watch(self)

    # ---- watching

    def begin(self, simulation: Simulation) -> None:
        self.moved.append({})
        self.reactions.append([])
        self._last = self._value(simulation)
        self._born = len(simulation.state.lineage)
        self._names = sorted(p.name for p in simulation.plan.processes)
        simulation.schedule.watch = lambda process: self._book(process.name, simulation)

    def look(self, simulation: Simulation) -> None:
        self._book(_PERTURBED, simulation)
        if self.rates:
            signals = simulation.signals
            chosen = self._chosen(simulation)
            scale = self._scale(simulation)
            values = [_mean((signals[name] / scale)[chosen]) for name, _ in self.rates]
            level = _mean(signals[self.question.outcome.quantity][chosen])
            self.reactions[-1].append((simulation.state.time, np.array(values), level))

    def _book(self, name: str, simulation: Simulation) -> None:
        value = self._value(simulation)
        if self.question.outcome.statistic == "count":
            self._book_cells(name, value, simulation)
            return
        if value != self._last and not np.isnan(value - self._last):
            self.moved[-1][name] = self.moved[-1].get(name, 0.0) + value - self._last
        if not np.isnan(value):
            self._last = value

    def _book_cells(self, name: str, value: float, simulation: Simulation) -> None:
        """Births and deaths by themselves: what was born since is known from the lineage."""
        lineage = simulation.state.lineage
        types = lineage["type"][self._born :]
        cells = self.question.outcome.cells
        births = float(len(types) if cells is None else (types == cells).sum())
        self._born = len(lineage)
        for part, change in ((f"{name}: births", births), (f"{name}: deaths", value - self._last - births)):
            if change:
                self.moved[-1][part] = self.moved[-1].get(part, 0.0) + change
        self._last = value

    def _value(self, simulation: Simulation) -> float:
        """The outcome's number now; of an instrument its reading."""
        return self.question.outcome.value(simulation)

    def _scale(self, simulation: Simulation) -> np.ndarray:
        """Volume (cell,) relative to the model's, of the pathway that is taken apart."""
        state, q = simulation.state, self.question
        p = next(p for p in q.plan.pathways if q.outcome.quantity.startswith(f"{p.name}."))
        scale = np.ones(len(state))
        if p.settings.dilutes:
            for code, volume in p.reference_volume.items():
                mine = state["cell.type"] == code
                scale[mine] = state["cell.volume"][mine] / volume
        return scale

    def _chosen(self, simulation: Simulation) -> np.ndarray:
        chosen = simulation.signals["cell.living"] > 0
        cells = self.question.outcome.cells
        return chosen if cells is None else chosen & (simulation.state["cell.type"] == cells)

    # ---- answering

    def answer(self) -> Answer:
        q = self.question
        _ = q.intact
        names = sorted({n for m in self.moved for n in m})
        table = np.array([[m.get(n, 0.0) for n in names] for m in self.moved]).reshape(len(q.seeds), -1)
        total = table.sum(axis=1)
        kinds = [self._kind(n) for n in names]
        rows = [
            self._row(f"{n} ({kind})", table[:, k], float(np.mean(np.abs(total))))
            for k, (n, kind) in enumerate(zip(names, kinds))
        ]
        by_reaction, reaction_names = self._by_reaction()
        if by_reaction is not None:
            size = float(np.mean(np.abs(by_reaction.sum(axis=1))))
            rows += [self._row(n, by_reaction[:, k], size) for k, n in enumerate(reaction_names)]
        return Answer(
            rows, self._data(names, kinds, table, by_reaction, reaction_names), self._sentences(kinds, table)
        )

    # ---- parts

    def _kind(self, name: str) -> str:
        process = next((p for p in self.question.plan.processes if p.name == name.partition(": ")[0]), None)
        if process is None:
            return "intervention"
        return "network" if isinstance(process, ManipulatorProcess | TissueProcess) else "mechanism"

    def _row(self, name: str, values: np.ndarray, size: float) -> Row:
        e = interval(values)
        return self.question.row("share", name, e, judged(e, values), kind="direct", size=size, upto=True)

    def _by_reaction(self) -> tuple[np.ndarray | None, list[str]]:
        """Contributions (seed, reaction and rest) to the change of a species' mean."""
        if not self.rates:
            return None, []
        found = []
        for course in self.reactions:
            times = np.array([t for t, _, _ in course])
            rates = np.array([r for _, r, _ in course])
            parts = np.array(
                [np.trapezoid(rates[:, k], times) * factor for k, (_, factor) in enumerate(self.rates)]
            )
            whole = course[-1][2] - course[0][2]
            found.append([*parts, whole - parts.sum()])
        return np.array(found), [*(name for name, _ in self.rates), "rest (dilution, births, steps between)"]

    def _sentences(self, kinds: list[str], table: np.ndarray) -> list[str]:
        sizes = np.abs(table).sum(axis=0)
        whole = sizes.sum()
        if not whole:
            return ["Nothing moved it."]
        parts = {k: sizes[[i for i, kind in enumerate(kinds) if kind == k]].sum() / whole for k in set(kinds)}
        told = ", ".join(f"{k} {v:.0%}" for k, v in sorted(parts.items(), key=lambda i: -i[1]))
        return [f"Of all movement of {self.question.outcome.text.split('@')[0].strip()} up to then: {told}."]

    def _data(self, names, kinds, table, by_reaction, reaction_names):
        import xarray as xr

        q = self.question
        unit = {"units": q.outcome.unit, "long_name": "contribution to the change"}
        variables = {"contribution": (("seed", "process"), table, unit)}
        coords = {
            "process": np.array(names, object),
            "kind_of_process": ("process", np.array(kinds, object)),
            "seed": np.array(q.seeds, np.uint64),
        }
        if by_reaction is not None:
            variables["by_reaction"] = (("seed", "reaction"), by_reaction, unit)
            coords["reaction"] = np.array(reaction_names, object)
        return xr.Dataset(variables, coords, {"kind": "direct", "method": "share"})


def _reactions_of(question: Question) -> list[tuple[str, float]]:
    """Reactions that change the outcome's species: quantity name, and change of concentration per minute of rate."""
    from mechanistic.codegen.initial import initial_values
    from mechanistic.moieties import stoichiometry

    name = question.outcome.quantity
    for p in question.plan.pathways:
        prefix = f"{p.name}."
        species = name.removeprefix(prefix)
        if not name.startswith(prefix) or species not in p.network.state_ids:
            continue
        loaded = next(x for x in question.simulation.plan.pathways if x.name == p.name)
        _, constants = initial_values(p.network, dict(p.settings.set), 1)
        size = loaded.compartment_size(species)
        try:
            matrix = stoichiometry(p.network, constants[0])
        except ModelError:
            return []  # what a reaction makes is not a fixed number
        row = matrix[p.network.state_ids.index(species)]
        per = p.settings.minutes_per_unit * size
        return [(f"{prefix}{r}", float(c) / per) for r, c in zip(p.network.reaction_ids, row) if c]
    return []


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
