"""Which of the states that cells were named by, such as cell types, a representation speaks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_PRIOR = 1.0  # variance of a weight's Gaussian prior, of features of sd 1


class StateDecoder:
    """Multinomial logistic regression: probabilities of states that are linear in the features before a softmax.

    Attributes:
        names: of the states, in the order of the probabilities.
        tensors: weights (feature, state) and bias (state,).
    """

    def __init__(self, names: Sequence[str], tensors: Mapping[str, np.ndarray]):
        self.names, self.tensors = tuple(names), dict(tensors)

    @classmethod
    def fit(cls, features: np.ndarray, words: Sequence[str] | np.ndarray) -> StateDecoder:
        """The most probable weights given cells (cell, feature) and a word for each, under a Gaussian prior.

        Raises:
            ValueError: more than half of the cells have a word of their own.
        """
        from scipy.optimize import minimize
        from scipy.special import log_softmax

        names, which = np.unique(np.asarray(words).astype(str), return_inverse=True)
        if 2 * len(names) > max(len(which), 2):
            raise ValueError(f"{len(names)} states of {len(which)} cells are too many to be told apart")
        x = np.asarray(features, float)
        centre, spread = x.mean(0), np.maximum(x.std(0), 1e-9)
        x = (x - centre) / spread
        shape = (x.shape[1], len(names))
        seen = np.zeros((len(x), len(names)))
        seen[np.arange(len(x)), which] = 1.0

        def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
            """Of a cell, so that the optimiser's steps are alike for few and many."""
            w, b = flat[: -len(names)].reshape(shape), flat[-len(names) :]
            log_p = np.asarray(log_softmax(x @ w + b, axis=1))
            wrong = np.exp(log_p) - seen
            slope = np.concatenate([(x.T @ wrong + w / _PRIOR).ravel(), wrong.sum(0)])
            return float(-(log_p * seen).sum() + 0.5 * (w**2).sum() / _PRIOR) / len(x), slope / len(x)

        start = np.zeros(shape[0] * shape[1] + shape[1])
        found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
        w, b = found.x[: -len(names)].reshape(shape) / spread[:, None], found.x[-len(names) :]
        return cls(names.tolist(), {"weights": w, "bias": b - centre @ w})

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(cell, feature) -> (cell, state)."""
        # summed in one order, whatever the library of linear algebra does
        logits = np.einsum("ij,jk->ik", features, self.tensors["weights"]) + self.tensors["bias"]
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)
