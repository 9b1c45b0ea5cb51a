"""Every dependency that the project declares is here and can be imported."""

import importlib
import re
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]


def names(requirements):
    return [re.match(r"[A-Za-z0-9._-]+", r)[0] for r in requirements]


DECLARED = names(PROJECT["dependencies"])
#: what a distribution is imported as, where its name does not say so
IMPORTED = {
    "libroadrunner": "roadrunner",
    "POT": "ot",
    "pillow": "PIL",
    "python-libsbml": "libsbml",
    "python-libsedml": "libsedml",
    "pyyaml": "yaml",
    "torch-geometric": "torch_geometric",
}


@pytest.mark.parametrize("name", DECLARED)
def test_it_is_installed_and_imports(name):
    assert version(name)
    importlib.import_module(IMPORTED.get(name, name.replace("-", "_")))


def test_what_the_packages_import_is_declared():
    """No module of ours leans on something that comes only by way of another dependency."""
    root = Path(__file__).resolve().parents[1]
    provided = packages_distributions()
    declared = {
        n.lower().replace("_", "-") for n in [*DECLARED, *names(PROJECT["optional-dependencies"]["test"])]
    }
    undeclared = set()
    for package in ("sim", "mechanistic", "neural", "scenarios"):
        for file in (root / package).rglob("*.py"):
            for found in re.findall(r"^\s*(?:from|import) ([a-zA-Z_]\w*)", file.read_text(), re.M):
                owners = {d.lower().replace("_", "-") for d in provided.get(found, ())}
                if (
                    owners
                    and not owners & declared
                    and found not in ("sim", "mechanistic", "neural", "scenarios")
                ):
                    undeclared.add(found)
    # numba brings llvmlite in the version that fits it, xarray brings pandas, pydantic its core
    assert undeclared <= {"llvmlite", "pandas", "pydantic_core"}


def test_constraints_pin_what_is_declared():
    root = Path(__file__).resolve().parents[1]
    pinned = {
        line.split("==")[0].lower()
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {n.lower() for n in DECLARED} <= pinned
