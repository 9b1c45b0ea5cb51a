"""Wells of a drug-combination time course: doses, curves, plates; and which wells may be trained on.

Reads an .npz with Y (well, frame, channel), time_h (frame,), exp, plate (well,) and dose_uM (well,; JSON text
{"drug": uM}). The frames of one well may hold several replicate wells, one after the other, each starting
again at 0 h (the PC9 set: 75 frames are three replicates of 25, 0 to 72 h, although its time_h runs on to
222 h). How many is declared by the training file and checked against the data here.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neural.errors import Misfit, shown
from neural.tables import Archive, read_measurements

_CHANNELS = 3
# mean difference of log2 live area that tells one course from several
_ALIKE = 0.5


@dataclass(frozen=True)
class Wells:
    """Curves of wells, their doses and where they come from.

    Attributes:
        time: (T,) [min], of one replicate.
        dose: (well, drug) [uM] in the order of `drugs`.
        drugs: the user's names of the drugs.
        curves: (well, replicate, T, channel) [% of the image].
        plate: (well,) index into `plates`, pairs (experiment, plate); plates that list the same control
            well are one plate.
        pair: (well,) index into `plates` as listed in the file, for scores by plate.
        experiment: (well,) index of the experiment.
        shared: (well,) the first well with the same curves (a well may be listed for two plates), else its
            own.
        sha256: of the file.
    """

    time: np.ndarray
    dose: np.ndarray
    drugs: list[str]
    curves: np.ndarray
    plate: np.ndarray
    plates: list[tuple[str, str]]
    pair: np.ndarray
    experiment: np.ndarray
    experiments: list[str]
    shared: np.ndarray
    sha256: str

    @property
    def drugs_given(self) -> np.ndarray:
        """(well,) how many drugs a well got."""
        return (self.dose > 0).sum(1)


def read_wells(path: str | os.PathLike, drugs: dict[str, str], replicates: int) -> Wells:
    """Read the wells. `drugs` maps our names to the file's.

    Raises:
        ValueError: the file lacks something, names an unknown drug, or does not hold `replicates` replicates.
        OSError: it cannot be opened.
    """
    table = read_measurements(Path(path))
    if not isinstance(table, Archive):
        raise ValueError("must be a NumPy archive (.npz) of wells")
    y, hours, given, experiment, plate = _measured(table)
    doses = [_doses(text, i) for i, text in enumerate(given)]
    names = {theirs: ours for ours, theirs in drugs.items()}
    unknown = sorted({d for dose in doses for d in dose} - set(names))
    if unknown:
        raise Misfit("drugs", f"the data have a drug {unknown[0]!r} that the training file does not name")
    never = sorted(set(names) - {d for dose in doses for d, amount in dose.items() if amount > 0})
    if never:
        raise Misfit(f"drugs.{names[never[0]]}", f"no well was given {shown(never[0])}")
    if y.shape[1] % replicates:
        raise Misfit("data.replicates", f"{y.shape[1]} frames cannot be {replicates} replicates")
    frames = y.shape[1] // replicates
    if frames < 2:
        raise Misfit("data.replicates", f"a course has {frames} frame; two are needed")
    if not (np.diff(hours[:frames]) > 0).all():
        raise ValueError("time_h must ascend within a replicate")
    curves = y.reshape(len(y), replicates, frames, y.shape[2])
    _check_restarts(y[..., 0], frames)
    ours = list(drugs)
    dose = np.zeros((len(y), len(ours)))
    for i, given in enumerate(doses):
        for theirs, amount in given.items():
            dose[i, ours.index(names[theirs])] = amount
    experiments = sorted(set(experiment))
    pairs = sorted(set(zip(experiment.tolist(), plate.tolist(), strict=True)))
    first: dict[bytes, int] = {}
    shared = np.array([first.setdefault(y[i].tobytes() + dose[i].tobytes(), i) for i in range(len(y))])
    member = np.array([pairs.index((e, p)) for e, p in zip(experiment.tolist(), plate.tolist(), strict=True)])
    control = {}
    for p, (e, name) in enumerate(pairs):
        untreated = np.nonzero((member == p) & (dose == 0).all(1))[0]
        if not len(untreated):
            raise ValueError(f"plate '{name}' of experiment '{e}' has no untreated well")
        control[p] = int(shared[untreated[0]])
    plate_of = np.array([next(q for q in range(len(pairs)) if control[q] == control[int(p)]) for p in member])
    return Wells(
        time=60.0 * (hours[:frames] - hours[0]),
        dose=dose,
        drugs=ours,
        curves=curves,
        plate=plate_of,
        plates=pairs,
        pair=member,
        experiment=np.array([experiments.index(e) for e in experiment]),
        experiments=experiments,
        shared=shared,
        sha256=table.sha256,
    )


def _measured(table: Archive) -> tuple[np.ndarray, ...]:
    """Y (well, frame, channel), time_h (frame,), dose_uM, exp, plate (well,), which must go together."""
    y = table.array("Y", 3)
    columns = {name: table.array(name, 1) for name in ("time_h", "dose_uM", "exp", "plate")}
    y, hours = (_numbers(array, name) for array, name in ((y, "Y"), (columns["time_h"], "time_h")))
    if not len(y) or y.shape[2] != _CHANNELS:
        raise ValueError(f"Y must be (well, frame, {_CHANNELS} channels), got shape {y.shape}")
    for name, column in columns.items():
        wanted = y.shape[1] if name == "time_h" else len(y)
        if len(column) != wanted:
            what = "frames" if name == "time_h" else "wells"
            raise ValueError(f"{name} has {len(column)} values for {wanted} {what}")
    most = float(y[..., 0].max())
    if most <= 1.0:
        said = "in percent of the image, not as a share" if most > 0 else "above 0"
        raise ValueError(f"live area, the first channel of Y, must be {said} (its largest is {most:g})")
    return y, hours, columns["dose_uM"], columns["exp"].astype(str), columns["plate"].astype(str)


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    try:
        values = array.astype(float)
    except ValueError:
        raise ValueError(f"{name} must hold numbers (got {shown(str(array.flat[0]))})") from None
    if not np.isfinite(values).all():
        where = ", ".join(map(str, np.argwhere(~np.isfinite(values))[0]))
        raise ValueError(f"{name} must be finite (got {values[~np.isfinite(values)][0]} at [{where}])")
    return values


def _doses(text: object, well: int) -> dict[str, float]:
    """Doses [uM] by drug of the JSON text of a well."""
    try:
        given = json.loads(str(text))
        doses = {str(drug): float(amount) for drug, amount in given.items()}
    except (ValueError, TypeError, AttributeError):
        doses = {"": math.nan}
    if not all(0 <= amount < math.inf for amount in doses.values()):
        raise ValueError(
            f'dose_uM of well {well} must be doses from 0 on as {{"drug": 0.1}} (got {shown(str(text))})'
        )
    return doses


def _check_restarts(live: np.ndarray, frames: int) -> None:
    """Replicates start about alike, and no curve falls back inside one, or the declared number is wrong."""
    logs = np.log2(np.maximum(live, 0.1)).reshape(len(live), -1, frames)
    falls_back = np.diff(logs, axis=2).mean(0) < -_ALIKE
    starts_apart = np.abs(logs[:, :, 0] - logs[:, :1, 0]).mean(0) > _ALIKE
    if falls_back.any() or starts_apart.any():
        raise Misfit("data.replicates", f"the curves do not start again every {frames} frames")
