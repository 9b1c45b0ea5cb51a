"""Only a large tissue changes how memory is asked for; what is no longer needed is not held."""

import ctypes
import weakref

import pytest
from scenes import scene

from sim import controller
from sim.build import plan
from sim.controller import _Controller
from sim.errors import SimulationError
from sim.machine import memory
from sim.simulation import Simulation


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


def test_a_resumed_run_does_not_hold_what_it_was_resumed_from(tmp_path, monkeypatch):
    planned = plan(scene(stop="30 min", every="10 min", step="10 min"))
    monkeypatch.setattr(controller, "_REMEMBERED", 0)
    step, resume, arrays = Simulation.step, _Controller.resume, []

    def failing(self, length, refine=1):
        if self.state.time > 5:
            raise SimulationError("enough")
        step(self, length, refine)

    def watched(self, checkpoint):
        arrays.extend(weakref.ref(values) for values in checkpoint.arrays.values())
        resume(self, checkpoint)

    def looking(self, length, refine=1):
        held.append(sum(array() is not None for array in arrays))
        step(self, length, refine)

    held: list[int] = []
    monkeypatch.setattr(Simulation, "step", failing)
    with pytest.raises(SimulationError):
        controller.simulate(planned, tmp_path / "run.zarr")
    monkeypatch.setattr(Simulation, "step", looking)
    monkeypatch.setattr(_Controller, "resume", watched)
    controller.simulate(planned, tmp_path / "run.zarr", resume=True)
    assert len(arrays) > 5 and held == [0, 0]
