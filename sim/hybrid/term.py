"""A learned term by itself: what it says for inputs that one chooses, with an interval where there are several fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neural.sciml import Description, SciMLNetwork

Weights = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Term:
    """The function of a joint; call it with inputs (point, input) for outputs (point, output), in numpy.

    Attributes:
        name: of the joint.
        inputs, outputs: names, in the order of the columns.
        samples: (point, input) where the fitted courses went: there it was learned, and nowhere else.
        members: weights of each fit, the best first.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    description: Description
    members: tuple[Weights, ...]
    positive: bool
    input_scales: np.ndarray
    output_scales: np.ndarray
    samples: np.ndarray | None = None

    def __call__(self, inputs: np.ndarray, member: int = 0) -> np.ndarray:
        """(point, output) of one fit."""
        import torch

        network = SciMLNetwork(self.description)
        network.set_weights(self.members[member])
        with torch.no_grad():
            x = torch.from_numpy(np.atleast_2d(np.asarray(inputs, dtype=float)) / self.input_scales)
            y = network(x).numpy()
        if self.positive:
            y = np.logaddexp(0.0, y)
        return y * self.output_scales

    def interval(self, inputs: np.ndarray, level: float = 0.9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best fit, and the quantiles of all fits that enclose `level` of them; each (point, output)."""
        every = np.stack([self(inputs, m) for m in range(len(self.members))])
        tail = (1.0 - level) / 2.0
        low, high = np.quantile(every, [tail, 1.0 - tail], axis=0)
        return every[0], low, high

    def dependence(self) -> dict[str, float]:
        """How much of the output each input carries where it was learned: 1 where it is all of it.

        The mean square of what changes when the column of that input is shuffled, over twice the variance: the
        total Sobol index for inputs that are independent of each other (Jansen 1999).
        """
        assert self.samples is not None, "give samples"
        rng = np.random.default_rng(0)
        base = self(self.samples)
        variance = np.maximum(base.var(0).sum(), 1e-300)
        found = {}
        for k, name in enumerate(self.inputs):
            moved = self.samples.copy()
            moved[:, k] = rng.permutation(moved[:, k])
            found[name] = float(((self(moved) - base) ** 2).mean(0).sum() / (2.0 * variance))
        return found


def names_of(inputs: Sequence[Any]) -> tuple[str, ...]:
    """A name for each input: its id, or `input<k>` where it is a formula."""
    return tuple(i if isinstance(i, str) else f"input{k}" for k, i in enumerate(inputs))
