"""Universal representations: named spaces, principal components, and embeddings that others computed.

A space has a name, labelled components, reference states, a provenance and a scale. Here are the plainest ways
into one: principal components of a table of cells, and embeddings of foundation models that somebody computed
before, read from AnnData's `.obsm` (no model is downloaded). Encoders of counts and of several kinds of
measurements at once are in `neural.encoders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural.spelling import nearest

#: Foundation model -> keys under which its embeddings are found in `.obsm`. UCE's and scGPT's own programs write
#: the first ones; the others are what users and collections (CELLxGENE Census) call them. Case does not matter.
FOUNDATION_MODELS: dict[str, tuple[str, ...]] = {
    "scGPT": ("X_scGPT", "scgpt"),
    "Geneformer": ("X_geneformer", "geneformer"),
    "UCE": ("X_uce", "uce"),
    "CellFM": ("X_CellFM", "cellfm"),
    "scLong": ("X_scLong", "sclong"),
    "scFoundation": ("X_scFoundation", "scfoundation"),
}


@dataclass(frozen=True)
class Space:
    """A named representation space.

    Attributes:
        name: as scenarios call it.
        labels: a word for each component.
        reference_states: name -> (d,), for example {"untreated": zeros}.
        provenance: what it was made from.
        scale: `molecular`, `cellular` or `tissue`: what of the cell, or of its surroundings, it describes.
    """

    name: str
    labels: tuple[str, ...]
    reference_states: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: str = ""
    scale: str = "cellular"

    @property
    def dimension(self) -> int:
        """Number of components."""
        return len(self.labels)


class PrincipalComponents:
    """Linear encoder: the leading principal components of a table, and back.

    Attributes:
        space: where it encodes to; its reference state `mean` is the mean cell.
        features: names of the measured columns, in order.
        explained: (d,) share of the variance that each component holds.
    """

    def __init__(
        self, space: Space, features: Sequence[str], mean: np.ndarray, axes: np.ndarray, explained: np.ndarray
    ):
        self.space, self.features = space, list(features)
        self._mean, self._axes, self.explained = mean, axes, explained

    @classmethod
    def fit(
        cls, table: np.ndarray, features: Sequence[str], dimension: int, name: str = "pca"
    ) -> PrincipalComponents:
        """Components of `table` (cell, feature); a component's largest loading is made positive.

        Raises:
            ValueError: more components than the table can have, or values that are not finite.
        """
        x = np.asarray(table, float)
        if x.ndim != 2 or x.shape[1] != len(features):
            raise ValueError(f"the table is {x.shape}, but {len(features)} features are named")
        if not np.isfinite(x).all():
            raise ValueError("the table holds values that are not finite; fill or drop them first")
        if not 1 <= dimension <= min(len(x) - 1, x.shape[1]):
            raise ValueError(
                f"a table of {x.shape} has at most {min(len(x) - 1, x.shape[1])} components, not {dimension}"
            )
        mean = x.mean(0)
        _, s, axes = np.linalg.svd(x - mean, full_matrices=False)
        axes = axes[:dimension]
        axes = axes * np.sign(axes[np.arange(dimension), np.abs(axes).argmax(1)])[:, None]
        share = (s**2 / (s**2).sum())[:dimension]
        space = Space(
            name,
            tuple(f"PC{k + 1}" for k in range(dimension)),
            {"mean": np.zeros(dimension)},
            f"{dimension} principal components of {len(x)} cells x {x.shape[1]} features",
        )
        return cls(space, features, mean, axes, share)

    @classmethod
    def fit_anndata(cls, data: Any, dimension: int, name: str = "pca") -> PrincipalComponents:
        """Components of an AnnData's `.X` (dense or sparse)."""
        return cls.fit(_dense(data.X), list(map(str, data.var_names)), dimension, name)

    def encode(self, table: np.ndarray) -> np.ndarray:
        """(cell, feature) -> (cell, d)."""
        return (np.asarray(table, float) - self._mean) @ self._axes.T

    def decode(self, ur: np.ndarray) -> np.ndarray:
        """(cell, d) -> (cell, feature): the nearest measurement that the components can say."""
        return np.asarray(ur, float) @ self._axes + self._mean


def from_obsm(data: Any, key: str, name: str | None = None) -> tuple[Space, np.ndarray]:
    """An embedding that lies in an AnnData's `.obsm`: its space and the cells' representations (cell, d).

    `key` is a key of `.obsm`, or a foundation model of `FOUNDATION_MODELS`, whose usual keys are then tried. The
    space's name is the key's without the leading "X_".

    Raises:
        KeyError: no such embedding; the message lists those there are.
        ValueError: the embedding is not a finite matrix.
    """
    key = embedding_key(key, list(map(str, data.obsm)))
    values = np.asarray(_dense(data.obsm[key]), float)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(
            f"embedding '{key}' must be a finite matrix (cell, dimension), got shape {values.shape}"
        )
    label = name or key.removeprefix("X_")
    labels = tuple(f"{label}{k}" for k in range(values.shape[1]))
    states = {"mean": values.mean(0)}
    return Space(label, labels, states, f".obsm['{key}'] of {len(values)} cells"), values


def embedding_key(asked: str, there: Sequence[str]) -> str:
    """Which of the keys of an `.obsm` holds the embedding that was asked for: a key, or a foundation model's name.

    Raises:
        KeyError: none of them does.
    """
    if asked in there:
        return asked
    model = next((m for m in FOUNDATION_MODELS if m.lower() == asked.lower()), None)
    for usual in FOUNDATION_MODELS[model] if model else ():
        for key in there:
            if key.lower() == usual.lower():
                return key
    tried = f" (nor {', '.join(FOUNDATION_MODELS[model])})" if model else ""
    hint = nearest(asked, there, f"there are {', '.join(there)}" if there else "there is none")
    raise KeyError(f"no embedding or layer '{asked}'{tried} in the data{hint}")


def _dense(x: Any) -> np.ndarray:
    if hasattr(x, "toarray"):
        return x.toarray()
    return x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x)
