"""A picture for the model card: where held-out cells lie in a space, and which states are mistaken for which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neural.encoders.representation import Representation

_MOST_STATES = 10  # that have a colour, or a row
_MOST_CELLS = 5000
_GREY = "#b8b8b8"


def draw_space(
    space: Representation, test: Mapping[str, np.ndarray], words: np.ndarray | None, path: Path
) -> None:
    """Write a PNG of held-out cells, their states `words` if they have any. Ringed cells are flagged."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ur = space.encode(test)
    told = space.states is not None and words is not None
    figure = Figure(figsize=(10.5 if told else 5.2, 4.6), layout="constrained")
    panels = figure.subplots(1, 2 if told else 1, squeeze=False)[0]
    _map(panels[0], ur, space.flags(test), words)
    if told and words is not None:
        _mistaken(panels[1], space, ur, words)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})


def _map(axes, ur: np.ndarray, flags: list[str], words: np.ndarray | None) -> None:
    """The plane in which the cells differ most, or the means of their states."""
    ur, flagged = ur[:_MOST_CELLS], np.array([bool(f) for f in flags[:_MOST_CELLS]])
    apart = ur
    if words is not None and len(np.unique(words)) > 2:
        names, which = np.unique(words[:_MOST_CELLS], return_inverse=True)
        apart = np.array([ur[which == k].mean(0) for k in range(len(names))])[which]
    directions = np.linalg.svd(apart - apart.mean(0), full_matrices=False)[2][:2]
    x, y = (ur @ directions.T).T if len(directions) == 2 else (ur[:, 0], np.zeros(len(ur)))
    axes.scatter(x, y, s=5, c=_GREY, lw=0)
    if words is not None:
        words = words[:_MOST_CELLS]
        for k, name in enumerate(_commonest(words)):
            mine = words == name
            axes.scatter(x[mine], y[mine], s=7, color=f"C{k}", lw=0, label=name)
        axes.legend(fontsize=6, markerscale=2, framealpha=0.7, loc="best")
    axes.scatter(x[flagged], y[flagged], s=28, facecolors="none", edgecolors="k", lw=0.6)
    axes.set(title="held-out cells; ringed: flagged", xlabel="first direction", ylabel="second direction")


def _mistaken(axes, space: Representation, ur: np.ndarray, words: np.ndarray) -> None:
    """Share of the cells of each state (row) that are told to be in each (column)."""
    assert space.states is not None
    names = [n for n in _commonest(words) if n in space.states.names]
    said = np.asarray(space.states.names)[space.state_probabilities(ur).argmax(1)]
    shares = np.array([[(said[words == row] == column).mean() for column in names] for row in names])
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.05:
            colour = "white" if share > 0.6 else "black"
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set(title="state (row), told as (column) [%]")


def _commonest(words: np.ndarray) -> list[str]:
    names, often = np.unique(words[words != ""], return_counts=True)
    return [str(names[k]) for k in np.argsort(-often, kind="stable")[:_MOST_STATES]]
