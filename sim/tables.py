"""Tables of results: CSV to stdout or to a file, NetCDF or Zarr by the suffix."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import ScenarioError, StoreError, escaped
from sim.store.disk import discard, disk_errors

if TYPE_CHECKING:
    import xarray

SUFFIXES = (".csv", ".nc", ".zarr")


def check_output(output: Path | None, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Say before anything is computed what would keep `write`, or `write_text`, from writing.

    Args:
        suffixes: by which the form is chosen; empty where there is one form.

    Raises:
        ScenarioError: an unknown suffix, no such folder, or a store that would be lost.
        StoreError: the folder cannot be written to.
    """
    if output is None:
        return
    name = escaped(output, 200)
    if suffixes and output.suffix.lower() not in suffixes:
        raise ScenarioError(f"{name}: the suffix says the form; write one of {', '.join(suffixes)}")
    if not output.parent.is_dir():
        raise ScenarioError(f"{name}: there is no folder {escaped(output.parent, 200)}")
    if output.suffix.lower() == ".zarr" and os.path.lexists(output):
        raise ScenarioError(f"{name}: exists; choose another name or remove it")
    if output.is_dir():
        raise ScenarioError(f"{name}: is a folder")
    if output.exists() and not output.is_file():
        raise ScenarioError(f"{name}: is a device or a pipe; without it, the table goes to stdout")
    if not os.access(output.parent, os.W_OK):
        raise StoreError(f"{name}: the folder {escaped(output.parent, 200)} cannot be written to")


def write(data: xarray.Dataset, rows: Iterable[str], output: Path | None) -> None:
    """Write `rows` as CSV, to stdout without `output`; or `data` as NetCDF or Zarr by the suffix.

    A file or a store appears whole or not at all.

    Raises:
        ScenarioError: see `check_output`.
        StoreError: the disk is full, or cannot be written to.
    """
    check_output(output)
    if output is None or output.suffix.lower() == ".csv":
        write_text(rows, output)
        return
    if output.suffix.lower() == ".zarr":
        import warnings

        with whole(output) as part, warnings.catch_warnings():
            # consolidated metadata are not in the Zarr 3 specification yet; readers look for them all the same
            warnings.filterwarnings("ignore", "Consolidated metadata")
            data.to_zarr(part, mode="w-", zarr_format=3)
        return
    with whole(output) as part:
        # NetCDF 3, which needs nothing but scipy and has no 64-bit integers
        data.assign_coords(cell=data["cell"].astype("int32")).to_netcdf(part, engine="scipy")


def write_text(rows: Iterable[str], output: Path | None) -> None:
    """Write lines to a file, which appears whole or not at all, or to stdout.

    Raises:
        StoreError: the disk is full, or cannot be written to.
        SystemExit: 141, nobody reads stdout any more.
    """
    if output is None:
        try:
            with disk_errors(Path("stdout")):
                sys.stdout.writelines(rows)
                sys.stdout.flush()
        except StoreError as error:
            # what is left in the buffer would be tried once more when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if isinstance(error.__cause__, BrokenPipeError):
                raise SystemExit(141) from None
            raise
        return
    with whole(output) as part, part.open("w", encoding="utf-8", newline="") as file:
        file.writelines(rows)


@contextmanager
def whole(output: Path) -> Iterator[Path]:
    """A path beside `output`, of a file or a folder, that takes its place when all went well.

    Raises:
        StoreError: the disk is full, or cannot be written to.
    """
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with disk_errors(output):
            yield part
            part.replace(output)
    finally:
        if part.is_dir():
            discard(part)
        else:
            part.unlink(missing_ok=True)
