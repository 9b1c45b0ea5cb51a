"""What a fit is about, as plain data: parameters, experiments, observables, measurements.

Expressions are trees as `mechanistic.parts` has them: numbers, ids or lists [operator, argument, ...]. An id is one of
the model, which stands for what it stands for in the model's own math, or that of a parameter of the fit. Time is
["time"].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mechanistic.parts import Tree

SCALES = ("lin", "log", "log10")
PREEQUILIBRATION = -math.inf


@dataclass(frozen=True)
class Prior:
    """A distribution of the value, or of the scaled value, of a parameter; see `sim.fitting.priors`.

    Attributes:
        kind: such as "normal" or "log-laplace".
        values: its parameters.
        low, high: where it is cut off and normalised again.
        scaled: whether it is a density of the scaled value.
    """

    kind: str
    values: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf
    scaled: bool = False


@dataclass(frozen=True)
class Parameter:
    """One number of a fit. Bounds and `nominal` are values, not scaled.

    Attributes:
        scale: "lin", "log" or "log10": how an optimiser sees it.
        estimate: whether it is fitted; else it is `nominal`.
    """

    id: str
    nominal: float
    lower: float = -math.inf
    upper: float = math.inf
    scale: str = "lin"
    estimate: bool = True
    prior: Prior | None = None


@dataclass(frozen=True)
class Period:
    """What begins at `start` [model time]; -inf: followed until it rests.

    Attributes:
        changes: new values by id of the model, computed at once from what holds before. Sizes of compartments take
            effect first: a concentration is one in the new size.
        constants: values by id from which all constants of the model are computed anew, before `changes`; None
            where they stay.
    """

    start: float
    changes: Mapping[str, Tree] = field(default_factory=dict)
    constants: Mapping[str, Tree] | None = None


@dataclass(frozen=True)
class Experiment:
    """A course of the model through `periods`, in the order of their starts.

    Attributes:
        initial: values by id (a concentration, or `amount.<id>`) that replace what the model declares or assigns,
            before its other initial assignments. Where they have ids of the model, which are no parameters of the
            fit, a species is meant as in the model's math. Parameters of the fit that are parameters of the model
            need not be listed.
    """

    id: str
    periods: tuple[Period, ...]
    initial: Mapping[str, Tree] = field(default_factory=dict)


@dataclass(frozen=True)
class Observable:
    """What is measured, and how exactly.

    Attributes:
        formula, noise: trees; `noise` is the standard deviation or the scale of `distribution`.
        distribution: "normal" or "laplace".
        scale: on which measurement and formula are compared.
        placeholders: ids in the trees for which every measurement has its own value.
    """

    id: str
    formula: Tree
    noise: Tree
    distribution: str = "normal"
    scale: str = "lin"
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """`value` of `observable` in `experiment` at `time` [model time]; inf: at rest.

    Attributes:
        overrides: for the placeholders of the observable, each a number or the id of a parameter.
    """

    observable: str
    experiment: str
    time: float
    value: float
    overrides: tuple[float | str, ...] = ()
