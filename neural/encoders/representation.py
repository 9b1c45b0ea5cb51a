"""A named space with its encoder and decoder: fit, used, saved and loaded as one thing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neural import weights
from neural.encoders.linear import LinearModel
from neural.encoders.modalities import Modality, checked, measured
from neural.encoders.states import StateDecoder
from neural.errors import WeightsError
from neural.progress import Progress
from neural.representations import Space
from neural.threads import one_thread
from neural.uncertainty import conformal_quantile

if TYPE_CHECKING:
    from neural.encoders.vae import VariationalModel

METHODS = ("pca", "vae")
SCALES = ("molecular", "cellular", "tissue")
#: share of known cells that are not unusual by one of the two scores of a modality
_USUAL = 0.995
_FLAGS = ("fits worse than known cells do", "lies farther out than known cells")


class Representation:
    """Measurements to a representation, and back.

    Attributes:
        space: name, labels, reference states, provenance, scale of the representation.
        modalities: what it is made from, in order.
        method: `pca` (linear, closed form) or `vae`.
        model: the encoder and decoder themselves.
        states: what tells the cells' states from their representation; None where they were not named.
        limits: modality -> how badly known cells fit, and how far out they lie; see `calibrate`.
    """

    def __init__(
        self,
        space: Space,
        modalities: Sequence[Modality],
        method: str,
        model: LinearModel | VariationalModel,
        architecture: Mapping[str, Any] | None = None,
        card: Mapping[str, Any] | None = None,
        states: StateDecoder | None = None,
        limits: Mapping[str, np.ndarray] | None = None,
    ):
        self.states, self.limits = states, dict(limits or {})
        self.space, self.modalities, self.method, self.model = space, tuple(modalities), method, model
        self._architecture = dict(architecture or {})
        self.card = dict(card or {})

    @classmethod
    def fit(
        cls,
        tables: Mapping[str, Any] | Any,
        modalities: Sequence[Modality],
        dimension: int,
        name: str,
        method: str = "vae",
        scale: str = "cellular",
        states: Sequence[str] | np.ndarray | None = None,
        provenance: str = "",
        seed: int = 0,
        progress: Progress | None = None,
        **options: Any,
    ) -> Representation:
        """Fit a space of `dimension` components to cells.

        Args:
            tables: modality -> (cell, feature), an array, a sparse matrix or a data frame (found by name); rows of NaN
                where a cell was not measured.
            states: a word for each cell, such as its type or treatment, empty where it is not known; the mean of each
                becomes a reference state, and `state_probabilities` tells them apart.
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
        ur = fitted.encode(data)
        words = np.array([""] * cells if states is None else [str(s) for s in states])
        if len(words) != cells:
            raise ValueError(f"{len(words)} states are named for {cells} cells")
        names = [str(name) for name in np.unique(words) if name]
        means = {name: ur[words == name].mean(0) for name in names}
        fitted.space = replace(space, reference_states={"mean": ur.mean(0), **means})
        if len(names) > 1:
            fitted.states = StateDecoder.fit(*fitted._told(data, words))
        fitted.calibrate(data)
        return fitted

    def encode(self, tables: Mapping[str, Any] | Any) -> np.ndarray:
        """Modality -> (cell, feature), any subset of the modalities, to representations (cell, d).

        Cells of which nothing was measured come to lie at 0, the prior's mean.

        Raises:
            ValueError: see `neural.encoders.modalities.checked`.
        """
        return self.posterior(tables)[0]

    def posterior(
        self, tables: Mapping[str, Any] | Any, names: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (cell, d): how sure the encoder is. `names` of the cells are for messages.

        Errors as `encode`.
        """
        with one_thread():
            return self.model.posterior(checked(tables, self.modalities, False, names))

    def decode(self, ur: np.ndarray) -> dict[str, np.ndarray]:
        """Representations (cell, d) to modality -> (cell, feature): real values, and of counts each feature's share."""
        with one_thread():
            return self.model.decode(np.asarray(ur, float))

    def state_probabilities(self, ur: np.ndarray) -> np.ndarray:
        """Representations (cell, d) to the probability of each of `states.names` (cell, state).

        Raises:
            ValueError: no states were named when the space was made.
        """
        if self.states is None:
            raise ValueError(f"space '{self.space.name}' tells no states apart; name some when it is made")
        return self.states.probabilities(np.asarray(ur, float))

    def calibrate(self, tables: Mapping[str, Any] | Any) -> None:
        """Let `flags` say what is unusual by these cells, best such as the space was not fitted to."""
        for m, table in self._shown(tables):
            known = table[measured(table)]
            if len(known):
                unusual = self._unusual(m, known)
                self.limits[m.name] = np.array([conformal_quantile(score, _USUAL) for score in unusual])

    def flags(self, tables: Mapping[str, Any] | Any) -> list[str]:
        """What is unusual of each cell, in words; empty where nothing is. Errors as `encode`.

        Each modality is judged alone: how well the space can say what was measured, and how far from the middle of
        all cells that is. Of cells like those it was calibrated by about 1 % are flagged for each modality. A kind of
        cells that was never seen is flagged as far as its features do together what those of known ones do not.
        """
        shown = self._shown(tables)
        said: list[list[str]] = [[] for _ in shown[0][1]]
        for m, table in shown:
            known = np.flatnonzero(measured(table))
            unusual = self._unusual(m, table[known])
            for score, limit, words in zip(unusual, self.limits[m.name], _FLAGS, strict=True):
                for cell in known[score > limit]:
                    said[cell].append(f"{m.name} {words}")
        for cell in np.flatnonzero(~np.any([measured(table) for _, table in shown], axis=0)):
            said[cell].append("nothing was measured")
        return ["; ".join(words) for words in said]

    def denoise(self, tables: Mapping[str, Any] | Any) -> dict[str, np.ndarray]:
        """Counts -> the share of each feature (cell, feature), by what the space and the cell's own counts say.

        More than `decode(encode(…))`, which has only the representation to go by. Errors as `encode`.

        Raises:
            ValueError: a linear space has no model of counts.
        """
        if isinstance(self.model, LinearModel):
            raise ValueError("a linear space has no model of counts to denoise by; use method='vae'")
        with one_thread():
            return self.model.denoised(checked(tables, self.modalities, all_of_them=False))

    def _told(self, data: Mapping[str, np.ndarray], words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Representations of named cells by all modalities and by each alone, and their words: what tells states."""
        named = words != ""
        parts = [(self.encode({name: table[named] for name, table in data.items()}), words[named])]
        for name, table in data.items() if len(data) > 1 else ():
            known = measured(table) & named
            parts.append((self.encode({name: table[known]}), words[known]))
        return np.concatenate([ur for ur, _ in parts]), np.concatenate([said for _, said in parts])

    def _shown(self, tables: Mapping[str, Any] | Any) -> list[tuple[Modality, np.ndarray]]:
        data = checked(tables, self.modalities, all_of_them=False)
        return [(m, data[m.name]) for m in self.modalities if m.name in data]

    def _unusual(self, m: Modality, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How badly each cell fits, and how far out it lies: both (cell,), by one modality alone."""
        with one_thread():
            ur = self.model.posterior({m.name: table})[0]
            return self.model.misfit(ur, m, table), (ur**2).sum(1)

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
            "states": list(self.states.names) if self.states else [],
        }
        tensors = {**self.model.tensors, **{f"limits.{name}": t for name, t in self.limits.items()}}
        if self.states:
            tensors |= {f"states.{name}": t for name, t in self.states.tensors.items()}
        return weights.save(path, tensors, card)

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
            told = None
            if raw["states"]:
                told = StateDecoder(
                    raw["states"], {k: tensors.pop(f"states.{k}") for k in ("weights", "bias")}
                )
            limits = {m.name: tensors.pop(f"limits.{m.name}") for m in modalities}
            model: LinearModel | VariationalModel
            if a["method"] == "pca":
                model = LinearModel(modalities, tensors)
            else:
                from neural.encoders.vae import VariationalModel

                model = VariationalModel(modalities, tensors, space.dimension, a["hidden"], a["layers"])
        except (KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(path, f"the tensors do not fit the card ({error})") from None
        kept = {k: v for k, v in raw.items() if k not in ("format", "tensors")}
        own = {k: v for k, v in a.items() if k in ("hidden", "layers")}
        return cls(space, modalities, a["method"], model, own, kept, told, limits)
