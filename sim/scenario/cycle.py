"""The cell cycle: published models by name, or phases of one's own, and rest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from sim.scenario.units import RATE, TIME
from sim.scenario.values import Duration, Part, Rate, Reads, default, fault
from sim.spelling import did_you_mean

PHASES = (
    "G0", "G0G1", "G1", "S", "G2", "G2M", "M", "quiescent", "cycling",
    "Ki67_negative", "Ki67_positive", "Ki67_positive_premitotic", "Ki67_positive_postmitotic",
)  # fmt: skip

#: Cycle models by name: phases in the order in which a newborn cell meets them, each with its length and whether that
#: is the mean of an exponential one or fixed. Values: Ghaffarizadeh et al. 2018, doi:10.1371/journal.pcbi.1005991 (S1).
CYCLE_MODELS: dict[str, dict[str, tuple[str, str]]] = {
    "flow_cytometry": {"G0G1": ("mean", "5.15 h"), "S": ("mean", "8 h"), "G2M": ("mean", "5 h")},
    "flow_cytometry_separated": {
        "G0G1": ("mean", "4.98 h"),
        "S": ("mean", "8 h"),
        "G2": ("mean", "4 h"),
        "M": ("mean", "1 h"),
    },
    "ki67_basic": {"Ki67_negative": ("mean", "4.59 h"), "Ki67_positive": ("fixed", "15.5 h")},
    "ki67_advanced": {
        "Ki67_positive_postmitotic": ("fixed", "2.5 h"),
        "Ki67_negative": ("mean", "3.62 h"),
        "Ki67_positive_premitotic": ("fixed", "13 h"),
    },
    "cycling_quiescent": {"quiescent": ("mean", "4.59 h"), "cycling": ("fixed", "15.5 h")},
}
#: rate of division of the model `live` [1/min], same source
_LIVE = "7.2e-4 /min"


ONE_KEY: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}


def exactly_one(part: Part, keys: tuple[str, ...], what: str) -> None:
    """Raises a fault unless one of `keys` is given in `part`."""
    given = [k for k in keys if k in part.model_fields_set]
    if len(given) != 1:
        raise fault(
            f"needs exactly one {what}: {', '.join(keys)}" + (f"; it has {', '.join(given)}" if given else "")
        )
    if getattr(part, given[0]) is None:
        raise fault("is empty; give it a value", given[0])


class Phase(Part):
    """A phase of the cell cycle: of random length with a mean, or of fixed length."""

    model_config = ConfigDict(json_schema_extra=ONE_KEY)

    mean: Duration | None = Field(
        default=None, description="Mean length; the length is exponentially distributed."
    )
    fixed: Duration | None = Field(default=None, description="Length, the same for every cell.")

    @model_validator(mode="after")
    def _one(self) -> Phase:
        exactly_one(self, ("mean", "fixed"), "length")
        return self

    @property
    def length(self) -> float:
        """Its mean or fixed length [min]."""
        return float(self.mean if self.mean is not None else self.fixed)  # type: ignore[arg-type]


def _phase(value: object) -> str:
    if value not in PHASES:
        raise fault(f"unknown phase; use {', '.join(PHASES)}{did_you_mean(str(value), PHASES)}")
    return str(value)


PhaseName = Annotated[str, Reads(_phase, {"type": "string", "enum": list(PHASES)})]


CycleModel = Literal[
    "live", "flow_cytometry", "flow_cytometry_separated", "ki67_basic", "ki67_advanced", "cycling_quiescent"
]


class Quiescence(Part):
    """Arrest in G0 out of the first phase (or out of `live`), and the way back."""

    enter: Rate = Field(
        default=default("0 /min", RATE), description="Rate of leaving the first phase for G0."
    )
    leave: Rate = Field(
        default=default("0 /min", RATE), description="Rate of return from G0 to the first phase."
    )


class Cycle(Part):
    """The cell cycle: a model by name, a division rate, or phases in order, the last of which ends with division."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 3})

    model: CycleModel | None = Field(
        default=None, description="A published cycle model; phases may then change the length of its phases."
    )
    division: Rate | None = Field(
        default=None, description="Rate of division of a cell with one phase, live."
    )
    phases: dict[PhaseName, Phase] | None = Field(
        default=None, description="Phases in order, by name.", min_length=1
    )
    quiescence: Quiescence | None = Field(default=None, description="Arrest in G0 and return.")

    @model_validator(mode="after")
    def _one(self) -> Cycle:
        if self.model is None:
            exactly_one(self, ("division", "phases", "model"), "kind of cycle")
            if "G0" in (self.phases or {}) and self.quiescence is not None:
                raise fault("needs no phase G0 of its own; quiescence makes one", "phases", "G0")
        elif self.model == "live":
            if self.phases is not None:
                raise fault("do not belong to the model live, which has one phase", "phases")
        elif self.division is not None:
            raise fault(f"does not belong to the model {self.model}; change its phases", "division")
        else:
            known = CYCLE_MODELS[self.model]
            for name in self.phases or {}:
                if name not in known:
                    hint = f"; it has {', '.join(known)}"
                    raise fault(f"is no phase of the model {self.model}{hint}", "phases", name)
        return self

    @property
    def programme(self) -> dict[str, Phase]:
        """The phases in order, those of the model with what the scenario changes; empty for one phase, live."""
        known = CYCLE_MODELS.get(self.model or "", {})
        preset = {name: Phase(**{kind: default(length, TIME)}) for name, (kind, length) in known.items()}
        return preset | dict(self.phases or {})

    @property
    def division_rate(self) -> float:
        """Rate of division of the one phase [1/min]; of a programme, divisions per minute at its own pace."""
        if self.programme:
            return 1 / sum(phase.length for phase in self.programme.values())
        return float(self.division if self.division is not None else default(_LIVE, RATE))
