"""A learned law as a person reads it: who is heard, from how far, to what effect, and in which formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from neural.tissue.fit_law import FittedLaw

_NORMAL_90 = 1.6448536269514722


@dataclass(frozen=True)
class Effect:
    """What hearing one signal does to one state.

    Attributes:
        heard: (m,) how much is heard, over the range of the data.
        rate: (m,) what it adds to the state's rate [1/min], beyond what the least that was heard adds; lower, upper:
            90 %, by the noise that the fit left and as if it were independent between frames.
        formula: the simplest of a line and a rising or falling Hill curve that says it as well (BIC); r2: how well.
    """

    heard: np.ndarray
    rate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    formula: str
    r2: float


def ranking(fitted: FittedLaw) -> list[tuple[str, float]]:
    """Signals by how strongly they are heard, the strongest first: (name, strength)."""
    order = np.argsort(-fitted.strength)
    return [(fitted.law.signals[k], float(fitted.strength[k])) for k in order]


def effect(fitted: FittedLaw, signal: str, state: str, points: int = 60) -> Effect:
    """The curve of what hearing `signal` does to `state`.

    Raises:
        KeyError: no such signal or state; the message lists them.
    """
    law = fitted.law
    k, t = (_index(law.signals, name) for name in (signal, state))
    with torch.no_grad():
        grid = torch.linspace(float(law.softest[k]), float(law.loudest[k]), points, dtype=torch.float64)
        heard = torch.zeros(points, len(law.signals), dtype=torch.float64)
        heard[:, k] = grid
        basis = law.together(heard)[:, k]
        basis = basis - basis[:1]
        rate = (basis @ law.does[k, :, t]).numpy()
        width = law.does.shape[1]
        part = fitted.covariance[k * width : (k + 1) * width, k * width : (k + 1) * width]
        sd = fitted.noise[t] * np.sqrt(np.maximum(((basis @ part) * basis).sum(1).numpy(), 0.0))
    formula, r2 = _formula(grid.numpy(), rate)
    return Effect(grid.numpy(), rate, rate - _NORMAL_90 * sd, rate + _NORMAL_90 * sd, formula, r2)


def carried(fitted: FittedLaw, signal: str, points: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Distances (m,) [um] up to the radius, and how much of a signal arrives, relative to the most (m,).

    Raises:
        ValueError: the law does not go by distance.
    """
    law = fitted.law
    if law.carries is None or law.radius is None:
        raise ValueError("this law was fitted without a radius: distance does not matter to it")
    k = _index(law.signals, signal)
    distance = torch.linspace(0, law.radius * (1 - 1e-9), points, dtype=torch.float64)
    with torch.no_grad():
        weight = (law.reach(distance) @ law.carries[k]).numpy()
    return distance.numpy(), weight / np.abs(weight).max()


def reach(fitted: FittedLaw, signal: str, nearest: float) -> float:
    """The distance [um] from `nearest` [um], where the nearest neighbours are, over which what arrives falls e-fold."""
    distance, weight = carried(fitted, signal, 400)
    start = np.interp(nearest, distance, weight)
    beyond = np.flatnonzero((distance > nearest) & (weight <= start / np.e))
    return float(distance[beyond[0]] - nearest) if beyond.size else float("inf")


def _index(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise KeyError(f"no signal '{name}'; the law knows {', '.join(names)}")
    return names.index(name)


def _formula(x: np.ndarray, y: np.ndarray) -> tuple[str, float]:
    """A line or a Hill curve, up to a constant, whichever says the curve as well with fewer numbers."""
    from scipy.optimize import least_squares

    total = float(((y - y.mean()) ** 2).sum())
    if total <= 1e-24:
        return "0", 1.0
    slope = float(np.polyfit(x, y, 1)[0])
    found = [(f"{slope:.3g} h", float(((y - y.mean() - slope * (x - x.mean())) ** 2).sum()), 2)]
    h = np.maximum(x, 0.0)
    size = float(np.abs(y).max())

    def hill(p: np.ndarray) -> np.ndarray:
        power, half = np.exp(p[1]), np.exp(p[2])
        raised = (h / half) ** power
        y = p[0] * raised / (1 + raised)
        return y - y.mean()

    tries = []
    for power in (0.0, 0.7, 1.4):
        for part in (0.1, 0.4):
            start = np.array([np.sign(y[-1] or 1.0) * size, power, np.log(part * h.max() + 1e-12)])
            tries.append(least_squares(lambda p: (hill(p) - y + y.mean()) / size, start, max_nfev=300))
    best = min(tries, key=lambda s: s.cost)
    top, power, half = best.x[0], np.exp(best.x[1]), np.exp(best.x[2])
    rest = float(((hill(best.x) - y + y.mean()) ** 2).sum())
    found.append((f"{top:.3g} h^{power:.3g} / ({half:.3g}^{power:.3g} + h^{power:.3g})", rest, 4))
    text, rest, _ = min(found, key=lambda f: len(x) * np.log(f[1] + 1e-9 * total) + f[2] * np.log(len(x)))
    return text, 1 - rest / total
