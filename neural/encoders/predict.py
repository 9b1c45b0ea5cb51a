"""Where the cells of a table lie in a space, how sure that is, which state they are in, and what is unusual of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neural.encoders.reading import measurements_of
from neural.encoders.representation import Representation
from neural.errors import TrainingError
from neural.files import is_there, meant
from neural.tables import read_measurements

if TYPE_CHECKING:
    import pandas

_NINETY = 1.6448536269514722  # standard deviations of a Gaussian on either side that hold 90 %


def predict_places(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float
) -> pandas.DataFrame:
    """A row per cell: `flag`, the likeliest `state` with its probability, and the representation with 90 % intervals.

    Modalities of which the table has nothing are left out.

    Raises:
        WeightsError: the weights cannot be used.
        TrainingError: the table cannot.
    """
    import pandas as pd

    space, path = Representation.load(weights), Path(conditions)
    try:
        if not is_there(path):  # a pipe would block
            raise OSError("no such file")
        cells = read_measurements(path)
        folders = (Path(weights).parent, path.parent)
        tables = measurements_of(space, cells, folders, some=True)
        if not tables:
            wanted = ", ".join(f"{m.name} ({', '.join(m.features[:3])}, …)" for m in space.modalities)
            raise ValueError(f"has nothing that space '{space.space.name}' is made of: {wanted}")
        mean, sd = space.posterior(tables, cells.names)
    except OSError as error:
        said = f"cannot be read ({error.strerror or error}){meant(conditions)}"
        raise TrainingError(conditions, [(None, None, said)]) from error
    except ValueError as error:
        raise TrainingError(conditions, [(None, None, str(error))]) from error
    out: dict[str, object] = {"condition": np.arange(len(mean))}
    if cells.names is not None:
        out["cell"] = cells.names
    out["flag"] = space.flags(tables)
    if space.states is not None:
        p = space.state_probabilities(mean)
        out["state"] = np.asarray(space.states.names)[p.argmax(1)]
        out["state.probability"] = p.max(1)
    for k, label in enumerate(space.space.labels):
        out |= {
            label: mean[:, k],
            f"{label}.lower": mean[:, k] - _NINETY * sd[:, k],
            f"{label}.upper": mean[:, k] + _NINETY * sd[:, k],
        }
    return pd.DataFrame(out)
