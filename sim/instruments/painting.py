"""Light from balls on a raster: each ball's light through a slab of height, as seen from above."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mechanistic.codegen.loops import shared
from mechanistic.threads import threads_for

_BAND = 32  # rows of the raster that one thread paints at a time


class Balls(NamedTuple):
    """Shining balls, or shells where `inner` is not 0. All arrays (n,).

    Attributes:
        x, y, z: centres, x and y from the raster's corner [um].
        outer, inner: radii between which there is light [um].
        light: per volume [1/um³].
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    outer: np.ndarray
    inner: np.ndarray
    light: np.ndarray


def paint(balls: Balls, shape: tuple[int, int], step: float, low: float, high: float) -> np.ndarray:
    """Light in each sample (y, x) from what lies between the heights `low` and `high`.

    A sample gets the light of the column below its middle; each ball's samples are then scaled to the exact
    light of the ball between the two heights, so that nothing is lost to the raster. A ball too small for
    any sample's middle is shared between the four nearest samples. What lies beside the raster is left out.
    """
    out = np.zeros(shape)
    arrays = tuple(np.ascontiguousarray(a, np.float64) for a in balls)
    if len(arrays[0]):
        scale = np.empty(len(arrays[0]))
        with threads_for(len(scale), each=200):
            _scale(len(scale), scale, *arrays, step, low, high)
        with threads_for(shape[0], each=2 * _BAND):
            _paint(-(-shape[0] // _BAND), out, scale, *arrays, step, low, high)
    return out


def _through(radius, beside, low, high):
    """Length of the column at a distance `beside` from the centre, within the ball and between the heights."""
    square = radius * radius - beside * beside
    if square <= 0.0:
        return 0.0
    half = math.sqrt(square)
    return max(min(half, high) - max(-half, low), 0.0)


def _volume(radius, low, high):
    """Volume of the ball between two heights above its centre."""
    a, b = max(low, -radius), min(high, radius)
    if b <= a:
        return 0.0
    return math.pi * (radius * radius * (b - a) - (b * b * b - a * a * a) / 3.0)


def _samples(x, radius, step):
    """First and last sample whose middle may lie within the radius of x."""
    return int(np.ceil((x - radius) / step - 0.5)), int(np.floor((x + radius) / step - 0.5))


@shared
def _scale(first_ball, end, scale, x, y, z, outer, inner, light, step, low, high):
    """Light per length of column; negative where the ball has no sample and is to be shared out as it is."""
    for i in range(first_ball, end):
        a, b = low - z[i], high - z[i]
        total = light[i] * (_volume(outer[i], a, b) - _volume(inner[i], a, b))
        scale[i] = 0.0
        if not total > 0.0:
            continue
        length = 0.0
        first, last = _samples(x[i], outer[i], step)
        top, bottom = _samples(y[i], outer[i], step)
        for row in range(top, bottom + 1):
            dy = (row + 0.5) * step - y[i]
            for column in range(first, last + 1):
                d = math.hypot((column + 0.5) * step - x[i], dy)
                length += _through(outer[i], d, a, b) - _through(inner[i], d, a, b)
        scale[i] = total / length if length > 0.0 else -total


@shared
def _paint(first_band, end, out, scale, x, y, z, outer, inner, light, step, low, high):
    rows, columns = out.shape
    for band in range(first_band, end):
        start, stop = band * _BAND, min((band + 1) * _BAND, rows)
        for i in range(scale.size):
            if scale[i] == 0.0:
                continue
            if scale[i] < 0.0:
                _share(out, -scale[i], x[i] / step - 0.5, y[i] / step - 0.5, start, stop)
                continue
            a, b = low - z[i], high - z[i]
            first, last = _samples(x[i], outer[i], step)
            top, bottom = _samples(y[i], outer[i], step)
            for row in range(max(top, start), min(bottom + 1, stop)):
                dy = (row + 0.5) * step - y[i]
                for column in range(max(first, 0), min(last + 1, columns)):
                    d = math.hypot((column + 0.5) * step - x[i], dy)
                    length = _through(outer[i], d, a, b) - _through(inner[i], d, a, b)
                    out[row, column] += scale[i] * length


def _share(out, total, x, y, start, stop):
    """A point's light to the four samples around it, by nearness, in the rows from start to stop."""
    left, top = int(np.floor(x)), int(np.floor(y))
    for row in range(top, top + 2):
        for column in range(left, left + 2):
            if start <= row < stop and 0 <= column < out.shape[1]:
                out[row, column] += total * (1.0 - abs(y - row)) * (1.0 - abs(x - column))
