"""Tables of measurements as training files name them: CSV, NumPy archives and AnnData, read the same way.

`column` gives one value a row (a CSV column, a key of `.obs`, a one-dimensional array of an npz), `matrix` many (CSV
columns, `.X`, a layer, `raw`, `.obsm`, a two-dimensional array). Nothing is unpickled.
"""

from __future__ import annotations

import csv
import hashlib
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from neural.errors import shown
from neural.representations import embedding_key
from neural.spelling import nearest


class Table(Protocol):
    """Rows of measurements.

    Attributes:
        sha256: of the file.
        rows: how many.
        names: of the rows, where the file has any: the first column of a CSV if it has no header, `.obs_names`.
    """

    sha256: str
    rows: int
    names: list[str] | None

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
    with open(path, "rb") as file:
        digest, suffix = hashlib.file_digest(file, "sha256").hexdigest(), Path(path).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _Sheet(path, digest, "\t" if suffix == ".tsv" else ",")
    if suffix == ".npz":
        return Archive(path, digest)
    if suffix == ".h5ad":
        return _AnnData(path, digest)
    raise ValueError(f"'{suffix}' is not read; give .csv, .tsv, .npz or .h5ad")


def places_of(features: Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """Where the features stand among the names; all of them if none are asked for.

    Raises:
        KeyError: a feature that there is not.
        ValueError: a feature that is asked for twice, or of which there are several.
    """
    there = Counter(names)
    chosen = list(names) if features is None else list(map(str, features))
    for feature in chosen:
        if not there[feature]:
            _known(feature, names, "feature")
        if there[feature] > 1:
            raise ValueError(
                f"feature '{feature}' is in the data {there[feature]} times; rename or drop all but one"
            )
    if len(set(chosen)) < len(chosen):
        twice = next(f for f, count in Counter(chosen).items() if count > 1)
        raise ValueError(f"feature '{twice}' is asked for twice")
    place = {name: k for k, name in enumerate(names)}
    return [place[f] for f in chosen]


def _chosen(values: Any, names: list[str], features: Sequence[str] | None) -> tuple[np.ndarray, list[str]]:
    """The features' columns, dense, and their names; of a large sparse matrix no others are filled out."""
    places = places_of(features, names)
    if features is not None:
        values, names = values[:, places], [names[k] for k in places]
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, float), names


def _known(name: str, names: Sequence[str], what: str) -> str:
    if name in names:
        return name
    hint = nearest(name, names, f"there are {', '.join(map(str, names[:20]))}")
    raise KeyError(f"no {what} '{name}' in the data{hint}")


class _Sheet:
    def __init__(self, path: Path, digest: str, separator: str):
        import pandas as pd

        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                head = next(csv.reader(file, delimiter=separator), [""])
            self._frame = pd.read_csv(
                path, sep=separator, index_col=0 if not head[0] and len(head) > 1 else None
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"is not a table ({error})") from None
        twice = next((name for name, count in Counter(head).items() if name and count > 1), None)
        if twice is not None:
            raise ValueError(
                f"column '{twice}' is there {head.count(twice)} times; rename or drop all but one"
            )
        self.sha256, self.rows = digest, len(self._frame)
        self.names = None if head[0] else list(map(str, self._frame.index))

    def column(self, name: str) -> np.ndarray:
        return self._frame[_known(name, list(map(str, self._frame)), "column")].to_numpy()

    def _words(self, name: str) -> np.ndarray:
        """(row,) whether a value of the column is there and no number."""
        import pandas as pd

        column: Any = self._frame[name]
        numbers: Any = pd.to_numeric(column, errors="coerce")
        return np.asarray(numbers.isna() & column.notna())

    def _mostly_numbers(self, name: str) -> bool:
        return bool(0 < 2 * self._words(name).sum() < len(self._frame))

    def _first_word(self, name: str) -> str:
        at = np.flatnonzero(self._words(name))
        return f" (got {shown(self._frame[name].iloc[at[0]])} in row {at[0] + 1})" if len(at) else ""

    def matrix(self, name=None, features=None, leave=()) -> tuple[np.ndarray, list[str]]:
        numbers = set(self._frame.select_dtypes("number"))
        for n in map(str, self._frame) if features is None else ():
            if n not in numbers and n not in leave and self._mostly_numbers(n):
                raise ValueError(f"column '{n}' holds text among its numbers{self._first_word(n)}")
        names = [str(c) for c in self._frame if (features is not None or c in numbers) and c not in leave]
        if not names:
            raise ValueError("the table has no numbers left to learn from")
        names = [names[k] for k in places_of(features, names)]
        for n in names:
            if n not in numbers:
                raise ValueError(f"column '{n}' holds text where numbers are needed{self._first_word(n)}")
        return self._frame[names].to_numpy(float), names


class Archive:
    """A NumPy archive of plain arrays."""

    def __init__(self, path: Path, digest: str):
        try:
            with np.load(path, allow_pickle=False) as z:
                self._arrays: dict[str, np.ndarray] = {k: z[k] for k in z.files}
        except (ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error):
            raise ValueError("is not a NumPy archive of plain arrays, as np.savez writes it") from None
        self.sha256 = digest
        self.names: list[str] | None = None
        self.rows = max((len(a) for a in self._arrays.values() if a.ndim), default=0)

    def array(self, name: str, axes: int) -> np.ndarray:
        """The array `name`, which has as many axes; KeyError with the names there are."""
        found = self._arrays[_known(name, list(self._arrays), "array")]
        if found.ndim != axes:
            raise ValueError(f"array '{name}' must have {axes} axes, got shape {found.shape}")
        return found

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
            with warnings.catch_warnings():  # what it warns of is refused where it matters
                warnings.simplefilter("ignore", UserWarning)
                self._data = anndata.read_h5ad(path)
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"is not AnnData ({error})") from None
        self.sha256, self.rows = digest, self._data.n_obs
        self.names: list[str] | None = list(map(str, self._data.obs_names))

    def column(self, name: str) -> np.ndarray:
        return np.asarray(self._data.obs[_known(name, list(map(str, self._data.obs)), "column of .obs")])

    def matrix(self, name=None, features=None, leave=()) -> tuple[np.ndarray, list[str]]:
        data = self._data
        found: Any = data.X
        names = list(map(str, data.var_names))
        if name is not None and name in data.layers:
            found = data.layers[name]
        elif name == "raw" and data.raw is not None:
            found, names = data.raw.X, list(map(str, data.raw.var_names))
        elif name is not None:
            key = embedding_key(name, [*map(str, data.obsm), *map(str, data.layers)])
            found = data.obsm[key]
            names = [f"{key.removeprefix('X_')}{k + 1}" for k in range(found.shape[1])]
            if hasattr(found, "columns"):  # a data frame names its own
                found, names = found.to_numpy(), list(map(str, found.columns))
        if found is None:
            raise ValueError("has no .X; say in values which layer or embedding is meant")
        return _chosen(found, names, features)
