"""What a scenario says of the life of cells, as plain numbers by cell type code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cycle:
    """Phases that end in division.

    Attributes:
        codes: phase codes in order.
        durations: mean (exponential) or fixed length of each [min].
        fixed: whether the length is fixed.
        doubled: codes of the phases in which the volume grows to twice that of a newborn's target.
    """

    codes: tuple[int, ...]
    durations: tuple[float, ...]
    fixed: tuple[bool, ...]
    doubled: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Divisions per minute of a cell that runs through the phases at their own pace."""
        return 1 / sum(self.durations)


@dataclass(frozen=True)
class Composition:
    """Parts of a volume: fluid as a share, nuclear and cytoplasmic solid at birth's end [um³], their rates [1/min]."""

    fluid: float
    nuclear: float
    cytoplasm: float
    fluid_rate: float
    nuclear_rate: float
    cytoplasm_rate: float


@dataclass(frozen=True)
class Daughters:
    """How a type divides: the share of the mother that one daughter gets, the probability of each type of hers, and how
    far they keep to the plane across an axis (x, y, z), 0 to 1."""

    share: float
    types: Mapping[int, float]
    polarity: float = 0.0
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Decay:
    """What becomes of the parts of a dying cell: the share of fluid it tends to, and rates [1/min]."""

    fluid: float
    fluid_rate: float
    nuclear_rate: float
    cytoplasm_rate: float
    calcification: float


#: by phase, for cells with parts: apoptotic ones dry up, necrotic ones swell until they burst and then shrink
#: (Ghaffarizadeh et al. 2018, doi:10.1371/journal.pcbi.1005991)
DECAY = {
    "apoptotic": Decay(0.0, 3 / 60, 0.35 / 60, 1 / 60, 0.0),
    "necrotic": Decay(1.0, 0.67 / 60, 0.013 / 60, 0.0032 / 60, 0.0042 / 60),
    "lysed": Decay(0.0, 0.05 / 60, 0.013 / 60, 0.0032 / 60, 0.0042 / 60),
}
#: volume at which a necrotic cell bursts, relative to that at its death (same source)
RUPTURE = 2.0


@dataclass(frozen=True)
class LifeSettings:
    """By cell type code. Volumes in um³, rates in 1/min.

    Attributes:
        phase_names: names of all phase codes; from `apoptotic` on they are those of dying, `lysed` is the last.
        arrest, release: rates of entering G0 from the first phase and of return, of the types that can.
        composition: types whose volume has parts; the others have the one relaxation `growth`.
        necrosis: hazard of necrosis, of the types with parts.
        remains: how long an apoptotic cell remains before it is gone [min], of types for which that is fixed.
        daughters: types that divide unequally.
        cycles: a type without an entry has the one phase `live`, left by division at `rate.division`;
            with one, `rate.division` relative to its default is the pace of the whole cycle.
    """

    volume: Mapping[int, float]
    growth: Mapping[int, float]
    cycles: Mapping[int, Cycle]
    division: Mapping[int, float]
    death: Mapping[int, float]
    lysis: Mapping[int, float]
    clearance: Mapping[int, float]
    phase_names: tuple[str, ...]
    arrest: Mapping[int, float] = field(default_factory=dict)
    release: Mapping[int, float] = field(default_factory=dict)
    composition: Mapping[int, Composition] = field(default_factory=dict)
    necrosis: Mapping[int, float] = field(default_factory=dict)
    remains: Mapping[int, float] = field(default_factory=dict)
    daughters: Mapping[int, Daughters] = field(default_factory=dict)

    @property
    def necrotic(self) -> int:
        """Code of the swelling phase of necrosis, -1 where no type has it."""
        return self.phase_names.index("necrotic") if "necrotic" in self.phase_names else -1

    @property
    def resting(self) -> int:
        """Code of G0, -1 where no type rests."""
        return self.phase_names.index("G0") if self.arrest else -1

    @property
    def exits(self) -> dict[str, dict[int, float]]:
        """Phase name -> type code -> rate at which cells leave it [1/min], one by its length."""
        found: dict[str, dict[int, float]] = {}
        for code, cycle in self.cycles.items():
            for phase, duration in zip(cycle.codes, cycle.durations):
                found.setdefault(self.phase_names[phase], {})[code] = 1 / duration
        return found

    @property
    def apoptotic(self) -> int:
        return self.phase_names.index("apoptotic")

    @property
    def lysed(self) -> int:
        return len(self.phase_names) - 1
