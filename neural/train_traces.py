"""From a training file of kind "traces" to a weights file, scored on left-out tracks; and `predict` of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neural import weights
from neural.errors import TrainingError, shown
from neural.predict import bounds
from neural.progress import Progress
from neural.spelling import nearest
from neural.tables import Table, read_measurements
from neural.traces import choose, forecast
from neural.traces_model import TracesModel
from neural.uncertainty import coverage

if TYPE_CHECKING:
    import pandas

_OUTER = 4
_MOST_MISSING = 0.1
_RIDGE = 1000.0


def train_traces(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Choose on left-out tracks, score on others, write `output`; returns the card.

    The fit takes a minute at most and keeps no checkpoint: `resume` starts it again, to the same bits.
    """
    given, seed = int(spec["given"]), int(spec.get("fit", {}).get("seed", 0))
    tracks, label, channels, digest = tracks_of(spec, data)
    if tracks.shape[1] <= given:
        raise ValueError(f"tracks have {tracks.shape[1]} frames: nothing is left to foretell after {given}")
    treatments = sorted(set(label.tolist()))
    scores = _scores(tracks, label, given, channels, seed, progress)
    chosen = choose(tracks, label, given, 0.9, seed)
    if progress is not None:
        progress(_OUTER + 1, _OUTER + 1, "all tracks")
    tensors = {
        "tracks": tracks,
        "label": np.array([treatments.index(t) for t in label]),
        **vars(chosen),
    }
    card = {
        "kind": "traces",
        "name": spec["name"],
        "architecture": {
            "given": given, "frame": float(spec.get("frame", 1.0)), "treatments": treatments,
        },
        "decoders": [{"name": c, "unit": "1", "meaning": "reporter"} for c in channels],
        "data": {"sha256": digest, "tracks": len(tracks), "frames": tracks.shape[1]},
        "split": {"test": f"a {_OUTER}th of the tracks left out in turn; choices by others left out of the rest"},
        "seeds": [seed],
        "scores": {"left-out tracks": scores},
        "notes": list(spec.get("notes", [])),
    }  # fmt: skip
    weights.save(output, tensors, card)
    return card


def predict_tracks(
    weights_file: str | os.PathLike, conditions: str | os.PathLike, every: float
) -> pandas.DataFrame:
    """The coming frames of tracks whose past is in a table: columns `track`, `time`, `treatment`, the channels."""
    import pandas as pd

    model = TracesModel.load(weights_file)
    past, names, ends = [], [], []
    for (name, given), mine in _pasts(conditions, model):
        past.append(mine[model.channels].to_numpy(float))
        names.append((name, given))
        ends.append(float(mine["time"].iloc[-1]))
    treatment = [t for _, t in names]
    mean, half = model.predict(np.array(past), treatment)
    flags, gains = model.flags(np.array(past), treatment), model.value(treatment)
    frames = []
    for i, (name, given) in enumerate(names):
        table: dict[str, Any] = {
            "condition": i,
            "track": name,
            "time": ends[i] + model.frame * (1 + np.arange(model.ahead)),
            "flag": flags[i],
            "gain": gains[i],
            "treatment": given,
        }
        for c, channel in enumerate(model.channels):
            table |= bounds(channel, mean[i, :, c], mean[i, :, c] - half[:, c], mean[i, :, c] + half[:, c])
        frames.append(pd.DataFrame(table))
    return pd.concat(frames, ignore_index=True)


def _pasts(
    conditions: str | os.PathLike, model: TracesModel
) -> list[tuple[tuple[Any, str], pandas.DataFrame]]:
    """Track and treatment, with the last frames of its past, as many as were learned from, evenly apart.

    Raises:
        TrainingError: every track that is not so, with the line of its first frame, and every value that is no number.
    """
    import pandas as pd

    try:
        sheet: Any = pd.read_csv(conditions, skip_blank_lines=False)
    except (OSError, ValueError) as error:
        raise TrainingError(
            conditions, [(None, None, f"cannot be read as a table ({str(error).strip()})")]
        ) from None
    problems: list[tuple[int | None, str | None, str]] = []
    for column in ("track", "time", *model.channels):
        if column not in sheet:
            hint = nearest(column, list(map(str, sheet)), f"there are {', '.join(map(str, sheet))}")
            problems.append((1, column, f"the table lacks the column '{column}'{hint}"))
    if problems:
        raise TrainingError(conditions, problems)
    sheet = sheet[sheet.notna().any(axis=1)]
    for column in ("time", *model.channels):
        numbers: Any = pd.to_numeric(sheet[column], errors="coerce")
        wrong = sheet[column][~np.isfinite(numbers.to_numpy(float))]
        for row, value in wrong.items():
            said = f"must be a number (got {shown('' if pd.isna(value) else str(value))})"
            problems.append((int(row) + 2, column, said))  # type: ignore[arg-type]
        sheet = sheet.assign(**{column: numbers})
    if not len(sheet):
        problems.append((1, None, "holds no track; give a row for each of its frames"))
    if problems:
        raise TrainingError(conditions, problems)
    out = []
    for name, mine in sheet.groupby("track", sort=False):
        line, mine = int(mine.index.to_numpy()[0]) + 2, mine.sort_values("time").tail(model.given)
        apart = np.diff(mine["time"].to_numpy(float))
        if len(mine) < model.given:
            problems.append((line, "track", f"track {name} needs {model.given} frames with numbers"))
        elif not np.allclose(apart, model.frame, rtol=1e-3):
            odd = apart[np.argmax(np.abs(apart - model.frame))]
            said = f"track {name} needs frames {model.frame:g} apart, as those learned from (got {odd:g})"
            problems.append((line, "time", said))
        given = str(mine["treatment"].iloc[-1]) if "treatment" in mine else ""
        out.append(((name, given), mine))
    if problems:
        raise TrainingError(conditions, problems)
    return out


def tracks_of(spec: dict[str, Any], data: Path) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Tracks (n, T, channel), treatments (n,), channels, and the data's sha256.

    A sheet has a row for each track and time; an archive one array (n, T) for each channel. Tracks begin at their first
    number; gaps are filled by straight lines; tracks that end early, or lack a tenth of their frames, are left out.
    """
    table = read_measurements(data)
    channels = list(map(str, spec.get("channels", [])))
    if not channels:
        raise ValueError("name what is read in 'channels'")
    if data.suffix.lower() == ".npz":
        raw = np.stack([table.matrix(c)[0] for c in channels], -1)
        label = _labels(table, spec, len(raw))
        if len(label) != len(raw):
            raise ValueError(f"'{spec['treatment']}' has {len(label)} values for {len(raw)} tracks")
    else:
        raw, label = _from_rows(table, spec, channels)
    length = int(spec.get("frames", 0)) or _common_length(raw)
    kept, of = [], []
    for track, one in zip(raw, label, strict=True):
        seen = np.isfinite(track).all(1)
        if not seen.any():
            continue
        first = int(seen.argmax())
        track, seen = track[first : first + length], seen[first : first + length]
        if len(track) < length or (~seen).mean() > _MOST_MISSING:
            continue
        t = np.arange(length)
        kept.append(np.stack([np.interp(t, t[seen], track[seen, c]) for c in range(len(channels))], -1))
        of.append(one)
    if len(kept) < _OUTER:
        raise ValueError(f"{len(kept)} tracks are whole enough to learn from; {_OUTER} are needed")
    still = [channel for c, channel in enumerate(channels) if np.ptp([track[:, c] for track in kept]) == 0]
    if still:
        raise ValueError(f"'{still[0]}' is the same in all tracks; leave it out")
    return np.array(kept), np.array(of), channels, table.sha256


def _common_length(raw: np.ndarray) -> int:
    """Frames that nine tenths of the tracks have, counted from their first number to their last."""
    seen = np.asarray(np.isfinite(raw).all(2))
    spans = [int(np.flatnonzero(s)[-1] - np.flatnonzero(s)[0]) + 1 for s in seen if s.any()]
    return int(np.quantile(spans, 0.1)) if spans else 0


def _labels(table: Table, spec: dict[str, Any], n: int) -> np.ndarray:
    return table.column(spec["treatment"]).astype(str) if "treatment" in spec else np.full(n, "")


def _from_rows(table: Table, spec: dict[str, Any], channels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    if "track" not in spec or "time" not in spec:
        raise ValueError("name the columns of the track's number and of the time in 'track' and 'time'")
    number, time = table.column(spec["track"]), np.asarray(table.column(spec["time"]), float)
    values, _ = table.matrix(features=channels)
    given = _labels(table, spec, len(number))
    frames, at = np.unique(time, return_inverse=True)
    ids, row = np.unique(number, return_inverse=True)
    raw = np.full((len(ids), len(frames), len(channels)), np.nan)
    raw[row, at] = values
    label = np.empty(len(ids), dtype=given.dtype)
    label[row] = given
    return raw, label


def _scores(
    tracks: np.ndarray,
    label: np.ndarray,
    given: int,
    channels: list[str],
    seed: int,
    progress: Progress | None,
) -> dict[str, dict[str, float]]:
    """Left-out tracks by the model, persistence, the treatment's mean and ridge: rmse by channel, skill, coverage."""
    fold = np.random.default_rng(seed + 1).permutation(len(tracks)) % _OUTER
    told: dict[str, np.ndarray] = {
        name: np.empty_like(tracks[:, given:]) for name in ("model", "persistence", "treatment mean", "ridge")
    }
    half = np.empty_like(tracks[:, given:])
    for k in range(_OUTER):
        out = fold == k
        past = tracks[out, :given]
        told["model"][out], width = forecast(tracks[~out], label[~out], past, label[out], 0.9, seed)
        half[out] = width
        told["persistence"][out] = past[:, -1:]
        common = tracks[~out, given:].mean(0)
        told["treatment mean"][out] = [
            tracks[~out][label[~out] == t][:, given:].mean(0) if (label[~out] == t).any() else common
            for t in label[out]
        ]
        told["ridge"][out] = _ridge(tracks[~out], past, given)
        if progress is not None:
            progress(k + 1, _OUTER + 1, "left-out tracks")
    truth, table = tracks[:, given:], {}
    for name, guess in told.items():
        row = {}
        for c, channel in enumerate(channels):
            off = ((guess - truth)[..., c] ** 2).mean()
            row[f"{channel} rmse"] = float(np.sqrt(off))
            row[f"{channel} skill"] = float(1 - off / ((told["persistence"] - truth)[..., c] ** 2).mean())
        table[name] = row
    for c, channel in enumerate(channels):
        low, high = (told["model"] + sign * half for sign in (-1, 1))
        table["model"][f"{channel} inside 90 %"] = coverage(truth[..., c], low[..., c], high[..., c])
    return table


def _ridge(tracks: np.ndarray, past: np.ndarray, given: int) -> np.ndarray:
    """Every coming frame regressed on the past ones, with penalty 1000 on standardised inputs."""
    x, y = tracks[:, :given].reshape(len(tracks), -1), tracks[:, given:].reshape(len(tracks), -1)
    centre, scale, level = x.mean(0), x.std(0) + 1e-9, y.mean(0)
    z = (x - centre) / scale
    w = np.linalg.solve(z.T @ z + _RIDGE * np.eye(z.shape[1]), z.T @ (y - level))
    guess = (past.reshape(len(past), -1) - centre) / scale @ w + level
    return guess.reshape(len(past), -1, tracks.shape[2])
