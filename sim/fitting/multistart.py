"""Fits from many starts, kept as they end, so that what was stopped can go on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.errors import ScenarioError, StoreError
from sim.fitting.explore import fit_widely
from sim.fitting.optimize import Fit, FitFunction, Stop
from sim.fitting.priors import sample

_WIDE = 3.0  # on a parameter's scale, around its nominal value, where it has no bounds
_MOST_DRAWN = 50  # starting points for one that can be simulated
_SAME = 0.1  # log-posterior within which two starts came to the same optimum


@dataclass(frozen=True)
class Fits:
    """All starts, in their order.

    Attributes:
        fits: where each came to.
    """

    names: tuple[str, ...]
    fits: tuple[Fit, ...]

    @property
    def best(self) -> Fit:
        return max(self.fits, key=lambda f: f.log_posterior)

    @property
    def at_best(self) -> int:
        """How many starts came to the best optimum, within 0.1 of its log-posterior."""
        return sum(f.log_posterior >= self.best.log_posterior - _SAME for f in self.fits)


def starting_points(function: FitFunction, count: int, seed: int) -> np.ndarray:
    """(count, parameter): Sobol's sequence within bounds, scrambled by `seed`; on the parameters' scales.

    A parameter without bounds is drawn from its prior, or around its nominal value.
    """
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(function.nominal), seed=seed)  # pyright: ignore[reportCallIssue]
    shares = sequence.random(1 << max(0, (count - 1).bit_length()))[:count]
    low = np.where(np.isfinite(function.lower), function.lower, function.nominal - _WIDE)
    high = np.where(np.isfinite(function.upper), function.upper, function.nominal + _WIDE)
    points = low + shares * (high - low)
    priors = getattr(function, "scaled_priors", dict)()
    for k in np.flatnonzero(~(np.isfinite(function.lower) & np.isfinite(function.upper))):
        if int(k) in priors:
            drawn = sample(priors[int(k)], list(np.clip(shares[:, k], 1e-3, 1 - 1e-3)))
            points[:, k] = np.clip(drawn, function.lower[k], function.upper[k])
    return points


def fit_many(
    function: FitFunction,
    starts: int,
    seed: int = 0,
    stop: Stop | None = None,
    *,
    steps: int = 5000,
    file: Path | None = None,
    resume: bool = False,
    go_on: Callable[[], bool] = lambda: True,
    report: Callable[[int, Fit], None] = lambda _start, _fit: None,
) -> Fits:
    """`explore.fit_widely` from `starts` points.

    Args:
        seed: of the starting points; start i begins at the i-th, whatever the number of starts. Where that cannot be
            simulated, at later ones.
        steps: of moves from local optima, for each start.
        file: each start is kept there, as a line of JSON, when it has ended.
        resume: take over what is there.
        report: told of every start that has ended.

    Returns:
        The starts that ended; fewer, or none, where `go_on` said no.

    Raises:
        ScenarioError: the file is of another fit; it is there and `resume` is not asked for.
        StoreError: it cannot be written.
    """
    key = _fingerprint(function, seed, stop or Stop(), steps)
    done = {} if file is None else _kept(file, key, function, resume)
    points = starting_points(function, starts * _MOST_DRAWN, seed).reshape(_MOST_DRAWN, starts, -1)
    for start in range(starts):
        if start in done:
            continue
        found = None
        for point in points[:, start]:
            if not go_on():
                break
            found = fit_widely(function, point, stop, steps=steps, go_on=go_on)
            if found.reason != "failed":
                break
        if found is None or found.reason == "stopped":
            break
        done[start] = found
        if file is not None:
            _keep(file, {"start": start, **_told(found)})
        report(start, found)
    return Fits(function.names, tuple(done[start] for start in sorted(done) if start < starts))


def _fingerprint(function: FitFunction, seed: int, stop: Stop, steps: int) -> str:
    numbers = (function.lower, function.upper, function.nominal)
    nominal = function(function.nominal).log_posterior
    text = repr(
        (function.names, function.scales, [list(map(float, n)) for n in numbers], seed, stop, steps, nominal)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(found: Fit) -> dict:
    return {
        "log_posterior": found.log_posterior,
        "llh": found.llh,
        "chi2": found.chi2,
        "reason": found.reason,
        "steps": found.steps,
        "x": [float(v) for v in found.x],
    }


def _kept(file: Path, key: str, function: FitFunction, resume: bool) -> dict[int, Fit]:
    """What is in the file, which is begun where it is not there."""
    if not file.exists():
        _keep(file, {"fit": key, "names": list(function.names)})
        return {}
    if not resume:
        raise ScenarioError(f"{file} is there already; pass --resume to go on with it, or remove it")
    done = {}
    text = file.read_text()
    if not text.endswith("\n"):
        with open(file, "a") as out:
            out.write("\n")
    for k, line in enumerate(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue  # a line that was being written when the process ended
        if k == 0:
            if found.get("fit") != key:
                raise ScenarioError(f"{file} is of another fit: the problem, the seed or the settings differ")
            continue
        x = np.array(found.pop("x"))
        start = found.pop("start")
        done[start] = Fit(x, **found)
    return done


def _keep(file: Path, found: dict) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a") as out:
            out.write(json.dumps(found) + "\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror or error}") from None
