"""Kernels run on the threads asked for."""

from __future__ import annotations

import numba

from mechanistic.threads import set_threads, threads


def test_threads_are_set_and_kept_within_what_there_are():
    before = threads()
    try:
        assert set_threads(1) == threads() == 1
        assert set_threads(10**6) == numba.config.NUMBA_NUM_THREADS
        assert set_threads(0) == 1
    finally:
        set_threads(before)
