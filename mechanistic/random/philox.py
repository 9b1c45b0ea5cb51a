"""Philox4x32-10 as kernels; `mechanistic.random` is the way in."""

from __future__ import annotations

import math

import numpy as np
from numpy import uint32, uint64

from mechanistic.codegen.loops import shared

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Ten rounds on the counter (c0 … c3) under the key (k0, k1), all uint32; returns four uint32."""
    for _ in range(10):
        p0 = uint64(c0) * _MULTIPLIER_0
        p1 = uint64(c2) * _MULTIPLIER_1
        c0, c1, c2, c3 = (
            uint32(uint32(p1 >> _32) ^ c1 ^ k0),
            uint32(p1 & _LOW),
            uint32(uint32(p0 >> _32) ^ c3 ^ k1),
            uint32(p0 & _LOW),
        )
        k0 = uint32((uint64(k0) + _WEYL_0) & _LOW)
        k1 = uint32((uint64(k1) + _WEYL_1) & _LOW)
    return c0, c1, c2, c3


def unit53(high, low):
    """The double in [0, 1) made of the top 27 bits of one word and the top 26 of another."""
    return (float(uint64(high) >> np.uint64(5)) * 67108864.0 + float(uint64(low) >> np.uint64(6))) * 2.0**-53


def two_numbers(key, cell, draw):
    """Two numbers in [0, 1), a pure function of the arguments (all uint64)."""
    a, b, c, d = philox4x32(
        uint32(cell & _LOW), uint32(cell >> _32), uint32(draw & _LOW), uint32(draw >> _32),
        uint32(key & _LOW), uint32(key >> _32),
    )  # fmt: skip
    return unit53(a, b), unit53(c, d)


@shared
def fill(first_row, end, out, key, step, ids, normal):
    """out[i, d] becomes draw d of ids[i]: uniform in [0, 1), or standard normal by Box–Muller on each
    pair."""
    k0 = uint32(key & _LOW)
    k1 = uint32(key >> _32)
    s = uint32(step)
    draws = out.shape[1]
    for i in range(first_row, end):
        low = uint32(ids[i] & _LOW)
        high = uint32(ids[i] >> _32)
        for block in range((draws + 1) // 2):
            a, b, c, d = philox4x32(low, high, s, uint32(block), k0, k1)
            first = unit53(a, b)
            second = unit53(c, d)
            if normal:
                radius = math.sqrt(-2.0 * math.log(1.0 - first))
                angle = 2.0 * math.pi * second
                first = radius * math.cos(angle)
                second = radius * math.sin(angle)
            out[i, 2 * block] = first
            if 2 * block + 1 < draws:
                out[i, 2 * block + 1] = second
