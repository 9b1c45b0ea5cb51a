"""`train`: a training file in, weights with a card out.

    train("scenarios/training/pc9_drugs.yaml", output=None, resume=False, progress=print)

Kinds: `manipulator` (drug response of wells, see fit_drugs) and `tissue` (contact network, see tissue.fit_contact).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from neural.errors import TrainingError
from neural.files import read_text
from neural.strict_yaml import read

Progress = Callable[[int, int, str], None]
Problems = list[tuple[int | None, str | None, str]]


@dataclass(frozen=True)
class Key:
    """What a key of a training file may hold. `low` is the smallest number allowed."""

    types: tuple[type, ...]
    required: bool = True
    low: float | None = None
    above: float | None = None
    keys: dict[str, Key] | None = None


_NUMBER = (int, float)
_COMMON = {
    "training": Key((int,), low=1),
    "kind": Key((str,)),
    "name": Key((str,)),
    "output": Key((str,), required=False),
    "notes": Key((list,), required=False),
}
_SCHEMA: dict[str, dict[str, Key]] = {
    "manipulator": {
        **_COMMON,
        "data": Key(
            (dict,),
            keys={
                "path": Key((str,)),
                "replicates": Key((int,), low=1),
                "in_use": Key((list,), required=False),
            },
        ),
        "drugs": Key((dict,)),
        "space": Key((dict,), keys={"name": Key((str,)), "components": Key((list,))}),
        "architecture": Key(
            (dict,),
            required=False,
            keys={
                "hidden": Key((int,), required=False, low=1),
                "residual": Key(_NUMBER, required=False, low=0),
                "step": Key(_NUMBER, required=False, above=0),
                "power": Key(_NUMBER, required=False, low=1),
                "monolayer": Key(
                    (dict,),
                    required=False,
                    keys={n: Key(_NUMBER, required=False, low=0) for n in ("clustering", "overlap")},
                ),
            },
        ),
        "fit": Key(
            (dict,),
            required=False,
            keys={
                "folds": Key((int,), required=False, low=2),
                "seed": Key((int,), required=False, low=0),
                "iterations": Key((int,), required=False, low=20),
                "rate": Key(_NUMBER, required=False, above=0),
                "frames_worth": Key(_NUMBER, required=False, above=0),
                "day_to_day": Key(_NUMBER, required=False, above=0),
                "taught": Key(_NUMBER, required=False, low=0),
                "drug_background": Key(_NUMBER, required=False, above=0),
                "drift": Key(_NUMBER, required=False, above=0),
            },
        ),
    },
    "tissue": {
        **_COMMON,
        "radius": Key(_NUMBER, above=0),
        "cell_radius": Key(_NUMBER, above=0),
        "layers": Key((dict,), keys={p: Key((int,), low=1) for p in ("train", "check", "test")}),
        "architecture": Key((dict,), keys={"hidden": Key((int,), low=1)}),
        "fit": Key((dict,), keys={"seed": Key((int,), low=0), "iterations": Key((int,), low=20)}),
    },
}


@dataclass(frozen=True)
class Training:
    """A checked training file: its content, the data it needs (None where none) and where weights go."""

    file: Path
    spec: dict[str, Any]
    data: Path | None
    output: Path


def load_training(path: str | os.PathLike, need_data: bool = True) -> Training:
    """Read and check a training file; light (no torch).

    Raises:
        TrainingError: every problem of the file at once, each with line and key; with `need_data`, also
            data that are not there.
    """
    file = Path(path)
    spec, lines = read(read_text(path), path)
    problems: Problems = []
    kind = spec.get("kind")
    if kind not in _SCHEMA:
        close = get_close_matches(str(kind), _SCHEMA, 1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(_SCHEMA)}"
        raise TrainingError(
            path, [(lines.get("kind", 1), "kind", f"unknown kind of training (got {kind!r}){hint}")]
        )
    _check(spec, _SCHEMA[kind], "", lines, problems)
    if not problems and spec["training"] != 1:
        problems.append(
            (lines["training"], "training", f"this version reads training: 1 (got {spec['training']})")
        )
    if kind == "manipulator":
        _check_manipulator(spec, lines, problems)
    data = None
    if not problems and kind == "manipulator":
        data = file.parent / spec["data"]["path"]
        if need_data and not data.is_file():
            problems.append(
                (
                    lines["data.path"],
                    "data.path",
                    f"no such file (got {spec['data']['path']!r}); the measurements are not shipped, "
                    "point this at your own copy",
                )
            )
    if problems:
        raise TrainingError(path, sorted(problems, key=lambda p: p[0] or 0))
    output = Path(os.path.normpath(file.parent / spec.get("output", f"{spec['name']}.safetensors")))
    return Training(file, spec, data, output)


def train(
    path: str | os.PathLike,
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fit what the training file asks for; returns the path of the weights. A model card (.md) lies beside
    it.

    Args:
        path: the training file.
        output: where the weights go; the file's own `output` (relative to it) by default.
        resume: go on from the checkpoint that an interrupted run left beside the output, if it is of the
            same file and data; the result is the same bits as without the interruption.
        progress: called as progress(iteration, total, text).

    Raises:
        TrainingError: the file or its data are wrong; nothing was written.
    """
    job = load_training(path)
    target = Path(output) if output is not None else job.output
    from neural.cards import as_markdown
    from neural.threads import one_thread

    target.parent.mkdir(parents=True, exist_ok=True)
    with one_thread():
        if job.spec["kind"] == "manipulator":
            from neural.train_drugs import train_manipulator

            assert job.data is not None
            checkpoint = target.with_name(f".{target.name}.checkpoint")
            try:
                train_manipulator(job.spec, job.data, target, checkpoint, resume, progress)
            except (ValueError, OSError) as error:
                if isinstance(error, TrainingError):
                    raise
                raise TrainingError(path, [(None, "data.path", str(error))]) from error
        else:
            from neural.tissue.train_contact import train_tissue

            train_tissue(job.spec, target, progress)
    target.with_suffix(".md").write_text(as_markdown(target), encoding="utf-8")
    return target


def _check(value: Any, keys: dict[str, Key], at: str, lines: dict[str, int], problems: Problems) -> None:
    def name(key: str) -> str:
        return f"{at}.{key}".lstrip(".")

    for key in value:
        if key not in keys:
            close = get_close_matches(key, keys, 1, 0.6)
            hint = f"; did you mean '{close[0]}'?" if close else f"; allowed: {', '.join(keys)}"
            problems.append((lines.get(name(key)), name(key), f"unknown key '{key}'{hint}"))
    for key, rule in keys.items():
        if key not in value:
            if rule.required:
                problems.append((lines.get(at or "", 1), name(key), "is missing"))
            continue
        got, line = value[key], lines.get(name(key))
        if isinstance(got, bool) or not isinstance(got, rule.types):
            wanted = " or ".join(
                {str: "text", dict: "a mapping", list: "a list"}.get(t, "a number") for t in rule.types[:1]
            )
            problems.append((line, name(key), f"must be {wanted} (got {got!r})"))
        elif rule.low is not None and not rule.low <= got < float("inf"):
            problems.append((line, name(key), f"must be at least {rule.low:g} (got {got!r})"))
        elif rule.above is not None and not rule.above < got < float("inf"):
            problems.append((line, name(key), f"must be above {rule.above:g} (got {got!r})"))
        elif rule.keys is not None:
            _check(got, rule.keys, name(key), lines, problems)


def _check_manipulator(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    drugs, space = spec.get("drugs"), spec.get("space")
    components = space.get("components") if isinstance(space, dict) else None
    if not isinstance(drugs, dict) or not isinstance(components, list):
        return
    for drug, theirs in drugs.items():
        if not isinstance(theirs, str):
            problems.append(
                (lines.get(f"drugs.{drug}"), f"drugs.{drug}", f"must be the data's name (got {theirs!r})")
            )
    if not drugs:
        problems.append((lines["drugs"], "drugs", "names no drug"))
    component = {"name": Key((str,)), "hours": Key(_NUMBER, above=2), "reads": Key((dict,), required=False)}
    if not components:
        problems.append((lines["space.components"], "space.components", "is empty"))
    for i, entry in enumerate(components):
        at = f"space.components[{i}]"
        if not isinstance(entry, dict):
            problems.append((lines.get(at), at, f"must be a mapping (got {entry!r})"))
            continue
        _check(entry, component, at, lines, problems)
        rates = {r: Key(_NUMBER, required=False) for r in ("division", "apoptosis", "lysis", "clearance")}
        if isinstance(entry.get("reads"), dict):
            _check(entry["reads"], rates, f"{at}.reads", lines, problems)
