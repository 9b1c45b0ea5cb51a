"""The four functions that fixed scoring protocols of learned responses call.

    timecourse(train, k, seed)             cells at a left-out snapshot
    combo(train, query)                    curves of drug combinations from single-drug wells
    cellbox(U_train, Y_train, U_test)      responses to drug combinations
    traces(X_train, g_train, X_past, g_past)   forecasts of single-cell traces

Each is a thin face of a module in `neural` that says what the method is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neural.combinations import predict_combinations
from neural.perturbation import predict_responses
from neural.traces import forecast
from neural.transport import predict_population


def timecourse(train: Sequence[np.ndarray | None], k: int, seed: int) -> np.ndarray:
    """Cells (n, d) at snapshot k, where `train[k]` is None."""
    return predict_population(train, k, seed)


def combo(train: Mapping[str, Any], query: np.ndarray) -> np.ndarray:
    """log2 curves (m, T, 3) relative to the first frame, of wells at doses `query` (m, 2).

    `train` holds `dose` (n, 2) and `Y` (n, T, 3) of the plate's control and single-drug wells.
    """
    return predict_combinations(train["dose"], train["Y"], query)[0]


def cellbox(U_train: np.ndarray, Y_train: np.ndarray, U_test: np.ndarray) -> np.ndarray:
    """Responses (m, node) to perturbations U_test (m, drug)."""
    return predict_responses(U_train, Y_train, U_test)[0]


def traces(X_train: np.ndarray, g_train: np.ndarray, X_past: np.ndarray, g_past: np.ndarray) -> np.ndarray:
    """The second half (m, T/2, channel) of tracks from their first half.

    Whole tracks may be handed over as `X_past`; frames of the second half are not read.
    """
    seen = X_train.shape[1] // 2 if X_past.shape[1] == X_train.shape[1] else X_past.shape[1]
    return forecast(X_train, np.asarray(g_train), X_past[:, :seen], np.asarray(g_past))[0]
