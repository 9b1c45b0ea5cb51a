"""What users may rely on. A name that is added or taken away must be added or taken away here too."""

import inspect
import subprocess
import sys

import pytest

import mechanistic
import neural
import sim

PUBLIC = {
    sim: {"Scenario", "cells_at", "open_run", "run", "to_anndata"},
    mechanistic: {"PathwayModel", "PathwayState", "load_model"},
    neural: {
        "MLPField",
        "Manipulator",
        "PerturbationModel",
        "Representation",
        "ResponseNetwork",
        "TissueNetwork",
        "TracesModel",
        "TransportModel",
        "solve",
    },
}

#: parameters that calls outside the project use, in their order
CALLS = {
    "sim.run": ["scenario", "output", "resume", "force"],
    "sim.open_run": ["path"],
    "sim.cells_at": ["tree", "time"],
    "sim.to_anndata": ["tree", "time"],
    "sim.Scenario.load": ["path", "overrides", "seed", "allow_outside"],
    "sim.Scenario.parse": ["text", "file", "overrides", "seed", "allow_outside"],
    "mechanistic.load_model": ["path_or_text"],
    "mechanistic.PathwayModel.simulate": [
        "times",
        "cells",
        "initial",
        "parameters",
        "method",
        "rtol",
        "atol",
        "seed",
    ],
    "mechanistic.PathwayModel.advance": ["state", "dt"],
    "mechanistic.PathwayModel.vector_field": [],
    "neural.Manipulator.load": ["path"],
    "neural.Representation.load": ["path"],
    "neural.Representation.encode": ["tables"],
    "neural.Representation.decode": ["ur"],
    "neural.Manipulator.evolve": ["ur", "times", "conditions"],
    "neural.PerturbationModel.predict": ["doses"],
    "neural.TracesModel.predict": ["past", "treatment"],
    "neural.TransportModel.evolve": ["cells", "start", "end", "seed"],
    "neural.solve": ["field", "y0", "times", "controls", "breaks"],
}

HEAVY = (
    "torch",
    "numba",
    "roadrunner",
    "tellurium",
    "matplotlib",
    "xarray",
    "zarr",
    "pandas",
    "scipy",
    "pint",
)


@pytest.mark.parametrize("package", PUBLIC, ids=lambda p: p.__name__)
def test_the_public_names_are_these_and_all_of_them_load(package):
    assert set(package.__all__) == PUBLIC[package]
    for name in package.__all__:
        assert callable(getattr(package, name))
    with pytest.raises(AttributeError, match="nothing_of_the_sort"):
        _ = package.nothing_of_the_sort


@pytest.mark.parametrize("name", CALLS)
def test_calls_take_what_they_took(name):
    package, *path = name.split(".")
    thing = {"sim": sim, "mechanistic": mechanistic, "neural": neural}[package]
    for part in path:
        thing = getattr(thing, part)
    names = [p for p in inspect.signature(thing).parameters if p != "self"]
    assert names[: len(CALLS[name])] == CALLS[name]


def test_no_module_takes_the_place_of_a_public_name():
    """`from sim import run` is the function even after every module of the package was imported."""
    script = """
import importlib, pkgutil
import sim, mechanistic, neural
for package in (sim, mechanistic, neural):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in package.__all__:
        assert callable(getattr(package, name)), name
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "statement",
    [
        "import sim",
        "import mechanistic",
        "import neural",
        "from sim import Scenario",
        "import sim.cli",
        "import sim.build",
    ],
)
def test_imports_are_light(statement):
    script = f"import sys\n{statement}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
