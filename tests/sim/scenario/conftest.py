"""Good scenarios in a folder with the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
FILES = (
    "models/mapk.xml",
    "models/measured.csv",
    "weights/response.safetensors",
    "weights/contact.safetensors",
)


def furnish(folder: Path) -> Path:
    """Makes the (empty) models and weights that the scenarios of `data` name."""
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return furnish(tmp_path)


@pytest.fixture(params=["monolayer", "spheroid"])
def good(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Each good scenario, copied beside its files."""
    file = folder / f"{request.param}.yaml"
    file.write_text((DATA / file.name).read_text(encoding="utf-8"), encoding="utf-8")
    return file


@pytest.fixture
def monolayer(folder: Path) -> Path:
    """The scenario that has every key."""
    file = folder / "monolayer.yaml"
    file.write_text((DATA / file.name).read_text(encoding="utf-8"), encoding="utf-8")
    return file
