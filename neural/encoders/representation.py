"""A named space with its encoder and decoder: fit, used, saved and loaded as one thing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neural import weights
from neural.encoders.linear import LinearModel
from neural.encoders.modalities import Modality, checked
from neural.errors import WeightsError
from neural.progress import Progress
from neural.representations import Space
from neural.threads import one_thread

if TYPE_CHECKING:
    from neural.encoders.vae import VariationalModel

METHODS = ("pca", "vae")
SCALES = ("molecular", "cellular", "tissue")


class Representation:
    """Measurements to a representation, and back.

    Attributes:
        space: name, labels, reference states, provenance, scale of the representation.
        modalities: what it is made from, in order.
        method: `pca` (linear, closed form) or `vae`.
        model: the encoder and decoder themselves.
    """

    def __init__(
        self,
        space: Space,
        modalities: Sequence[Modality],
        method: str,
        model: LinearModel | VariationalModel,
        architecture: Mapping[str, Any] | None = None,
        card: Mapping[str, Any] | None = None,
    ):
        self.space, self.modalities, self.method, self.model = space, tuple(modalities), method, model
        self._architecture = dict(architecture or {})
        self.card = dict(card or {})

    @classmethod
    def fit(
        cls,
        tables: Mapping[str, np.ndarray] | np.ndarray,
        modalities: Sequence[Modality],
        dimension: int,
        name: str,
        method: str = "vae",
        scale: str = "cellular",
        states: Sequence[str] | None = None,
        provenance: str = "",
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> Representation:
        """Fit a space of `dimension` components to cells.

        Args:
            tables: modality -> (cell, feature); rows of NaN where a cell was not measured.
            states: a word for each cell, such as its type or treatment; the mean of each becomes a reference state.
            options: of `VariationalModel.fit` (hidden, layers, epochs, rate, checkpoint).

        Raises:
            ValueError: see `checked`; an unknown method or scale; a dimension that the data do not allow.
        """
        modalities = tuple(modalities)
        if method not in METHODS:
            raise ValueError(f"unknown method '{method}'; use {' or '.join(METHODS)}")
        if scale not in SCALES:
            raise ValueError(f"unknown scale '{scale}'; use {', '.join(SCALES)}")
        if dimension < 1:
            raise ValueError(f"a space has at least 1 component, not {dimension}")
        data = checked(tables, modalities, all_of_them=True)
        model: LinearModel | VariationalModel
        if method == "pca":
            model = LinearModel.fit(modalities, data, dimension)
            architecture: dict[str, Any] = {}
        else:
            from neural.encoders.vae import VariationalModel

            with one_thread():
                model = VariationalModel.fit(
                    modalities, data, dimension, seed=seed, progress=progress, **options
                )
            architecture = {"hidden": options.get("hidden", 64), "layers": options.get("layers", 1)}
        cells = len(next(iter(data.values())))
        features = " + ".join(f"{len(m.features)} {m.name}" for m in modalities)
        space = Space(
            name,
            tuple(f"{name}{k + 1}" for k in range(dimension)),
            {},
            provenance or f"{method} of {cells} cells x {features}",
            scale,
        )
        fitted = cls(space, modalities, method, model, architecture)
        fitted.space = replace(space, reference_states=_states(fitted.encode(data), states))
        return fitted

    def encode(self, tables: Mapping[str, np.ndarray] | np.ndarray) -> np.ndarray:
        """Modality -> (cell, feature), any subset of the modalities, to representations (cell, d).

        Cells of which nothing was measured come to lie at 0, the prior's mean.

        Raises:
            ValueError: see `neural.encoders.modalities.checked`.
        """
        return self.posterior(tables)[0]

    def posterior(self, tables: Mapping[str, np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (cell, d): how sure the encoder is. Errors as `encode`."""
        with one_thread():
            return self.model.posterior(checked(tables, self.modalities, all_of_them=False))

    def decode(self, ur: np.ndarray) -> dict[str, np.ndarray]:
        """Representations (cell, d) to modality -> (cell, feature): real values, and of counts each feature's share."""
        with one_thread():
            return self.model.decode(np.asarray(ur, float))

    def denoise(self, tables: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Counts -> the share of each feature (cell, feature), by what the space and the cell's own counts say.

        More than `decode(encode(…))`, which has only the representation to go by. Errors as `encode`.

        Raises:
            ValueError: a linear space has no model of counts.
        """
        if isinstance(self.model, LinearModel):
            raise ValueError("a linear space has no model of counts to denoise by; use method='vae'")
        with one_thread():
            return self.model.denoised(checked(tables, self.modalities, all_of_them=False))

    def save(self, path: str | os.PathLike, **more: Any) -> str:
        """Write weights of kind "representation"; returns their sha256. `more` goes into the card."""
        card = {
            **self.card,
            **more,
            "kind": "representation",
            "name": self.space.name,
            "architecture": {
                **self._architecture,
                "method": self.method,
                "modalities": [
                    {"name": m.name, "kind": m.kind, "features": list(m.features)} for m in self.modalities
                ],
            },
            "space": {
                "name": self.space.name,
                "dimension": self.space.dimension,
                "labels": list(self.space.labels),
                "reference_states": {k: v.tolist() for k, v in self.space.reference_states.items()},
                "provenance": self.space.provenance,
                "scale": self.space.scale,
            },
        }
        return weights.save(path, self.model.tensors, card)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Representation:
        """Read weights of kind "representation".

        Raises:
            WeightsError: the file fails a check of `neural.weights.read_card`, is of another kind, or its tensors
                do not fit its card.
        """
        card, tensors = weights.load(path, "representation")
        raw, a = card.raw, card.architecture
        try:
            modalities = tuple(Modality(m["name"], m["kind"], tuple(m["features"])) for m in a["modalities"])
            s = raw["space"]
            states = {k: np.array(v, float) for k, v in s["reference_states"].items()}
            space = Space(s["name"], tuple(s["labels"]), states, s["provenance"], s["scale"])
            model: LinearModel | VariationalModel
            if a["method"] == "pca":
                model = LinearModel(modalities, tensors)
            else:
                from neural.encoders.vae import VariationalModel

                model = VariationalModel(modalities, tensors, space.dimension, a["hidden"], a["layers"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(path, f"the tensors do not fit the card ({error})") from None
        kept = {k: v for k, v in raw.items() if k not in ("format", "tensors", "sha256")}
        own = {k: v for k, v in a.items() if k in ("hidden", "layers")}
        return cls(space, modalities, a["method"], model, own, kept)


def _states(ur: np.ndarray, words: Sequence[str] | None) -> dict[str, np.ndarray]:
    states = {"mean": ur.mean(0)}
    if words is not None:
        column = np.asarray([str(w) for w in words])
        if len(column) != len(ur):
            raise ValueError(f"{len(column)} states are named for {len(ur)} cells")
        states |= {str(w): ur[column == w].mean(0) for w in np.unique(column)}
    return states
