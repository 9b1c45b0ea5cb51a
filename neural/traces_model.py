"""Forecasts of reporter tracks as weights: the tracks learned from, and what left-out ones say of the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from neural import weights
from neural.errors import WeightsError
from neural.traces import Chosen, continued
from neural.traces_dynamics import USUAL
from neural.traces_windows import PENALTIES
from neural.uncertainty import value_of_measuring

_FURTHER = 0.99


class TracesModel(weights.Weighted):
    """The rest of a track from its first frames, by `neural.traces`.

    Attributes:
        card: what the weights file says about itself.
        channels: names of what is read; treatments: those learned from.
        given: frames that must be known; ahead: frames foretold after them.
        frame: time between frames, 1 where nothing is said.
    """

    kind = "traces"

    def __init__(self, card: weights.Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"):
        self.card = card
        try:
            a = card.architecture
            self.given, self.frame = int(a["given"]), float(a["frame"])
            self.treatments: list[str] = list(map(str, a["treatments"]))
            self.channels: list[str] = card.decoder_names
            self._tracks = np.asarray(tensors["tracks"], float)
            self._label = np.array(self.treatments)[tensors["label"]]
            self._chosen = Chosen(*(tensors[field.name] for field in fields(Chosen)))
            self.ahead = self._tracks.shape[1] - self.given
            fits = self._chosen.width.shape == (self.ahead, len(self.channels))
            ranges = (len(self._chosen.edges) - 1, len(self.channels))
            fits &= self._chosen.best.shape == (*ranges, len(USUAL)) and self._chosen.share.shape == (
                len(PENALTIES),
                *ranges,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WeightsError(file, f"the tensors do not fit the card's architecture ({error})") from None
        if not fits:
            raise WeightsError(file, "the tensors do not fit the card's frames and channels")

    def predict(self, past: np.ndarray, treatment: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Frames (m, ahead, channel) after `past` (m, given, channel), and half-widths (ahead, channel), 90 %.

        Raises:
            ValueError: another number of frames or channels than was learned.
        """
        wanted = (self.given, len(self.channels))
        if past.shape[1:] != wanted:
            raise ValueError(
                f"past must have {wanted[0]} frames of {wanted[1]} channels, got {past.shape[1:]}"
            )
        mean = continued(self._tracks, self._label, past, np.asarray(treatment), self._chosen)
        return mean, self._chosen.width

    def flags(self, past: np.ndarray, treatment: Sequence[str]) -> list[str]:
        """A word for each track unlike those learned from; empty for the others.

        Unlike is a past that lies further from the mean of its frames, in units of the channels' spread
        over the learned tracks, than 99 % of these.
        """
        known = self._tracks[:, : self.given]
        centre = known.mean(0)
        spread = np.sqrt(known.var(0).mean(0)) + 1e-12

        def distance(x: np.ndarray) -> np.ndarray:
            return (((x - centre) / spread) ** 2).mean((1, 2))

        limit = np.quantile(distance(known), _FURTHER)
        out = []
        for far, name in zip(distance(past) > limit, treatment, strict=True):
            said = [] if name in self.treatments else [f"treatment '{name}' was never given"]
            out.append("; ".join([*said, *(["the past is unlike any learned from"] if far else [])]))
        return out

    def value(self, treatment: Sequence[str]) -> np.ndarray:
        """(m,) share of all rows' uncertainty about treatments' means that a further track of this one would remove."""
        name = np.asarray(treatment)
        count = np.array([(self._label == t).sum() for t in name])
        return value_of_measuring((name[:, None] == name[None]) / (count + 1.0)[:, None], 1.0)
