"""Pictures of a microscope's images, one row a channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.report.rundata import RunData
from sim.report.section import Figure
from sim.report.style import INK, LINE, SOFT, drawing, panels, plain_number, to_svg

_MOMENTS = 4
_MOST_CHANNELS = 6
_MOST_PIXELS = 360  # along a side of a picture
_EXTREME = 0.002  # share of pixels brighter or darker than the colours tell apart


def is_image(readings: Any) -> bool:
    """Whether an instrument's readings are images."""
    return any(v.dims == ("time", "channel", "y", "x") for v in readings.data_vars.values())


def pictures(run: RunData, name: str, node: Any) -> Figure:
    """The images at up to four times, every channel with brightness limits of its own.

    Args:
        node: the instrument's readings; only the images shown are loaded.
    """
    images = node["image"]
    last = images.sizes["time"] - 1
    moments = sorted({round(last * k / (_MOMENTS - 1)) for k in range(_MOMENTS)})
    channels = [str(c) for c in images["channel"].values][:_MOST_CHANNELS]
    y, x = images["y"].values, images["x"].values
    edge = float(images.attrs["pixel_um"])
    box = (x[0] - edge / 2, x[-1] + edge / 2, y[0] - edge / 2, y[-1] + edge / 2)
    shape = (box[3] - box[2]) / (box[1] - box[0])
    height = min(max(9.6 / _MOMENTS * shape, 1.2), 4.0) + 0.3
    limits = []
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(channels) * _MOMENTS, _MOMENTS, height)
        for row, channel in enumerate(channels):
            shown = [smaller(images.isel(time=t, channel=row).values, _MOST_PIXELS) for t in moments]
            low, high = np.quantile(np.concatenate([s.ravel() for s in shown]), [_EXTREME, 1 - _EXTREME])
            limits.append((channel, float(low), float(high)))
            mine = axes[row * _MOMENTS : (row + 1) * _MOMENTS]
            for k, (t, picture) in enumerate(zip(moments, shown, strict=True)):
                ax = mine[k]
                ax.imshow(picture, origin="lower", extent=box, cmap="gray", vmin=low, vmax=max(high, low + 1))
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
                for side in ax.spines.values():
                    side.set(visible=True, color=LINE)
                when = f"{plain_number(float(images['time'].values[t]))} {run.unit}"
                ax.set_title(f"{channel}, {when}" if k == 0 else when)
                if row == len(channels) - 1 and k == 0:
                    _bar(ax, box)
            for spare in mine[len(moments) :]:
                spare.remove()
        svg = to_svg(figure, f"images of {name}")
    ranges = "; ".join(f"{c} {low:,.0f} to {high:,.0f}" for c, low, high in limits)
    caption = (
        f"{name}: what the camera would record of this tissue, {plain_number(edge)} µm to a pixel, blurred by the "
        f"lens and with the noise of photons and camera. Black to white, in counts: {ranges}."
    )
    more = images.sizes["channel"] - len(channels)
    return Figure(svg, caption + (f" {more} further channels are in the store." if more > 0 else ""))


def smaller(image: np.ndarray, most: int) -> np.ndarray:
    """The image with at most `most` pixels a side, each the mean of a block; what fills no block is cut off."""
    block = -(-max(image.shape) // most)
    rows, columns = (max(n // block, 1) for n in image.shape)
    tall, wide = min(block, image.shape[0]), min(block, image.shape[1])
    cut = image[: rows * tall, : columns * wide].astype(float)
    return cut.reshape(rows, tall, columns, wide).mean((1, 3))


def _bar(axes: Any, box: tuple[float, float, float, float]) -> None:
    width = box[1] - box[0]
    power = 10 ** np.floor(np.log10(0.25 * width))
    length = float(max(s for s in (1, 2, 5) if s * power <= 0.25 * width) * power)
    below = box[2] - 0.05 * (box[3] - box[2])
    (line,) = axes.plot([box[0], box[0] + length], [below, below], color=INK, linewidth=2)
    line.set_clip_on(False)
    axes.text(box[0] + 1.15 * length, below, f"{length:g} µm", size=7, va="center", color=SOFT)
    axes.set(xlim=box[:2], ylim=box[2:])
