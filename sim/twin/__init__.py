"""A scenario as one differentiable function: its fields, mechanics, pathways, manipulators, network and couplings.

    twin = Twin(plan(scenario), positions, types, learn=("pathway.p.k", "mechanics.adhesion"), step=5.0)
    now = twin.start()
    later = twin(now, steps=6)          # gradients to twin.values and to everything in `now`

In each step every part moves by itself (fields by the simulator's own solver, pathways and representations by the
classical Runge-Kutta method, cells by Heun's) while what the parts tell each other is held as it is in the middle of
the step, to where a first half step leads (the midpoint rule). The simulator does the same in half steps around each
other: both are of second order and agree as the step shrinks. Of a step no more is kept than the state: the rest is
computed again on the way back, and memory goes with cells and steps.

Division, death, growth and drawn numbers are left out; what else has no gradient here is refused by name.
"""

from sim.twin.course import Twin, TwinState
from sim.twin.moment import learned_key
from sim.twin.refusals import without_gradient

__all__ = ["Twin", "TwinState", "learned_key", "without_gradient"]
