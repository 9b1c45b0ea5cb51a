"""`train`: a training file in, weights with a card out.

    train("scenarios/training/pc9_drugs.yaml", output=None, resume=False, progress=print)

Kinds: `manipulator` (drug response of wells), `transport` (populations between snapshots), `perturbation`
(responses to drugs alone and together), `traces` (the rest of a track), `representation` (spaces of cells),
`tissue` (contact network), `niche` (expression by type and niche) and `law` (how tracked cells act on each other).
What they share: keys checked before anything runs, a checkpoint to resume from, a model card with
scores beside their controls.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from neural.errors import Misfit, TrainingError
from neural.progress import Progress
from neural.training_file import TrainingFile
from neural.training_keys import (
    SCHEMA,
    check_law,
    check_manipulator,
    check_representation,
    check_transport,
)

#: kind of training -> module and function that fits it and writes the weights
TRAINERS = {
    "manipulator": "neural.train_drugs:train_manipulator",
    "transport": "neural.train_transport:train_transport",
    "perturbation": "neural.train_perturbation:train_perturbation",
    "traces": "neural.train_traces:train_traces",
    "representation": "neural.encoders.train:train_representation",
    "tissue": "neural.tissue.train_contact:train_tissue",
    "niche": "neural.tissue.train_niche:train_niche",
    "law": "neural.tissue.train_law:train_law",
}
_FURTHER = {
    "manipulator": check_manipulator,
    "representation": check_representation,
    "transport": check_transport,
    "law": check_law,
}


@dataclass(frozen=True)
class Training:
    """A checked training file: its content, the data it needs (None where none), where weights go, and its lines."""

    file: Path
    spec: dict[str, Any]
    data: Path | None
    output: Path
    lines: dict[str, int]


def load_training(path: str | os.PathLike, need_data: bool = True, elsewhere: Sequence[str] = ()) -> Training:
    """Read and check a training file; light (no torch).

    Args:
        elsewhere: kinds that others read, of which one may be meant.

    Raises:
        TrainingError: every problem of the file at once, each with line and key; with `need_data`, also
            data that are not there.
    """
    told = TrainingFile(path, SCHEMA, _FURTHER, elsewhere)
    spec, data = told.spec, None
    if "data" in spec:
        data = told.path.parent / spec["data"]["path"]
        if need_data:
            hint = "; the measurements are not shipped, point this at your own copy"
            told.needs("data.path", data, hint)
    for part, key in (("data", "descriptions"), ("held_out", "path")):
        if key in spec.get(part, {}):
            other = told.path.parent / spec[part][key]
            if need_data:
                told.needs(f"{part}.{key}", other)
            spec[part][key] = str(other)
    told.refuse()
    return Training(told.path, spec, data, told.output, told.lines)


def train(
    path: str | os.PathLike,
    output: str | os.PathLike | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    *,
    tables: Mapping[str, Path] | None = None,
    elsewhere: Sequence[str] = (),
) -> Path:
    """Fit what the training file asks for; returns the path of the weights. A model card (.md) lies beside
    it.

    Args:
        path: the training file.
        output: where the weights go; the file's own `output` (relative to it) by default.
        resume: go on from the checkpoint that an interrupted run left beside the output, if it is of the
            same file and data; the result is the same bits as without the interruption.
        progress: called as progress(iteration, total, text).
        elsewhere: kinds that others train, of which one may be meant.
        tables: by key (`data`, `held_out`), the tables that stand for what the file says is simulated.

    Raises:
        TrainingError: the file or its data are wrong; nothing was written.
    """
    job = load_training(path, elsewhere=elsewhere)
    if "simulated" in job.spec:
        if tables is None:
            message = "these tracks are simulated first; cellweave train does that"
            raise TrainingError(path, [(job.lines.get("simulated"), "simulated", message)])
        given: dict[str, Any] = {key: {"path": str(table)} for key, table in tables.items()}
        asked = job.spec["simulated"]
        given["made"] = {"made": f"{asked['scenario']} run with seeds {asked['seeds']}"}
        if "held_out" in asked:
            given["made"]["left out"] = (
                f"the same, as held_out sets it, with seeds {asked['held_out']['seeds']}"
            )
        job = replace(job, spec={**job.spec, **given}, data=tables["data"])
    target = Path(output) if output is not None else job.output
    from neural.cards import as_markdown
    from neural.threads import one_thread

    target.parent.mkdir(parents=True, exist_ok=True)
    module, function = TRAINERS[job.spec["kind"]].split(":")
    trainer = getattr(import_module(module), function)
    checkpoint = target.with_name(f".{target.name}.checkpoint")
    with one_thread():
        try:
            trainer(job.spec, job.data, target, checkpoint, resume, progress)
        except (ValueError, KeyError, OSError) as error:
            if job.data is None or isinstance(error, TrainingError):
                raise
            if isinstance(error, OSError) and not _reads(job, error):
                raise
            for file in target.parent.glob(f"{checkpoint.name}*"):  # of a fit that can never be ended
                file.unlink()
            said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            key = error.key if isinstance(error, Misfit) else "data.path"
            raise TrainingError(path, [(_line(job.lines, key), key, said)]) from error
    target.with_suffix(".md").write_text(as_markdown(target), encoding="utf-8")
    return target


def _line(lines: dict[str, int], key: str) -> int | None:
    """The line of `key`, or of the part of the file that it would stand in."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key, 1)


def _reads(job: Training, error: OSError) -> bool:
    """Whether it is the measurements that could not be read, not something that could not be written."""
    return error.filename is not None and Path(error.filename) == job.data
