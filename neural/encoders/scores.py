"""What a space keeps of cells that it was not fitted to, beside controls that know less."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from neural.encoders.linear import LinearModel
from neural.encoders.modalities import Modality, Scale, measured
from neural.encoders.representation import Representation
from neural.encoders.states import StateDecoder
from neural.encoders.thinning import halves, per_molecule

Scores = dict[str, dict[str, dict[str, float]]]
Models = Mapping[str, Representation]
Put = Callable[[str, str, str, float], None]

_LEAST_CELLS = 2
#: training cells by which a dispersion is known well enough
_ENOUGH = 4000
#: molecules of the mean profile that are tried as a prior
_PRIORS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def held_out_scores(
    models: Mapping[str, Representation],
    modalities: tuple[Modality, ...],
    train: Mapping[str, np.ndarray],
    test: Mapping[str, np.ndarray],
    seed: int,
) -> Scores:
    """Score -> model -> modality -> number; models are those given and the rules that they must beat.

    - molecules: half of a held-out cell's molecules, encoded, foretell the other half [nat per molecule];
    - cells: log probability of a held-out cell given its total [nat per cell], where the model has one;
    - explained: share of the variance of held-out values that comes back from the representation; of principal
      components as much as their plane can give back at all;
    - from the others: the same two when the modality itself is not shown, only the others.
    """
    scores: Scores = {}

    def put(score: str, model: str, modality: str, value: float) -> None:
        scores.setdefault(score, {}).setdefault(model, {})[modality] = value

    for m in modalities:
        known, truth = (table[m.name][measured(table[m.name])] for table in (train, test))
        if len(truth) >= _LEAST_CELLS:
            (_molecules if m.kind == "counts" else _values)(put, models, m, known, truth, seed)
            if m.kind == "counts" and len(modalities) == 1:
                _cells(put, models, m, known, truth)
            if len(modalities) > 1:
                _from_others(put, models, m, known, test)
    return scores


def _molecules(put: Put, models: Models, m: Modality, train: np.ndarray, test: np.ndarray, seed: int) -> None:
    score = "molecules of held-out cells [nat per molecule]"
    seen, unseen = halves(test, seed + 1)
    for name, model in models.items():
        put(
            score,
            name,
            m.name,
            per_molecule(unseen, model.decode(model.encode({m.name: seen}))[m.name]),
        )
        if model.method == "vae":
            own = per_molecule(unseen, model.denoise({m.name: seen})[m.name])
            put(score, f"{name} with the cell's own", m.name, own)
    smoothed = _smoothed(seen, train, _best_prior(train, seed))
    put(score, "the half itself, smoothed", m.name, per_molecule(unseen, smoothed))
    profile = np.broadcast_to(_profile(train), unseen.shape)
    put(score, "mean profile", m.name, per_molecule(unseen, profile))


def _values(put: Put, models: Models, m: Modality, train: np.ndarray, test: np.ndarray, _seed: int) -> None:
    score = "variance explained in held-out cells"
    for name, model in models.items():
        back = model.decode(model.encode({m.name: test}))[m.name]
        if isinstance(model.model, LinearModel):
            put(
                score,
                f"{name}, nearest point",
                m.name,
                _explained(model.model.nearest(m, test), test, train, m),
            )
        put(score, name, m.name, _explained(back, test, train, m))
    put(score, "mean", m.name, 0.0)


def _from_others(
    put: Put, models: Models, m: Modality, train: np.ndarray, test: Mapping[str, np.ndarray]
) -> None:
    known = measured(test[m.name])
    shown = {n: t[known] for n, t in test.items() if n != m.name}
    truth = test[m.name][known]
    score = "from the other modalities" + (
        " [nat per molecule]" if m.kind == "counts" else " [variance explained]"
    )
    for name, model in models.items():
        back = model.decode(model.encode(shown))[m.name]
        value = per_molecule(truth, back) if m.kind == "counts" else _explained(back, truth, train, m)
        put(score, name, m.name, value)
    mean = per_molecule(truth, np.broadcast_to(_profile(train), truth.shape)) if m.kind == "counts" else 0.0
    put(score, "mean", m.name, mean)


def _cells(put: Put, models: Models, m: Modality, train: np.ndarray, test: np.ndarray) -> None:
    """Log probabilities of whole cells: only of a space of this modality alone is it one number."""
    score = "held-out cells given their totals [nat per cell]"
    own = {name: model.model for name, model in models.items() if not isinstance(model.model, LinearModel)}
    for name, model in own.items():
        put(score, name, m.name, float(model.log_evidence({m.name: test}).mean()))
    if own:
        for name, value in one_profile(train, test).items():
            put(score, name, m.name, value)


def state_scores(
    models: Models,
    modalities: tuple[Modality, ...],
    train: Mapping[str, np.ndarray],
    test: Mapping[str, np.ndarray],
    words: tuple[np.ndarray, np.ndarray],
) -> Scores:
    """How well the states of held-out cells are told, by all modalities and by each alone, beside controls.

    Controls are the commonest state, and the same kind of decoder of all measurements, with no space between.

    Args:
        words: of the training and of the test cells; cells without one, and test cells in a state that was never
            seen, are left out.
    """
    named = words[0] != ""
    train, said = {n: t[named] for n, t in train.items()}, words[0][named]
    known = np.isin(words[1], said)
    truth = words[1][known]
    if len(truth) < _LEAST_CELLS:
        return {}
    subsets = {"all": [m.name for m in modalities]}
    if len(modalities) > 1:
        subsets |= {m.name: [m.name] for m in modalities}
    scores: Scores = {}

    def put(model: str, shown: str, names: Sequence[str], p: np.ndarray) -> None:
        right = np.array([names.index(w) for w in truth])
        for score, value in (
            ("state of held-out cells [share right]", float((p.argmax(1) == right).mean())),
            (
                "state of held-out cells [nat per cell]",
                float(np.log(np.maximum(p[np.arange(len(p)), right], 1e-12)).mean()),
            ),
        ):
            scores.setdefault(score, {}).setdefault(model, {})[shown] = value

    scales = {m.name: Scale.of(m, train[m.name]) for m in modalities}
    names, often = np.unique(said, return_counts=True)
    for shown, subset in subsets.items():
        for name, model in models.items():
            if model.states is not None:
                ur = model.encode({n: test[n][known] for n in subset})
                put(name, shown, model.states.names, model.state_probabilities(ur))
        before = np.concatenate([scales[n].to(train[n]) for n in subset], 1)
        after = np.concatenate([scales[n].to(test[n][known]) for n in subset], 1)
        plain = StateDecoder.fit(before, said)
        put("all measurements, no space", shown, plain.names, plain.probabilities(after))
        put("commonest state", shown, names.tolist(), np.tile(often / often.sum(), (len(truth), 1)))
    return scores


def flag_scores(model: Representation, test: Mapping[str, np.ndarray], seed: int) -> Scores:
    """Share of cells that are flagged: held-out ones by the limits of others, and such as cannot be.

    Of the latter each cell's values are shuffled among its features, as if columns had been mixed up. Leaves `model`
    with the limits of all test cells.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(next(iter(test.values()))))
    half = len(order) // 2
    first, second = ({n: t[rows] for n, t in test.items()} for rows in (order[:half], order[half:]))
    mixed = {n: rng.permuted(t, axis=1) for n, t in second.items()}
    model.calibrate(first)
    score: dict[str, dict[str, float]] = {}
    for name, cells in (("held-out cells", second), ("the same, features shuffled", mixed)):
        score[name] = {
            n: float(np.mean([bool(f) for f in model.flags({n: t[measured(t)]})]))
            for n, t in cells.items()
            if measured(t).any()
        }
    model.calibrate(test)
    return {"cells flagged as unusual [share]": score}


def one_profile(train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Mean log probability [nat per cell] of test cells whose counts are around total x the mean profile.

    Poisson, and negative binomial with the dispersion of each feature fitted to the training cells.
    """
    from scipy.stats import nbinom, poisson

    profile = _profile(train)
    ahead = np.maximum(test.sum(1, keepdims=True) * profile, 1e-12)
    r = _dispersions(train[:: max(1, len(train) // _ENOUGH)], profile)
    return {
        "negative binomial, one profile": float(nbinom.logpmf(test, r, r / (r + ahead)).sum(1).mean()),
        "Poisson, one profile": float(poisson.logpmf(test, ahead).sum(1).mean()),
    }


def _dispersions(train: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """r (feature,) of most likely negative binomials around total x profile, by golden section in log r."""
    from scipy.stats import nbinom

    mean = np.maximum(train.sum(1, keepdims=True) * profile, 1e-12)

    def likelihood(log_r: np.ndarray) -> np.ndarray:
        r = np.exp(log_r)
        return np.asarray(nbinom.logpmf(train, r, r / (r + mean))).sum(0)

    golden = (5**0.5 - 1) / 2
    low, high = np.full(len(profile), -7.0), np.full(len(profile), 12.0)
    inner, outer = high - golden * (high - low), low + golden * (high - low)
    at_inner, at_outer = likelihood(inner), likelihood(outer)
    while (high - low).max() > 0.01:
        left = at_inner > at_outer
        low, high = np.where(left, low, inner), np.where(left, outer, high)
        new = np.where(left, high - golden * (high - low), low + golden * (high - low))
        at_new = likelihood(new)
        inner, outer = np.where(left, new, outer), np.where(left, inner, new)
        at_inner, at_outer = np.where(left, at_new, at_outer), np.where(left, at_inner, at_new)
    return np.exp(0.5 * (low + high))


def _smoothed(seen: np.ndarray, train: np.ndarray, prior: float) -> np.ndarray:
    """Shares of the molecules seen, after `prior` molecules of the mean profile: no learning of structure at all."""
    counts = seen + prior * _profile(train)
    return counts / counts.sum(1, keepdims=True)


def _best_prior(train: np.ndarray, seed: int) -> float:
    seen, unseen = halves(train, seed)
    return max(_PRIORS, key=lambda p: per_molecule(unseen, _smoothed(seen, train, p)))


def _profile(train: np.ndarray) -> np.ndarray:
    """Share of each feature in the training cells; half a molecule more each, so that none is 0."""
    return (train.sum(0) + 0.5) / (train.sum() + 0.5 * train.shape[1])


def _explained(back: np.ndarray, truth: np.ndarray, train: np.ndarray, m: Modality) -> float:
    """Share of the variance around the training mean that comes back, on the modality's scale."""
    scale = Scale.of(m, train)
    return float(1 - (((back - truth) / scale.spread) ** 2).sum() / (scale.to(truth) ** 2).sum())
