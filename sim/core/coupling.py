"""Couplings: the only exchange between pathways, representations, tissue and agents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

Mode = Literal["set", "add", "scale"]


class Response(Protocol):
    """How the target answers to the source: a function of one value per cell."""

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
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = (np.maximum(x, 0.0) / self.half_max) ** self.power
            share = 1.0 / (1.0 + ratio) if self.falling else ratio / (1.0 + ratio)
        # a ratio that overflows is saturated, not undefined
        share = np.where(np.isinf(ratio), 0.0 if self.falling else 1.0, share)
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
class Coupling:
    """`source → target` with a response.

    Attributes:
        source, target: quantity names.
        response: applied to the source's values (cell,).
        mode: `set` replaces the target's base value, `add` and `scale` act on it.
        types: codes of cell types it holds for, None for all.
        factor: unit conversion from the source's unit, applied before the response.
        index: position in the scenario, for messages and explanations.
    """

    source: str
    target: str
    response: Response = field(default_factory=Identity)
    mode: Mode = "set"
    types: frozenset[int] | None = None
    factor: float = 1.0
    index: int = 0

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
