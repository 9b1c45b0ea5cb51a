"""Philox against its published answers, and what counting promises: any order, any threads, the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechanistic.random import normals, stream_key, uniforms
from mechanistic.random.philox import philox4x32
from mechanistic.threads import set_threads, threads

# Random123 kat_vectors, philox4x32 10
_ANSWERS = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def _philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The twin, in Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return tuple(c)


def _twin(key: int, step: int, identity: int, draws: int) -> list[float]:
    out: list[float] = []
    for block in range((draws + 1) // 2):
        counter = (identity & 0xFFFFFFFF, identity >> 32, step, block)
        a, b, c, d = _philox(counter, (key & 0xFFFFFFFF, key >> 32))
        out += [((a >> 5) * 2**26 + (b >> 6)) / 2**53, ((c >> 5) * 2**26 + (d >> 6)) / 2**53]
    return out[:draws]


@pytest.mark.parametrize(("counter", "key", "answer"), _ANSWERS)
def test_published_answers(counter, key, answer):
    got = philox4x32(*np.array([*counter, *key], np.uint32))
    assert tuple(int(word) for word in got) == answer
    assert _philox(counter, key) == answer


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**63 - 1), max_size=5),
    st.integers(0, 7),
)  # fmt: skip
def test_uniforms_are_the_twins_to_the_bit(key, step, ids, draws):
    got = uniforms(np.uint64(key), step, np.array(ids, np.int64), draws)
    assert got.shape == (len(ids), draws)
    assert got.tolist() == [_twin(key, step, identity, draws) for identity in ids]


def test_normals_are_box_muller_of_the_uniforms():
    key, ids = stream_key(3, "noise"), np.arange(500)
    u, z = uniforms(key, 9, ids, 4), normals(key, 9, ids, 4)
    for first, second in ((0, 1), (2, 3)):
        radius, angle = np.sqrt(-2 * np.log(1 - u[:, first])), 2 * np.pi * u[:, second]
        np.testing.assert_allclose(z[:, first], radius * np.cos(angle), atol=1e-14)
        np.testing.assert_allclose(z[:, second], radius * np.sin(angle), atol=1e-14)


@pytest.mark.parametrize("draw", [uniforms, normals])
def test_order_threads_and_further_draws_change_nothing(draw):
    key, ids = stream_key(1, "order"), np.arange(10_000, dtype=np.int64)
    reference = draw(key, 5, ids, 3)
    shuffled = np.random.default_rng(0).permutation(ids)
    before = threads()
    try:
        for count in (1, 2):
            set_threads(count)
            assert np.array_equal(draw(key, 5, shuffled, 3), reference[shuffled])
            assert np.array_equal(draw(key, 5, ids[:7], 6)[:, :3], reference[:7])
    finally:
        set_threads(before)


def test_signed_and_unsigned_ids_agree():
    ids = np.array([0, 1, 2**62], np.int64)
    assert np.array_equal(uniforms(1, 0, ids, 2), uniforms(1, 0, ids.astype(np.uint64), 2))


def test_streams_of_other_seeds_purposes_and_steps_are_unrelated():
    ids = np.arange(4000)
    keys = [stream_key(0, "a"), stream_key(0, "b"), stream_key(1, "a")]
    columns = [uniforms(key, step, ids, 1)[:, 0] for key in keys for step in (0, 1)]
    correlation = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(ids.size)


def test_distributions():
    key, ids = stream_key(7, "distribution"), np.arange(100_000)
    u, z = uniforms(key, 0, ids, 2).ravel(), normals(key, 0, ids, 2).ravel()
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, bins=100, range=(0, 1))[0]
    chi_square = ((counts - u.size / 100) ** 2 / (u.size / 100)).sum()
    assert 50 < chi_square < 160  # 99 degrees of freedom: beyond 3.5 standard deviations otherwise
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / z.size)


def test_what_is_out_of_range_is_refused():
    ids = np.arange(3)
    with pytest.raises(ValueError, match="seed"):
        stream_key(-1, "a")
    with pytest.raises(ValueError, match="seed"):
        stream_key(2**64, "a")
    with pytest.raises(ValueError, match="step"):
        uniforms(0, 2**32, ids, 1)
    with pytest.raises(ValueError, match="draws"):
        uniforms(0, 0, ids, -1)
    with pytest.raises(ValueError, match="integers"):
        uniforms(0, 0, np.array([0.5]), 1)
    assert uniforms(0, 0, [], 2).shape == (0, 2)
