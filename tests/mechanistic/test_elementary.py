"""exp, ln and powers in machine code against the mathematics library."""

from __future__ import annotations

import ctypes

import llvmlite.ir as ir
import numpy as np
import pytest

from mechanistic.codegen.elementary import elementary
from mechanistic.codegen.machine import Compiled
from mechanistic.codegen.vectors import LANES, VECTOR

NUMPY = {"exp": np.exp, "ln": np.log, "pow": np.power}
ODD = [
    0.0,
    -0.0,
    1.0,
    -2.0,
    0.5,
    3.0,
    -3.0,
    5e-324,
    1e-310,
    1e308,
    np.inf,
    -np.inf,
    np.nan,
    745.0,
    -745.0,
    709.7,
]


@pytest.fixture(scope="module")
def compiled():
    module, pointer = ir.Module("elementary"), VECTOR.as_pointer()
    for name in NUMPY:
        function = elementary(module, name)
        outer = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3), f"of {name}")
        builder = ir.IRBuilder(outer.append_basic_block())
        given = [builder.load(outer.args[k], align=8) for k in range(len(function.args))]
        builder.store(builder.call(function, given), outer.args[2], align=8)
        builder.ret_void()
    return Compiled(str(module))


def _run(compiled, name, x, y):
    """`name` of numbers, eight at a time."""
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(compiled.address(f"of {name}"))
    result = np.empty_like(x)
    for k in range(0, len(x), LANES):
        call(*(a[k:].ctypes.data for a in (x, y, result)))
    return result


@pytest.mark.parametrize("name", NUMPY)
def test_within_a_unit_in_the_last_place(compiled, name):
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-40, 40, 40_000), rng.uniform(-8, 8, 40_000)
    if name != "exp":
        x = np.exp(np.where(np.arange(len(x)) % 2, x, x / 100))  # many of them near 1
        y[np.abs(y * np.log(x)) > 50] = 1.0
    # in twice the digits where the machine has them, to see the last one
    wide = x.astype(np.longdouble), y.astype(np.longdouble)
    exact = NUMPY[name](*wide[: 2 if name == "pow" else 1])
    found = _run(compiled, name, x, y)
    assert (np.abs(found - exact) / np.spacing(np.abs(exact.astype(float)))).max() < 1.01


def test_ends_of_the_range(compiled):
    x = np.exp(np.random.default_rng(6).uniform(-600, 600, 8000))
    y = np.random.default_rng(7).uniform(-1, 1, 8000)
    np.testing.assert_allclose(_run(compiled, "pow", x, y), np.power(x, y), rtol=6 * np.finfo(float).eps)


@pytest.mark.parametrize("name", NUMPY)
def test_out_of_the_ordinary(compiled, name):
    x, y = (a.ravel().copy() for a in np.meshgrid(ODD, ODD))
    with np.errstate(all="ignore"):
        expected = NUMPY[name](*(x, y)[: 2 if name == "pow" else 1])
    found = _run(compiled, name, x, y)
    np.testing.assert_allclose(found, expected, rtol=4e-16)
    if name != "pow":
        number = ~np.isnan(expected)  # the sign of what is no number means nothing
        np.testing.assert_array_equal(np.signbit(found)[number], np.signbit(expected)[number])


def test_a_lane_does_not_feel_the_others(compiled):
    rng = np.random.default_rng(8)
    x, y = np.exp(rng.uniform(-9, 9, 80)), rng.uniform(-3, 3, 80)
    beside = np.where(np.arange(80) % 3 == 0, x, -1.0)
    alone, mixed = (_run(compiled, "pow", a, y)[::3] for a in (x, beside))
    np.testing.assert_array_equal(alone, mixed)


def test_small_whole_exponents_are_products_whatever_the_other_lanes_ask(compiled):
    rng = np.random.default_rng(9)
    x = np.append(
        rng.normal(size=32_000) * np.exp(rng.uniform(-40, 40, 32_000)), [0.0, -0.0, np.inf, -np.inf] * 8
    )
    whole = rng.integers(1, 5, len(x)).astype(float)
    with np.errstate(all="ignore"):
        expected = np.power(x, whole)
    found = _run(compiled, "pow", x, whole)
    np.testing.assert_allclose(found, expected, rtol=2 * np.finfo(float).eps)
    mixed = _run(compiled, "pow", x, np.where(np.arange(len(x)) % 3, whole, rng.uniform(1, 4, len(x))))
    kept = np.arange(len(x)) % 3 != 0
    assert mixed[kept].tobytes() == found[kept].tobytes()
