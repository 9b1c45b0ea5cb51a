"""Responses to drugs as weights: fitted once, asked often, with intervals and a word where it is out of its depth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from neural import weights
from neural.errors import WeightsError
from neural.perturbation import Calibration, amounts, calibrate, of_both_signs, strengths
from neural.profiles import Choice, Drugs
from neural.uncertainty import value_of_measuring

_MODES = ("seen", "unseen")


class PerturbationModel(weights.Weighted):
    """Responses (node,) to doses (drug,), from `neural.perturbation`.

    Attributes:
        card: what the weights file says about itself.
        condition_names: the drugs; response_names: the read-outs.
    """

    kind = "perturbation"

    def __init__(self, card: weights.Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"):
        self.card = card
        self.condition_names = card.condition_names
        self.response_names: list[str] = card.decoder_names
        try:
            self._doses, self._response = tensors["doses"], tensors["response"]
            self._likeness = tensors.get("likeness")
            self._modes = {
                mode: Calibration(
                    Choice(**card.architecture[mode]),
                    tensors[f"{mode}.sizes"],
                    tensors[f"{mode}.node"],
                    float(tensors[f"{mode}.width"]),
                )
                for mode in _MODES
            }
            fits = self._doses.shape[1] == len(self.condition_names)
            fits &= self._response.shape == (len(self._doses), len(self.response_names))
            fits &= all(len(m.sizes) == 5 + self._doses.shape[1] for m in self._modes.values())
            fits &= self._likeness is None or self._likeness.shape == (self._doses.shape[1],) * 2
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsError(file, f"the tensors do not fit the card's architecture ({error})") from None
        if not fits:
            raise WeightsError(file, "the tensors do not fit the card's drugs and read-outs")

    @classmethod
    def fit(
        cls,
        doses: np.ndarray,
        response: np.ndarray,
        drugs: Sequence[str],
        responses: Sequence[str],
        name: str = "responses",
        unit: str = "1",
        more: Mapping[str, Any] | None = None,
        likeness: np.ndarray | None = None,
    ) -> PerturbationModel:
        """Fit to conditions `doses` (n, drug), 0 where not given, and `response` (n, node), 0 without drugs.

        `likeness` (drug, drug) is that of drugs' descriptions; `more` goes into the card. Raises ValueError for
        shapes that do not fit, or fewer than three conditions.
        """
        u, y = np.asarray(doses, float), np.asarray(response, float)
        if u.shape != (len(y), len(drugs)) or y.shape[1] != len(responses) or len(u) < 3:
            raise ValueError(f"doses {u.shape} and responses {y.shape} do not fit, or are fewer than three")
        tensors, architecture = {"doses": u, "response": y}, {}
        for mode in _MODES:
            found = calibrate(u, y, Drugs(strengths(u), likeness, of_both_signs(u)), mode == "unseen")
            architecture[mode] = asdict(found.choice)
            tensors |= _tensors(mode, found)
        if likeness is not None:
            tensors["likeness"] = likeness
        card = {
            "kind": "perturbation",
            "name": name,
            "architecture": architecture,
            "conditions": [
                {"name": d, "unit": unit, "range": [0.0, float(np.abs(u[:, k]).max())]}
                for k, d in enumerate(drugs)
            ],
            "decoders": [{"name": r, "unit": "1", "meaning": "response"} for r in responses],
            **(more or {}),
        }
        named = weights.Card("perturbation", name, architecture, {}, "", card)
        return cls(named, tensors)

    def save(self, path: str | os.PathLike) -> str:
        """Write the weights; returns their sha256."""
        tensors = {"doses": self._doses, "response": self._response}
        if self._likeness is not None:
            tensors["likeness"] = self._likeness
        for mode, found in self._modes.items():
            tensors |= _tensors(mode, found)
        return weights.save(path, tensors, self.card.raw)

    def predict(self, doses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responses (m, node) and half-widths of their 90 % intervals, to doses (m, drug)."""
        asked = np.asarray(doses, float)
        mean, half = np.empty((2, len(asked), len(self.response_names)))
        new = ((asked != 0) & ~(self._doses != 0).any(0)).any(1)
        for mode, rows in (("seen", np.flatnonzero(~new)), ("unseen", np.flatnonzero(new))):
            if len(rows):
                found = self._modes[mode]
                mean[rows], half[rows] = found.predict(
                    self._doses, self._response, self._drugs(asked), asked[rows]
                )
        return mean, half

    def value(self, doses: np.ndarray) -> np.ndarray:
        """(m,) share of all rows' uncertainty that a measurement of this row would remove."""
        asked, found = np.asarray(doses, float), self._modes["unseen"]
        fit = found.fit(self._doses, self._response, self._drugs(asked))
        wanted = amounts(asked, self._doses, self._drugs(asked), found.choice)
        return value_of_measuring(fit.covariance(wanted), fit.noise)

    def flags(self, doses: np.ndarray) -> list[str]:
        """A word for each row (m, drug) on which the training conditions have no say; empty where they have."""
        asked, seen = np.asarray(doses, float), np.abs(self._doses)
        together = int((seen > 0).sum(1).max())
        out = []
        for row in asked:
            said = []
            for k in np.flatnonzero(row):
                given = seen[:, k][seen[:, k] > 0]
                name = self.condition_names[k]
                if not len(given):
                    said.append(f"{name} was never given{self._nearest(int(k))}")
                elif not (np.sign(self._doses[:, k]) == np.sign(row[k])).any():
                    said.append(f"{name} was never given {'below' if row[k] < 0 else 'above'} 0")
                elif abs(row[k]) > given.max() * (1 + 1e-9):
                    said.append(f"{name} above {given.max():g}")
                elif abs(row[k]) < given.min() * (1 - 1e-9):
                    said.append(f"{name} below {given.min():g}")
            if (row != 0).sum() > together:
                said.append(f"{int((row != 0).sum())} drugs together, at most {together} were given")
            out.append("; ".join(said))
        return out

    def _nearest(self, drug: int) -> str:
        """Which drug that was given is most like this one, by its description."""
        if self._likeness is None:
            return ""
        alike = np.where(np.abs(self._doses).max(0) > 0, self._likeness[drug], -1.0)
        other = int(alike.argmax())
        return f" (most like {self.condition_names[other]}, {alike[other]:.2f})"

    def _drugs(self, asked: np.ndarray) -> Drugs:
        return Drugs(strengths(self._doses, asked), self._likeness, of_both_signs(self._doses))


def _tensors(mode: str, found: Calibration) -> dict[str, np.ndarray]:
    return {
        f"{mode}.sizes": found.sizes,
        f"{mode}.node": found.node,
        f"{mode}.width": np.array(found.width),
    }
