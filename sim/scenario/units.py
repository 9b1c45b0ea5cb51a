"""Quantities as text, `1e5 um^2/min`, become numbers in the units used inside.

A quantity is a number and a unit expression: products, quotients and whole powers of the units in `UNITS`,
which are those of the laboratory. The text is matched by a grammar and never evaluated. The
table is exact (fractions) and a test holds each entry to pint, whose import would cost more than the whole
command may take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from sim.errors import escaped
from sim.spelling import did_you_mean

Exponents = tuple[int, ...]  # of time, length, amount of substance, mass, temperature

_LONGEST_TEXT = 100
_LARGEST_EXPONENT = 400
_LARGEST = 1e30  # in the unit inside: results are kept in single precision, which ends at 3e38

_PREFIXES = {
    "z": -21,
    "a": -18,
    "f": -15,
    "p": -12,
    "n": -9,
    "u": -6,
    "µ": -6,
    "μ": -6,
    "m": -3,
    "c": -2,
    "d": -1,
    "h": 2,
    "k": 3,
}


@dataclass(frozen=True)
class Unit:
    """A unit or a unit expression: `factor` SI units, of the dimension `exponents`."""

    factor: Fraction
    exponents: Exponents

    def __mul__(self, other: Unit) -> Unit:
        exponents = tuple(a + b for a, b in zip(self.exponents, other.exponents))
        return Unit(self.factor * other.factor, exponents)

    def __pow__(self, power: int) -> Unit:
        return Unit(self.factor**power, tuple(power * e for e in self.exponents))


def _table() -> dict[str, Unit]:
    time, length, amount = (1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0)
    mass, temperature, none = (0, 0, 0, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0)
    volume, molar, pressure = (0, 3, 0, 0, 0), (0, -3, 1, 0, 0), (-2, -1, 0, 1, 0)
    table: dict[str, Unit] = {}

    def add(names: str, factor: str | int | Fraction, exponents: Exponents, prefixes: str = "") -> None:
        for name in names.split():
            table[name] = Unit(Fraction(factor), exponents)
            for prefix in prefixes:
                table[prefix + name] = Unit(Fraction(factor) * Fraction(10) ** _PREFIXES[prefix], exponents)

    add("s", 1, time, "numµμ")
    add("sec second seconds", 1, time)
    add("min minute minutes", 60, time)
    add("h hr hour hours", 3600, time)
    add("d day days", 86400, time)
    add("m", 1, length, "numcµμ")
    add("micron microns micrometer micrometre", "1e-6", length)
    add("L l liter litre", "1e-3", volume)
    add("L l", "1e-3", volume, "afpnumµμ")
    add("mol", 1, amount, "zafpnumµμ")
    add("M molar", 1000, molar)
    add("M", 1000, molar, "afpnumµμ")
    add("g", "1e-3", mass, "fpnumkµμ")
    add("Pa", 1, pressure, "mhk")
    add("mmHg", "133.322387415", pressure)
    add("Torr torr", Fraction(101325, 760), pressure)
    add("atm", 101325, pressure)
    add("bar", 100000, pressure, "m")
    add("K kelvin", 1, temperature)
    add("dimensionless", 1, none)
    add("%", "0.01", none)
    return table


UNITS = _table()


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its name with an article, an example to show, and the unit it has inside."""

    name: str
    example: str
    unit: str

    def __str__(self) -> str:
        return f"{self.name} such as {self.example}"


TIME = Dimension("a time", "6 h", "min")
LENGTH = Dimension("a length", "20 um", "um")
VOLUME = Dimension("a volume", "2494 um^3", "um^3")
RATE = Dimension("a rate", "0.1 /min", "1/min")
SPEED = Dimension("a speed", "0.5 um/min", "um/min")
DIFFUSIVITY = Dimension("a diffusion coefficient", "1e5 um^2/min", "um^2/min")
CONCENTRATION = Dimension("a concentration", "1 uM", "uM")
PRESSURE = Dimension("a pressure", "38 mmHg", "mmHg")
MASS_CONCENTRATION = Dimension("a mass concentration", "5 ng/mL", "ng/mL")
NUMBER = Dimension("a number without unit", "1", "dimensionless")
FIELD_DIMENSIONS = (CONCENTRATION, PRESSURE, MASS_CONCENTRATION, NUMBER)
#: an amount per time, of a field of each dimension in turn
FLOWS = (
    Dimension("an amount per time", "10 uM*um^3/min", "uM*um^3/min"),
    Dimension("a pressure times a volume per time", "10 mmHg*um^3/min", "mmHg*um^3/min"),
    Dimension("a mass per time", "10 ng/mL*um^3/min", "ng/mL*um^3/min"),
    Dimension("a volume per time", "10 um^3/min", "um^3/min"),
)
DIMENSIONS = (TIME, LENGTH, VOLUME, RATE, SPEED, DIFFUSIVITY, *FIELD_DIMENSIONS, *FLOWS)

_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_TERM = r"[A-Za-zµμ%]+(?:(?:\^|\*\*)[-+]?[1-9]|[²³])?"
_EXPRESSION = rf"(?:1\s*(?=/))?(?:/\s*)?{_TERM}(?:\s*[*·/]\s*{_TERM})*"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*({_EXPRESSION})?\s*")
_IS_EXPRESSION = re.compile(_EXPRESSION)
_PIECES = re.compile(r"([*·/]?)\s*([A-Za-zµμ%]+)(?:(?:\^|\*\*)([-+]?[1-9])|([²³]))?")
#: For the JSON Schema: a number, then a unit expression (JSON Schema has no look-ahead in all editors).
QUANTITY_PATTERN = rf"^\s*{_NUMBER}\s*(1\s*)?(/\s*)?{_TERM}(\s*[*·/]\s*{_TERM})*\s*$".replace("(?:", "(")


class UnitError(ValueError):
    """A quantity that cannot be read. The message is for the user: what is wrong and what is wanted."""


@lru_cache(maxsize=1024)
def unit(text: str, wanted: str = "") -> Unit:
    """The unit that `text` names, for example "um^2/min"; one like `wanted` is hinted. Raises UnitError."""
    if text in ("", "1"):
        return UNITS["dimensionless"]
    if len(text) > _LONGEST_TEXT or not _IS_EXPRESSION.fullmatch(text):
        raise UnitError("is not a unit; write one such as um^2/min")
    result = UNITS["dimensionless"]
    for operator, name, power, superscript in _PIECES.findall(text.removeprefix("1").strip()):
        if name not in UNITS:
            raise UnitError(f"has an unknown unit '{escaped(name)}'{_meant(name, wanted)}")
        exponent = int(power or {"²": 2, "³": 3}.get(superscript, 1))
        result = result * UNITS[name] ** (-exponent if operator == "/" else exponent)
    return result


def _meant(name: str, wanted: str) -> str:
    """The nearest unit, of the wanted dimension if it can be: mM, not mm, for a concentration."""
    alike = [n for n, u in UNITS.items() if wanted and u.exponents == unit(wanted).exponents]
    return did_you_mean(name, alike) or did_you_mean(name, UNITS)


def same_dimension(a: str, b: str) -> bool:
    """True where a value in unit `a` can be converted to unit `b`."""
    return unit(a).exponents == unit(b).exponents


def dimension_of(text: str) -> str:
    """What the unit `text` measures, in words: "a rate", or the unit itself where it has no name."""
    exponents = unit(text).exponents
    for dimension in DIMENSIONS:
        if unit(dimension.unit).exponents == exponents:
            return dimension.name
    named: dict[Exponents, str] = {
        (0, 0, 1, 0, 0): "an amount of substance",
        (0, 0, 0, 1, 0): "a mass",
        (0, 0, 0, 0, 1): "a temperature",
    }
    named |= {(0, 2, 0, 0, 0): "an area"}
    return named.get(exponents, f"in '{escaped(text)}'")


class Quantity(float):
    """A number in the unit used inside, which remembers how it was written.

    `float(q)` is in `q.inside`; `q.written` and `q.unit` are the number and the unit of the scenario.
    """

    __slots__ = ("inside", "unit", "written")

    inside: str
    unit: str
    written: float

    def __new__(cls, value: float, inside: str, unit: str, written: float) -> Quantity:
        self = super().__new__(cls, value)
        self.inside, self.unit, self.written = inside, unit, written
        return self

    def __getnewargs__(self) -> tuple[float, str, str, float]:
        return float(self), self.inside, self.unit, self.written

    def __getstate__(self) -> None:
        return None

    def __repr__(self) -> str:
        return f"{self.written:g} {self.unit}".strip()

    __str__ = __repr__

    def to(self, other: str) -> Quantity:
        """The same quantity with `other` as the unit inside. Raises UnitError where the dimensions differ."""
        if not same_dimension(self.unit, other):
            raise UnitError(f"cannot convert {self.unit} ({dimension_of(self.unit)}) to {other}")
        return Quantity(_convert(repr(self.written), self.unit, other), other, self.unit, self.written)


def _convert(number: str, given: str, wanted: str) -> float:
    if given == wanted:
        return float(number)
    try:
        return float(Fraction(number) * unit(given).factor / unit(wanted).factor)
    except OverflowError:
        raise UnitError("is too large a number") from None


def _usual(text: str, wanted: tuple[Dimension, ...]) -> str:
    """`; did you mean '5 um^3'?` for what others write: 5 um3, 5 min-1, 5 per min, 0,5 h."""
    if len(text) > _LONGEST_TEXT:
        return ""
    other = re.sub(r"^([-+]?[0-9]+),([0-9]+)", r"\1.\2", text.strip())
    if (number := re.match(_NUMBER, other)) is None:
        return ""
    unit_of = re.sub(r"\bper\s+", "/", other[number.end() :])
    other = number.group() + re.sub(r"(?<=[A-Za-zµμ])([-+]?[1-9])(?![0-9])", r"^\1", unit_of)
    if not _QUANTITY.fullmatch(other):
        return ""
    try:
        quantity(other, *wanted)
    except UnitError:
        return ""
    return f"; did you mean '{escaped(other)}'?"


def quantity(text: object, *wanted: Dimension) -> Quantity:
    """`text` as a quantity of one of the wanted dimensions, in that dimension's unit inside.

    Raises UnitError naming the wanted dimension, the value got and an example.
    """
    want = " or ".join(map(str, wanted))
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise UnitError(f"must be {want}")
    if not isinstance(text, str):
        if NUMBER not in wanted:
            raise UnitError(f"has no unit; must be {want}")
        text = f"{text!r} dimensionless"
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise UnitError(f"must be {want}{_usual(text, wanted)}")
    number, expression = match.group(1), match.group(2) or ""
    if not expression:
        raise UnitError(f"has no unit; must be {want}")
    try:
        value = unit(expression, wanted[0].unit)
    except UnitError as error:
        raise UnitError(f"{error}; must be {want}") from None
    written = float(number)
    power = re.search(r"[eE]([-+]?[0-9]+)$", number)
    if abs(written) == float("inf") or (power and abs(int(power.group(1)[:6])) > _LARGEST_EXPONENT):
        raise UnitError(f"is too large or too small a number; must be {want}")
    for dimension in wanted:
        if unit(dimension.unit).exponents == value.exponents:
            inside = _convert(number, expression, dimension.unit)
            if abs(inside) > _LARGEST:
                raise UnitError(f"is too large a number; must be {want}")
            return Quantity(inside, dimension.unit, expression.replace("dimensionless", ""), written)
    raise UnitError(f"is {dimension_of(expression)}; must be {want}")
