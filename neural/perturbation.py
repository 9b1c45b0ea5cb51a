"""Steady responses to perturbations, alone and together: many read-outs, few conditions.

`neural.profiles` says what a drug's profile is and how its spread is found. How doses count, how common parts grow with
strength, how drugs join and how far descriptions are to be believed is chosen here by cross-validation inside the
training rows, which leaves out whole drugs when drugs never seen are asked for, and single conditions otherwise.

Two things are read from the conditions themselves. Drugs that are given with the same others (inhibitors, each with
the same ligands) are taken for alike as far as leaving out drugs bears that out. Pairs that were given together in
several conditions may do something beyond their drugs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from neural.profiles import Axes, Choice, Drugs, Fit, without

_FOLDS = 10
# drugs that are left out at most and at least, values that are foretold by then, and rounds in which values that were
# not measured are filled in
_LEFT_OUT, _FEWEST, _DEAR = 24, 8, 1_000_000
_FILLS = 3
# rows that must be left to tell errors by; with fewer, and where each drug was given once, errors are this share of
# responses (pairs of three cell lines, each drug measured once: 0.35 to 0.6)
_ENOUGH = 5
_BLIND = 0.4
# pairs at most that may do something together, and the largest standard deviation of log strengths
_PAIRS = 200
_STRENGTHS = 1.0

# tried one after the other, each with those before it as chosen
_TRIED: dict[str, tuple[float, ...]] = {
    "dose": (0.0, 0.5, 1.0),
    "strength": (0.0, 0.5, 1.0),
    "middle": (0.0, 0.5, 1.0),
    "power": (1.0, 1.15, 1.3),
    "tails": (1.0 / 12.0, 0.0),
    "interplay": (0.0, 1.0),
    "alike": (0.0, 0.3, 0.6, 0.9),
}
# with these the spreads change, and are found anew
_OF_SPREADS = ("dose", "strength", "interplay", "alike")


def strengths(*doses: np.ndarray) -> np.ndarray:
    """(drug,) median size of each drug's doses where it is given, over the drugs' median; 1 if never given.

    Doses that lie decades apart tell units rather than strengths, and are drawn together.
    """
    typical = _typical(np.concatenate(doses))
    if not np.isfinite(typical).any():
        return np.ones(len(typical))
    strength = np.where(np.isnan(typical), 1.0, typical / np.nanmedian(typical))
    apart = float(np.std(np.log(strength)))
    return strength if apart <= _STRENGTHS else strength ** (_STRENGTHS / apart)


def drugs_of(given: np.ndarray, asked: np.ndarray, likeness: np.ndarray | None = None) -> Drugs:
    """What conditions `given` (n, drug) and `asked` (m, drug) say of drugs; `likeness` (drug, drug) of descriptions."""
    both = np.concatenate([given, asked])
    if likeness is None and ((asked != 0).any(0) & (given == 0).all(0)).any():
        likeness = company(both)
    return Drugs(strengths(both), likeness, of_both_signs(both), _pairs(given, asked))


def of_both_signs(doses: np.ndarray) -> np.ndarray | None:
    """(drug,) whether doses (n, drug) have both signs; None if those of no drug have."""
    signed = np.logical_and((doses > 0).any(0), (doses < 0).any(0))
    return signed if signed.any() else None


def company(doses: np.ndarray) -> np.ndarray | None:
    """(drug, drug) likeness of drugs by those that they are given with, cosines; None where all are alike."""
    on = (doses != 0).astype(float)
    beside = ((on.T @ on) > 0).astype(float)
    np.fill_diagonal(beside, 0.0)
    length = np.linalg.norm(beside, axis=1)
    cosine = beside @ beside.T / np.maximum(np.outer(length, length), 1.0)
    others = cosine[np.ix_(length > 0, length > 0)][~np.eye(int((length > 0).sum()), dtype=bool)]
    np.fill_diagonal(cosine, 1.0)
    return cosine if len(others) and others.std() > 0.1 else None


def _pairs(given: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(p, 2) pairs in several rows of `given`, or in one and in `asked`: the most frequent ones."""
    on, new = (given != 0).astype(float), (asked != 0).astype(float)
    often, wanted = np.triu(on.T @ on, 1), np.triu(new.T @ new, 1)
    worth = np.where((often > 1) | ((often > 0) & (wanted > 0)), often + wanted, 0.0)
    first, second = np.nonzero(worth)
    most = np.sort(np.argsort(-worth[first, second], kind="stable")[:_PAIRS])
    return np.stack([first[most], second[most]], 1)


def _typical(doses: np.ndarray) -> np.ndarray:
    """(drug,) median size of doses (n, drug) where a drug is given; NaN if never."""
    sizes = np.abs(doses)
    return np.array([np.median(s[s > 0]) if (s > 0).any() else np.nan for s in sizes.T])


def amounts(doses: np.ndarray, known: np.ndarray, drugs: Drugs, choice: Choice) -> np.ndarray:
    """(n, drug + p) sizes of doses over the drug's median in `known` (or, if never given there, here), to a power.

    Those of pairs are the product of their drugs'.
    """
    typical = _typical(known)
    typical = np.where(np.isnan(typical), _typical(doses), typical)
    size = np.abs(doses)
    out = np.where(size > 0, np.where(size > 0, size / typical, 1.0) ** choice.dose, 0.0)
    if drugs.signed is not None:
        out = np.where(drugs.signed, np.sign(doses) * out, out)
    return np.c_[out, choice.interplay * out[:, drugs.pairs[:, 0]] * out[:, drugs.pairs[:, 1]]]


def _folds(doses: np.ndarray, nodes: int, unseen: bool) -> list[np.ndarray]:
    """Rows to leave out together: those of each drug (evenly chosen where these are many), or every tenth one."""
    if unseen:
        rows = [r for r in (doses != 0).T if r.any() and not r.all()]
        if rows:
            most = min(max(_DEAR // max(len(doses) * nodes, 1), _FEWEST), _LEFT_OUT)
            return [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]
    count = min(_FOLDS, len(doses)) if len(doses) > 2 * _FOLDS + 10 else len(doses)
    return [np.arange(len(doses)) % count == k for k in range(count)]


class _HeldOut:
    """Errors of rows left out."""

    def __init__(self, doses: np.ndarray, response: np.ndarray, drugs: Drugs, unseen: bool):
        self.doses, self.response, self.drugs = doses, _filled(doses, response), drugs
        self.folds = _folds(doses, response.shape[1], unseen)
        self.missing = np.isnan(response)
        alone = np.zeros(len(doses), bool)
        for out in self.folds:
            alone[out] = ((doses[out] != 0) & ~(doses[~out] != 0).any(0)).any(1)
        told = ~alone & (doses != 0).any(1) & ~self.missing.all(1)
        self.blind = (len(doses) if unseen else told.sum()) < _ENOUGH
        if not unseen and not self.blind:
            self.missing[alone] = True  # without them a drug is unseen, which none that is asked for is
        self._axes: dict[tuple[float, float], list[Axes]] = {}

    def __call__(self, choice: Choice, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors (k, node) of rows left out, and their spreads (k,); spreads of profiles are those of all rows.

        Errors of what does not count are NaN: what was not measured, or is unlike all that is asked for. Of a drug
        that is left out nothing but its strength and description is used.
        """
        errors, spreads = [], []
        given = amounts(self.doses, self.doses, self.drugs, choice)
        key = choice.dose, choice.interplay
        if key not in self._axes:
            self._axes[key] = [Axes.of(given[~out], self.response[~out]) for out in self.folds]
        for out, axes in zip(self.folds, self._axes[key], strict=True):
            rest = without(sizes, np.any(given[~out] != 0, axis=0), self.drugs, choice)
            fit = Fit.to(given[~out], self.response[~out], self.drugs, choice, rest, axes)
            off = self.response[out] - fit.predict(given[out])
            errors.append(np.where(self.missing[out], np.nan, off))
            spreads.append(fit.spread(given[out]))
        return np.concatenate(errors), np.concatenate(spreads)


def _filled(doses: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Responses (n, node) in which what was not measured is as the rest foretells."""
    missing = np.isnan(response)
    out = np.where(missing, 0.0, response)
    if missing.any():
        drugs, choice = Drugs(strengths(doses)), Choice()
        given, sizes = amounts(doses, doses, drugs, choice), None
        for _ in range(_FILLS):
            fit = Fit.to(given, out, drugs, choice, sizes)
            sizes, out = fit.sizes, np.where(missing, fit.predict(given), response)
    return out


def predict_responses(
    given: np.ndarray,
    response: np.ndarray,
    asked: np.ndarray,
    level: float = 0.9,
    likeness: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Responses to `asked`, with the half-width of their intervals.

    Args:
        given: (n, drug) doses, 0 where a drug is not given; response: (n, node), 0 without drugs, NaN where it was
            not measured.
        asked: (m, drug) doses; drugs that no row of `given` has are allowed.
        level: of the intervals, conformal over the read-outs of left-out training rows.
        likeness: (drug, drug) of drugs' descriptions (`neural.descriptions`), 1 on the diagonal, where there are any.

    Returns:
        mean (m, node) and half-width (m, node); NaN of read-outs that were never measured.

    Raises:
        ValueError: arrays that do not fit each other, doses that are not numbers, or no training rows.
    """
    u, y, new = np.asarray(given, float), np.asarray(response, float), np.asarray(asked, float)
    if len(u) != len(y) or u.shape[1] != new.shape[1] or not len(u):
        raise ValueError(f"conditions {u.shape}, responses {y.shape} and asked {new.shape} do not fit")
    if not (np.isfinite(u).all() and np.isfinite(new).all()):
        raise ValueError("doses must be finite numbers; where a drug was not given its dose is 0")
    y = np.where(np.isfinite(y), y, np.nan)
    measured = np.isfinite(y).any(0)
    if not measured.all():
        mean, half = np.full((2, len(new), y.shape[1]), np.nan)
        if measured.any():
            mean[:, measured], half[:, measured] = predict_responses(u, y[:, measured], new, level, likeness)
        return mean, half
    drugs = drugs_of(u, new, likeness)
    unseen = bool(((new != 0).any(0) & ~(u != 0).any(0)).any())
    found = calibrate(u, y, drugs, unseen, level)
    return found.predict(u, y, drugs, new)


@dataclass(frozen=True)
class Calibration:
    """What left-out training rows say: the choice, and how wide intervals must be.

    Attributes:
        sizes: logs of the spreads of all training rows (`neural.profiles.Fit`).
        node: (node,) typical error of each read-out.
        width: half-width of an interval is width * Fit.spread * node.
    """

    choice: Choice
    sizes: np.ndarray
    node: np.ndarray
    width: float

    def fit(self, doses: np.ndarray, response: np.ndarray, drugs: Drugs) -> Fit:
        """To all training rows."""
        given = amounts(doses, doses, drugs, self.choice)
        return Fit.to(given, _filled(doses, response), drugs, self.choice, self.sizes)

    def predict(
        self, doses: np.ndarray, response: np.ndarray, drugs: Drugs, asked: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean (m, node) and half-width (m, node) of the responses to `asked` (m, drug)."""
        fit, wanted = self.fit(doses, response, drugs), amounts(asked, doses, drugs, self.choice)
        return fit.predict(wanted), self.width * fit.spread(wanted)[:, None] * self.node


def calibrate(
    doses: np.ndarray, response: np.ndarray, drugs: Drugs, unseen: bool, level: float = 0.9
) -> Calibration:
    """Choose by cross-validation, which leaves out whole drugs if drugs are asked for that no row has (`unseen`)."""
    choice, held_out = Choice(), _HeldOut(doses, response, drugs, unseen)
    response = held_out.response
    given = amounts(doses, doses, drugs, choice)
    fit = Fit.to(given, response, drugs, choice)
    if held_out.blind:
        off = np.where(held_out.missing, np.nan, (1.0 if unseen else _BLIND) * response)
        return Calibration(
            choice, fit.sizes, *_width(off, np.full(len(off), np.median(fit.spread(given))), level)
        )
    sizes, off, spread = fit.sizes, np.empty((0, 0)), np.empty(0)
    for name, values in _TRIED.items():
        if name == "power" and not ((doses != 0).sum(1) > 1).any():
            continue  # drugs given alone say nothing of how drugs join
        if name in ("strength", "middle") and not unseen:
            continue  # drugs that were measured hardly need what they have in common
        if (name == "alike" and drugs.likeness is None) or (name == "interplay" and not len(drugs.pairs)):
            continue
        tried = []
        for value in values:
            one = replace(choice, **{name: value})
            found = sizes
            if name in _OF_SPREADS and one != choice:
                found = Fit.to(amounts(doses, doses, drugs, one), response, drugs, one).sizes
            errors, sure = held_out(one, found)
            tried.append((float(np.nanmean(errors**2)), one, found, errors, sure))
        _, choice, sizes, off, spread = min(tried, key=lambda t: t[0])
    return Calibration(choice, sizes, *_width(off, spread, level))


def _width(off: np.ndarray, spread: np.ndarray, level: float) -> tuple[np.ndarray, float]:
    """`node` and `width` of a `Calibration`, of errors (n, node), NaN where none, and their spreads (n,)."""
    typical = float(np.nanmean(off**2))
    node = np.sqrt(np.nanmean(np.r_[off**2, np.full((1, off.shape[1]), typical)], axis=0) + typical) + 1e-300
    # as split conformal prediction, but each row has many values, so that ranks between rows' are told too
    rank = min(1.0, level * (1 + 1 / max(np.isfinite(off).any(1).sum(), 1)))
    return node, float(np.nanquantile(np.abs(off) / spread[:, None] / node, rank))
