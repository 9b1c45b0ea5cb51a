"""Cells that grow, pass through phases, divide and die: exact for any step, on plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PhaseProgramme",
    "divide_geometry",
    "grow",
    "occurs",
    "radius_of",
]

Array = NDArray[np.float64]


def occurs(rate: ArrayLike, dt: float, u: Array) -> NDArray[np.bool_]:
    """Whether an event of the given rate (n,) [1/min] falls within dt: u < 1 − exp(−rate dt), u uniform
    (n,)."""
    return u < -np.expm1(-np.asarray(rate, dtype=np.float64) * dt)


def grow(volume: Array, target: ArrayLike, rate: ArrayLike, dt: float) -> None:
    """volume (n,) relaxes to target [um^3] at rate [1/min] for dt, in place: dV/dt = rate (target − V),
    exactly."""
    volume += (np.asarray(target, dtype=np.float64) - volume) * -np.expm1(
        -np.asarray(rate, dtype=np.float64) * dt
    )


def radius_of(volume: ArrayLike) -> Array:
    """Radius [um] of a ball of the given volume [um^3]."""
    return np.cbrt(np.asarray(volume, dtype=np.float64) * (0.75 / np.pi))


def divide_geometry(
    positions: Array, radii: Array, directions: Array, share: ArrayLike = 0.5
) -> tuple[Array, Array]:
    """Where mother and daughter come to lie: apart by the mother's radius, about her centre of mass.

    Args:
        positions: of the mothers (m, 3) [um].
        radii: of the mothers before division (m,) [um].
        directions: unit vectors from mother to daughter (m, 3); in the plane in two dimensions.
        share: part of the volume that the daughter gets, in (0, 1), a number or (m,).

    Returns:
        positions of mothers and of daughters, each (m, 3).
    """
    share = np.broadcast_to(np.asarray(share, dtype=np.float64), radii.shape)[:, None]
    apart = radii[:, None] * directions
    return positions - share * apart, positions + (1.0 - share) * apart


@dataclass(frozen=True)
class PhaseProgramme:
    """A cycle of phases that ends in division and starts anew.

    Attributes:
        names: of the phases, in order.
        durations: (p,) [min]: the mean of an exponential phase, the length of a fixed one. Positive.
        fixed: (p,): whether the phase has a fixed length.
    """

    names: tuple[str, ...]
    durations: tuple[float, ...]
    fixed: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.durations) == len(self.fixed) > 0:
            raise ValueError("a programme needs one duration and one kind for each of its phases")
        for name, duration in zip(self.names, self.durations):
            if not (np.isfinite(duration) and duration > 0):
                raise ValueError(f"phase {name}: the duration must be positive (got {duration})")

    @property
    def draws(self) -> int:
        """How many uniform numbers `advance` uses per cell."""
        return len(self.names) + 1

    def advance(
        self, phase: NDArray[np.int64], elapsed: Array, dt: float, u: Array, pace: ArrayLike = 1.0
    ) -> NDArray[np.bool_]:
        """Lets dt pass for all cells, in place; returns who divides (n,).

        The time left after a transition counts in the next phase, so phases shorter than dt are not
        stretched. A cell divides at most once a call: what is left of dt then is lost to it where it would
        divide again.

        Args:
            phase: index of each cell's phase (n,), changed.
            elapsed: time in the phase (n,) [min], changed.
            dt: [min].
            u: uniform numbers (n, draws).
            pace: how fast a phase runs, 1 as stated, 0 for arrest; a number, (n,) for the whole cycle or (n, p) for
                each phase.
        """
        durations, fixed = np.asarray(self.durations), np.asarray(self.fixed)
        pace = np.asarray(pace, dtype=np.float64)
        paces = np.broadcast_to(pace[:, None] if pace.ndim == 1 else pace, (len(elapsed), len(durations)))
        left = np.full(elapsed.shape, float(dt))
        divides = np.zeros(elapsed.shape, np.bool_)
        rows = np.flatnonzero(left > 0)
        for draw in range(self.draws):
            at = phase[rows]
            stay = durations[at]
            stay = np.where(fixed[at], stay - elapsed[rows], stay * -np.log1p(-u[rows, draw]))
            speed = paces[rows, at]
            stay = np.divide(stay, speed, out=np.full(stay.shape, np.inf), where=speed > 0)
            ends = at == len(durations) - 1
            done = (stay <= left[rows]) & ~(ends & divides[rows])
            elapsed[rows[~done]] += left[rows[~done]] * speed[~done]
            divides[rows[done & ends]] = True
            rows, stay = rows[done], stay[done]
            left[rows] -= np.maximum(stay, 0.0)
            elapsed[rows] = 0.0
            phase[rows] = (phase[rows] + 1) % len(durations)
        elapsed[rows] += left[rows] * paces[rows, phase[rows]]
        return divides
