"""What a space keeps of cells that it was not fitted to, beside controls that know less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neural.encoders.modalities import Modality, measured
from neural.encoders.representation import Representation
from neural.encoders.thinning import halves, per_molecule

_LEAST_CELLS = 2
#: molecules of the mean profile that are tried as a prior
_PRIORS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def held_out_scores(
    models: Mapping[str, Representation],
    modalities: tuple[Modality, ...],
    train: Mapping[str, np.ndarray],
    test: Mapping[str, np.ndarray],
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Score -> model -> modality -> number; models are those given and the rules that they must beat.

    - molecules: half of a held-out cell's molecules, encoded, foretell the other half [nat per molecule];
    - cells: log probability of a held-out cell given its total [nat per cell], where the model has one;
    - explained: share of the variance of held-out real values that comes back from the representation;
    - from the others: the same two when the modality itself is not shown, only the others.
    """
    counts = [m for m in modalities if m.kind == "counts"]
    real = [m for m in modalities if m.kind == "real"]
    thinned = {m.name: halves(test[m.name][measured(test[m.name])], seed + 1) for m in counts}
    scores: dict[str, dict[str, dict[str, float]]] = {}

    def put(score: str, model: str, modality: str, value: float) -> None:
        scores.setdefault(score, {}).setdefault(model, {})[modality] = value

    for m in counts:
        seen, unseen = thinned[m.name]
        for name, model in models.items():
            shares = model.decode(model.encode({m.name: seen}))[m.name]
            put("molecules of held-out cells [nat per molecule]", name, m.name, per_molecule(unseen, shares))
            if model.method == "vae":
                value = per_molecule(unseen, model.denoise({m.name: seen})[m.name])
                put(
                    "molecules of held-out cells [nat per molecule]",
                    f"{name} with the cell's own",
                    m.name,
                    value,
                )
        shares = _smoothed(seen, train[m.name], _best_prior(train[m.name], seed))
        put(
            "molecules of held-out cells [nat per molecule]",
            "the half itself, smoothed",
            m.name,
            per_molecule(unseen, shares),
        )
        profile = np.broadcast_to(_profile(train[m.name]), unseen.shape)
        put(
            "molecules of held-out cells [nat per molecule]",
            "mean profile",
            m.name,
            per_molecule(unseen, profile),
        )
        _cells(put, models, modalities, m, train[m.name], test[m.name])
    for m in real:
        known = measured(test[m.name])
        truth = test[m.name][known]
        for name, model in models.items():
            back = model.decode(model.encode({m.name: truth}))[m.name]
            put("variance explained in held-out cells", name, m.name, _explained(back, truth, train[m.name]))
        put("variance explained in held-out cells", "mean", m.name, 0.0)
    if len(modalities) > 1:
        for m in modalities:
            _from_others(put, models, m, train[m.name], test)
    return scores


def _from_others(put, models, m: Modality, train: np.ndarray, test: Mapping[str, np.ndarray]) -> None:
    known = measured(test[m.name])
    shown = {n: t[known] for n, t in test.items() if n != m.name}
    truth = test[m.name][known]
    if len(truth) < _LEAST_CELLS:
        return
    unit = " [nat per molecule]" if m.kind == "counts" else " [variance explained]"
    for name, model in models.items():
        back = model.decode(model.encode(shown))[m.name]
        value = per_molecule(truth, back) if m.kind == "counts" else _explained(back, truth, train)
        put("from the other modalities" + unit, name, m.name, value)
    mean = per_molecule(truth, np.broadcast_to(_profile(train), truth.shape)) if m.kind == "counts" else 0.0
    put("from the other modalities" + unit, "mean", m.name, mean)


def _cells(put, models, modalities, m: Modality, train: np.ndarray, test: np.ndarray) -> None:
    """Log probabilities of whole cells: only of a space of this modality alone is it one number."""
    score = "held-out cells given their totals [nat per cell]"
    if len(modalities) > 1:
        return
    whole = test[measured(test)]
    for name, model in models.items():
        if model.method == "vae":
            put(score, name, m.name, float(model.model.log_evidence({m.name: whole}).mean()))  # type: ignore[union-attr]
    for name, value in one_profile(train[measured(train)], whole).items():
        put(score, name, m.name, value)


def one_profile(train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Mean log probability [nat per cell] of test cells whose counts are around total x the mean profile.

    Poisson, and negative binomial with the dispersion of each feature fitted to the training cells.
    """
    from scipy.optimize import minimize_scalar
    from scipy.stats import nbinom, poisson

    profile = _profile(train)
    poissonian, dispersed = 0.0, 0.0
    for k, share in enumerate(profile):
        mean = np.maximum(train.sum(1) * share, 1e-12)
        ahead = np.maximum(test.sum(1) * share, 1e-12)

        def cost(log_r: float, x: np.ndarray = train[:, k], mean: np.ndarray = mean) -> float:
            r = np.exp(log_r)
            return -float(nbinom.logpmf(x, r, r / (r + mean)).sum())

        r = np.exp(float(minimize_scalar(cost, bounds=(-7, 12), method="bounded").x))  # type: ignore[attr-defined]
        poissonian += float(poisson.logpmf(test[:, k], ahead).mean())
        dispersed += float(nbinom.logpmf(test[:, k], r, r / (r + ahead)).mean())
    return {"negative binomial, one profile": dispersed, "Poisson, one profile": poissonian}


def _smoothed(seen: np.ndarray, train: np.ndarray, prior: float) -> np.ndarray:
    """Shares of the molecules seen, after `prior` molecules of the mean profile: no learning of structure at all."""
    counts = seen + prior * _profile(train)
    return counts / counts.sum(1, keepdims=True)


def _best_prior(train: np.ndarray, seed: int) -> float:
    seen, unseen = halves(train[measured(train)], seed)
    return max(_PRIORS, key=lambda p: per_molecule(unseen, _smoothed(seen, train, p)))


def _profile(train: np.ndarray) -> np.ndarray:
    """Share of each feature in the training cells; half a molecule more each, so that none is 0."""
    known = train[measured(train)]
    return (known.sum(0) + 0.5) / (known.sum() + 0.5 * known.shape[1])


def _explained(back: np.ndarray, truth: np.ndarray, train: np.ndarray) -> float:
    """Share of the variance around the training mean that comes back, each feature on its own scale."""
    known = train[measured(train)]
    spread = np.where(known.std(0) > 1e-6, known.std(0), 1.0)
    return float(1 - (((back - truth) / spread) ** 2).sum() / (((truth - known.mean(0)) / spread) ** 2).sum())
