"""A fluorescence microscope: images of stained cells and of the medium, with blur, noise and bleaching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State
from sim.instruments.base import Axis, Channel, chosen, noise_key, times_read, values_of
from sim.instruments.optics import Camera, Objective, blurred, fast_length
from sim.processes.box import BoxSettings

#: share of a cell's volume that its nucleus has where the scenario does not say it
NUCLEUS = 0.2
#: thickness of a stained membrane [um]
MEMBRANE = 0.5
PARTS = ("body", "nucleus", "cytoplasm", "membrane", "medium")
#: slabs of height that a three-dimensional tissue is at most seen in
_MOST_SLABS = 64
#: light from this many standard deviations, out of focus, beside the image still falls into it
_REACH = 4.0
#: and from this many wavelengths / NA in focus: 98 % of the Airy pattern
_RINGS = 5.0


@dataclass(frozen=True)
class Stain:
    """One channel of the microscope.

    Attributes:
        quantity: whose value the light is proportional to; empty for a stain that is the same in every cell.
        part: where in the cell it shines, one of `PARTS`; in the medium, `quantity` is a field.
        types, phases: codes of the cells that it stains (types None: all).
        emission: wavelength of the light [um].
        brightness: photons that 1 um³ at value 1 sends to the camera in one exposure.
        background: photons in each pixel from elsewhere.
        bleaching: share of the dye that each exposure destroys.
    """

    name: str
    quantity: str
    part: str
    types: tuple[int, ...] | None
    phases: tuple[int, ...]
    emission: float
    brightness: float
    background: float = 0.0
    bleaching: float = 0.0


@dataclass(frozen=True)
class View:
    """What the camera sees: the corner of least x and y [um], pixels (y, x) and their edge in the tissue [um]."""

    corner: tuple[float, float]
    shape: tuple[int, int]
    pixel: float

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Middles of the pixels along y and x [um]."""
        y, x = (self.corner[1 - k] + self.pixel * (np.arange(n) + 0.5) for k, n in enumerate(self.shape))
        return y, x


@dataclass(frozen=True)
class Fluorescence:
    """A widefield microscope, or one that sees an optical section only.

    Cells are balls of their volume, their nuclei concentric ones. Light is blurred by the point-spread function
    of its wavelength, wider with the distance from the plane in focus; a two-dimensional tissue lies at height
    0 as a whole. An optical section is cut out as it is: the sharper image of a confocal pinhole is not drawn.

    Attributes:
        name: name in the results.
        every: time between two exposures [min].
        seed: of the run; the noise is of (seed, instrument, channel, exposure, pixel).
        focus: height of the plane in focus [um].
        section: thickness of the optical section around it [um]; None sees light of all heights.
        nucleus: share of a cell's volume that its nucleus has.
        sampling: samples along the edge of a pixel in which light is drawn and blurred.
    """

    name: str
    every: float
    seed: int
    box: BoxSettings
    view: View
    objective: Objective
    camera: Camera
    stains: tuple[Stain, ...]
    focus: float = 0.0
    section: float | None = None
    nucleus: float = NUCLEUS
    sampling: int = 2

    @property
    def channels(self) -> tuple[str, ...]:
        return ("image",)

    def described(self) -> list[Channel]:
        y, x = self.view.centres()
        axes = (
            Axis("channel", [s.name for s in self.stains], "1", "channel of the microscope"),
            Axis("y", y.tolist(), "um", "y position of the pixel's centre"),
            Axis("x", x.tolist(), "um", "x position of the pixel's centre"),
        )
        attrs = {
            "pixel_um": self.view.pixel,
            "point_spread_sd_um": [self.objective.width(s.emission) for s in self.stains],
            "emission_um": [s.emission for s in self.stains],
            "counts_per_electron": self.camera.gain,
            "offset_counts": self.camera.offset,
            "electrons_per_photon": self.camera.efficiency,
        }
        return [Channel("image", "count", "camera counts", axes, "uint16", attrs)]

    def read(self, state: State, signals: Signals) -> dict[str, np.ndarray]:
        """The image (channel, y, x) of the present state, in counts."""
        exposure = times_read(state, self.every)
        light = self.light(state, signals)
        images = []
        for stain, photons in zip(self.stains, light, strict=True):
            shots, reading = (noise_key(self, self.seed, stain.name, what) for what in ("photons", "reading"))
            images.append(self.camera.counts(photons, (shots, reading), exposure))
        return {"image": np.stack(images)}

    def light(self, state: State, signals: Signals) -> np.ndarray:
        """Photons expected in each pixel (channel, y, x) of the present state, without noise."""
        exposure = times_read(state, self.every)
        return np.stack(
            [
                self._seen(s, state, signals) * (1 - s.bleaching) ** exposure + s.background
                for s in self.stains
            ]
        )

    # ---- parts

    def _seen(self, stain: Stain, state: State, signals: Signals) -> np.ndarray:
        """Photons in each pixel from the stain, blurred."""
        step = self.view.pixel / self.sampling
        slabs = self._slabs(stain.emission)
        widest = max(self.objective.spread(away) for _, _, away in slabs)
        reach = _REACH * widest + _RINGS * stain.emission / self.objective.na
        inner = [n * self.sampling for n in self.view.shape]
        # what shines from farther away than half the image is let go; only far out of focus is there any
        margins = [min(int(np.ceil(reach / step)), n // 2 + 1) for n in inner]
        shape = (fast_length(inner[0] + 2 * margins[0]), fast_length(inner[1] + 2 * margins[1]))
        corner = [self.view.corner[k] - margins[1 - k] * step for k in range(2)]
        if stain.part == "medium":
            draw = self._medium(stain, state, corner, shape)
        else:
            draw = self._cells(stain, state, signals, corner, shape)
        layers = ((draw(low, high), self.objective.spread(away)) for low, high, away in slabs)
        fine = blurred(layers, shape, step, self.objective.cutoff(stain.emission))
        fine = fine[margins[0] : margins[0] + inner[0], margins[1] : margins[1] + inner[1]]
        ny, nx = self.view.shape
        return fine.reshape(ny, self.sampling, nx, self.sampling).sum((1, 3))

    def _slabs(self, emission: float) -> list[tuple[float, float, float]]:
        """(low, high, distance from the plane in focus) of the slabs that are seen [um]."""
        if self.box.dims == 2:
            return [(-np.inf, np.inf, abs(self.focus))]
        low, high = self.box.lower[2], self.box.upper[2]
        if self.section is not None:
            half = self.section / 2
            return [(max(self.focus - half, low), min(self.focus + half, high), 0.0)]
        number = int(np.ceil((high - low) / self.objective.depth_of_field(emission)))
        edges = np.linspace(low, high, min(max(number, 1), _MOST_SLABS) + 1)
        away = np.abs(0.5 * (edges[1:] + edges[:-1]) - self.focus)
        # cells may reach beyond the domain
        edges[0], edges[-1] = -np.inf, np.inf
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), away.tolist(), strict=True))

    def _cells(
        self, stain: Stain, state: State, signals: Signals, corner: Sequence[float], shape: tuple[int, int]
    ) -> Callable[[float, float], np.ndarray]:
        """What paints the light of the stained cells between two heights."""
        from sim.agents.life import radius_of
        from sim.instruments.painting import Balls, paint

        rows = chosen(state, stain.types, stain.phases)
        value = values_of(signals, stain.quantity)[rows] if stain.quantity else np.ones(int(rows.sum()))
        light = stain.brightness * np.maximum(np.nan_to_num(value, nan=0.0, posinf=0.0), 0.0)
        volume = state["cell.volume"][rows]
        body, nucleus = radius_of(volume), radius_of(self.nucleus * volume)
        outer, inner = {
            "body": (body, 0 * body),
            "nucleus": (nucleus, 0 * body),
            "cytoplasm": (body, nucleus),
            "membrane": (body, np.maximum(body - MEMBRANE, 0)),
        }[stain.part]
        at = state["cell.position"][rows]
        z = at[:, 2] if self.box.dims == 3 else 0 * body
        x, y = at[:, 0] - corner[0], at[:, 1] - corner[1]
        step = self.view.pixel / self.sampling
        balls = Balls(*self._wrapped([x, y, z, outer, inner, light], [shape[1] * step, shape[0] * step]))
        return lambda low, high: paint(balls, shape, step, low, high)

    def _wrapped(self, columns: list[np.ndarray], extent: Sequence[float]) -> list[np.ndarray]:
        """The cells that reach into the raster; of a periodic domain also their images."""
        shifts = [(0.0, 0.0)]
        if self.box.periodic:
            lengths = [self.box.upper[k] - self.box.lower[k] for k in range(2)]
            shifts = [(i * lengths[0], j * lengths[1]) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        x, y, _, outer, _, light = columns
        parts = []
        for dx, dy in shifts:
            near = (light > 0) & (x + dx > -outer) & (x + dx < extent[0] + outer)
            near &= (y + dy > -outer) & (y + dy < extent[1] + outer)
            parts.append([x[near] + dx, y[near] + dy, *(c[near] for c in columns[2:])])
        return [np.concatenate(c) for c in zip(*parts, strict=True)]

    def _medium(
        self, stain: Stain, state: State, corner: Sequence[float], shape: tuple[int, int]
    ) -> Callable[[float, float], np.ndarray]:
        """What paints the light of a field between two heights, its voxels joined by straight lines."""
        box, step = self.box, self.view.pixel / self.sampling
        values = np.maximum(state.fields[stain.quantity.removeprefix("field.")], 0.0)
        along_x, along_y = (
            _between(
                corner[k] + step * (np.arange(shape[1 - k]) + 0.5),
                (box.lower[k], box.upper[k]),
                values.shape[2 - k],
                box.periodic,
            )
            for k in range(2)
        )

        def draw(low: float, high: float) -> np.ndarray:
            bottom, top = max(low, box.lower[2]), min(high, box.upper[2])
            middle = (0.5 * (bottom + top) - box.lower[2]) // box.voxel
            plane = values[int(np.clip(middle, 0, values.shape[0] - 1))]
            per_value = stain.brightness * step**2 * max(top - bottom, 0.0)
            return per_value * _joined(_joined(plane, along_y).T, along_x).T

        return draw


class _Joint(NamedTuple):
    """Two voxels for each place and how much of each; both 0 outside the domain."""

    first: np.ndarray
    second: np.ndarray
    of_first: np.ndarray
    of_second: np.ndarray


def _between(at: np.ndarray, ends: tuple[float, float], count: int, periodic: bool) -> _Joint:
    """What joins the values of `count` voxels between the ends by straight lines, at places (n,) [um]."""
    low, high = ends
    inside = np.ones(len(at), bool) if periodic else (at >= low) & (at <= high)
    place = (at - low) / (high - low) * count - 0.5
    first = np.floor(place).astype(np.int64)
    share = place - first
    left, right = (e % count if periodic else np.clip(e, 0, count - 1) for e in (first, first + 1))
    return _Joint(left, right, (1 - share) * inside, share * inside)


def _joined(values: np.ndarray, joint: _Joint) -> np.ndarray:
    """Values (voxel, …) at the places (n, …)."""
    return values[joint.first] * joint.of_first[:, None] + values[joint.second] * joint.of_second[:, None]
