"""Objectives on dA/dt = -k A, and on dB/dt = in - out B, whose likelihoods can be written down."""

import numpy as np

from mechanistic.sbml import read_network
from sim.fitting.objective import Objective, Study
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Period

DECAY = read_network("model m; k = 1; a0 = 2; A = a0; A' = -k*A; end")
CHAIN = read_network("""model chain
  compartment c = 1; species A in c, B in c, C in c; A = a0; B = 0; C = 0; a0 = 2; k = 1; q = 0.5; s = 3
  first: A -> B; c*k*A
  second: B -> C; c*q*B
end""")
TIMES = np.array([0.0, 0.5, 1.0, 2.0, 4.0])


def decay(formula="s*A", values=None, sd=0.05, times=TIMES, **parameters) -> Objective:
    """Of measurements without error at k = 1, a0 = 2 and s = 3 where no `values` are given."""
    chosen = {
        "k": Parameter("k", 1.0, 1e-3, 1e3, "log10"),
        "a0": Parameter("a0", 2.0, 1e-3, 1e3, "log10"),
        "s": Parameter("s", 3.0, 1e-3, 1e3, "log10"),
        **parameters,
    }
    kept = [p for p in chosen.values() if p is not None]
    values = 6.0 * np.exp(-times) if values is None else values
    tree = {"s*A": ["*", "s", "A"], "A": "A"}[formula]
    points = tuple(Measurement("y", "e", float(t), float(v)) for t, v in zip(times, values))
    study = Study(DECAY, (Experiment("e", (Period(0.0),)),), (Observable("y", tree, sd),), points)
    return Objective(kept, [study])
