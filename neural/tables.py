"""Tables of measurements as training files name them: CSV, NumPy archives and AnnData, read the same way.

`column` gives one value a row (a CSV column, a key of `.obs`, a one-dimensional array of an npz), `matrix` many (CSV
columns, `.X`, a layer, `.obsm`, a two-dimensional array). Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neural.spelling import nearest


class Table(Protocol):
    """Rows of measurements.

    Attributes:
        sha256: of the file.
        rows: how many.
    """

    sha256: str
    rows: int

    def column(self, name: str) -> np.ndarray:
        """(row,) values; KeyError with the names there are."""
        ...

    def matrix(
        self, name: str | None = None, features: Sequence[str] | None = None, leave: Sequence[str] = ()
    ) -> tuple[np.ndarray, list[str]]:
        """(row, feature) numbers and the features' names. `features` chooses; `leave` are columns of other use."""
        ...


def read_measurements(path: Path) -> Table:
    """The table in `path`, by its suffix: .csv, .tsv, .npz or .h5ad.

    Raises:
        ValueError: another suffix, or a file that is not what its suffix says.
        OSError: it cannot be opened.
    """
    blob = Path(path).read_bytes()
    digest, suffix = hashlib.sha256(blob).hexdigest(), Path(path).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _Sheet(path, digest, "\t" if suffix == ".tsv" else ",")
    if suffix == ".npz":
        return _Archive(path, digest)
    if suffix == ".h5ad":
        return _AnnData(path, digest)
    raise ValueError(f"'{suffix}' is not read; give .csv, .tsv, .npz or .h5ad")


def _chosen(
    values: np.ndarray, names: list[str], features: Sequence[str] | None
) -> tuple[np.ndarray, list[str]]:
    if features is None:
        return values, names
    places = [names.index(_known(f, names, "feature")) for f in map(str, features)]
    return values[:, places], [names[k] for k in places]


def _known(name: str, names: Sequence[str], what: str) -> str:
    if name in names:
        return name
    hint = nearest(name, names, f"there are {', '.join(map(str, names[:20]))}")
    raise KeyError(f"no {what} '{name}' in the data{hint}")


class _Sheet:
    def __init__(self, path: Path, digest: str, separator: str):
        import pandas as pd

        try:
            self._frame = pd.read_csv(path, sep=separator)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(f"is not a table ({error})") from None
        self.sha256, self.rows = digest, len(self._frame)

    def column(self, name: str) -> np.ndarray:
        return self._frame[_known(name, list(map(str, self._frame)), "column")].to_numpy()

    def matrix(self, name=None, features=None, leave=()) -> tuple[np.ndarray, list[str]]:
        numbers = self._frame.select_dtypes("number")
        names = [str(c) for c in (numbers if features is None else self._frame) if c not in leave]
        if not names:
            raise ValueError("the table has no numbers left to learn from")
        values, chosen = _chosen(self._frame[names].to_numpy(), names, features)
        return values.astype(float), chosen


class _Archive:
    def __init__(self, path: Path, digest: str):
        try:
            with np.load(path, allow_pickle=False) as z:
                self._arrays = {k: z[k] for k in z.files}
        except ValueError as error:
            raise ValueError(f"is not a NumPy archive of plain arrays ({error})") from None
        self.sha256 = digest
        self.rows = max((len(a) for a in self._arrays.values() if a.ndim), default=0)

    def column(self, name: str) -> np.ndarray:
        found = self._arrays[_known(name, list(self._arrays), "array")]
        if found.ndim != 1:
            raise ValueError(f"array '{name}' must have one value a row, got shape {found.shape}")
        return found

    def matrix(self, name=None, features=None, leave=()) -> tuple[np.ndarray, list[str]]:
        if name is None:
            wide = [k for k, a in self._arrays.items() if a.ndim == 2]
            if len(wide) != 1:
                raise ValueError(f"say which array in data.values: {', '.join(wide) or 'none has two axes'}")
            name = wide[0]
        found = np.asarray(self._arrays[_known(name, list(self._arrays), "array")], float)
        if found.ndim != 2:
            raise ValueError(f"array '{name}' must be (row, feature), got shape {found.shape}")
        return _chosen(found, [f"{name}{k + 1}" for k in range(found.shape[1])], features)


class _AnnData:
    def __init__(self, path: Path, digest: str):
        import anndata

        try:
            self._data = anndata.read_h5ad(path)
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"is not AnnData ({error})") from None
        self.sha256, self.rows = digest, self._data.n_obs

    def column(self, name: str) -> np.ndarray:
        return np.asarray(self._data.obs[_known(name, list(map(str, self._data.obs)), "column of .obs")])

    def matrix(self, name=None, features=None, leave=()) -> tuple[np.ndarray, list[str]]:
        found: Any = self._data.X
        names = list(map(str, self._data.var_names))
        if name is not None and name in self._data.layers:
            found = self._data.layers[name]
        elif name is not None:
            _known(name, [*map(str, self._data.obsm), *map(str, self._data.layers)], "embedding or layer")
            found = self._data.obsm[name]
            names = [f"{name.removeprefix('X_')}{k + 1}" for k in range(found.shape[1])]
        dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
        return _chosen(np.asarray(dense, float), names, features)
