"""Steady responses to perturbations, alone and together: many read-outs, few conditions.

Every drug has a profile over the read-outs. Drugs given together add, but for a mild saturation (`joined`).
Profiles are Gaussian beforehand, with three things known of them:

- drugs have something in common, in proportion to their strength, and something of their own: of a drug never
  seen the common part is foretold;
- read-outs move together: profiles lie mostly along the directions in which responses vary (`Fit` regresses
  along each principal direction with its own penalty), which takes noise off profiles seen once;
- what is left is noise of one size.

How much of each is chosen by cross-validation inside the training rows, which leaves out whole drugs when
drugs never seen are asked for, and single conditions otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from neural.uncertainty import conformal_quantile

_ROUNDS = 4
_FOLDS = 10


@dataclass(frozen=True)
class Choice:
    """What cross-validation chooses.

    Attributes:
        penalty: variance of the noise over that of a drug's own profile.
        strength: power of a drug's strength (median size of its dose) in its common part.
        power: of `joined`; 1 adds up.
        common: variance of the common part over that of the own.
        diagonal: share of read-outs' covariance that is taken as independent.
        alike: share of a drug's own profile that drugs have in common as their descriptions are alike.
    """

    penalty: float = 0.4
    strength: float = 0.5
    power: float = 1.15
    common: float = 0.3
    diagonal: float = 0.5
    alike: float = 0.0


# tried one after the other, each with those before it as chosen
_TRIED: dict[str, tuple[float, ...]] = {
    "strength": (0.0, 0.5, 1.0),
    "penalty": (0.2, 0.4, 0.8),
    "power": (1.0, 1.15, 1.3),
    "alike": (0.0, 0.3, 0.6, 0.9),
}


def joined(on: np.ndarray, profiles: np.ndarray, power: float) -> np.ndarray:
    """Responses (n, node) to drugs given together, `on` (n, drug) of zeros and ones.

    Power means over the drugs that raise a read-out and over those that lower it, added. 1 is plain addition.
    """
    if power == 1.0:
        return on @ profiles
    raised = (on @ np.maximum(profiles, 0.0) ** power) ** (1.0 / power)
    return raised - (on @ np.maximum(-profiles, 0.0) ** power) ** (1.0 / power)


def strengths(*doses: np.ndarray) -> np.ndarray:
    """(drug,) median size of each drug's doses where it is given, over the drugs' median; 1 if never given."""
    sizes = np.abs(np.concatenate(doses))
    out = np.array([np.median(s[s > 0]) if (s > 0).any() else np.nan for s in sizes.T])
    return (
        np.where(np.isnan(out), 1.0, out / np.nanmedian(out)) if np.isfinite(out).any() else np.ones(len(out))
    )


@dataclass(frozen=True)
class Fit:
    """Profiles (drug, node) fitted to training rows, and how sure they are.

    Attributes:
        profiles: (drug, node) posterior means.
    """

    profiles: np.ndarray
    choice: Choice
    _on: np.ndarray
    _own: np.ndarray
    _inverse: np.ndarray

    @classmethod
    def to(
        cls,
        on: np.ndarray,
        response: np.ndarray,
        strength: np.ndarray,
        choice: Choice,
        likeness: np.ndarray | None = None,
    ) -> Fit:
        """Fit to `on` (n, drug) and `response` (n, node); `likeness` (drug, drug) of drugs' descriptions."""
        weight = strength**choice.strength
        own = np.eye(on.shape[1])
        if likeness is not None:
            own = (1 - choice.alike) * own + choice.alike * likeness
        own = own + choice.common * np.outer(weight, weight)
        kernel = on @ own @ on.T
        values, vectors = np.linalg.eigh(kernel)
        from_rows = own @ on.T
        given = np.maximum(on.sum(1, keepdims=True), 1.0)
        scaled = response / np.sqrt(given)
        covariance = scaled.T @ scaled / len(scaled)
        covariance = (1 - choice.diagonal) * covariance + choice.diagonal * np.diag(np.diag(covariance))
        spread, axes = np.linalg.eigh(covariance)
        spread = np.maximum(spread, 1e-4 * max(spread.max(), 1e-300))
        penalty = choice.penalty * spread.mean() / spread
        target, profiles = response, np.zeros((on.shape[1], response.shape[1]))
        for _ in range(1 if choice.power == 1.0 else _ROUNDS):
            inner = (vectors.T @ target @ axes) / (values[:, None] + penalty)
            profiles = from_rows @ vectors @ inner @ axes.T
            # what joining takes away is given back to the rows, and the sum fitted again
            target = response - (joined(on, profiles, choice.power) - on @ profiles)
        inverse = np.linalg.inv(kernel + choice.penalty * np.eye(len(on)))
        return cls(profiles, choice, on, own, inverse)

    def predict(self, on: np.ndarray) -> np.ndarray:
        """Responses (m, node)."""
        return joined(on, self.profiles, self.choice.power)

    def covariance(self, on: np.ndarray) -> np.ndarray:
        """(m, m) of what is not known of the drugs in these conditions, in units where noise is `choice.penalty`."""
        cross = on @ self._own @ self._on.T
        return on @ self._own @ on.T - cross @ self._inverse @ cross.T

    def spread(self, on: np.ndarray) -> np.ndarray:
        """(m,) how far a new measurement may be off, up to a factor: noise and what is not known of drugs."""
        return np.sqrt(self.choice.penalty + np.maximum(np.diag(self.covariance(on)), 0.0))


def _folds(on: np.ndarray, unseen: bool) -> Iterator[np.ndarray]:
    """Rows to leave out together: those of each drug, or every tenth one."""
    if unseen:
        for k in range(on.shape[1]):
            rows = on[:, k] > 0
            if rows.any() and not rows.all():
                yield rows
    else:
        count = min(_FOLDS, len(on)) if len(on) > 2 * _FOLDS + 10 else len(on)
        for k in range(count):
            yield np.arange(len(on)) % count == k


def _held_out(
    on: np.ndarray,
    response: np.ndarray,
    strength: np.ndarray,
    choice: Choice,
    unseen: bool,
    likeness: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (k, node) of rows left out, and their spreads (k,)."""
    errors, spreads = [], []
    for out in _folds(on, unseen):
        fit = Fit.to(on[~out], response[~out], strength, choice, likeness)
        errors.append(response[out] - fit.predict(on[out]))
        spreads.append(fit.spread(on[out]))
    return np.concatenate(errors), np.concatenate(spreads)


def predict_responses(
    given: np.ndarray,
    response: np.ndarray,
    asked: np.ndarray,
    level: float = 0.9,
    likeness: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Responses to `asked`, with the half-width of their intervals.

    Args:
        given: (n, drug) doses, 0 where a drug is not given; response: (n, node), 0 without drugs.
        asked: (m, drug) doses; drugs that no row of `given` has are allowed.
        level: of the intervals, conformal over the read-outs of left-out training rows.
        likeness: (drug, drug) of drugs' descriptions (`neural.descriptions`), 1 on the diagonal, where there are any.

    Returns:
        mean (m, node) and half-width (m, node).

    Raises:
        ValueError: arrays that do not fit each other, or fewer than three training rows.
    """
    u, y, new = np.asarray(given, float), np.asarray(response, float), np.asarray(asked, float)
    if len(u) != len(y) or u.shape[1] != new.shape[1] or len(u) < 3:
        raise ValueError(f"conditions {u.shape}, responses {y.shape} and asked {new.shape} do not fit")
    on, wanted, strength = (u != 0).astype(float), (new != 0).astype(float), strengths(u, new)
    unseen = bool((wanted.any(0) & ~on.any(0)).any())
    chosen = calibrate(on, y, strength, unseen, level, likeness)
    fit = Fit.to(on, y, strength, chosen.choice, likeness)
    return fit.predict(wanted), chosen.width * fit.spread(wanted)[:, None] * chosen.node


@dataclass(frozen=True)
class Calibration:
    """What left-out training rows say: the choice, and how wide intervals must be.

    Attributes:
        node: (node,) typical error of each read-out.
        width: half-width of an interval is width * Fit.spread * node.
    """

    choice: Choice
    node: np.ndarray
    width: float


def calibrate(
    on: np.ndarray,
    response: np.ndarray,
    strength: np.ndarray,
    unseen: bool,
    level: float = 0.9,
    likeness: np.ndarray | None = None,
) -> Calibration:
    """Choose by cross-validation, which leaves out whole drugs if drugs are asked for that no row has (`unseen`)."""
    choice = Choice()
    for name, values in _TRIED.items():
        if name == "power" and not (on.sum(1) > 1).any():
            continue  # drugs given alone say nothing of how drugs join
        if name == "alike" and likeness is None:
            continue
        tried = [replace(choice, **{name: v}) for v in values]
        errors = [
            float((_held_out(on, response, strength, c, unseen, likeness)[0] ** 2).mean()) for c in tried
        ]
        choice = tried[int(np.argmin(errors))]
    off, spread = _held_out(on, response, strength, choice, unseen, likeness)
    node = np.sqrt((off**2).mean(0) + (off**2).mean()) + 1e-300
    width = conformal_quantile(np.abs(off) / spread[:, None] / node, level)
    return Calibration(choice, node, width)
