"""Units as a model file words them (`1e-21 mole / femtolitre`) in the terms of a scenario's units."""

from __future__ import annotations

import re
from fractions import Fraction

from sim.scenario.units import Unit, UnitError, unit

_NAMES = {
    "dimensionless": "dimensionless",
    "mole": "mol",
    "litre": "L",
    "metre": "m",
    "gram": "g",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
    "pascal": "Pa",
    "kelvin": "K",
}
_PREFIXES = {"atto": -18, "femto": -15, "pico": -12, "nano": -9, "micro": -6, "milli": -3, "kilo": 3}
_PART = re.compile(r"\(?(?:([0-9.eE+-]+) )?([A-Za-z]+)\)?(?:\^([0-9]+))?\Z")


def any_unit(text: str) -> Unit:
    """The unit that `text` names, in a scenario's spelling or a model's.

    Raises:
        UnitError: it is neither, or counts items.
    """
    try:
        return unit(text)
    except UnitError:
        return _of_model(text)


def _of_model(text: str) -> Unit:
    result = unit("1")
    for sign, group in zip((1, *[-1] * text.count(" / ")), text.split(" / ")):
        for part in group.split(" * "):
            if part != "1":
                result = result * _part(part) ** sign
    return result


def _part(text: str) -> Unit:
    found = _PART.match(text)
    if not found:
        raise UnitError(f"'{text}' is not a unit that can be converted")
    number, name, power = found.groups()
    prefix = next((p for p in _PREFIXES if name.startswith(p) and name.removeprefix(p) in _NAMES), "")
    plain = name.removeprefix(prefix)
    if plain not in _NAMES:
        raise UnitError(f"'{name}' is not a unit that can be converted")
    base = unit(_NAMES[plain])
    factor = Fraction(number or 1) * Fraction(10) ** _PREFIXES.get(prefix, 0) * base.factor
    return Unit(factor, base.exponents) ** int(power or 1)


#: how units of models are written where they are one of these
_FAMILIAR = (
    "uM",
    "nM",
    "mM",
    "M",
    "pM",
    "uM/min",
    "nM/min",
    "uM/s",
    "nM/s",
    "1/min",
    "1/s",
    "1/h",
    "zmol",
    "mol",
)


def tidy(text: str | None) -> str:
    """A model's unit in a scenario's spelling where there is one (`1e-21 mole / femtolitre` is uM).

    `1` is a pure number; an empty text says that the model declares nothing.
    """
    if not text:
        return ""
    if text == "dimensionless":
        return "1"
    try:
        meant = any_unit(text)
    except UnitError:
        return text
    return next((name for name in _FAMILIAR if unit(name) == meant), text)


_TIME = re.compile(r"(?:([0-9.eE+-]+) )?(second|minute|hour|day)\Z")
_MINUTES = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}


def minutes_of(text: str | None) -> float | None:
    """A model's unit of time (`second`, `60 second`, `hour`) in minutes; None where it is none of these."""
    found = _TIME.match(text or "")
    return float(found[1] or 1) * _MINUTES[found[2]] if found else None
