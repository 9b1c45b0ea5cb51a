"""Populations over time as weights: snapshots, how they are joined, the drift between them, the way into the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neural import transport, weights
from neural.blocks import in_blocks, rows_times
from neural.errors import WeightsError
from neural.flow import LinearDrift, push, wander
from neural.threads import one_thread
from neural.uncertainty import value_of_measuring
from neural.vector_fields import MLPField

_STEPS = 40


class TransportModel(weights.Weighted):
    """Cells of a population at any time, from snapshots of it.

    Between snapshots cells are joined by the transport plans of `neural.transport`, the rule that foretells left-out
    snapshots best; single cells are carried by drift and network (`evolve`).

    Attributes:
        card: what the weights file says about itself.
        times: (K,) of the snapshots; snapshots: their cells (n, d) in the space, at most a thousand each.
        drift: linear law in every interval, to be read.
    """

    kind = "transport"

    def __init__(self, card: weights.Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"):
        import torch

        self.card = card
        self.labels = card.labels
        self._tensors = dict(tensors)
        try:
            self.times = tensors["times"]
            self.snapshots = [tensors[f"snapshot.{k}"] for k in range(len(self.times))]
            self._shares, self._stretch = tensors["shares"], tensors["stretch"]
            if self._shares.shape != (transport.GUESSES,):
                raise ValueError(f"{self._shares.size} shares for {transport.GUESSES} guesses")
            self.drift = LinearDrift(
                self.times, *(tensors[f"drift.{part}"] for part in ("matrix", "offset", "growth", "noise"))
            )
            self._scale = tensors["clock"]
            hidden, sums = [int(w) for w in card.architecture["hidden"]], card.architecture.get("conserved")
            self.field = MLPField(card.dimension, 0, hidden, timed=True, conserved=sums).double()
            self.field.load_state_dict(
                {
                    k.removeprefix("field."): torch.tensor(v)
                    for k, v in tensors.items()
                    if k.startswith("field.")
                }
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(file, f"the tensors do not fit the card's architecture ({error})") from None
        self.field.requires_grad_(False)

    def encode(self, table: np.ndarray) -> np.ndarray:
        """(n, d) coordinates of cells (n, feature) with the features of training."""
        centred = np.asarray(table, float) - self._tensors["space.mean"]
        return centred @ self._tensors["space.axes"].T / self._tensors["space.scale"]

    def decode(self, cells: np.ndarray) -> np.ndarray:
        """(n, feature) of cells (n, d) in the space."""
        return (
            cells * self._tensors["space.scale"] @ self._tensors["space.axes"] + self._tensors["space.mean"]
        )

    def population(self, time: float, seed: int = 0) -> np.ndarray:
        """Cells (n, d) expected at `time`; beyond the snapshots the last or first is carried by the drift."""
        rng = np.random.default_rng(seed)
        exact = np.flatnonzero(np.isclose(self.times, time))
        if len(exact):
            return self.snapshots[int(exact[0])]
        if time < self.times[0]:
            raise ValueError(f"time {time:g} lies before the first snapshot at {self.times[0]:g}")
        if time > self.times[-1]:
            return self.evolve(self.snapshots[-1], float(self.times[-1]), time)
        k = int(np.searchsorted(self.times, time)) - 1
        at = (time - self.times[k]) / (self.times[k + 1] - self.times[k])
        return transport.mixture(self.snapshots[k], self.snapshots[k + 1], float(at), self._shares, rng)

    def interval(self, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, lower and upper bound (d,) of cells at `time`: 90 %, stretched as left-out snapshots asked for."""
        cells = self.population(time)
        low, middle, high = np.quantile(cells, [0.05, 0.5, 0.95], axis=0)
        stretch = 1.0 if np.isclose(self.times, time).any() else float(self._stretch)
        return cells.mean(0), middle + stretch * (low - middle), middle + stretch * (high - middle)

    def evolve(self, cells: np.ndarray, start: float, end: float, seed: int | None = None) -> np.ndarray:
        """Single cells (n, d) carried from `start` to `end` by the linear drift and the network.

        With a `seed`, by the stochastic equation with the same population (`neural.flow.wander`): cells of one
        state part.
        """
        import torch

        if seed is not None:
            return wander(cells, start, end, self.drift, self.field, self._scale, self.snapshots, seed)
        with torch.no_grad():
            return push(cells, start, end, self.drift, self.field, self._scale).numpy()

    def step(self, cells: np.ndarray, times: np.ndarray, length: float) -> np.ndarray:
        """Cells (n, d) `length` later, each from its own time (n,): as `evolve`, and to the same bits in any company.

        Runge-Kutta of order 4 with at least 40 steps between snapshots.
        """
        out = np.array(cells, float)
        for start in np.unique(times):
            rows = np.flatnonzero(times == start)
            end = float(start) + length
            inner = [float(e) for e in self.drift.edges if start < e < end]
            for a, b in zip([float(start), *inner], [*inner, end], strict=True):
                out[rows] = in_blocks(
                    lambda block, a=a, b=b: self._runge_kutta(block, a, b), out.shape[1], out[rows]
                )
        return out

    def _runge_kutta(self, block: np.ndarray, start: float, end: float) -> np.ndarray:
        """Between two times within one interval."""
        import torch

        k = self.drift.interval(0.5 * (start + end))
        matrix, offset = torch.tensor(self.drift.matrix[k]).T.contiguous(), torch.tensor(self.drift.offset[k])
        middle, half = map(float, self._scale)

        def velocity(t: float, x: torch.Tensor) -> torch.Tensor:
            return rows_times(x, matrix) + offset + self.field((t - middle) / half, x)

        length = self.drift.edges[k + 1] - self.drift.edges[k]
        count = max(1, int(np.ceil(_STEPS * (end - start) / length - 1e-9)))
        h = (end - start) / count
        with one_thread(), torch.no_grad():
            y = torch.from_numpy(block)
            for i in range(count):
                t = start + i * h
                one = velocity(t, y)
                two = velocity(t + h / 2, y + h / 2 * one)
                three = velocity(t + h / 2, y + h / 2 * two)
                four = velocity(t + h, y + h * three)
                y = y + h / 6 * (one + 2 * two + 2 * three + four)
        return y.numpy()

    def growth(self, cells: np.ndarray, time: float) -> np.ndarray:
        """(n,) net rate of increase of cells, beside the population's, one over a time."""
        return np.c_[np.ones(len(cells)), cells] @ self.drift.growth[self.drift.interval(time)]

    def flags(self, times: Sequence[float]) -> list[str]:
        """A word for each time beyond the snapshots; empty between them."""
        last = float(self.times[-1])
        return [f"after the last snapshot at {last:g}" if t > last * (1 + 1e-12) else "" for t in times]

    def value(self, times: Sequence[float]) -> np.ndarray:
        """(m,) share of all rows' uncertainty that a snapshot at this time would remove.

        The population's way is taken as a Brownian bridge between snapshots and as Brownian motion beyond, as
        rough as the means moved.
        """
        moved = np.array(
            [
                np.square(b.mean(0) - a.mean(0)).sum()
                for a, b in zip(self.snapshots, self.snapshots[1:], strict=False)
            ]
        )
        rough = moved.sum() / (self.times[-1] - self.times[0])
        return value_of_measuring(_bridge(np.asarray(times, float), self.times) * rough, 1e-3 * moved.mean())


def _bridge(at: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(m, m) covariance of Brownian motion at times `at`, known at `known`."""
    here, there = np.minimum(at[:, None], at[None]), np.minimum(at[:, None], known[None])
    base = np.minimum(known[:, None], known[None])
    shift = known[0] - 1e-9 * max(abs(known[0]), 1.0)
    inverse = np.linalg.pinv(base - shift)
    return (here - shift) - (there - shift) @ inverse @ (there - shift).T


def space_tensors(mean: np.ndarray, axes: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """How measurements become coordinates: (x - mean) axes' / scale."""
    return {"space.mean": mean, "space.axes": axes, "space.scale": scale}


def model_tensors(
    times: np.ndarray,
    snapshots: Sequence[np.ndarray],
    drift: LinearDrift,
    field: MLPField,
    clock: np.ndarray,
) -> dict[str, np.ndarray]:
    """Everything a `TransportModel` needs beside its space."""
    known = dict(zip(times.tolist(), snapshots, strict=True))
    shares, told = transport.rehearse(known)
    out: dict[str, Any] = {
        "times": times,
        "shares": shares,
        "stretch": np.array(transport.stretch(known, shares, told)),
        "drift.matrix": drift.matrix,
        "drift.offset": drift.offset,
        "drift.growth": drift.growth,
        "drift.noise": drift.noise,
        "clock": clock,
    }
    out |= {f"snapshot.{k}": x for k, x in enumerate(snapshots)}
    return out | {f"field.{k}": v.detach().numpy() for k, v in field.state_dict().items()}
