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


def versions() -> dict[str, str]:
    """Versions of cellweave, Python and the libraries whose numbers a result depends on."""
    import platform

    return {
        "cellweave": VERSION,
        "python": platform.python_version(),
        **{name: _version_of(name) for name in _LIBRARIES},
    }
