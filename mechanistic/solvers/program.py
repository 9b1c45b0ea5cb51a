"""What a solver hands to the driver (`lockstep`): the compiled steps of one network, and the numbers of the methods.

A one-step method joins the driver by adding a `Method` to a `Program`; nothing else of the driver knows it. The
code has functions `void f(vector *block, ...)` over eight cells at once (`codegen.native`):

- `prepare`: whatever depends on the constants "p" alone. Called when a lane has taken another cell.
- `slope`: the derivative of the state "y", into "f". Called where a cell has no step yet, to choose one.

and for a method called m

- `m.step`: from "y" and the step size "h" to the new state "m.w", the stages "m.K" and the measures below. It may
  depend on nothing else that an earlier call left behind: between two calls a lane may have taken another cell.
- `m.accept`: "m.w" into "y" in the lanes where "m.accepted" is 1, not 0.
- `m.complete`: the stages that only dense output needs, from what the step left.

Its layout has the arrays y, f, p (scale, then the network's constants), h; what steps are measured against, the
same in all lanes: rtol, atol, lowest (as `lockstep.Task`); and, for every method, w, K (stages one after the
other), accepted, and the measures: error (root mean square of the error over the tolerance, NaN where anything is
not finite), factor (of the step size, for the next), dip (1 where something fell from its lowest value or above to
below it, else 0), stiffness (step size times about the largest eigenvalue).

Conditions on time are inputs of the code, which the driver sets between steps; they and the events join the program as
an `EventCode`, whose leaves, places and functions `rosenbrock.build` takes in (see `conditions` and `events`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mechanistic.codegen.elementary import elementary
from mechanistic.codegen.machine import Compiled
from mechanistic.codegen.native import Module
from mechanistic.codegen.vectors import Layout, Routine, constant

if TYPE_CHECKING:
    from mechanistic.solvers.events import EventCode

_MEASURES = ("error", "factor", "dip", "stiffness")
_SMALLEST = 1e-30  # errors below count as this


class OutOfScope(ValueError):
    """The network needs something that this solver does not do; the message says what."""


@dataclass(frozen=True)
class Method:
    """The numbers of a one-step method.

    Attributes:
        name: prefix of its functions and arrays.
        order: power of the step size in the error estimate; the next step is safety * error^(-1/order) times this.
        dense: (coefficients, stages). Within a step, at the share q of it, the state is
            y + q (w - y) + q (1 - q) sum_d q^d sum_s dense[d, s] K_s.
        scaled: whether that sum is to be multiplied by the step size (stages that are derivatives).
        leaves: a cell goes on with the other method once the stiffness was beyond `limit` in so many accepted
            steps: above it, or where `leaves` is negative, below it and that of the step to come too.
    """

    name: str
    order: float
    dense: tuple[tuple[float, ...], ...]
    scaled: bool
    limit: float
    leaves: int
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 6.0


@dataclass(frozen=True)
class Program:
    """The compiled steps of one network.

    Attributes:
        code: the functions above.
        size: states, time included where the equations depend on it.
        timed: whether the last state is time.
        layout: where the arrays lie.
        methods: for stiff equations, and for others; a cell begins with the first.
        events: functions and tables of events and conditions on time.
        places: (method, ...) offsets in the block as `lockstep` numbers them.
        numbers: (method, ...) likewise.
        dense: (method, coefficients, stages), filled up with zeros.
        functions: (2 + 3 methods,) addresses of prepare, slope, and each method's step, accept, complete.
    """

    code: Compiled
    size: int
    timed: bool
    layout: Layout
    methods: tuple[Method, ...]
    events: EventCode
    places: np.ndarray = field(init=False)
    numbers: np.ndarray = field(init=False)
    dense: np.ndarray = field(init=False)
    functions: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        offset, address = self.layout.offset, self.code.address
        common = [offset[a] for a in ("y", "f", "p", "h", "rtol", "atol", "lowest")]
        common = [self.layout.size, *common, self.timed]
        own = [[offset[f"{m.name}.{a}"] for a in ("w", "K", *_MEASURES, "accepted")] for m in self.methods]
        numbers = [(m.scaled, m.limit, m.leaves) for m in self.methods]
        most = (max(len(m.dense) for m in self.methods), max(len(m.dense[0]) for m in self.methods))
        dense = np.zeros((len(self.methods), *most))
        for k, m in enumerate(self.methods):
            dense[k, : len(m.dense), : len(m.dense[0])] = m.dense
        named = ["prepare", "slope"]
        named += [f"{m.name}.{f}" for m in self.methods for f in ("step", "accept", "complete")]
        object.__setattr__(self, "places", np.array([common + o for o in own], dtype=np.int64))
        object.__setattr__(self, "numbers", np.array(numbers, dtype=np.float64))
        object.__setattr__(self, "dense", dense)
        object.__setattr__(self, "functions", np.array([address(f) for f in named], dtype=np.int64))


def place_common(layout: Layout, size: int, constants: int) -> None:
    """Places the arrays that all methods share."""
    for name, length in (("y", size), ("f", size), ("atol", size), ("lowest", size), ("p", constants)):
        layout.place(name, length)
    for name in ("h", "rtol"):
        layout.place(name, 1)


def place_method(layout: Layout, name: str, size: int, stages: int) -> None:
    """Places the arrays of one method."""
    layout.place(f"{name}.w", size)
    layout.place(f"{name}.K", stages * size)
    for vector in (*_MEASURES, "accepted"):
        layout.place(f"{name}.{vector}", 1)


def emit_measures(r: Routine, name: str, states: int, count: int, terms) -> list:
    """Code for "dip", and the sums over the states (without time) of squares of `terms` over the tolerance.

    Args:
        terms: a function of the position that gives `count` terms.

    Returns:
        The sums; NaN where the new state is not finite.
    """
    y, w = r.array("y"), r.array(f"{name}.w")
    atol, lowest, rtol = r.array("atol"), r.array("lowest"), r.load(r.block, r.at("rtol"))

    def body(i, dip, *sums):
        before, after, bottom = r.load(y, i), r.load(w, i), r.load(lowest, i)
        level = r.larger(r.abs(before), r.abs(after))
        weight = r.div(constant(1.0), r.add(r.load(atol, i), r.mul(rtol, level)))
        falls = r.builder.and_(
            r.builder.fcmp_ordered("<", after, bottom), r.builder.fcmp_ordered("<=", bottom, before)
        )
        # 0, or not a number where the new state is not finite
        nothing = r.builder.fsub(after, after)
        ends = [r.builder.select(falls, constant(1.0), dip)]
        for total, term in zip(sums, terms(i)):
            ratio = r.mul(term, weight)
            ends.append(r.add(r.add(total, nothing), r.mul(ratio, ratio)))
        return ends

    dip, *sums = r.loop(states, body, [constant(0.0)] * (1 + count))
    r.store(dip, r.block, r.at(f"{name}.dip"))
    return sums


def emit_error(r: Routine, method: Method, error) -> None:
    """Code for "error" and "factor"."""
    r.store(error, r.block, r.at(f"{method.name}.error"))
    power = elementary(r.module.ir, "pow")
    root = r.builder.call(power, [r.larger(error, constant(_SMALLEST)), constant(-1.0 / method.order)])
    factor = r.larger(r.mul(constant(method.safety), root), constant(method.shrink))
    factor = r.builder.select(
        r.builder.fcmp_ordered("<", factor, constant(method.grow)), factor, constant(method.grow)
    )
    usual = r.builder.fcmp_ordered("<", error, constant(float("inf")))
    factor = r.builder.select(usual, factor, constant(method.shrink))
    r.store(factor, r.block, r.at(f"{method.name}.factor"))


def emit_accept(module: Module, name: str, size: int) -> None:
    """The function "accept" of a method."""
    r = module.routine(f"{name}.accept")
    y, w = r.array("y"), r.array(f"{name}.w")
    accepted = r.builder.fcmp_ordered("!=", r.load(r.block, r.at(f"{name}.accepted")), constant(0.0))
    r.loop(size, lambda i: r.store(r.builder.select(accepted, r.load(w, i), r.load(y, i)), y, i))
    r.end()
