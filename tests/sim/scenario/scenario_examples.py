"""The good scenarios of `data`, and the files that they name."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"
FILES = (
    "models/mapk.xml",
    "models/measured.csv",
    "cells.csv",
    "cell_rules.csv",
    "weights/response.safetensors",
    "weights/contact.safetensors",
    "weights/niche.safetensors",
    "weights/shape.safetensors",
)


def furnish(folder: Path) -> Path:
    """Makes the (empty) models and weights that the scenarios of `data` name."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder
