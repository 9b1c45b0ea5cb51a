"""Only a large tissue changes how memory is asked for, and only where the library knows how."""

import ctypes

import pytest

from sim import memory


class _Library:
    def __init__(self):
        self.asked = []

    def mallopt(self, *words):
        self.asked.append(words)


@pytest.mark.parametrize(("cells", "times"), [(1_000, 0), (memory._MANY, 1)])
def test_arrays_of_many_cells_are_asked_for_by_themselves(cells, times, monkeypatch):
    library = _Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    memory.prepare_for(cells)
    assert library.asked == [(memory._MMAP_THRESHOLD, memory._BY_ITSELF)] * times


def test_another_library_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.prepare_for(memory._MANY)
