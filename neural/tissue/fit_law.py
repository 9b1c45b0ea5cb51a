"""From tracked cells to a factored law: least squares on integrals, gone over with the law's own solution.

Between two frames a state changes by the integral of its rate. With the states interpolated in time this is linear in
the law's coefficients, so they are solved for; then each interval is integrated with the law itself and the rates
along that solution take the place of those along the interpolation, until nothing changes (a Gauss-Newton iteration
through the solver). Channels share what they explain by automatic relevance determination (MacKay 1992): a signal
that nobody hears ends with coefficients near 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from neural.tissue.factored import FactoredLaw, Hearing, rk4
from neural.tissue.splines import bends
from neural.tissue.sums import weighted_sum

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(3)


@dataclass(frozen=True)
class Tracks:
    """Cells of one tissue that were followed: times (T,) [min], evenly spaced, states (T, n, s), and who hears whom."""

    times: np.ndarray
    states: np.ndarray
    hearing: Hearing


@dataclass(frozen=True)
class FittedLaw:
    """A law with what is known of its coefficients.

    Attributes:
        law: the fit.
        strength: of each channel (s,): root mean square, over the data, of what hearing it adds to the rates, each
            state's in units of its own mean rate of change.
        covariance: (c, c) of the coefficients of `does`, flattened (channel, spline), for noise of variance 1;
        noise: standard deviation of the noise by state (s,).
        unexplained: share of the change between frames that the law leaves (s,).
    """

    law: FactoredLaw
    strength: np.ndarray
    covariance: torch.Tensor
    noise: np.ndarray
    unexplained: np.ndarray


def fit_law(
    tracks: Sequence[Tracks],
    signals: Sequence[str],
    *,
    radius: float | None = None,
    pieces: int = 10,
    features: int = 60,
    rounds: int = 3,
    seed: int = 0,
) -> FittedLaw:
    """The factored law behind `tracks` (same signals in the same order in all).

    Args:
        radius, pieces, features, seed: as of `FactoredLaw`.
        rounds: how often the fit goes over the law's own solution.
    """
    low = torch.as_tensor(np.min([t.states.min((0, 1)) for t in tracks], axis=0))
    high = torch.as_tensor(np.max([t.states.max((0, 1)) for t in tracks], axis=0))
    pull = 1.0 / float(tracks[0].times[1] - tracks[0].times[0])
    law = FactoredLaw(signals, low, high, radius, pieces, features, seed, pull)
    change = torch.cat([torch.as_tensor(np.diff(t.states, axis=0)).flatten(0, 1) for t in tracks])
    unit = change.std(0).clamp_min(1e-12)
    with torch.no_grad():
        if law.carries is not None:
            _first_reach(law, tracks)
        for turn in range(rounds + 1):
            courses = [_interpolated(t) if turn == 0 else _solved(law, t) for t in tracks]
            solved = _solve(law, tracks, courses, change, unit)
            if law.carries is not None:
                solved = _improve_reach(law, tracks, courses, change, unit, solved)
    return solved.fitted


def _interpolated(t: Tracks) -> torch.Tensor:
    """States at the nodes within each interval (node, T - 1, n, s), by cubic splines in time."""
    from scipy.interpolate import CubicSpline

    curve, dt = CubicSpline(t.times, t.states, axis=0), np.diff(t.times)
    return torch.as_tensor(np.stack([curve(t.times[:-1] + dt * (1 + x) / 2) for x in _NODES]))


def _solved(law: FactoredLaw, t: Tracks) -> torch.Tensor:
    """As `_interpolated`, along the law's solution from each frame to the next."""
    dt = float(t.times[1] - t.times[0])
    s, before, found = torch.as_tensor(t.states[:-1]), -1.0, []
    for x in _NODES:
        s = rk4(lambda q: law(q, t.hearing), s, dt * (float(x) - before) / 2, 1)
        before = float(x)
        found.append(s)
    return torch.stack(found)


def _integrals(values: torch.Tensor, t: Tracks) -> torch.Tensor:
    """Integrals over each interval of (node, T - 1, n, ...) -> ((T - 1) · n, ...)."""
    dt = float(t.times[1] - t.times[0])
    weights = torch.as_tensor(0.5 * dt * _WEIGHTS)
    return torch.tensordot(weights, values, dims=1).flatten(0, 1)


def _heard(law: FactoredLaw, course: torch.Tensor, t: Tracks) -> torch.Tensor:
    flat = law.heard(course.flatten(0, 1), t.hearing)
    return flat.reshape(course.shape)


class _Solved(NamedTuple):
    """A fit for given courses and `carries`: features (row, feature) by their size, the inverse of their Gram matrix
    with penalties, and what is left (row, s) of the changes by their unit."""

    fitted: FittedLaw
    a: torch.Tensor
    inverse: torch.Tensor
    rest: torch.Tensor


def _solve(
    law: FactoredLaw,
    tracks: Sequence[Tracks],
    courses: Sequence[torch.Tensor],
    change: torch.Tensor,
    unit: torch.Tensor,
) -> _Solved:
    """Coefficients of `own` and `does` for given courses and `carries`, into the law."""
    heard = [_heard(law, c, t) for c, t in zip(courses, tracks)]
    law.loudest.copy_(
        torch.stack([h.flatten(0, -2).amax(0) for h in heard]).amax(0).clamp_min(1e-9) * (1 + 1e-9)
    )
    law.softest.copy_(torch.stack([h.flatten(0, -2).amin(0) for h in heard]).amin(0))
    law.quietest.copy_(law.softest.clamp_max(0.0))
    a = torch.cat(
        [
            torch.cat([_integrals(law.alone(c), t), _integrals(law.together(h).flatten(-2), t)], 1)
            for c, h, t in zip(courses, heard, tracks)
        ]
    )
    y = change / unit
    size = a.square().mean(0).sqrt()
    size = size.clamp_min(
        1e-2 * float(size.max())
    )  # where a spline saw next to nothing, it is its neighbours' kin
    gram, right = (a / size).t() @ (a / size), (a / size).t() @ y
    s, width = len(law.signals), law.pieces + 3
    alone = law.own.shape[0]
    smooth = bends(width).t() @ bends(width)
    relevance = torch.ones(s, dtype=torch.float64)
    tiny = 1e-9 * len(y)
    for _ in range(8):
        penalty = torch.full((len(size),), tiny, dtype=torch.float64).diag()
        for k in range(s):
            at = slice(alone + k * width, alone + (k + 1) * width)
            scale = size[at]
            block = (
                torch.eye(width, dtype=torch.float64)
                + smooth / scale[:, None] / scale[None] * scale.max() ** 2
            )
            penalty[at, at] = 1e-7 * len(y) * relevance[k] * block
        inverse = torch.linalg.inv(gram + penalty)
        c = inverse @ right
        mean_square = torch.stack(
            [c[alone + k * width : alone + (k + 1) * width].square().mean() for k in range(s)]
        )
        most = float(mean_square.max()) or 1.0
        relevance = (most / mean_square.clamp_min(1e-12 * most)).clamp_max(1e8)
    rest = y - (a / size) @ c
    c = c / size[:, None] * unit
    law.own.copy_(c[:alone])
    law.does.copy_(c[alone:].reshape(s, width, s))
    told = torch.stack([a[:, alone + k * width : alone + (k + 1) * width] @ law.does[k] for k in range(s)])
    told = told - told.mean(1, keepdim=True)
    part = inverse[alone:, alone:] / size[alone:, None] / size[None, alone:]
    fitted = FittedLaw(
        law,
        (told / unit).square().sum(-1).mean(1).sqrt().numpy(),
        part,
        (rest.std(0) * unit).numpy(),
        rest.square().mean(0).numpy() / y.square().mean(0).numpy(),
    )
    return _Solved(fitted, a / size, inverse, rest)


def _first_reach(law: FactoredLaw, tracks: Sequence[Tracks]) -> None:
    """Signals that fall off over a third of the radius, heard at most as loud as 1 on average."""
    assert law.carries is not None and law.radius is not None
    places = torch.linspace(-1, law.pieces + 1, law.pieces + 3, dtype=torch.float64) / law.pieces
    law.carries.copy_(torch.exp(-3 * places.clamp_min(0)).expand_as(law.carries))
    loud = torch.stack(
        [_heard(law, torch.as_tensor(t.states)[None], t).flatten(0, -2).amax(0) for t in tracks]
    )
    law.carries.div_(loud.amax(0).clamp_min(1e-9)[:, None])


def _improve_reach(
    law: FactoredLaw,
    tracks: Sequence[Tracks],
    courses: Sequence[torch.Tensor],
    change: torch.Tensor,
    unit: torch.Tensor,
    solved: _Solved,
    most: int = 20,
) -> _Solved:
    """Gauss-Newton steps of `carries` with everything linear projected out (Kaufman 1975), while they help."""
    assert law.carries is not None
    s, width = law.carries.shape
    smooth = torch.block_diag(*[bends(width).t() @ bends(width) + torch.eye(width, dtype=torch.float64)] * s)
    for _ in range(most):
        slopes = torch.cat([_slopes(law, c, t, unit) for c, t in zip(courses, tracks)])
        flat = slopes.flatten(1)
        clear = flat - solved.a @ (solved.inverse @ (solved.a.t() @ flat))
        j = clear.reshape(slopes.shape).permute(0, 2, 1).flatten(0, 1)
        gram, right = j.t() @ j, j.t() @ solved.rest.flatten()
        step = torch.linalg.solve(gram + 1e-8 * gram.diagonal().mean() * smooth, right).reshape(s, width)
        held, loss = law.carries.clone(), float(solved.rest.square().mean())
        for share in (1.0, 0.3, 0.1, 0.03):
            law.carries.copy_(held + share * step)
            tried = _solve(law, tracks, courses, change, unit)
            if float(tried.rest.square().mean()) < loss:
                break
        else:
            law.carries.copy_(held)
            return _solve(law, tracks, courses, change, unit)
        solved = tried
        if float(solved.rest.square().mean()) > 0.99 * loss:
            break
    return solved


def _slopes(law: FactoredLaw, course: torch.Tensor, t: Tracks, unit: torch.Tensor) -> torch.Tensor:
    """What `carries` changes in the changes between frames, by their unit: (row, channel · spline, s)."""
    heard = _heard(law, course, t)
    h = 1e-4 * (law.loudest - law.quietest)
    steep = (law.effects(heard + h) - law.effects(heard - h)) / (2 * h)[:, None]
    reach = law.reach(t.hearing.distance) * t.hearing.share[:, None]
    width, found = reach.shape[1], []
    for k in range(len(law.signals)):
        said = course[..., k].flatten(0, 1).t()[:, None, :].expand(-1, width, -1).contiguous()
        parts = weighted_sum(reach, said, t.hearing.rows).permute(2, 0, 1)
        parts = parts.reshape(*course.shape[:-1], width)
        found.append(_integrals(parts[..., None] * steep[..., k, None, :], t) / unit)
    return torch.cat(found, 1)
