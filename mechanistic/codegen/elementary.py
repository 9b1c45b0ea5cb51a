"""exp, ln and powers of a vector of doubles, as functions of a module: the mathematics library takes one at a time.

Reduction to a short interval and a series, as in W. J. Cody, W. Waite, Software Manual for the Elementary
Functions, Prentice-Hall 1980; for powers the logarithm carries a second double (T. J. Dekker, Numer. Math. 18,
224, 1971), so that its error times the exponent stays below a unit in the last place for |y ln x| up to about
50, and at five units at the ends of the range. Exponents of 1, 2, 3 and 4 are products, within one and a half
units. A lane whose arguments are out of the ordinary (negative, infinite, subnormal, results that overflow or
underflow) is left to the mathematics library; what a lane gets depends on its own arguments only.
"""

from __future__ import annotations

import math

import llvmlite.ir as ir

LANES = 8
_DOUBLE, _LONG = ir.DoubleType(), ir.IntType(64)
_VECTOR, _INTEGERS = ir.VectorType(_DOUBLE, LANES), ir.VectorType(_LONG, LANES)

_LN2_HIGH = float.fromhex("0x1.62e42fefa3800p-1")  # 11 bits left free: exact times a binary exponent
_LN2_LOW = float.fromhex("0x1.ef35793c76730p-45")
_SQRT_HALF_BITS = 0x3FE6A09E00000000
_ONE_BITS = 0x3FF0000000000000
_SMALLEST_NORMAL, _INFINITY_BITS = 0x0010000000000000, 0x7FF0000000000000
_MANTISSA = 0x000FFFFFFFFFFFFF
_WIDEST = 707.0  # |x| for which exp(x) is a normal number
_TO_INTEGER = float.fromhex("0x1.8p52")  # adding it rounds to a whole number, held in the low bits
_EXP_TERMS, _LN_TERMS = 13, 11


def elementary(module: ir.Module, name: str) -> ir.Function:
    """The function `name` ("exp", "ln", "pow") of vectors in `module`, defined there if it is not yet."""
    full = f"elementary.{name}"
    known = module.globals.get(full)
    if known is not None:
        return known  # pyright: ignore[reportReturnType]
    arguments = 2 if name == "pow" else 1
    function = ir.Function(module, ir.FunctionType(_VECTOR, [_VECTOR] * arguments), full)
    function.linkage = "internal"
    vectors = _Vectors(module, function)
    value, unusual = {"exp": _exp, "ln": _ln, "pow": _pow}[name](vectors, *function.args)
    _finish(vectors.builder, {"ln": "log"}.get(name, name), value, unusual)
    return function


class _Vectors:
    """Operations that are rounded once each, in one function's first block."""

    def __init__(self, module: ir.Module, function: ir.Function):
        self.builder = ir.IRBuilder(function.append_basic_block())
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        name = f"llvm.fma.v{LANES}f64"
        self._fma = module.globals.get(name) or ir.Function(module, kind, name)
        b = self.builder
        self.add, self.sub, self.mul, self.div = b.fadd, b.fsub, b.fmul, b.fdiv

    def fma(self, a, b, c):
        """a * b + c."""
        return self.builder.call(self._fma, [a, b, c])

    def series(self, x, coefficients: list[float]):
        """Sum of coefficients[k] x^k; pairs first, so that operations need not wait for each other."""
        terms, power = [_number(c) for c in coefficients], x
        while len(terms) > 1:
            pairs = [self.fma(terms[i + 1], power, terms[i]) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + terms[len(terms) // 2 * 2 :]
            if len(terms) > 1:
                power = self.mul(power, power)
        return terms[0]

    def exp_of(self, high, low):
        """exp(high + low) for |high| <= _WIDEST and a small low."""
        b, to_integer = self.builder, _number(_TO_INTEGER)
        shifted = self.fma(high, _number(1.0 / math.log(2.0)), to_integer)
        whole = self.sub(shifted, to_integer)
        rest = self.fma(whole, _number(-_LN2_HIGH), high)
        rest = self.add(rest, self.fma(whole, _number(-_LN2_LOW), low))
        value = self.series(rest, [1.0 / math.factorial(k) for k in range(2, _EXP_TERMS + 1)])
        value = self.add(_number(1.0), self.fma(self.mul(rest, rest), value, rest))
        exponent = b.shl(b.bitcast(shifted, _INTEGERS), _integer(52))
        return b.bitcast(b.add(b.bitcast(value, _INTEGERS), exponent), _VECTOR)

    def ln_of(self, x):
        """ln(x) of normal positive numbers as (high, low), exact to about 2^-60 of it."""
        b = self.builder
        bits = b.bitcast(x, _INTEGERS)
        # x = 2^whole m, m between the square roots of 1/2 and 2
        above = b.add(bits, _integer(_ONE_BITS - _SQRT_HALF_BITS))
        whole = b.sub(b.lshr(above, _integer(52)), _integer(1023))
        m = b.bitcast(b.add(b.and_(above, _integer(_MANTISSA)), _integer(_SQRT_HALF_BITS)), _VECTOR)
        # a double that holds a small whole number in its low bits
        number = b.bitcast(b.add(whole, b.bitcast(_number(_TO_INTEGER), _INTEGERS)), _VECTOR)
        number = self.sub(number, _number(_TO_INTEGER))
        # ln m = 2 artanh s, s = (m - 1) / (m + 1), as a sum of two doubles
        f, d = self.sub(m, _number(1.0)), self.add(m, _number(1.0))
        d_low = self.sub(m, self.sub(d, _number(1.0)))
        inverse = self.div(_number(1.0), d)
        s = self.mul(f, inverse)
        rest = self.fma(b.fneg(s), d_low, self.fma(b.fneg(s), d, f))
        s_low = self.mul(rest, inverse)
        square = self.mul(s, s)
        tail = self.series(square, [2.0 / (2 * k + 1) for k in range(1, _LN_TERMS)])
        low = self.fma(self.mul(square, s), tail, self.mul(_number(2.0), s_low))
        main, shift = self.mul(_number(2.0), s), self.mul(number, _number(_LN2_HIGH))
        # where whole is not 0, shift is the larger
        total = self.add(shift, main)
        low = self.add(low, self.sub(main, self.sub(total, shift)))
        low = self.fma(number, _number(_LN2_LOW), low)
        high = self.add(total, low)
        return high, self.add(self.sub(total, high), low)

    def unusual(self, x):
        """Lanes that are not normal positive numbers."""
        bits = self.builder.bitcast(x, _INTEGERS)
        above = self.builder.sub(bits, _integer(_SMALLEST_NORMAL))
        return self.builder.icmp_unsigned(">=", above, _integer(_INFINITY_BITS - _SMALLEST_NORMAL))

    def too_wide(self, x):
        """Lanes whose exponential is not a normal number, or that are NaN."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        name = f"llvm.fabs.v{LANES}f64"
        module = self.builder.module
        fabs = module.globals.get(name) or ir.Function(module, kind, name)
        size = self.builder.call(fabs, [x])
        return self.builder.fcmp_unordered(">", size, _number(_WIDEST))


def _exp(v: _Vectors, x):
    return v.exp_of(x, _number(0.0)), v.too_wide(x)


def _ln(v: _Vectors, x):
    return v.ln_of(x)[0], v.unusual(x)


def _pow(v: _Vectors, x, y):
    b = v.builder
    # most exponents in pathways are Hill coefficients, and most of these small whole numbers
    square = v.mul(x, x)
    product, simple = x, b.fcmp_ordered("==", y, _number(1.0))
    for exponent, power in ((2.0, square), (3.0, v.mul(square, x)), (4.0, v.mul(square, square))):
        same = b.fcmp_ordered("==", y, _number(exponent))
        product, simple = b.select(same, power, product), b.or_(simple, same)
    all_simple, others = b.append_basic_block(), b.append_basic_block()
    b.cbranch(_in_none(b, b.not_(simple)), all_simple, others)
    b.position_at_end(all_simple)
    b.ret(product)
    b.position_at_end(others)
    value, unusual = _any_power(v, x, y)
    return b.select(simple, product, value), b.and_(unusual, b.not_(simple))


def _any_power(v: _Vectors, x, y):
    high, low = v.ln_of(x)
    product = v.mul(y, high)
    rest = v.fma(y, low, v.fma(y, high, v.builder.fneg(product)))
    result = v.exp_of(product, rest)
    b = v.builder
    # 0^y is frequent: a species that is not there yet
    nothing = b.and_(
        b.icmp_signed("==", b.bitcast(x, _INTEGERS), _integer(0)), b.fcmp_ordered(">", y, _number(0.0))
    )
    unusual = b.or_(v.unusual(x), v.too_wide(product))
    return b.select(nothing, _number(0.0), result), b.and_(unusual, b.not_(nothing))


def _finish(builder: ir.IRBuilder, library: str, value, unusual) -> None:
    """Returns `value`, or what the mathematics library says in the lanes that are `unusual`."""
    function, module = builder.function, builder.module
    kind = ir.FunctionType(_DOUBLE, [_DOUBLE] * len(function.args))
    scalar = module.globals.get(library) or ir.Function(module, kind, library)
    easy, hard = function.append_basic_block(), function.append_basic_block()
    builder.cbranch(_in_none(builder, unusual), easy, hard)
    ir.IRBuilder(easy).ret(value)
    builder.position_at_end(hard)
    result = value
    for lane in range(LANES):
        result = _lane_from_library(builder, scalar, function.args, result, unusual, lane)
    builder.ret(result)


def _lane_from_library(builder: ir.IRBuilder, scalar, arguments, result, unusual, lane: int):
    at = ir.IntType(32)(lane)
    before = builder.block
    call, after = builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.extract_element(unusual, at), call, after)
    builder.position_at_end(call)
    one = builder.call(scalar, [builder.extract_element(a, at) for a in arguments])
    changed = builder.insert_element(result, one, at)
    builder.branch(after)
    builder.position_at_end(after)
    merged = builder.phi(_VECTOR)
    merged.add_incoming(result, before)
    merged.add_incoming(changed, call)
    return merged


def _in_none(builder: ir.IRBuilder, lanes):
    """Whether a condition holds in no lane."""
    byte = builder.bitcast(lanes, ir.IntType(LANES))
    return builder.icmp_unsigned("==", byte, ir.IntType(LANES)(0))


def _number(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(value)] * LANES)


def _integer(value: int) -> ir.Constant:
    return ir.Constant(_INTEGERS, [value] * LANES)
