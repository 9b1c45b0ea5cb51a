"""What tests on published SBML share: the archives of ../shared/data/sbml, and how the suite writes a case."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "sbml"
NEEDED = [
    pytest.mark.validation,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/sbml is not here"),
]
MODELS = [5, 9, 10, 12, 19, 21, 35, 49, 64, 84, 88, 140, 157, 163, 183, 220, 255, 293, 313, 396, 474, 658]


def biomodels(target: Path) -> dict[int, Path]:
    """The files of BioModels by number, unpacked into `target`."""
    with tarfile.open(SHARED / "biomodels.tar.gz") as archive:
        archive.extractall(target, filter="data")
    return {number: target / "biomodels" / f"BIOMD{number:010d}.xml" for number in MODELS}


def suite(target: Path, part: str) -> tuple[Path, list[dict]]:
    """The folder of a part ("semantic", "stochastic") of the SBML Test Suite and its cases, unpacked into `target`."""
    with tarfile.open(SHARED / "sbml-test-suite.tar.gz") as archive:
        members = [m for m in archive.getmembers() if f"/{part}/" in m.name]
        archive.extractall(target, members, filter="data")
    folder = target / "sbml-test-suite" / part
    return folder, json.loads((folder / "index.json").read_text())


def settings(case: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in (case / "settings.txt").read_text().splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def results(case: Path) -> dict[str, np.ndarray]:
    """The columns of a case's table by their names, time first."""
    rows = [row for row in csv.reader((case / "results.csv").read_text().splitlines()) if row]
    return dict(zip((name.strip() for name in rows[0]), np.array(rows[1:], dtype=float).T))
