"""Which cellweave, and with which libraries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "numpy",
    "scipy",
    "numba",
    "torch",
    "torchdiffeq",
    "torch-geometric",
    "python-libsbml",
    "libroadrunner",
    "zarr",
    "xarray",
)


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


VERSION = _version_of("cellweave")


def made_by() -> dict[str, str]:
    """What a stopped run shares with the one that goes on from it, whatever it simulates."""
    from sim.core.random import KEYED_BY

    return {"version": VERSION, "random_numbers": KEYED_BY}


def versions() -> dict[str, str]:
    """Versions of cellweave, Python and the libraries whose numbers a result depends on."""
    import platform

    return {
        "cellweave": VERSION,
        "python": platform.python_version(),
        **{name: _version_of(name) for name in _LIBRARIES},
    }
