"""Growth of cells: their volume, or its parts, follows the phase."""

from __future__ import annotations

import numpy as np

from sim.core.by_type import by_type
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.life_settings import DECAY, LifeSettings

#: volume to which an apoptotic cell shrinks, as a share of its healthy volume: fluid loss and blebbing leave about
#: a third (apoptotic volume decrease; Bortner and Cidlowski 1998)
_APOPTOTIC_SHARE = 1 / 3
#: time constant of that shrinkage [1/min] (about an hour)
_SHRINKAGE = 1 / 60


class Growth(Process):
    """Volume relaxes exponentially to the target of the cell's phase."""

    def __init__(self, settings: LifeSettings, step: float):
        super().__init__("growth", step)
        self.settings = settings
        parts = {"fluid": "fluid", "nuclear": "solid of the nucleus", "cytoplasm": "solid of the cytoplasm"}
        self.states = (
            Quantity("cell.volume", "um^3", "cell volume", shared=True),
            *(
                (
                    *(Quantity(f"volume.{k}", "um^3", text, shared=True) for k, text in parts.items()),
                    Quantity("cell.calcified", "1", "calcified share of the cell"),
                )
                if settings.composition
                else ()
            ),
        )
        self.inputs = (
            Quantity(
                "rate.growth",
                "1/min",
                "rate of approach to the target volume",
                "input",
                by_type=settings.growth,
            ),
        )
        self.readouts = (
            Quantity("cell.radius", "um", "radius of the sphere of the cell's volume", "readout"),
        )
        self.reads = ("cell.phase",)

    def initialise(self, state, rows) -> None:
        types = state["cell.type"][rows]
        state["cell.volume"][rows] = by_type(self.settings.volume, types)
        for code, c in self.settings.composition.items():
            mine = rows[types == code]
            state["volume.nuclear"][mine], state["volume.cytoplasm"][mine] = c.nuclear, c.cytoplasm
            state["volume.fluid"][mine] = state["cell.volume"][mine] - c.nuclear - c.cytoplasm

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.life import grow

        phase, types = state["cell.phase"], state["cell.type"]
        target = by_type(self.settings.volume, types)
        rate = signals["rate.growth"].copy()
        for code, cycle in self.settings.cycles.items():
            target[(types == code) & np.isin(phase, cycle.doubled)] *= 2
        dying = phase >= self.settings.apoptotic
        target[dying] *= _APOPTOTIC_SHARE
        rate[dying] = _SHRINKAGE
        composed = np.isin(types, list(self.settings.composition))
        rate[composed] = 0.0
        grow(state["cell.volume"], target, rate, dt)
        if composed.any():
            self._grow_parts(state, np.flatnonzero(composed), signals["rate.growth"], dt)

    def _grow_parts(self, state, rows: np.ndarray, pace: np.ndarray, dt: float) -> None:
        """Fluid and solids of `rows` towards the targets of their phase; `cell.volume` is their sum.

        A cell that grows by parts takes `rate.growth` as a factor: 1 is its own pace.
        """
        from sim.agents.volume import relax_parts

        s = self.settings
        types, phase = state["cell.type"][rows], state["cell.phase"][rows]
        names = ("volume.fluid", "volume.nuclear", "volume.cytoplasm")
        parts = [state[name][rows] for name in names]
        # whoever changed the volume as a whole changed its parts in proportion
        whole = parts[0] + parts[1] + parts[2]
        scale = np.divide(state["cell.volume"][rows], whole, out=np.ones(len(rows)), where=whole > 0)
        scale[np.abs(scale - 1) < 1e-12] = 1.0
        parts = [p * scale for p in parts]
        fluid, nuclear, cytoplasm = np.zeros((3, len(rows)))
        rates = np.zeros((3, len(rows)))
        for code, c in s.composition.items():
            mine = types == code
            fluid[mine], nuclear[mine], cytoplasm[mine] = c.fluid, c.nuclear, c.cytoplasm
            rates[:, mine] = (
                np.array([[c.fluid_rate], [c.nuclear_rate], [c.cytoplasm_rate]]) * pace[rows[mine]]
            )
            if code in s.cycles:
                doubled = mine & np.isin(phase, s.cycles[code].doubled)
                nuclear[doubled] *= 2
                cytoplasm[doubled] *= 2
            elif (
                code in s.division
            ):  # the one phase live ends with division, so a live cell is on its way to two
                nuclear[mine] *= 2
                cytoplasm[mine] *= 2
        calcification = np.zeros(len(rows))
        for name, decay in DECAY.items():
            if name in s.phase_names:
                mine = phase == s.phase_names.index(name)
                fluid[mine], nuclear[mine], cytoplasm[mine] = decay.fluid, 0.0, 0.0
                rates[:, mine] = np.array([[decay.fluid_rate], [decay.nuclear_rate], [decay.cytoplasm_rate]])
                calcification[mine] = decay.calcification
        grown = relax_parts(*parts, (fluid, nuclear, cytoplasm), tuple(rates), dt)  # type: ignore[arg-type]
        for name, values in zip(names, grown):
            state[name][rows] = values
        state["cell.volume"][rows] = grown[0] + grown[1] + grown[2]
        calcified = state["cell.calcified"]
        calcified[rows] += (1 - calcified[rows]) * -np.expm1(-calcification * dt)

    def readout(self, name, state, signals) -> np.ndarray:
        from sim.agents.life import radius_of

        return radius_of(state["cell.volume"])
