"""Good scenarios in a folder with the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario_examples import DATA, furnish


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the models and weights of the good scenarios."""
    return furnish(tmp_path)


@pytest.fixture
def monolayer(folder: Path) -> Path:
    """The scenario that has every key."""
    file = folder / "monolayer.yaml"
    file.write_text((DATA / file.name).read_text(encoding="utf-8"), encoding="utf-8")
    return file
