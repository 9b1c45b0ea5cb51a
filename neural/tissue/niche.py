"""What a cell expresses, from its type, its region and its niche: a static picture of a tissue, honestly judged.

    expression_i = type + region + W · messages_i + rest

Messages are means, over neighbours within a radius, of what these express beyond their own type and region: over all of
them, over those of the cell's own type, and over the nearest by exp(-distance / near). Types alone as messages are
the linear model of Fischer et al. 2023 (doi:10.1038/s41587-022-01467-z), printed beside it. Everything is judged on
blocks of the tissue that were left out, with no edge between blocks; the control gives each cell the niche of another
of its type and region. Nearest neighbours may share transcripts that were assigned to the wrong cell, so
plain means, which do not favour them, are scored too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from neural import weights
from neural.progress import Progress

Array = np.ndarray
#: messages that a model may use
MESSAGES = ("all", "same", "near", "types")
_RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0)
_FEW = {
    "all": 3.0,
    "same": 2.0,
    "near": 1.0,
    "types": 1.0,
}  # a mean over few counts less, as if so many more said 0


@dataclass(frozen=True)
class Sample:
    """Cells of one section: expression (n, g), on a scale that squares suit; types and regions (n,), text; places
    (n, 2 or 3) [um]."""

    expression: Array
    types: Array
    regions: Array
    positions: Array


@dataclass(frozen=True)
class NicheModel:
    """A fitted model; `messages` say what of the niche it uses, none for the type and region alone.

    Attributes:
        types, regions: known words.
        base, constant: (word, g), (g,), what type and region alone say; messages are of what they leave.
        weights, middle: (message, g), (message,), what messages add beyond their own middle.
        more, level: (word, g), (g,), what type and region say otherwise once the niche is known.
    """

    messages: tuple[str, ...]
    radius: float
    near: float
    types: tuple[str, ...]
    regions: tuple[str, ...]
    base: Array
    constant: Array
    weights: Array
    middle: Array
    more: Array
    level: Array

    @classmethod
    def load(cls, path: str | os.PathLike) -> NicheModel:
        """Read weights of kind "niche".

        Raises:
            WeightsError: the file fails a check of `neural.weights.read_card` or is of another kind.
        """
        card, tensors = weights.load(path, "niche")
        a = card.architecture
        words = (
            tuple(a["messages"]),
            float(a["radius"]),
            float(a["near"]),
            tuple(a["types"]),
            tuple(a["regions"]),
        )
        return cls(*words, **tensors)

    def predict(self, sample: Sample, blocks: Array | None = None, niche_of: Array | None = None) -> Array:
        """Expression (n, g); `niche_of` (n,) gives cells the niche of others."""
        words = _words(sample, self.types, self.regions)
        alone = words @ self.base + self.constant
        if not self.messages:
            return alone
        niche = _niche(sample, sample.expression - alone, self, blocks)
        niche = niche if niche_of is None else niche[niche_of]
        return alone + words @ self.more + self.level + (niche - self.middle) @ self.weights


def fit_niche(
    sample: Sample,
    train: Array,
    radius: float,
    messages: Sequence[str] = ("all", "same", "near"),
    near: float = 20.0,
    ridge: float = 3.0,
    blocks: Array | None = None,
    niche_of: Array | None = None,
) -> NicheModel:
    """The model from the cells of `train` (n,), True where a cell may be seen.

    Messages of a cell come from neighbours of its own block alone (n,); those of left-out cells take no part.

    Raises:
        ValueError: for messages that there are not.
    """
    if unknown := set(messages) - set(MESSAGES):
        raise ValueError(f"unknown messages {sorted(unknown)}; there are {', '.join(MESSAGES)}")
    types, regions = (tuple(sorted(set(a[train].tolist()))) for a in (sample.types, sample.regions))
    words = _words(sample, types, regions)
    base, middle, constant = _solve(words[train], sample.expression[train], ridge)
    constant = constant - middle @ base
    genes = sample.expression.shape[1]
    model = NicheModel(
        tuple(messages), radius, near, types, regions, base, constant,
        np.zeros((0, genes)), np.zeros(0), np.zeros_like(base), np.zeros(genes),
    )  # fmt: skip
    if not messages:
        return model
    rest = sample.expression - words @ base - constant
    niche = _niche(sample, rest, model, blocks)
    niche = niche if niche_of is None else niche[niche_of]
    # type, region and niche are solved for together, so that none speaks for another
    both, middle, level = _solve(np.concatenate([words, niche], 1)[train], sample.expression[train], ridge)
    k = words.shape[1]
    return replace(
        model,
        weights=both[k:],
        middle=middle[k:],
        more=both[:k] - base,
        level=level - middle[:k] @ both[:k] - constant,
    )


def spatial_blocks(positions: Array, size: float, folds: int, seed: int) -> tuple[Array, Array]:
    """Squares of edge `size` [um] that cells lie in (n,), and the fold of each cell (n,), whole squares at random."""
    place = np.floor((positions[:, :2] - positions[:, :2].min(axis=0)) / size).astype(int)
    _, block = np.unique(place, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(block.max() + 1)
    return block.ravel(), (order % folds)[block.ravel()]


def cross_validated(
    sample: Sample,
    radius: float,
    *,
    size: float = 500.0,
    folds: int = 5,
    seed: int = 0,
    near: float = 20.0,
    shuffles: int = 3,
    progress: Progress | None = None,
) -> dict[str, dict[str, float]]:
    """R² over left-out blocks, mean over genes, of each model, and its `gain` over type and region.

    The penalty of each model is chosen on one more fold left out of the rest.
    """
    block, fold = spatial_blocks(sample.positions, size, folds, seed)
    key = np.char.add(np.char.add(sample.types.astype(str), "|"), sample.regions.astype(str))
    rng = np.random.default_rng(seed)
    models: dict[str, tuple[Sample, tuple[str, ...], bool]] = {
        "type alone": (_nowhere(sample), (), False),
        "type, neighbours' types (linear, no region)": (_nowhere(sample), ("types",), False),
        "type and region": (sample, (), False),
        "type, region, neighbours' types": (sample, ("types",), False),
        "type, region, niche": (sample, ("all", "same", "near"), False),
        "type, region, niche by plain means": (sample, ("all", "same"), False),
        "type, region, niche shuffled": (sample, ("all", "same", "near"), True),
    }
    r2 = {}
    for k, (name, (seen, messages, shuffled)) in enumerate(models.items()):
        if progress is not None:
            progress(k, len(models), name)
        owners = [_exchanged(key, rng) for _ in range(shuffles)] if shuffled else [None]
        r2[name] = float(
            np.mean([_score(seen, messages, radius, near, block, fold, folds, owner) for owner in owners])
        )
    return {
        name: {"r2": value, "gain": value - r2["type alone" if "no region" in name else "type and region"]}
        for name, value in r2.items()
    }


def _score(sample, messages, radius, near, block, fold, folds, owner) -> float:
    predicted = np.empty_like(sample.expression)
    for f in range(folds):
        left_out, inner = fold == f, fold == (f + 1) % folds
        errors = []
        for ridge in _RIDGES:
            model = fit_niche(sample, ~(left_out | inner), radius, messages, near, ridge, block, owner)
            miss = model.predict(sample, block, owner)[inner] - sample.expression[inner]
            errors.append((miss**2).sum())
        ridge = _RIDGES[int(np.argmin(errors))]
        model = fit_niche(sample, ~left_out, radius, messages, near, ridge, block, owner)
        predicted[left_out] = model.predict(sample, block, owner)[left_out]
    rest = ((sample.expression - predicted) ** 2).sum(0)
    return float(np.mean(1 - rest / ((sample.expression - sample.expression.mean(0)) ** 2).sum(0)))


def _solve(a: Array, y: Array, ridge: float) -> tuple[Array, Array, Array]:
    middle, level = a.mean(0), y.mean(0)
    b = a - middle
    return np.linalg.solve(b.T @ b + ridge * np.eye(b.shape[1]), b.T @ (y - level)), middle, level


def _words(sample: Sample, types: Sequence[str], regions: Sequence[str]) -> Array:
    columns = [sample.types == t for t in types] + [sample.regions == r for r in regions]
    return np.stack(columns, 1).astype(float)


def _niche(sample: Sample, rest: Array, model: NicheModel, blocks: Array | None) -> Array:
    """Messages (n, ...) of every cell, block by block of `model.messages`."""
    i, j, distance = _pairs(sample, model.radius, blocks)
    n, found = len(rest), []
    words = _words(sample, model.types, ())
    for name in model.messages:
        weight = {
            "same": lambda: (sample.types[i] == sample.types[j]).astype(float),
            "near": lambda: np.exp(-distance / model.near),
        }.get(name, lambda: np.ones(len(i)))()
        said = words if name == "types" else rest
        sums = np.stack([np.bincount(i, weight * column[j], n) for column in said.T], 1)
        found.append(sums / (np.bincount(i, weight, n) + _FEW[name])[:, None])
    return np.concatenate(found, 1)


def _pairs(sample: Sample, radius: float, blocks: Array | None) -> tuple[Array, Array, Array]:
    from scipy.spatial import KDTree

    pairs = KDTree(sample.positions).query_pairs(radius, output_type="ndarray")
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    if blocks is not None:
        pairs = pairs[blocks[pairs[:, 0]] == blocks[pairs[:, 1]]]
    i, j = pairs.T
    return i, j, np.sqrt(((sample.positions[i] - sample.positions[j]) ** 2).sum(1))


def _exchanged(key: Array, rng: np.random.Generator) -> Array:
    """A cell of the same key for each cell (n,), every one once."""
    owner = np.arange(len(key))
    for k in np.unique(key):
        mine = np.flatnonzero(key == k)
        owner[mine] = rng.permutation(mine)
    return owner


def _nowhere(sample: Sample) -> Sample:
    return Sample(sample.expression, sample.types, np.full(len(sample.types), "anywhere"), sample.positions)
