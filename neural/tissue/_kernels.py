"""Attention and weighted sums over compressed rows, forward and reverse, as kernels.

Each cell gathers: over its row in the forward pass, over its row of the transpose where gradients of senders are
summed. Sums over all edges (gradients of weights) run over blocks of cells of one size, added in order. Hence the
same bits for any number of threads.
"""

from __future__ import annotations

import math

import numpy as np

from neural.jit import njit, prange

BLOCK = 512
_LANES = 8


@njit
def _sum(values, partial):
    """Σ values, in eight sums side by side that vectors can carry."""
    partial[:] = 0
    full = values.size - values.size % _LANES
    for k in range(0, full, _LANES):
        for lane in range(_LANES):
            partial[lane] += values[k + lane]
    for k in range(full, values.size):
        partial[k - full] += values[k]
    a, b = partial[0] + partial[4], partial[1] + partial[5]
    c, d = partial[2] + partial[6], partial[3] + partial[7]
    return (a + c) + (b + d)


@njit
def _hidden(left, right, attr, w_edge, h, width, z):
    """z = left[head] + right[head] + attr · w_edge[:, head] of one pair."""
    first = h * width
    for k in range(width):
        z[k] = left[first + k] + right[first + k]
    for m in range(attr.size):
        a = attr[m]
        for k in range(width):
            z[k] += a * w_edge[m, first + k]


@njit(parallel=True)
def attend(indptr, indices, left, right, attr, w_edge, att, slope, alpha, out):
    """out_i = Σ_j α_ij left_j, α = softmax over row i of att · leaky(left_j + right_i + attr_ij · w_edge).

    left, right, out: (n, head · width); attr: (e, k); w_edge: (k, head · width); att: (head, width);
    slope: (1,), of the leaky part below 0; alpha: (e, head), filled.
    """
    n, heads, width = indptr.size - 1, att.shape[0], att.shape[1]
    for block in prange((n + BLOCK - 1) // BLOCK):
        z, partial = np.empty(width, left.dtype), np.empty(_LANES, left.dtype)
        some = np.empty(2, left.dtype)  # the largest logit and the sum, in the precision of the rest
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            begin, end = indptr[i], indptr[i + 1]
            for k in range(heads * width):
                out[i, k] = 0
            for h in range(heads):
                first = h * width
                some[0], some[1] = -np.inf, 0
                for e in range(begin, end):
                    _hidden(left[indices[e]], right[i], attr[e], w_edge, h, width, z)
                    for k in range(width):
                        z[k] = att[h, k] * (z[k] if z[k] > 0 else slope[0] * z[k])
                    alpha[e, h] = _sum(z, partial)
                    some[0] = max(some[0], alpha[e, h])
                for e in range(begin, end):
                    alpha[e, h] = math.exp(alpha[e, h] - some[0])
                    some[1] += alpha[e, h]
                for e in range(begin, end):
                    alpha[e, h] /= some[1]
                    a, j = alpha[e, h], indices[e]
                    for k in range(first, first + width):
                        out[i, k] += a * left[j, k]


@njit
def _rise(z, g, att, slope, h, width, dz):
    """dL/dz of one pair from that of its logit."""
    for k in range(width):
        full = g * att[h, k]
        dz[k] = full if z[k] > 0 else full * slope[0]


@njit(parallel=True)
def attend_back(
    indptr,
    indices,
    left,
    right,
    attr,
    w_edge,
    att,
    slope,
    alpha,
    pull,
    d_logit,
    d_right,
    d_attr,
    d_att,
    d_edge,
):
    """Reverse of `attend` for what row i alone feels: pull = dL/dout.

    Fills d_logit (e, head), d_right (n, head · width), d_attr (e, k), and by block of cells d_att (block, head,
    width), d_edge (block, k, head · width).
    """
    n, heads, width = indptr.size - 1, att.shape[0], att.shape[1]
    for block in prange((n + BLOCK - 1) // BLOCK):
        z, dz, partial = (
            np.empty(width, left.dtype),
            np.empty(width, left.dtype),
            np.empty(_LANES, left.dtype),
        )
        mean = np.empty(1, left.dtype)
        d_att[block], d_edge[block] = 0, 0
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            begin, end = indptr[i], indptr[i + 1]
            for k in range(heads * width):
                d_right[i, k] = 0
            for e in range(begin, end):
                for m in range(attr.shape[1]):
                    d_attr[e, m] = 0
            for h in range(heads):
                first = h * width
                mean[0] = 0
                for e in range(begin, end):
                    j = indices[e]
                    for k in range(width):
                        z[k] = pull[i, first + k] * left[j, first + k]
                    d_logit[e, h] = _sum(z, partial)
                    mean[0] += alpha[e, h] * d_logit[e, h]
                for e in range(begin, end):
                    d_logit[e, h] = alpha[e, h] * (d_logit[e, h] - mean[0])
                    g = d_logit[e, h]
                    _hidden(left[indices[e]], right[i], attr[e], w_edge, h, width, z)
                    _rise(z, g, att, slope, h, width, dz)
                    for k in range(width):
                        d_att[block, h, k] += g * (z[k] if z[k] > 0 else slope[0] * z[k])
                        d_right[i, first + k] += dz[k]
                    for m in range(attr.shape[1]):
                        a = attr[e, m]
                        for k in range(width):
                            d_edge[block, m, first + k] += a * dz[k]
                            z[k] = dz[k] * w_edge[m, first + k]
                        d_attr[e, m] += _sum(z, partial)


@njit(parallel=True)
def attend_back_sender(
    spoken, hearers, edges, left, right, attr, w_edge, att, slope, alpha, pull, d_logit, d_left
):
    """Reverse of `attend` for senders: d_left_j = Σ_i α_ij pull_i + dz_ij, over those who hear j."""
    n, heads, width = spoken.size - 1, att.shape[0], att.shape[1]
    for block in prange((n + BLOCK - 1) // BLOCK):
        z, dz = np.empty(width, left.dtype), np.empty(width, left.dtype)
        for j in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for k in range(heads * width):
                d_left[j, k] = 0
            for s in range(spoken[j], spoken[j + 1]):
                i, e = hearers[s], edges[s]
                for h in range(heads):
                    first, a = h * width, alpha[e, h]
                    _hidden(left[j], right[i], attr[e], w_edge, h, width, z)
                    _rise(z, d_logit[e, h], att, slope, h, width, dz)
                    for k in range(width):
                        d_left[j, first + k] += a * pull[i, first + k] + dz[k]


@njit(parallel=True)
def weigh(indptr, indices, weight, value, out):
    """out_i = Σ_j weight_ij value_j by channel: weight (e, c), value and out (n, c, m)."""
    n, c, m = value.shape
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for k in range(c):
                for q in range(m):
                    out[i, k, q] = 0
            for e in range(indptr[i], indptr[i + 1]):
                j = indices[e]
                for k in range(c):
                    w = weight[e, k]
                    for q in range(m):
                        out[i, k, q] += w * value[j, k, q]


@njit(parallel=True)
def weigh_back(indptr, indices, value, pull, d_weight):
    """Reverse of `weigh` for the weights: d_weight_ij = pull_i · value_j by channel."""
    n, c, m = value.shape
    for block in prange((n + BLOCK - 1) // BLOCK):
        total = np.empty(1, value.dtype)
        for i in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for e in range(indptr[i], indptr[i + 1]):
                j = indices[e]
                for k in range(c):
                    total[0] = 0
                    for q in range(m):
                        total[0] += pull[i, k, q] * value[j, k, q]
                    d_weight[e, k] = total[0]


@njit(parallel=True)
def weigh_back_sender(spoken, hearers, edges, weight, pull, d_value):
    """Reverse of `weigh` for the values: d_value_j = Σ_i weight_ij pull_i, over those who hear j."""
    n, c, m = pull.shape
    for block in prange((n + BLOCK - 1) // BLOCK):
        for j in range(block * BLOCK, min((block + 1) * BLOCK, n)):
            for k in range(c):
                for q in range(m):
                    d_value[j, k, q] = 0
            for s in range(spoken[j], spoken[j + 1]):
                i, e = hearers[s], edges[s]
                for k in range(c):
                    w = weight[e, k]
                    for q in range(m):
                        d_value[j, k, q] += w * pull[i, k, q]
