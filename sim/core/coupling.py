"""Couplings: the only exchange between pathways, representations, tissue and agents."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

Mode = Literal["set", "add", "scale", "increase", "decrease"]

_LARGEST = sys.float_info.max


class Response(Protocol):
    """How the target answers to the source: a function of one value per cell.

    Those that are formulas (`Identity`, `Linear`, `Hill`) answer to tensors of torch too, with gradients.
    """

    @property
    def label(self) -> str: ...

    def __call__(self, x: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Identity:
    """y = x."""

    label: str = "identity"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x


@dataclass(frozen=True)
class Linear:
    """y = intercept + slope · x."""

    slope: float
    intercept: float = 0.0

    @property
    def label(self) -> str:
        return f"{self.intercept:g} + {self.slope:g} x" if self.intercept else f"{self.slope:g} x"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.intercept + self.slope * x


@dataclass(frozen=True)
class Hill:
    """y = low + (high − low) · xⁿ / (Kⁿ + xⁿ); falling: the complement. Negative x counts as 0."""

    half_max: float
    power: float = 1.0
    low: float = 0.0
    high: float = 1.0
    falling: bool = False

    @property
    def label(self) -> str:
        arrow = "falling" if self.falling else "rising"
        return (
            f"Hill {arrow}, half-max {self.half_max:g}, power {self.power:g}, {self.low:g} to {self.high:g}"
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            ratio = (x.clip(0.0) / self.half_max) ** self.power
        if self.falling:
            share = 1.0 / (1.0 + ratio)
        else:
            ratio = ratio.clip(max=_LARGEST)  # what overflows is saturated, not undefined
            share = ratio / (1.0 + ratio)
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True)
class Table:
    """Linear interpolation between given points; constant outside them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    @property
    def label(self) -> str:
        return f"table of {len(self.x)} points"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.interp(x, self.x, self.y)


@dataclass(frozen=True)
class Towards:
    """The strength (x/K)ⁿ with which a signal draws its target towards `to`; what it comes to depends on the others.

    All signals that increase a target are taken together, and all that decrease it: see `combined`.
    """

    to: float
    half_max: float
    power: float = 4.0

    @property
    def label(self) -> str:
        return f"towards {self.to:g}, half-max {self.half_max:g}, power {self.power:g}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return (x.clip(0.0) / self.half_max) ** self.power


@dataclass(frozen=True)
class Coupling:
    """`source → target` with a response.

    Attributes:
        source, target: quantity names.
        response: applied to the source's values (cell,).
        mode: `set` replaces the target's base value, `add` and `scale` act on it; `increase` and `decrease` are rules
            (the response is `Towards`), which act on what the others give.
        types: codes of cell types it holds for, None for all.
        factor: unit conversion from the source's unit, applied before the response.
        index: position in the scenario, for messages and explanations.
        applies_to_dead: whether dying and dead cells are driven too.
    """

    source: str
    target: str
    response: Response = field(default_factory=Identity)
    mode: Mode = "set"
    types: frozenset[int] | None = None
    factor: float = 1.0
    index: int = 0
    applies_to_dead: bool = True

    @property
    def is_rule(self) -> bool:
        return self.mode in ("increase", "decrease")

    @property
    def name(self) -> str:
        return f"{self.source} → {self.target}"

    def apply(self, base: np.ndarray, source: np.ndarray, where: np.ndarray) -> np.ndarray:
        """The target's values (cell,): `base` changed by the answer to `source` in the cells `where`."""
        answer = self.response(source[where] * self.factor if self.factor != 1.0 else source[where])
        driven = base.copy()
        if self.mode == "set":
            driven[where] = answer
        elif self.mode == "add":
            driven[where] += answer
        else:
            driven[where] *= answer
        return driven


def combined(base: np.ndarray, up: Combined | None, down: Combined | None) -> np.ndarray:
    """Values (cell,) under all rules of a target: multivariate Hill responses, up-regulation first.

    U = b₀ + (b₊ − b₀)·u/(1 + u), b = U + (b₋ − U)·d/(1 + d) with u and d the summed strengths of the signals that
    increase and decrease (Johnson et al. 2025, doi:10.1016/j.cell.2025.06.048).
    """
    for part in (up, down):
        if part is not None:
            share = 1.0 - 1.0 / (1.0 + part.strength)
            base = base + (part.to - base) * share
    return base


class Combined:
    """Strength (cell,) of all rules of one direction, and the value (cell,) they draw to."""

    def __init__(self, cells: int):
        self.strength, self.to = np.zeros(cells), np.zeros(cells)

    def add(self, coupling: Coupling, source: np.ndarray, where: np.ndarray) -> None:
        response = coupling.response
        assert isinstance(response, Towards)
        self.strength[where] += response(source[where] * coupling.factor)
        self.to[where] = response.to
