"""Small processes to put a core together without any biology."""

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.core.signals import Signals
from sim.core.state import State


class Store(Process):
    """Owns what it is given and does nothing, or what `act` says."""

    def __init__(
        self,
        name,
        states=(),
        inputs=(),
        readouts=None,
        reads=(),
        step=1.0,
        types=None,
        kind="dynamic",
        act=None,
    ):
        super().__init__(name, step, types)
        self.kind = kind
        self.states = tuple(states)
        self.inputs = tuple(inputs)
        self._shown = readouts or {}
        self.readouts = tuple(Quantity(n, "1", n, "readout") for n in self._shown)
        self.reads = tuple(reads)
        self._act = act
        self.calls = []
        self.asked = 0

    def advance(self, state, signals, dt):
        self.calls.append((state.time, dt))
        if self._act is not None:
            self._act(state, signals, dt)

    def readout(self, name, state, signals):
        self.asked += 1
        return self._shown[name](state, signals)

    def follows(self, name):
        return tuple(q.name for q in self.inputs)


class Decay(Process):
    """x' = -a x + b · drive, exact while the drive is held."""

    def __init__(self, name, quantity, drive, a, b, step=1.0):
        super().__init__(name, step)
        self.quantity, self.drive, self.a, self.b = quantity, drive, a, b
        self.states = (Quantity(quantity, "1", quantity),)
        self.reads = (drive,)

    def advance(self, state, signals, dt):
        x, held = state[self.quantity], self.b / self.a * signals[self.drive]
        x[:] = held + (x - held) * np.exp(-self.a * dt)


def no_neighbours(state):
    return lambda: (np.zeros(len(state) + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))


def tissue(processes, couplings=(), types=(0, 0, 0), type_names=("a", "b"), graph=None):
    """State with one cell for each of `types`, and its signals."""
    state = State(q for p in processes for q in p.quantities)
    state.add(np.array(types))
    return state, Signals(state, processes, couplings, graph or no_neighbours(state), type_names)
