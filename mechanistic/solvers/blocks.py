"""The block of numbers that compiled code and its driver share: calling the code, reading the last step."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 8

# Positions in a row of `Program.places` and of `Program.numbers`, and in `Program.functions`, where those of a
# method follow
SIZE, Y, F, P, H, RTOL, ATOL, LOWEST, TIMED, W, K, ERROR, FACTOR, DIP, STIFFNESS, ACCEPTED = range(16)
SCALED, LIMIT, LEAVES = range(3)
PREPARE, SLOPE, METHODS = range(3)
STEP, ACCEPT, COMPLETE, FUNCTIONS = range(4)
STIFF, OTHER = range(2)  # methods


@intrinsic
def call(_context, address, block):
    """Calls the compiled `void f(double *, double *, double *)` at `address` with `block`."""

    def generate(context, builder, _signature, arguments):
        pointer = ir.DoubleType().as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 3)
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(arguments[1], pointer)] * 3)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def dense_weights(dense, scaled, q, used, weights):
    """The weights of the stages in the state at the share `q` of a step of size `used`.

    Args:
        dense, scaled: of the method, see `program.Method`.
        weights: (stages,) to fill.
    """
    factor = q * (1.0 - q) * (used if scaled else 1.0)
    for s in range(len(weights)):
        total = 0.0
        for d in range(len(dense) - 1, -1, -1):
            total = total * q + dense[d, s]
        weights[s] = factor * total


def dense_value(block, y, w, stages, rows, weights, q, i, lane):
    """State `i` at the share `q` of the last step.

    Args:
        y, w, stages: offsets of the state before and after it and of the first stage.
        rows: states in a stage.
    """
    at = i * LANES + lane
    if q >= 1.0:
        return block[w + at]
    now = block[y + at]
    value = now + q * (block[w + at] - now)
    for s in range(len(weights)):
        # a method with fewer stages than another has nothing there
        if weights[s] != 0.0:
            value += weights[s] * block[stages + s * rows * LANES + at]
    return value
