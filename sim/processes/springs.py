"""Cells join by springs and let go."""

from __future__ import annotations

import numpy as np

from sim.core.by_type import by_type
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.contacts import Contacts, partner_rows
from sim.processes.motion import MotionSettings


class Springs(Process):
    """Cells that touch join by springs and let go, at their hazards; a cell joins at most one other a step."""

    kind = "discrete"

    def __init__(self, settings: MotionSettings, contacts: Contacts, step: float):
        super().__init__("springs", step)
        self.settings, self.contacts = settings, contacts
        most = max(s.most for s in settings.springs.values())
        springs = settings.springs.items()
        self.states = (
            Quantity(
                "spring.partners", "1", "ids of cells joined by a spring", width=most, default=-1, integer=True,
                labels=tuple(map(str, range(most))),
            ),
        )  # fmt: skip
        self.inputs = (
            Quantity(
                "rate.attachment",
                "1/min",
                "hazard of joining",
                "input",
                by_type={c: s.attach for c, s in springs},
            ),
            Quantity(
                "rate.detachment",
                "1/min",
                "hazard of letting go",
                "input",
                by_type={c: s.detach for c, s in springs},
            ),
        )
        self.readouts = (Quantity("spring.count", "1", "springs that hold the cell", "readout"),)
        self.reads = ("cell.position", "cell.radius", "cell.living")

    def readout(self, name, state, signals) -> np.ndarray:
        return (partner_rows(state) >= 0).sum(axis=1).astype(float)

    def advance(self, state, signals, dt: float) -> None:
        if not len(state):
            return
        partners = state["spring.partners"]
        rows = partner_rows(state)
        living = signals["cell.living"] > 0
        rows[~living] = -1
        rows[(rows >= 0) & ~living[rows]] = -1
        self._let_go(state, rows, signals["rate.detachment"], dt)
        self._join(state, signals, rows, living, dt)
        partners[:] = np.where(rows >= 0, state.ids[rows], -1)

    # ---- parts

    def _let_go(self, state, rows: np.ndarray, rate: np.ndarray, dt: float) -> None:
        """Each spring breaks at the hazards of its two cells, by a number of the older one's slot."""
        u = self.uniforms("break", state, state.ids, rows.shape[1])
        a, slot = np.nonzero(rows > np.arange(len(rows))[:, None])
        b = rows[a, slot]
        broken = u[a, slot] < -np.expm1(-(rate[a] + rate[b]) * dt)
        a, slot, b = a[broken], slot[broken], b[broken]
        gone = np.zeros(rows.shape, dtype=bool)
        gone[a, slot] = True
        gone[b, (rows[b] == a[:, None]).argmax(axis=1)] = True
        rows[gone] = -1

    def _join(self, state, signals, rows: np.ndarray, living: np.ndarray, dt: float) -> None:
        from sim.agents.encounters import chosen_contact, settled

        room = by_type({code: s.most for code, s in self.settings.springs.items()}, state["cell.type"])
        free = living & ((rows >= 0).sum(axis=1) < room)
        pairs = self.contacts.pairs(state, signals)
        joined = (rows[pairs.rows] == pairs.indices[:, None]).any(axis=1)
        can = free[pairs.rows] & free[pairs.indices] & ~joined
        rates = np.where(can, signals["rate.attachment"][pairs.rows], 0.0)
        u = self.uniforms("join", state, state.ids, 3)
        at = chosen_contact(pairs.indptr, rates, dt, u[:, 0], u[:, 1])
        actors = np.flatnonzero(at >= 0)
        others = pairs.indices[at[actors]].astype(np.int64)
        done = settled(actors, others, u[actors, 2], state.ids)
        for one, other in ((actors[done], others[done]), (others[done], actors[done])):
            rows[one, (rows[one] < 0).argmax(axis=1)] = other
