"""Scores of predicted combination wells beside no effect, Bliss, HSA and the replicate ceiling.

Curves are compared as log2((signal + eps) / (signal at 0 h + eps)) with eps 0.5, 0.1, 0.02 % for live area,
annexin V and dead DNA. Per plate, controls see the control and single-drug wells. `skill` = 1 - MSE / MSE
of Bliss.
Two windows: "file" takes the frames whose time_h is at most 96 as the file lays them out (the first
replicate and the first 21 h of the second, for the PC9 set); "replicates" takes all frames of all
replicates.
"""

from __future__ import annotations

import numpy as np

from neural.population import CHANNELS, EPSILON
from neural.wells import Wells


def relative(curves: np.ndarray) -> np.ndarray:
    """log2 ratio to the first frame, (..., frame, channel)."""
    eps = np.array(EPSILON)
    return np.log2((np.maximum(curves, 0) + eps) / (np.maximum(curves[..., :1, :], 0) + eps))


def combination_scores(
    wells: Wells, predicted: dict[str, np.ndarray]
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Scores of `predicted`, model -> (well, T, 3) log2 signals relative to 0 h, and of the controls.

    Returns:
        window -> model -> channel -> {"rmse_log", "skill", "r_curve"}; models are those given, "Bliss",
        "HSA", "no effect", and "replicate" (one run of an experiment predicting its repeat; rmse_log only).
        Nothing where no well has two drugs at doses that its plate has alone.
    """
    replicates = wells.curves.shape[1]
    frames = wells.curves.shape[2]
    laid_out = relative(wells.curves.reshape(len(wells.dose), replicates * frames, -1))
    combo = scored(wells)
    if not len(combo):
        return {}
    guesses = {**_tiled(wells, predicted, combo), **_controls(wells, laid_out, combo)}
    hours = np.arange(replicates * frames) * (wells.time[1] - wells.time[0]) / 60.0
    windows = {"file": hours <= 96.0, "replicates": np.ones(len(hours), bool)}
    out: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for window, keep in windows.items():
        truth = laid_out[combo][:, keep]
        table = {}
        for model, guess in guesses.items():
            table[model] = _score(guess[:, keep], truth, guesses["Bliss"][:, keep])
        ceiling = _replicate(wells, laid_out[:, keep])
        if ceiling is not None:
            table["replicate"] = ceiling
        out[window] = table
    return out


def by_experiment(wells: Wells, predicted: dict[str, np.ndarray]) -> dict[str, dict[str, dict[str, float]]]:
    """rmse_log over all replicates: experiment -> model -> channel."""
    laid_out = relative(wells.curves.reshape(len(wells.dose), -1, wells.curves.shape[3]))
    combo, out = scored(wells), {}
    if not len(combo):
        return out
    guesses = {**_tiled(wells, predicted, combo), **_controls(wells, laid_out, combo)}
    for k, name in enumerate(wells.experiments):
        mine = wells.experiment[combo] == k
        if not mine.any():
            continue
        out[name] = {
            model: {
                c: float(np.sqrt(((g - laid_out[combo])[mine, :, i] ** 2).mean()))
                for i, c in enumerate(CHANNELS)
            }
            for model, g in guesses.items()
        }
    return out


def scored(wells: Wells) -> np.ndarray:
    """Rows of wells with two drugs, each at a dose that the same plate has alone: what the controls can foretell."""
    return np.array(
        [i for i in np.flatnonzero(wells.drugs_given == 2) if len(_alone(wells, int(i))) == 2], int
    )


def _alone(wells: Wells, i: int) -> list[np.ndarray]:
    """For each drug of well `i` the wells of its plate that got the same dose of it alone, where there are any."""
    mine = (wells.pair == wells.pair[i]) & (wells.drugs_given == 1)
    given = [mine & (wells.dose[:, k] == wells.dose[i, k]) for k in np.flatnonzero(wells.dose[i])]
    return [alone for alone in given if alone.any()]


def _tiled(wells: Wells, predicted: dict[str, np.ndarray], combo: np.ndarray) -> dict[str, np.ndarray]:
    return {model: np.concatenate([p[combo]] * wells.curves.shape[1], 1) for model, p in predicted.items()}


def _controls(wells: Wells, logs: np.ndarray, combo: np.ndarray) -> dict[str, np.ndarray]:
    bliss, hsa, none = [], [], []
    for i in combo:
        mine = wells.pair == wells.pair[i]
        control = logs[mine & (wells.drugs_given == 0)].mean(0)
        a, b = (logs[alone].mean(0) for alone in _alone(wells, int(i)))
        bliss.append(a + b - control)
        hsa.append(np.where(np.abs(a - control) >= np.abs(b - control), a, b))
        none.append(control)
    return {"Bliss": np.array(bliss), "HSA": np.array(hsa), "no effect": np.array(none)}


def _score(guess: np.ndarray, truth: np.ndarray, bliss: np.ndarray) -> dict[str, dict[str, float]]:
    out = {}
    for i, name in enumerate(CHANNELS):
        g, t = guess[..., i], truth[..., i]
        rest = ((g - t) ** 2).mean()
        out[name] = {
            "rmse_log": float(np.sqrt(rest)),
            "skill": float(1 - rest / max(((bliss[..., i] - t) ** 2).mean(), 1e-300)),
            "r_curve": float(np.corrcoef(g.ravel(), t.ravel())[0, 1]) if g.std() > 0 else 0.0,
        }
    return out


def _replicate(wells: Wells, logs: np.ndarray) -> dict[str, dict[str, float]] | None:
    """One experiment predicting another that gave the same pair at the same doses; None without one."""
    combo = wells.drugs_given == 2
    gaps = []
    for a in range(len(wells.experiments)):
        for b in range(a + 1, len(wells.experiments)):
            for i in np.nonzero(combo & (wells.experiment == a))[0]:
                same = (
                    combo & (wells.experiment == b) & np.isclose(wells.dose, wells.dose[i], rtol=1e-3).all(1)
                )
                gaps += [logs[i] - logs[j] for j in np.nonzero(same)[0]]
    if not gaps:
        return None
    rmse = np.sqrt((np.array(gaps) ** 2).mean((0, 1)))
    return {name: {"rmse_log": float(rmse[i])} for i, name in enumerate(CHANNELS)}
