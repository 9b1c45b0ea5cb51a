"""Manipulators: learned dynamics of cell representations, loaded from weights and stepped inside a tissue.

    m = Manipulator.load("weights/pc9_drugs.safetensors")
    ur = np.tile(m.initial("untreated"), (1000, 1))
    ur = m.step(ur, conditions, message, dt=30.0)         # one coupling step [min]
    rates = m.decode(ur, conditions, message)             # {"division": (n,), ...} [1/min]
    m.evolve(ur, times, conditions)                       # xarray: mean, lower, upper (90 %)

Cells go through the network in blocks of one fixed size, padded with zeros, on one torch thread: the
bits of a cell's result do not depend on its place, on the other cells, or on how many threads there are.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neural import weights
from neural.blocks import in_blocks
from neural.members import Ensemble, all_members, one_member
from neural.threads import one_thread

if TYPE_CHECKING:
    import torch
    import xarray

    from neural.decoders import RateDecoders
    from neural.dynamics import DrugDynamics

_NORMAL_90 = 1.6448536269514722


class Manipulator(weights.Weighted):
    """UR -> UR over time under drugs and the tissue's message, and the rates that a UR means.

    Attributes:
        card: what the weights file says about itself.
        space: name of the representation space.
        dimension: number of components.
        condition_names: drugs, in the order of the columns of `conditions`; doses in `card.condition_units`.
        message_names: inputs from the tissue, in the order of the columns of `message`.
        decoder_names: rates that `decode` returns.
    """

    kind = "manipulator"

    def __init__(self, card: weights.Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"):
        self.card = card
        self.space: str = card.space or ""
        self.dimension: int = card.dimension
        self.condition_names: list[str] = card.condition_names
        self.message_names: list[str] = card.message_names
        self.decoder_names: list[str] = card.decoder_names
        self._tensors = dict(tensors)
        self._dynamics, self._decoders = all_members(card, tensors, file)
        self._reference = one_member(card, tensors, 0, file)
        self._by_fold: dict[int, tuple[DrugDynamics, RateDecoders]] = {}

    def save(self, path: str | os.PathLike, card: dict[str, Any] | None = None) -> str:
        """Write these weights, with another card if one is given; returns their sha256."""
        learned = {n: t.detach().numpy().astype(self._tensors[n].dtype) for n, t in self.learnable().items()}
        tensors = {
            k: np.concatenate([learned[k], v[1:]]) if k in learned else v for k, v in self._tensors.items()
        }
        return weights.save(path, tensors, card or self.card.raw)

    def learnable(self) -> dict[str, torch.Tensor]:
        """The reference's numbers that `vector_field` hangs on, by name; what is done to them is done to it."""
        named = self._reference[0].named_parameters()
        return {f"dynamics.{name}": tensor for name, tensor in named}

    def initial(self, name: str) -> np.ndarray:
        """The space's reference state `name` (d,), for example "untreated".

        Raises:
            KeyError: no such state; the message lists the states there are.
        """
        return self.card.initial(name)

    def zeroed(self) -> Manipulator:
        """The same manipulator with its output set to zero: `step` returns the UR unchanged, rates are 0."""
        still = copy.copy(self)
        still._tensors = {
            k: np.zeros_like(v) if k.endswith(".scale") else v for k, v in self._tensors.items()
        }
        still._dynamics, still._decoders = all_members(self.card, still._tensors)
        still._reference = one_member(self.card, still._tensors, 0)
        still._by_fold = {}
        return still

    def step(self, ur: np.ndarray, conditions: np.ndarray, message: np.ndarray, dt: float) -> np.ndarray:
        """Representations after `dt` [min] with conditions and message held: (n, d) -> (n, d), float64.

        Args:
            ur: (n, d); conditions: (n, c) in the card's units; message: (n, m).
        """
        import torch

        dynamics, _ = self._reference
        longest = float(self.card.architecture["step"])
        step = dt / max(1, int(np.ceil(dt / longest - 1e-9)))
        times = torch.tensor([0.0, float(dt)], dtype=torch.float64)

        def advance(r: torch.Tensor, dose: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
            from neural.population import integrate

            drive = dynamics.drive(dose)
            return integrate(lambda _t, y: dynamics(y, drive, said[None]), r[None], times, step)[-1, 0]

        return self._in_blocks(advance, self.dimension, ur, conditions, message)

    @property
    def folds(self) -> int:
        """How many members of the ensemble were fitted without a part of the wells each; the reference saw all."""
        return int(self.card.architecture["members"]) - 1

    def vector_field(
        self, ur: torch.Tensor, conditions: torch.Tensor, message: torch.Tensor, without: int | None = None
    ) -> torch.Tensor:
        """dUR/dt [1/min] (n, d) that `step` integrates, with its gradient; float64 tensors as `step` takes arrays.

        `without`: of the member that did not see this fold of the wells, instead of the reference's.
        """
        dynamics, _ = self._reference if without is None else self._of_fold(without)
        return dynamics(ur[None], dynamics.drive(conditions), message[None])[0]

    def rates(self, ur: torch.Tensor, message: torch.Tensor, without: int | None = None) -> torch.Tensor:
        """Rates [1/min] (n, rate) in the order of `decoder_names`, with their gradient, as `decode` gives them.

        `without`: as in `vector_field`.
        """
        _, decoders = self._reference if without is None else self._of_fold(without)
        return decoders(ur[None], message[None])[0]

    def _of_fold(self, fold: int) -> tuple[DrugDynamics, RateDecoders]:
        if fold not in self._by_fold:
            self._by_fold[fold] = one_member(self.card, self._tensors, 1 + fold)
        return self._by_fold[fold]

    def decode(self, ur: np.ndarray, conditions: np.ndarray, message: np.ndarray) -> dict[str, np.ndarray]:
        """Rates [1/min] of each cell, name -> (n,), for ur (n, d), conditions (n, c), message (n, m)."""
        _, decoders = self._reference
        rates = self._in_blocks(
            lambda r, _dose, said: decoders(r[None], said[None])[0],
            len(self.decoder_names),
            ur,
            conditions,
            message,
        )
        return {name: np.ascontiguousarray(rates[:, i]) for i, name in enumerate(self.decoder_names)}

    def evolve(
        self,
        ur: np.ndarray,
        times: np.ndarray | Sequence[float],
        conditions: np.ndarray | Mapping[str, Any] | Sequence[Any],
        message: np.ndarray | float | None = None,
        live_area: np.ndarray | float | None = None,
        method: str = "rk4",
        breaks: Sequence[float] = (),
    ) -> xarray.Dataset:
        """Time courses with 90 % intervals.

        Args:
            ur: (n, d) or (d,), at the first of `times`; times: (T,) [min], ascending.
            conditions: (n, c), or a mapping from condition to a dose or (n,) doses (absent ones are 0); with
                `breaks`, (S, n, c) or a list of S such, each held up to its break.
            breaks: (S - 1,) times [min] at which the doses change, ascending, after the first of `times`.
            message: confluence held over the time course, scalar or (n,); 0 by default.
            live_area: % of the image covered at the start, scalar or (n,): the population is followed and
                its own live area is the message.
            method: "rk4" or "dopri5".

        Returns:
            Dataset with `mean`, `lower`, `upper` (cell, time, quantity); quantities are `ur.<space>[k]`,
            `decoder.<name>` and, with `live_area`, the instrument channels `channel.<name>` [% of the image].
            Intervals of channels hold what held-out wells missed the ensemble by (conformal); those of
            representation and rates are the ensemble's spread alone. `extrapolated` (cell) marks doses above
            the trained range. rk4 goes by the card's step; times between steps are interpolated.

        Raises:
            KeyError: a condition that these weights do not know.
            ValueError: a shape that does not fit, no time, or values that are not finite; a dose, message or
                live area below 0.
        """
        import xarray as xr

        held = conditions if len(breaks) else [conditions]
        doses = [_within(self._doses(c), "conditions", 0.0, len(self.condition_names)) for c in held]
        _check_breaks(breaks, len(doses), times)
        start = _within(np.atleast_2d(np.asarray(ur, float)), "ur", -np.inf, self.dimension)
        for name, given in (("message", message), ("live_area", live_area)):
            if given is not None:
                _within(np.asarray(given, float), name, 0.0)
        sizes = [np.size(given) for given in (message, live_area) if given is not None]
        n = max(*map(len, doses), len(start), *sizes, 0)
        start, *doses = (np.broadcast_to(a, (n, a.shape[1])) for a in (start, *doses))
        r, rates, people = self._course(start, times, np.stack(doses), message, live_area, method, breaks)
        names = [f"ur.{self.space}[{k}]" for k in range(self.dimension)]
        units = ["1"] * self.dimension
        names += [f"decoder.{d}" for d in self.decoder_names]
        units += [self.card.decoder_units[d] for d in self.decoder_names]
        bounds = [_spread(np.concatenate([r, rates], -1))]
        if live_area is not None:
            from neural.population import CHANNELS

            names += [f"channel.{c}" for c in CHANNELS]
            units += ["percent"] * len(CHANNELS)
            bounds.append(self._interval(self._signals(people)))
        mean, lower, upper = (np.concatenate([b[i] for b in bounds], -1) for i in range(3))
        dims = ("cell", "time", "quantity")
        return xr.Dataset(
            {"mean": (dims, mean), "lower": (dims, lower), "upper": (dims, upper)}
            | {"extrapolated": ("cell", np.any([self.extrapolated(dose) for dose in doses], axis=0))},
            coords={
                "time": ("time", np.asarray(times, float), {"units": "min"}),
                "quantity": names,
                "units": ("quantity", units),
            },
            attrs={"weights": self.card.sha256, "interval": 0.9},
        )

    def extrapolated(self, conditions: np.ndarray) -> np.ndarray:
        """(n,) True where a dose (n, c) lies above the range that was trained."""
        top = np.array([c["range"][1] for c in self.card.raw["conditions"]])
        return np.any(np.asarray(conditions) > top * (1 + 1e-9), axis=1)

    def flags(self, conditions: np.ndarray) -> list[str]:
        """A word for each row (n, c) on which the training wells have no say; empty where they have."""
        top = [c["range"][1] for c in self.card.raw["conditions"]]
        together = int(self.card.raw.get("data", {}).get("drugs_together", 1))
        out = []
        for row in np.asarray(conditions, float):
            said = [
                f"{name} above {limit:g}"
                for name, limit, dose in zip(self.condition_names, top, row, strict=True)
                if dose > limit * (1 + 1e-9)
            ]
            if (row > 0).sum() > together:
                said.append(f"{int((row > 0).sum())} drugs together, at most {together} were learned of")
            out.append("; ".join(said))
        return out

    @property
    def noise(self) -> np.ndarray:
        """(3,) what a measured log2 signal may be off by, by channel, beside the ensemble's spread."""
        return np.asarray(self._tensors["interval.floor"])

    def linear_part(self) -> dict[str, np.ndarray]:
        """What a person reads: `effect` (drug, component) at full dose, `half_max` (drug, component) in the
        dose's unit, `coupling` (component, component; row is driven by column), `tau` (component,)
        [min].
        """
        import torch

        dynamics, _ = self._reference
        with torch.no_grad():
            return {
                "effect": dynamics.effect[0].numpy().copy(),
                "half_max": torch.exp(dynamics.log_half[0][:, None] + dynamics.log_half_shift[0]).numpy(),
                "coupling": (dynamics.coupling[0] * dynamics.below).numpy(),
                "tau": dynamics.tau()[0].numpy(),
            }

    def _doses(self, conditions: Any) -> np.ndarray:
        if not isinstance(conditions, Mapping):
            return np.atleast_2d(np.asarray(conditions, float))
        unknown = sorted(set(conditions) - set(self.condition_names))
        if unknown:
            raise KeyError(
                f"no condition '{unknown[0]}'; these weights know {', '.join(self.condition_names)}"
            )
        columns = [np.asarray(conditions.get(name, 0.0), float) for name in self.condition_names]
        return np.stack(np.broadcast_arrays(*[np.atleast_1d(c) for c in columns]), 1)

    def _course(
        self,
        ur: np.ndarray,
        times: np.ndarray | Sequence[float],
        doses: np.ndarray,
        message: np.ndarray | float | None,
        live_area: np.ndarray | float | None,
        method: str = "rk4",
        breaks: Sequence[float] = (),
    ) -> tuple[np.ndarray, ...]:
        """Every member's representations, rates and populations, as `Ensemble.courses` gives them."""
        from neural.population import Monolayer

        ensemble = Ensemble(
            self._dynamics,
            self._decoders,
            self._tensors["instrument.start"],
            float(self.card.architecture["step"]),
            Monolayer(**self.card.architecture.get("monolayer", {})),
        )
        n = len(ur)
        crowd, live = _column(message, n), None if live_area is None else _column(live_area, n)
        return ensemble.courses(ur, np.asarray(times, float), doses, crowd, live, method, breaks)

    def member_signals(
        self,
        ur: np.ndarray,
        times: np.ndarray,
        conditions: np.ndarray,
        live_area: np.ndarray,
        breaks: Sequence[float] = (),
    ) -> np.ndarray:
        """Each member's log2(channel + eps) (T, member, n, 3) of wells (n,), to calibrate intervals with.

        `conditions` (n, c), or (S, n, c) with `breaks` as in `evolve`.
        """
        doses = np.asarray(conditions, float)
        doses = doses if len(breaks) else doses[None]
        start = np.broadcast_to(np.atleast_2d(ur), (doses.shape[1], self.dimension))
        return self._signals(self._course(start, times, doses, None, live_area, breaks=breaks)[2])

    def _signals(self, people: np.ndarray) -> np.ndarray:
        from neural.population import EPSILON

        signal = people.copy()
        gain, background = self._tensors["instrument.gain"], self._tensors["instrument.background"]
        signal[..., 1:] = background + gain * people[..., 1:]
        return np.log2(np.maximum(signal, 0.0) + np.array(EPSILON))

    def _interval(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from neural.population import EPSILON

        middle, sd = logs.mean(1), logs.std(1)
        width = self._tensors["interval.quantile"] * np.sqrt(sd**2 + self._tensors["interval.floor"] ** 2)
        values = [np.maximum(2.0**x - EPSILON, 0.0) for x in (middle, middle - width, middle + width)]
        return tuple(np.swapaxes(v, 0, 1) for v in values)  # type: ignore[return-value]

    def _in_blocks(
        self, function: Callable[..., torch.Tensor], width: int, *columns: np.ndarray
    ) -> np.ndarray:
        import torch

        arrays = [np.asarray(c, np.float64) for c in columns]
        n = len(arrays[0])
        wanted = (self.dimension, len(self.condition_names), len(self.message_names))
        for name, array, k in zip(("ur", "conditions", "message"), arrays, wanted, strict=True):
            if array.shape != (n, k):
                raise ValueError(f"{name} must have shape ({n}, {k}), got {array.shape}")
        with one_thread(), torch.no_grad():
            return in_blocks(lambda *b: function(*map(torch.from_numpy, b)).numpy(), width, *arrays)


def _within(values: np.ndarray, name: str, low: float, width: int | None = None) -> np.ndarray:
    """`values`, which must be finite, not below `low`, and `width` wide."""
    if width is not None and (values.ndim != 2 or values.shape[1] != width):
        raise ValueError(f"{name} must have {width} columns (got shape {values.shape})")
    if not (np.isfinite(values).all() and (values >= low).all()):
        raise ValueError(f"{name} must be finite{' and not below 0' if low == 0 else ''}")
    return values


def _check_breaks(breaks: Sequence[float], held: int, times: np.ndarray | Sequence[float]) -> None:
    """Times and breaks must ascend and be finite, and there must be doses before and after every break."""
    at = np.asarray(times, float)
    if at.ndim != 1 or not at.size:
        raise ValueError("times must be a list of at least one time")
    if held != len(breaks) + 1:
        raise ValueError(
            f"{len(breaks)} breaks need {len(breaks) + 1} conditions, each held in turn (got {held})"
        )
    edges = np.array([at[0], *breaks], float)
    if not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
        raise ValueError(f"breaks must ascend from the first time on (got {list(breaks)})")


def _column(value: np.ndarray | float | None, n: int) -> np.ndarray:
    """One number a cell, (n,); 0 for None."""
    return np.broadcast_to(np.asarray(0.0 if value is None else value, float), (n,)).copy()


def _spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and 90 % range of an ensemble (T, member, n, k), each (n, T, k)."""
    mean, sd = np.swapaxes(values.mean(1), 0, 1), np.swapaxes(values.std(1), 0, 1)
    return mean, mean - _NORMAL_90 * sd, mean + _NORMAL_90 * sd
