"""What a solver hands to the driver (`lockstep`): the compiled step of one network, and the numbers of its method.

A one-step method joins the driver by making a `Program`; nothing else of the driver knows the method. Its code
has the functions, each `void f(vector *block, ...)` over eight cells at once (`codegen.native`):

- `prepare`: whatever depends on the constants "p" alone. Called when a lane has taken another cell.
- `slope`: the derivative of the state "y", into "w". Called where a cell has no step yet, to choose one.
- `step`: from "y" and the step size to the new state "w", its error estimate and the stages "K". It may depend on
  nothing else that an earlier call left behind: between two calls a lane may have taken another cell.

and its layout the arrays: y, w, K (stages one after the other), p (scale, then the network's constants), z (the
conditions on time as they stand during the step, see `conditions`), and, where the method wants them, vectors for
the step size h, 1/h and 1/(gamma h).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mechanistic.codegen.native import Compiled, Layout


class OutOfScope(ValueError):
    """The network needs something that this solver does not do; the message says what."""


@dataclass(frozen=True)
class Method:
    """The numbers of a one-step method.

    Attributes:
        order: power of the step size in the error estimate; the next step is safety * error^(-1/order) times this.
        dense: (coefficients, stages). Within a step, at the share q of it, the state is
            y + q (w - y) + q (1 - q) sum_d q^d sum_s dense[d, s] K_s.
        scaled: whether that sum is to be multiplied by the step size (stages that are derivatives).
        gamma: of 1/(gamma h); 0 where the method has no use for it.
    """

    order: float
    dense: tuple[tuple[float, ...], ...]
    scaled: bool = False
    gamma: float = 0.0
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 6.0


@dataclass(frozen=True)
class Program:
    """The compiled step of one network.

    Attributes:
        code: the functions above.
        size: states, time included where the equations depend on it.
        timed: whether the last state is time.
        layout: where the arrays lie.
        method: its numbers.
        stages, error: names in the layout of the first of the stages, which lie one after the other, and of the
            error estimate.
        step_size, inverse_step, inverse_gamma_step: names in the layout of h, 1/h and 1/(gamma h), None where
            not wanted.
    """

    code: Compiled
    size: int
    timed: bool
    layout: Layout
    method: Method
    stages: str = "K0"
    error: str = "K5"
    step_size: str | None = None
    inverse_step: str | None = None
    inverse_gamma_step: str | None = None
    places: np.ndarray = field(init=False)
    numbers: np.ndarray = field(init=False)
    dense: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        offset = self.layout.offset
        names = ("y", "w", self.error, "p", self.stages)
        optional = (self.step_size, self.inverse_step, self.inverse_gamma_step)
        places = [self.layout.size, *(offset[n] for n in names), *(offset[n] if n else -1 for n in optional)]
        m = self.method
        object.__setattr__(self, "places", np.array([*places, self.timed], dtype=np.int64))
        numbers = (m.order, m.safety, m.shrink, m.grow, m.gamma, m.scaled)
        object.__setattr__(self, "numbers", np.array(numbers, dtype=np.float64))
        object.__setattr__(self, "dense", np.array(m.dense, dtype=np.float64))
