"""Profiles of drugs over read-outs, each Gaussian beforehand with a spread that the data choose.

A condition's response is the sum of its drugs' profiles, mildly saturated (`joined`), and what all conditions share
because they were compared with the same control. Known beforehand:

- drugs have something in common, in proportion to a power of their strength, and something of their own: a strong
  drug's profile is mostly signal, a weak one's mostly noise, so each has its own spread;
- read-outs move together, and each has its own noise;
- single values go wrong: what lies many spreads of the noise off its fit counts less (Student's t).

Spreads are the most probable ones: those that make the measured responses likeliest, under a prior that draws drugs
together (empirical Bayes; the spread of a drug never seen is what its strength lets one expect).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ROUNDS = 8
# degrees of freedom of Student's t
_TAILS = 12.0
# share of read-outs' covariance that is taken as independent, and of their noise that is taken as alike
_INDEPENDENT = 0.9
_ALIKE_NOISE = 0.4
# log of a drug's own spread: beforehand, beside strength to the power 0.5, and how far drugs depart from that
_SPREAD, _SLOPE, _DEPARTS = -1.0, 0.5, 0.7


@dataclass(frozen=True)
class Choice:
    """What cross-validation chooses.

    Attributes:
        dose: power of a drug's dose, over its median, in its effect; 0 where doses do not count.
        strength: power of a drug's strength (median size of its dose) in the common part.
        power: of `joined`; 1 adds up.
        alike: share of a drug's own profile that drugs have in common as their descriptions are alike.
        middle: share of the drugs' median, beside their mean, in what a drug never given is expected to do. Drugs hit
            few read-outs hard and each its own, so that one of them can carry a mean.
    """

    dose: float = 0.5
    strength: float = 0.5
    power: float = 1.15
    alike: float = 0.0
    middle: float = 0.0


@dataclass(frozen=True)
class Drugs:
    """What is known of drugs before any response.

    Attributes:
        strength: (drug,) median size of its doses over that of the median drug.
        likeness: (drug, drug) of their descriptions, 1 on the diagonal; None without descriptions.
    """

    strength: np.ndarray
    likeness: np.ndarray | None = None

    def alike(self, share: float) -> np.ndarray:
        """(drug, drug) correlation of the drugs' own profiles, and of how far their spreads depart."""
        independent = np.eye(len(self.strength))
        return independent if self.likeness is None else (1 - share) * independent + share * self.likeness


def joined(given: np.ndarray, profiles: np.ndarray, power: float) -> np.ndarray:
    """Responses (n, node) to drugs given together in amounts (n, drug).

    Power means over the drugs that raise a read-out and over those that lower it, added. 1 is plain addition.
    """
    if power == 1.0:
        return given @ profiles
    parts = given**power
    raised = (parts @ np.maximum(profiles, 0.0) ** power) ** (1.0 / power)
    return raised - (parts @ np.maximum(-profiles, 0.0) ** power) ** (1.0 / power)


def middle(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(node,) weighted median of values (n, node), linear between the two that half of all weight lies between."""
    order = np.argsort(values, axis=0)
    sums = np.cumsum(weight[order], axis=0) - weight[order] / 2
    ranked = np.take_along_axis(values, order, axis=0)
    return np.array([np.interp(weight.sum() / 2, s, v) for s, v in zip(sums.T, ranked.T, strict=True)])


@dataclass(frozen=True)
class _Axes:
    """Directions of the read-outs in which signal and noise are both independent; noise has variance 1 in each."""

    signal: np.ndarray
    into: np.ndarray
    back: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, given: np.ndarray, response: np.ndarray) -> _Axes:
        from scipy.linalg import eigh

        left = response - given @ (np.linalg.pinv(given) @ response)
        noise = (left**2).mean(0)
        noise = (1 - _ALIKE_NOISE) * noise + _ALIKE_NOISE * noise.mean()
        # rows that fit themselves, one to a drug, say nothing of the noise
        noise = noise / noise.mean() if noise.mean() > 1e-12 * (response**2).mean() else np.ones_like(noise)
        scaled = response / np.sqrt(np.maximum((given > 0).sum(1, keepdims=True), 1))
        covariance = scaled.T @ scaled
        covariance = (1 - _INDEPENDENT) * covariance + _INDEPENDENT * np.diag(np.diag(covariance))
        covariance /= max(np.trace(covariance) / len(covariance), 1e-300)
        signal, into = eigh(covariance, np.diag(noise))
        return cls(np.maximum(signal, 1e-4 * signal.max()), into, np.linalg.inv(into), noise)


class _Evidence:
    """Minus the log probability of the responses, and of the spreads, as a function of the logs of spreads.

    These are x = [noise, own, its slope with log strength, common, control, departure of each drug].
    """

    def __init__(self, given: np.ndarray, targets: np.ndarray, axes: _Axes, drugs: Drugs, choice: Choice):
        self.given, self.targets, self.signal = given, targets, axes.signal
        self.log_strength = np.log(drugs.strength)
        weight = drugs.strength**choice.strength
        self.together, self.alike = np.outer(weight, weight), drugs.alike(choice.alike)
        free = len(weight)
        self.centre = np.r_[_SPREAD - 0.5, _SPREAD, _SLOPE, _SPREAD - 0.5, _SPREAD - 1.0, np.zeros(free)]
        self.trust = np.diag(np.r_[0.0, 1.0, 4.0, 1.0, 1.0, np.ones(free)])
        self.trust[5:, 5:] = np.linalg.inv(self.alike)

    def own(self, x: np.ndarray) -> np.ndarray:
        """(drug, drug) covariance of the drugs' own profiles."""
        spread = np.exp(x[1] + x[2] * self.log_strength + _DEPARTS * x[5:])
        return self.alike * np.outer(spread, spread)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        own, common, control = self.own(x), np.exp(2 * x[3]) * self.together, np.exp(2 * x[4])
        noise = np.exp(2 * x[0])
        values, vectors = np.linalg.eigh(self.given @ (own + common) @ self.given.T + control)
        variance = np.maximum(values, 0.0)[:, None] * self.signal + noise
        turned = vectors.T @ self.targets
        scaled = turned / variance
        by_kernel = np.diag((self.signal / variance).sum(1)) - (scaled * self.signal) @ scaled.T
        by_kernel = 0.5 * vectors @ by_kernel @ vectors.T
        by_drug = self.given.T @ by_kernel @ self.given
        by_own = (by_drug * own).sum(1)
        slope = np.r_[
            noise * ((1 / variance).sum() - (scaled**2).sum()),
            2 * by_own.sum(),
            2 * (by_own * self.log_strength).sum(),
            2 * (by_drug * common).sum(),
            2 * control * by_kernel.sum(),
            2 * _DEPARTS * by_own,
        ]
        away = x - self.centre
        cost = 0.5 * (np.log(variance) + turned * scaled).sum() + 0.5 * away @ self.trust @ away
        return float(cost), slope + self.trust @ away


def without(sizes: np.ndarray, seen: np.ndarray, drugs: Drugs, choice: Choice) -> np.ndarray:
    """Sizes of a `Fit` as if only the drugs `seen` (drug,) had been given: others depart as those like them do."""
    out, alike = sizes.copy(), drugs.alike(choice.alike)
    if seen.any() and not seen.all():
        out[5:][~seen] = alike[np.ix_(~seen, seen)] @ np.linalg.solve(
            alike[np.ix_(seen, seen)], sizes[5:][seen]
        )
    return out


@dataclass(frozen=True)
class Fit:
    """Profiles fitted to training rows, and how sure they are.

    Attributes:
        profiles: (drug, node) most probable ones; control: (node,) what all responses share.
        sizes: (5 + drug,) logs of the spreads, as `_Evidence` orders them.
    """

    profiles: np.ndarray
    control: np.ndarray
    choice: Choice
    sizes: np.ndarray
    _given: np.ndarray
    _between: np.ndarray
    _shared: float
    _noise: float
    _inverse: np.ndarray

    @classmethod
    def to(
        cls,
        given: np.ndarray,
        response: np.ndarray,
        drugs: Drugs,
        choice: Choice,
        sizes: np.ndarray | None = None,
    ) -> Fit:
        """Fit to amounts `given` (n, drug) and `response` (n, node); spreads are found unless `sizes` says them."""
        axes = _Axes.of(given, response)
        evidence = _Evidence(given, response @ axes.into, axes, drugs, choice)
        if sizes is None:
            from scipy.optimize import minimize

            options = {"maxiter": 60, "ftol": 1e-5}
            sizes = minimize(evidence, evidence.centre, jac=True, method="L-BFGS-B", options=options).x
        assert sizes is not None
        shared, noise = np.exp(2 * sizes[4]), np.exp(2 * sizes[0])
        own, common = evidence.own(sizes), np.exp(2 * sizes[3])
        between = own + common * evidence.together
        kernel = given @ between @ given.T + shared
        values, vectors = np.linalg.eigh(kernel)
        gain = axes.signal / (np.maximum(values, 0.0)[:, None] * axes.signal + noise)
        off = np.sqrt(noise * axes.noise)
        target, inner, profiles, control = response, np.zeros(0), np.zeros(0), np.zeros(0)
        for _ in range(_ROUNDS):
            inner = vectors @ (vectors.T @ (target @ axes.into) * gain) @ axes.back
            profiles, control = between @ given.T @ inner, shared * inner.sum(0)
            left = response - joined(given, profiles, choice.power) - control
            # what joining takes away is given back to the rows; what is far off is drawn in
            target = given @ profiles + control + left / (1 + (left / off) ** 2 / _TAILS)
        seen = (given > 0).any(0)
        if choice.middle and seen.any() and not seen.all():
            weight = drugs.strength**choice.strength
            towards = middle(profiles[seen] / weight[seen, None], (weight / np.sqrt(np.diag(own)))[seen])
            towards -= common * weight @ given.T @ inner
            # of the common part a drug's own, known by likeness to others, already holds some
            known = own[np.ix_(~seen, seen)] @ np.linalg.solve(own[np.ix_(seen, seen)], weight[seen])
            profiles[~seen] += choice.middle * np.outer(weight[~seen] - known, towards)
        typical = noise / axes.signal.mean()
        inverse = np.linalg.inv(kernel + typical * np.eye(len(given)))
        return cls(profiles, control, choice, sizes, given, between, float(shared), float(typical), inverse)

    @property
    def noise(self) -> float:
        """Variance of a measurement, in the units of `covariance`."""
        return self._noise

    def predict(self, given: np.ndarray) -> np.ndarray:
        """Responses (m, node) to amounts (m, drug)."""
        return joined(given, self.profiles, self.choice.power) + self.control

    def covariance(self, given: np.ndarray) -> np.ndarray:
        """(m, m) of what is not known of the drugs in these conditions."""
        cross = given @ self._between @ self._given.T + self._shared
        return given @ self._between @ given.T + self._shared - cross @ self._inverse @ cross.T

    def spread(self, given: np.ndarray) -> np.ndarray:
        """(m,) how far a new measurement may be off, up to a factor: noise and what is not known of drugs."""
        return np.sqrt(self._noise + np.maximum(np.diag(self.covariance(given)), 0.0))
