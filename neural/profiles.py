"""Profiles of drugs over read-outs, each Gaussian beforehand with a spread that the data choose.

A condition's response is the sum of its drugs' profiles, mildly saturated (`joined`), and what all conditions share
because they were compared with the same control. Known beforehand:

- drugs have something in common, in proportion to a power of their strength, and something of their own: a strong
  drug's profile is mostly signal, a weak one's mostly noise, so each has its own spread;
- read-outs move together, and each has its own noise;
- single values go wrong: what lies many spreads of the noise off its fit counts less (Student's t);
- two drugs that were given together more than once may do something that neither does alone.

Spreads are the most probable ones: those that make the measured responses likeliest, under a prior that draws drugs
together (empirical Bayes; the spread of a drug never seen is what its strength lets one expect).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_ROUNDS = 8
# share of read-outs' covariance that is taken as independent, and of their noise that is taken as alike
_INDEPENDENT = 0.9
_ALIKE_NOISE = 0.4
# read-outs, beyond which each is its own direction
_MANY = 600
# log of a drug's own spread, over the typical size of what one drug does: beforehand, beside strength to the power 0.5,
# and how far drugs depart from that; how far any log may lie from where it lay beforehand
_SPREAD, _SLOPE, _DEPARTS, _FAR = 0.0, 0.5, 0.7, 12.0
# how far the noise's log is trusted to lie where it lay: hardly, but drugs given once each cannot tell it at all
_NOISE = 0.25
# log of what a pair does beyond its drugs, over what a drug does, beforehand
_INTERPLAY = -1.0


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
        tails: one over the degrees of freedom of Student's t; 0 where nothing goes wrong by itself, and what is far
            off is what drugs do together.
        interplay: amount of what pairs do beyond their drugs; 0 where they do nothing.
    """

    dose: float = 0.5
    strength: float = 0.5
    power: float = 1.3
    alike: float = 0.0
    middle: float = 0.0
    tails: float = 1.0 / 12.0
    interplay: float = 0.0


@dataclass(frozen=True)
class Drugs:
    """What is known of drugs before any response.

    Attributes:
        strength: (drug,) median size of its doses over that of the median drug.
        likeness: (drug, drug) of their descriptions, 1 on the diagonal; None without descriptions.
        signed: (drug,) whether its doses have both signs, so that opposite ones do opposite things; None if none has.
        pairs: (p, 2) drugs that may do something together. Each counts as one more drug in amounts and profiles.
    """

    strength: np.ndarray
    likeness: np.ndarray | None = None
    signed: np.ndarray | None = None
    pairs: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), int))

    @property
    def single(self) -> np.ndarray:
        """(drug + p,) True of drugs, False of pairs."""
        return np.arange(len(self.strength) + len(self.pairs)) < len(self.strength)

    def weight(self, power: float) -> np.ndarray:
        """(drug + p,) of the common part in each; none in pairs."""
        return np.r_[self.strength**power, np.zeros(len(self.pairs))]

    def log_spread(self) -> tuple[np.ndarray, np.ndarray]:
        """(drug + p,) log strengths, and what is added to the log of the own spread."""
        none = np.zeros(len(self.pairs))
        return np.r_[np.log(self.strength), none], np.r_[0.0 * self.strength, none + _INTERPLAY]

    def alike(self, share: float) -> np.ndarray:
        """(drug + p, drug + p) correlation of the drugs' own profiles, and of how far their spreads depart."""
        out, drugs = np.eye(len(self.single)), len(self.strength)
        if self.likeness is not None:
            out[:drugs, :drugs] *= 1 - share
            out[:drugs, :drugs] += share * self.likeness
        return out


def joined(given: np.ndarray, profiles: np.ndarray, power: float) -> np.ndarray:
    """Responses (n, node) to drugs given together in amounts (n, drug).

    Power means over the drugs that raise a read-out and over those that lower it, added. 1 is plain addition. An
    amount below 0 does the opposite.
    """
    if power == 1.0:
        return given @ profiles
    up, down = np.maximum(profiles, 0.0) ** power, np.maximum(-profiles, 0.0) ** power
    parts, against = np.maximum(given, 0.0) ** power, np.maximum(-given, 0.0) ** power
    raised, lowered = parts @ up, parts @ down
    if against.any():
        raised, lowered = raised + against @ down, lowered + against @ up
    return raised ** (1.0 / power) - lowered ** (1.0 / power)


def middle(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(node,) weighted median of values (n, node), linear between the two that half of all weight lies between."""
    order = np.argsort(values, axis=0)
    sums = np.cumsum(weight[order], axis=0) - weight[order] / 2
    ranked = np.take_along_axis(values, order, axis=0)
    return np.array([np.interp(weight.sum() / 2, s, v) for s, v in zip(sums.T, ranked.T, strict=True)])


@dataclass(frozen=True)
class Axes:
    """Directions of the read-outs in which signal and noise are both independent; noise has variance 1 in each.

    Very many read-outs are each their own direction; `into` and `back` are then one factor to each.

    Attributes:
        size: typical size of what one drug does.
        signal: (node,) variance of the signal in each direction, those of the read-outs having the mean 1.
        into, back: from read-outs to directions, and back; noise: (node,) variance of each read-out's, of mean 1.
    """

    size: float
    signal: np.ndarray
    into: np.ndarray
    back: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, given: np.ndarray, response: np.ndarray) -> Axes:
        """Found in rows' amounts (n, drug) and their responses (n, node)."""
        left = response - given @ (np.linalg.pinv(given) @ response)
        noise = (left**2).mean(0)
        noise = (1 - _ALIKE_NOISE) * noise + _ALIKE_NOISE * noise.mean()
        # rows that fit themselves, one to a drug, say nothing of the noise
        noise = noise / noise.mean() if noise.mean() > 1e-12 * (response**2).mean() else np.ones_like(noise)
        scaled = response / np.sqrt(np.maximum((given != 0).sum(1, keepdims=True), 1))
        of_each = (scaled**2).mean(0)
        mean = float(of_each.mean()) or 1.0
        if response.shape[1] > _MANY:
            signal, into = of_each / mean / noise, 1 / np.sqrt(noise)
            back = 1 / into
        else:
            from scipy.linalg import eigh

            covariance = scaled.T @ scaled / (mean * len(scaled))
            covariance = (1 - _INDEPENDENT) * covariance + _INDEPENDENT * np.diag(np.diag(covariance))
            signal, into = eigh(covariance, np.diag(noise))
            back = np.linalg.inv(into)
        return cls(mean**0.5, np.maximum(signal, max(1e-4 * signal.max(), 1e-12)), into, back, noise)

    def of_nodes(self, values: np.ndarray) -> np.ndarray:
        """Values (n, node) of read-outs, in these directions."""
        return values * self.into if self.into.ndim == 1 else values @ self.into

    def to_nodes(self, values: np.ndarray) -> np.ndarray:
        """Values (n, node) in these directions, of read-outs."""
        return values * self.back if self.back.ndim == 1 else values @ self.back


class _Rows:
    """Rows turned so that only the first few, one to a drug and one to what all share, hold any signal.

    Attributes:
        amounts: (few, drug); ones: (few,) of what all rows share.
        others: how many rows hold noise alone.
    """

    def __init__(self, given: np.ndarray):
        self._basis, upper = np.linalg.qr(np.c_[given, np.ones(len(given))])
        self.amounts, self.ones = upper[:, :-1], upper[:, -1]
        self.others = len(given) - len(upper)

    def turned(self, values: np.ndarray) -> np.ndarray:
        """(few, node) of values (n, node)."""
        return self._basis.T @ values

    def kernel(self, between: np.ndarray, shared: float) -> np.ndarray:
        """(few, few) covariance of the signal, where that of drugs is (drug, drug) and of what all share one number."""
        return self.amounts @ between @ self.amounts.T + shared * np.outer(self.ones, self.ones)


class _Evidence:
    """Minus the log probability of the responses, and of the spreads, as a function of the logs of spreads.

    These are x = [noise, own, its slope with log strength, common, control, departure of each drug].
    """

    def __init__(self, rows: _Rows, targets: np.ndarray, axes: Axes, drugs: Drugs, choice: Choice):
        self.rows, self.targets, self.signal = rows, rows.turned(targets), axes.signal
        self.unit = axes.size**2
        self.left = max(float((targets**2).sum() - (self.targets**2).sum()), 0.0)
        self.log_strength, self.beyond = drugs.log_spread()
        weight = drugs.weight(choice.strength)
        self.together, self.alike = np.outer(weight, weight), drugs.alike(choice.alike)
        free = len(weight)
        own = _SPREAD + np.log(axes.size)
        self.centre = np.r_[own - 0.5, own, _SLOPE, own - 0.5, own - 1.0, np.zeros(free)]
        self.trust = np.diag(np.r_[_NOISE, 1.0, 4.0, 1.0, 1.0, np.ones(free)])
        self.trust[5:, 5:] = np.linalg.inv(self.alike)

    def own(self, x: np.ndarray) -> np.ndarray:
        """(drug, drug) covariance of the drugs' own profiles."""
        spread = np.exp(x[1] + x[2] * self.log_strength + _DEPARTS * x[5:] + self.beyond)
        return self.alike * np.outer(spread, spread)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        own, common, control = self.own(x), np.exp(2 * x[3]) * self.together, np.exp(2 * x[4])
        noise = np.exp(2 * x[0])
        values, vectors = np.linalg.eigh(self.rows.kernel(own + common, control))
        variance = np.maximum(values, 0.0)[:, None] * self.signal + noise
        turned = vectors.T @ self.targets
        scaled = turned / variance
        by_kernel = np.diag((self.signal / variance).sum(1)) - (scaled * self.signal) @ scaled.T
        by_kernel = 0.5 * vectors @ by_kernel @ vectors.T
        by_drug = self.rows.amounts.T @ by_kernel @ self.rows.amounts
        by_own = (by_drug * own).sum(1)
        alone = self.rows.others * len(self.signal)
        slope = np.r_[
            noise * ((1 / variance).sum() - (scaled**2).sum()) + alone - self.left / noise,
            2 * by_own.sum(),
            2 * (by_own * self.log_strength).sum(),
            2 * (by_drug * common).sum(),
            2 * control * self.rows.ones @ by_kernel @ self.rows.ones,
            2 * _DEPARTS * by_own,
        ]
        away = x - self.centre
        cost = 0.5 * (np.log(variance / self.unit) + turned * scaled).sum() + 0.5 * away @ self.trust @ away
        cost += 0.5 * (alone * np.log(noise / self.unit) + self.left / noise)
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
    _rows: _Rows
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
        axes: Axes | None = None,
    ) -> Fit:
        """Fit to amounts `given` (n, drug) and `response` (n, node); spreads and axes are found unless given."""
        axes = Axes.of(given, response) if axes is None else axes
        rows = _Rows(given)
        evidence = _Evidence(rows, axes.of_nodes(response), axes, drugs, choice)
        if sizes is None:
            from scipy.optimize import minimize

            options = {"maxiter": 60, "ftol": 1e-5}
            bounds = [(c - _FAR, c + _FAR) for c in evidence.centre]
            start = evidence.centre
            # a first step as long as a steep slope ends at the bounds, whence the search may fall back to its start
            steep = max(float(np.linalg.norm(evidence(start)[1])), 1.0)

            def eased(x: np.ndarray) -> tuple[float, np.ndarray]:
                cost, slope = evidence(x)
                return cost / steep, slope / steep

            sizes = minimize(eased, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        assert sizes is not None
        shared, noise = np.exp(2 * sizes[4]), np.exp(2 * sizes[0])
        own, common = evidence.own(sizes), np.exp(2 * sizes[3])
        between = own + common * evidence.together
        kernel = rows.kernel(between, shared)
        values, vectors = np.linalg.eigh(kernel)
        gain = axes.signal / (np.maximum(values, 0.0)[:, None] * axes.signal + noise)
        off = np.sqrt(noise * axes.noise)
        target, inner, profiles, control = response, np.zeros(0), np.zeros(0), np.zeros(0)
        for _ in range(_ROUNDS):
            inner = axes.to_nodes(vectors @ (vectors.T @ axes.of_nodes(rows.turned(target)) * gain))
            profiles, control = between @ rows.amounts.T @ inner, shared * rows.ones @ inner
            left = response - joined(given, profiles, choice.power) - control
            # what joining takes away is given back to the rows; what is far off is drawn in
            target = given @ profiles + control + left / (1 + choice.tails * (left / off) ** 2)
        seen, new = (given != 0).any(0) & drugs.single, (given == 0).all(0) & drugs.single
        if choice.middle and seen.any() and new.any():
            weight = drugs.weight(choice.strength)
            towards = middle(profiles[seen] / weight[seen, None], (weight / np.sqrt(np.diag(own)))[seen])
            towards -= common * weight @ rows.amounts.T @ inner
            # of the common part a drug's own, known by likeness to others, already holds some
            known = own[np.ix_(new, seen)] @ np.linalg.solve(own[np.ix_(seen, seen)], weight[seen])
            profiles[new] += choice.middle * np.outer(weight[new] - known, towards)
        typical = max(noise / axes.signal.mean(), 1e-10 * np.trace(kernel))
        inverse = np.linalg.inv(kernel + typical * np.eye(len(kernel)))
        return cls(profiles, control, choice, sizes, rows, between, float(shared), float(typical), inverse)

    @property
    def noise(self) -> float:
        """Variance of a measurement, in the units of `covariance`."""
        return self._noise

    def predict(self, given: np.ndarray) -> np.ndarray:
        """Responses (m, node) to amounts (m, drug)."""
        return joined(given, self.profiles, self.choice.power) + self.control

    def covariance(self, given: np.ndarray) -> np.ndarray:
        """(m, m) of what is not known of the drugs in these conditions."""
        cross = given @ self._between @ self._rows.amounts.T + self._shared * self._rows.ones
        return given @ self._between @ given.T + self._shared - cross @ self._inverse @ cross.T

    def spread(self, given: np.ndarray) -> np.ndarray:
        """(m,) how far a new measurement may be off, up to a factor: noise and what is not known of drugs."""
        return np.sqrt(self._noise + np.maximum(np.diag(self.covariance(given)), 0.0))
