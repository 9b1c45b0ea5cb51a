"""Exact versions, the script that checks everything, and the weight of imports."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(requirement: str) -> str:
    """`pyright[nodejs]>=1.1` as `pyright`."""
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")  # type: ignore[index]


NEEDED = [plain(r) for r in PROJECT["dependencies"]]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def test_every_requirement_is_pinned_exactly() -> None:
    wanted = NEEDED + [plain(r) for extra in PROJECT["optional-dependencies"].values() for r in extra]
    pinned = {name.lower().replace("_", "-") for name in PINS}
    assert sorted(set(wanted) - pinned) == []
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in PINS.values())


def test_pins_are_what_these_tests_run_with() -> None:
    found = {
        name: importlib.metadata.version(name).split("+")[0] for name in ("numpy", "torch", "zarr", "pytest")
    }
    assert {name: PINS[name] for name in found} == found


@pytest.mark.parametrize(
    ("module", "refused"),
    [
        (
            "sim.cli",
            {"numpy", "scipy", "pandas", "xarray", "zarr", "torch", "numba", "matplotlib", "roadrunner"},
        ),
        ("sim.scenario", {"numpy", "torch", "numba", "matplotlib", "roadrunner"}),
        ("sim.core.schedule", {"torch", "numba", "matplotlib", "roadrunner"}),
        ("sim.build", {"torch", "numba", "matplotlib", "roadrunner", "pandas", "xarray"}),
        ("mechanistic", {"numpy", "numba", "roadrunner"}),
        ("neural", {"numpy", "torch"}),
    ],
)
def test_imports_are_light(module: str, refused: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert sorted(refused & set(done.stdout.split())) == []


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    from sim.version import VERSION

    assert PROJECT["version"] == VERSION


def test_the_script_takes_its_command_from_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    found = subprocess.run(
        ["grep", "-m1", "-F", "--", "-m pytest", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[test]'"
    )
    assert found.stdout in (ROOT / "README.md").read_text()
    assert "grep -m1 -F -- '-m pytest' README.md" in script.read_text()
