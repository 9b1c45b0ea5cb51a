"""From a training file of kind "perturbation" to a weights file, with scores of left-out conditions and drugs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neural.descriptions import likeness, read_descriptions
from neural.perturbation import predict_responses
from neural.perturbation_model import PerturbationModel
from neural.progress import Progress
from neural.tables import Table, read_measurements
from neural.uncertainty import coverage

_FOLDS = 10
_RIDGE = 0.3


def train_perturbation(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Fit, score on left-out conditions and drugs beside rules, write `output`; returns the card.

    The fit takes seconds and keeps no checkpoint: `resume` starts it again, to the same bits.
    """
    u, y, drugs, responses, digest = conditions(spec, data)
    alike = None
    if "descriptions" in spec["data"]:
        alike = likeness(read_descriptions(Path(spec["data"]["descriptions"]), drugs))
    scores = {}
    for what, folds in (("left-out conditions", list(_tenths(len(u)))), ("left-out drugs", list(_drugs(u)))):
        if folds:
            scores[what] = _scores(u, y, folds, what, progress, alike)
    more = {
        "data": {"sha256": digest, "conditions": len(u), "read-outs": len(responses)},
        "split": {
            "conditions": f"every {_FOLDS}th left out in turn",
            "drugs": "all conditions with a drug left out in turn",
        },
        "seeds": [],
        "scores": scores,
        "notes": list(spec.get("notes", [])),
    }
    model = PerturbationModel.fit(u, y, drugs, responses, spec["name"], spec.get("unit", "1"), more, alike)
    model.save(output)
    return model.card.raw


def conditions(spec: dict[str, Any], data: Path) -> tuple[np.ndarray, np.ndarray, list[str], list[str], str]:
    """Doses (n, drug), responses (n, node), their names, and the data's sha256, as the training file says.

    In a sheet `drugs` are columns, in AnnData columns of `.obs`; of an archive `data.labels` names the array of doses.
    """
    table = read_measurements(data)
    where = spec["data"]
    if "labels" in where:
        u, drugs = table.matrix(where["labels"])
        drugs = list(map(str, spec.get("drugs", drugs)))
        y, responses = table.matrix(where.get("values"))
        responses = list(map(str, spec.get("responses", responses)))
        if len(drugs) != u.shape[1] or len(responses) != y.shape[1]:
            raise ValueError(
                f"the arrays have {u.shape[1]} drugs and {y.shape[1]} responses, named are {len(drugs)} and "
                f"{len(responses)}"
            )
    else:
        drugs = list(map(str, spec.get("drugs", [])))
        if not drugs:
            raise ValueError("name the columns of doses in 'drugs', or their array in data.labels")
        # a drug that is only described has no column: it was never given
        known = "descriptions" in where
        u = np.stack([_doses(table, d, known) for d in drugs], 1)
        y, responses = table.matrix(where.get("values"), spec.get("responses"), leave=drugs)
    if len(u) != len(y) or not np.isfinite(u).all() or not np.isfinite(y).all():
        raise ValueError("doses and responses must be finite, a row for each condition")
    given = (u != 0).any(1)
    return u[given], y[given], drugs, responses, table.sha256


def _doses(table: Table, drug: str, optional: bool) -> np.ndarray:
    try:
        return np.asarray(table.column(drug), float)
    except KeyError:
        if optional:
            return np.zeros(table.rows)
        raise


def _tenths(n: int) -> Iterator[np.ndarray]:
    for k in range(min(_FOLDS, n)):
        yield np.arange(n) % min(_FOLDS, n) == k


def _drugs(u: np.ndarray) -> Iterator[np.ndarray]:
    for k in range(u.shape[1]):
        rows = u[:, k] != 0
        if rows.any() and (~rows).sum() >= 3:
            yield rows


def _scores(
    u: np.ndarray,
    y: np.ndarray,
    folds: list[np.ndarray],
    what: str,
    progress: Progress | None,
    alike: np.ndarray | None,
) -> dict[str, dict[str, float]]:
    """Model, additive rule, ridge, mean and no effect on rows left out: rmse, r over all, r by read-out."""
    rules: dict[str, Callable[..., np.ndarray]] = {
        "additive": _additive, "ridge": _ridge, "mean": _mean, "no effect": _none,
    }  # fmt: skip
    if alike is not None:
        rules["model, drugs not described"] = lambda *a: predict_responses(*a)[0]
    guesses: dict[str, list[np.ndarray]] = {name: [] for name in ("model", *rules)}
    truth, widths = [], []
    for i, out in enumerate(folds):
        mean, half = predict_responses(u[~out], y[~out], u[out], likeness=alike)
        guesses["model"].append(mean)
        widths.append(half)
        truth.append(y[out])
        for name, guess in rules.items():
            guesses[name].append(guess(u[~out], y[~out], u[out]))
        if progress is not None:
            progress(i + 1, len(folds), what)
    seen, half = np.concatenate(truth), np.concatenate(widths)
    table = {}
    for name, parts in guesses.items():
        told = np.concatenate(parts)
        table[name] = {
            "rmse": float(np.sqrt(((told - seen) ** 2).mean())),
            "r": _r(told.ravel(), seen.ravel()),
            "r by read-out": float(np.mean([_r(a, b) for a, b in zip(told.T, seen.T, strict=True)])),
        }
    told = np.concatenate(guesses["model"])
    table["model"] |= {
        "inside 90 %": coverage(seen, told - half, told + half),
        "half-width": float(half.mean()),
    }
    return table


def _r(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size > 1e-12 else 0.0


def _additive(u: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Sum of the mean profiles of single drugs; 0 of a drug never given alone."""
    alone = (u != 0).sum(1) == 1
    profiles = np.zeros((u.shape[1], y.shape[1]))
    for k in range(u.shape[1]):
        rows = alone & (u[:, k] != 0)
        if rows.any():
            profiles[k] = y[rows].mean(0)
    return (asked != 0) @ profiles


def _ridge(u: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Ridge of penalty 0.3 on doses over their largest."""
    largest = np.maximum(np.abs(np.concatenate([u, asked])).max(0), 1e-300)
    x = u / largest
    return asked / largest @ np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ y)


def _mean(u: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.repeat(y.mean(0)[None], len(asked), 0)


def _none(u: np.ndarray, y: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.zeros((len(asked), y.shape[1]))
