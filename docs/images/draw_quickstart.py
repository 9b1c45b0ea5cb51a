"""Draws docs/images/quickstart.png from a run of the shipped quickstart.

cellweave run quickstart -o quickstart.zarr --no-report
python docs/images/draw_quickstart.py quickstart.zarr
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import EllipseCollection

from sim import cells_at, open_run

INK, SOFT, DRUG = "#1a1a19", "#6e6d69", "#c2571a"
ERK = "pathway.egfr.ppERK"
MOMENTS = (5.0, 7.0, 24.0)


def main(store: Path, picture: Path) -> None:
    tree = open_run(store)
    plt.rcParams.update({"font.size": 9, "axes.edgecolor": SOFT, "text.color": INK, "axes.labelcolor": INK})
    plt.rcParams.update({"xtick.color": SOFT, "ytick.color": SOFT, "font.family": "sans-serif"})
    figure = plt.figure(figsize=(11, 2.9), layout="constrained")
    *maps, curves = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.35))
    top = float(np.nanmax(cells_at(tree, MOMENTS[0])[ERK]))
    last = places(cells_at(tree, MOMENTS[-1]))
    middle, reach = last.mean(axis=0), np.abs(last - last.mean(axis=0)).max() + 12
    for axes, hours in zip(maps, MOMENTS):
        shown = tissue(axes, cells_at(tree, hours), top)
        axes.set(xlim=middle[0] + np.array([-reach, reach]), ylim=middle[1] + np.array([-reach, reach]))
        axes.set_title(f"{hours:g} h" + (", before erlotinib" if hours < 6 else ""), fontsize=9, loc="left")
    bar = figure.colorbar(shown, ax=maps, orientation="horizontal", shrink=0.3, aspect=36, pad=0.02)
    bar.set_label("doubly phosphorylated ERK in each cell [uM]")
    bar.outline.set_visible(False)
    summary = tree["summary"]
    time = summary["time"].values
    mean, sd = (summary[f"{ERK}.{what}"].values[:, 0] for what in ("mean", "sd"))
    curves.fill_between(time, mean - sd, mean + sd, color="#3a7fd5", alpha=0.2, lw=0)
    curves.plot(time, mean, color="#3a7fd5")
    curves.set(xlabel="time [h]", ylabel="ppERK [uM], mean ± sd", xlim=(0, time[-1]), ylim=(0, None))
    count = curves.twinx()
    count.plot(time, summary["count"].values[:, 0], color=INK, drawstyle="steps-post")
    count.set(ylabel="living cells", ylim=(0, None))
    curves.axvline(6, color=DRUG, lw=1)
    curves.text(6.3, curves.get_ylim()[1] * 0.97, "erlotinib", color=DRUG, va="top")
    for axes in (curves, count):
        axes.spines["top"].set_visible(False)
    figure.savefig(picture, dpi=140, bbox_inches="tight", pad_inches=0.05)


def tissue(axes, cells, top: float):
    """Every cell as the disc of its volume, coloured by ppERK; dying and dead ones open."""
    radius = (3 * cells["volume"].values / (4 * np.pi)) ** (1 / 3)
    living = ~np.isin(cells["phase"].values, ("apoptotic", "lysed"))
    where = places(cells)

    def discs(rows, **look):
        size = 2 * radius[rows]
        return axes.add_collection(
            EllipseCollection(
                size,
                size,
                np.zeros(rows.sum()),
                units="xy",
                offsets=where[rows],
                offset_transform=axes.transData,
                **look,
            )
        )

    discs(~living, facecolors="none", edgecolors=SOFT, lw=0.7)
    shown = discs(living, cmap="viridis", edgecolors="white", lw=0.3)
    shown.set_array(cells[ERK].values[living])
    shown.set_clim(0, top)
    axes.set(aspect="equal", xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color("#e2e0db")
    return shown


def places(cells) -> np.ndarray:
    """Positions (cell, 2) [um]."""
    return np.stack([cells["x"].values, cells["y"].values], axis=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("quickstart.png"))
