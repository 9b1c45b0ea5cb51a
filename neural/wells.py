"""Wells of a drug-combination time course: doses, curves, plates; and which wells may be trained on.

Reads an .npz with Y (well, frame, channel), time_h (frame,), exp, plate (well,) and dose_uM (well,; JSON text
{"drug": uM}). The frames of one well may hold several replicate wells, one after the other, each starting
again at 0 h (the PC9 set: 75 frames are three replicates of 25, 0 to 72 h, although its time_h runs on to
222 h). How many is declared by the training file and checked against the data here.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    blob = Path(path).read_bytes()
    with np.load(path, allow_pickle=False) as z:
        lacking = {"Y", "time_h", "exp", "plate", "dose_uM"} - set(z.files)
        if lacking:
            raise ValueError(f"the table lacks {', '.join(sorted(lacking))}")
        y, hours = z["Y"].astype(float), z["time_h"].astype(float)
        doses = [json.loads(str(d)) for d in z["dose_uM"]]
        experiment, plate = z["exp"].astype(str), z["plate"].astype(str)
    names = {theirs: ours for ours, theirs in drugs.items()}
    unknown = sorted({d for dose in doses for d in dose} - set(names))
    if unknown:
        raise ValueError(f"the data have a drug {unknown[0]!r} that the training file does not name")
    if y.shape[1] % replicates:
        raise ValueError(f"{y.shape[1]} frames cannot be {replicates} replicates")
    frames = y.shape[1] // replicates
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
        sha256=hashlib.sha256(blob).hexdigest(),
    )


def _check_restarts(live: np.ndarray, frames: int) -> None:
    """Replicates start about alike, and no curve falls back inside one, or the declared number is wrong."""
    logs = np.log2(np.maximum(live, 0.1)).reshape(len(live), -1, frames)
    falls_back = np.diff(logs, axis=2).mean(0) < -_ALIKE
    starts_apart = np.abs(logs[:, :, 0] - logs[:, :1, 0]).mean(0) > _ALIKE
    if falls_back.any() or starts_apart.any():
        raise ValueError(f"the curves do not start again every {frames} frames: 'replicates' is wrong")
