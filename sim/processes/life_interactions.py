"""What cells do to each other where they touch, and how they change their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sim.core.by_type import by_type
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.contacts import Contacts
from sim.processes.life import Life

Rates = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class InteractionSettings:
    """Rates [1/min] by the other's type (or `dead`), then by the cell's own type code.

    Attributes:
        damage: damage that an attack does a minute; repair: rate at which damage is mended.
        duration: mean time that an attack lasts [min].
    """

    attack: Rates
    phagocytosis: Rates
    fusion: Rates
    transform: Rates
    damage: Mapping[int, float]
    repair: Mapping[int, float]
    duration: Mapping[int, float]


class Interactions(Process):
    """Phagocytosis, attack, fusion and transformation at their hazards.

    A cell takes part in at most one engulfment or fusion a step; which comes about is drawn from numbers that belong
    to the cells, so that neither the order of cells nor the number of threads matters. An attacker holds on to one
    victim for a time that is exponentially distributed, and harms it as long as they touch.
    """

    kind = "discrete"

    def __init__(
        self, settings: InteractionSettings, life: Life, contacts: Contacts, types: Sequence[str], step: float
    ):
        super().__init__("interactions", step)
        self.settings, self.life, self.contacts = settings, life, contacts
        self.type_names = tuple(types)
        s = settings
        self.states = (
            Quantity("cell.damage", "1", "damage done by attacks"),
            Quantity(
                "cell.attacked", "1", "id of the cell under attack by this one", default=-1, integer=True
            ),
        )
        verbs = (
            ("attack", "beginning to attack {}", s.attack, self.type_names),
            ("phagocytosis", "engulfing {} cells", s.phagocytosis, (*self.type_names, "dead")),
            ("fusion", "fusing with {}", s.fusion, self.type_names),
            ("transform", "turning into {}", s.transform, self.type_names),
        )
        self.inputs = (
            *(
                Quantity(
                    f"{verb}.{t}", "1/min", f"hazard of {text.format(t)}", "input", by_type=rates.get(t, {})
                )
                for verb, text, rates, others in verbs
                for t in others
            ),
            Quantity("rate.damage", "1/min", "damage that an attack does", "input", by_type=s.damage),
            Quantity("rate.repair", "1/min", "rate of repair of damage", "input", by_type=s.repair),
        )
        self.reads = ("cell.position", "cell.radius", "cell.living")

    def advance(self, state, signals, dt: float) -> None:
        if not len(state):
            return
        pairs = self.contacts.pairs(state, signals)
        rates = {q.name: np.ascontiguousarray(signals[q.name]) for q in self.inputs}
        living = signals["cell.living"] > 0
        self._attack(state, pairs, rates, living, dt)
        self._transform(state, rates, living, dt)
        if self._unite(state, pairs, rates, living, dt):
            state.compact()

    # ---- parts

    def _rates_of_contacts(self, state, pairs, rates, living: np.ndarray, verb: str) -> np.ndarray:
        """Hazard (contact,) of the cell to act at each of its living contacts."""
        out = np.zeros(len(pairs.indices))
        other = state["cell.type"][pairs.indices]
        for code, name in enumerate(self.type_names):
            mine = (other == code) & living[pairs.indices] & living[pairs.rows]
            out[mine] = rates[f"{verb}.{name}"][pairs.rows[mine]]
        if verb == "phagocytosis":
            dead = ~living[pairs.indices] & living[pairs.rows]
            out[dead] = rates["phagocytosis.dead"][pairs.rows[dead]]
        return out

    def _attack(self, state, pairs, rates, living: np.ndarray, dt: float) -> None:
        """Attacks end, begin and do harm."""
        from sim.agents.encounters import chosen_contact
        from sim.agents.life import occurs

        u = self.uniforms("attack", state, state.ids, 3)
        attacked = state["cell.attacked"]
        touching = np.zeros(len(state), dtype=bool)
        same = state.ids[pairs.indices] == attacked[pairs.rows]
        touching[pairs.rows[same & living[pairs.indices]]] = True
        ends = by_type(
            {code: 1 / lasts for code, lasts in self.settings.duration.items()}, state["cell.type"]
        )
        attacked[~touching | ~living | occurs(ends, dt, u[:, 0])] = -1
        hazard = self._rates_of_contacts(state, pairs, rates, living, "attack")
        at = chosen_contact(pairs.indptr, hazard, dt, u[:, 1], u[:, 2])
        begins = (at >= 0) & (attacked < 0)
        attacked[begins] = state.ids[pairs.indices[at[begins]]]
        attackers = np.flatnonzero(attacked >= 0)
        victims = np.searchsorted(state.ids, attacked[attackers])
        harm = np.bincount(victims, weights=rates["rate.damage"][attackers], minlength=len(state))
        damage, repair = state["cell.damage"], rates["rate.repair"]
        mended = np.where(repair > 0, -np.expm1(-repair * dt) / np.where(repair > 0, repair, 1.0), dt)
        damage[:] = damage * np.exp(-repair * dt) + harm * mended

    def _transform(self, state, rates, living: np.ndarray, dt: float) -> None:
        """Cells change their type and start its cycle anew."""
        hazards = np.stack([rates[f"transform.{t}"] for t in self.type_names], axis=1) * living[:, None]
        hazards[np.arange(len(state)), state["cell.type"]] = 0.0
        total = hazards.sum(axis=1)
        u = self.uniforms("transform", state, state.ids, 2)
        rows = np.flatnonzero(u[:, 0] < -np.expm1(-total * dt))
        if rows.size:
            reached = np.cumsum(hazards[rows], axis=1) > (u[rows, 1] * total[rows])[:, None]
            self.life.adopt(state, rows, reached.argmax(axis=1))

    def _unite(self, state, pairs, rates, living: np.ndarray, dt: float) -> bool:
        """Cells engulf and fuse; whether any did."""
        from sim.agents.encounters import chosen_contact, settled

        u = self.uniforms("unite", state, state.ids, 6)
        acts = []
        for k, verb in enumerate(("phagocytosis", "fusion")):
            hazard = self._rates_of_contacts(state, pairs, rates, living, verb)
            if not hazard.any():
                continue
            at = chosen_contact(pairs.indptr, hazard, dt, u[:, 3 * k], u[:, 3 * k + 1])
            actors = np.flatnonzero(at >= 0)
            acts.append(
                (
                    actors,
                    pairs.indices[at[actors]].astype(np.int64),
                    u[actors, 3 * k + 2],
                    np.full(len(actors), k),
                )
            )
        if not acts:
            return False
        actors, victims, keys, kinds = (np.concatenate(parts) for parts in zip(*acts))
        done = settled(actors, victims, keys, state.ids)
        for kind, cause in enumerate(("phagocytosis", "fusion")):
            these = done[kinds[done] == kind]
            if these.size:
                self._merge(state, actors[these], victims[these], cause)
        return bool(done.size)

    def _merge(self, state, keepers: np.ndarray, gone: np.ndarray, cause: str) -> None:
        """`keepers` take over volume and internal amounts of `gone`, which are no more."""
        if cause == "fusion":
            self.life.meet(state, keepers, gone)
        elif "volume.nuclear" in state:  # an engulfed nucleus is digested in the cytoplasm
            state["volume.cytoplasm"][gone] += state["volume.nuclear"][gone]
            state["volume.nuclear"][gone] = 0.0
        for name in state.columns:
            if name == "cell.volume" or name.startswith(("internal.", "volume.")):
                state[name][keepers] += state[name][gone]
                state[name][gone] = 0.0
        state.remove(gone, cause)
