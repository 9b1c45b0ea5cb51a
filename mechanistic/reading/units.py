"""Units of an SBML model as plain text: "mole", "micromole", "60 second", "micromole / litre"."""

from __future__ import annotations

from mechanistic.reading.numbers import number, shown
from mechanistic.reading.problems import Problems, closest
from mechanistic.reading.xmltree import Element

_KIND_NAMES = """ampere avogadro becquerel candela Celsius coulomb dimensionless farad gram gray henry hertz
    item joule katal kelvin kilogram liter litre lumen lux meter metre mole newton ohm pascal radian second
    siemens sievert steradian tesla volt watt weber"""
_KINDS = frozenset(_KIND_NAMES.split())
_BUILT_IN = {"substance": "mole", "volume": "litre", "area": "metre^2", "length": "metre", "time": "second"}
_PREFIXES = {-18: "atto", -15: "femto", -12: "pico", -9: "nano", -6: "micro", -3: "milli", 0: "", 3: "kilo"}
_TIMES = {60.0: "minute", 3600.0: "hour", 86400.0: "day"}


class Units:
    """The unit definitions of one model; `text(reference)` reads one."""

    def __init__(self, model: Element, level: int, problems: Problems):
        self.level, self.problems = level, problems
        self.defined = {}
        for e in model.listed("listOfUnitDefinitions"):
            name = e.attributes.get("id", "")
            self.defined[name] = self._definition(e, name)

    def text(self, reference: str | None, line: int, key: str) -> str | None:
        """The unit that `reference` names, or None where nothing is said; an unknown name is a fault."""
        if reference is None:
            return None
        reference = reference.strip()
        if reference in self.defined:
            return self.defined[reference]
        if self.level < 3 and reference in _BUILT_IN:
            return _BUILT_IN[reference]
        if reference in _KINDS:
            return {"liter": "litre", "meter": "metre"}.get(reference, reference)
        hint = closest(reference, [*self.defined, *_KINDS])
        self.problems.add(f"unknown unit in units: {shown(reference)}{hint}", line, f"{key}.units")
        return None

    def of_model(self, model: Element, attribute: str) -> str | None:
        """The model-wide unit of `attribute` (substance, time, volume, area, length, extent)."""
        if self.level < 3:
            return self.defined.get(attribute) or _BUILT_IN.get(attribute)
        return self.text(model.attributes.get(f"{attribute}Units"), model.line, "model")

    def _definition(self, definition: Element, name: str) -> str:
        parts = [self._unit(e, name) for e in definition.listed("listOfUnits")]
        above = [text for text, power in parts if power > 0]
        below = [text for text, power in parts if power < 0]
        if not above and not below:
            return "dimensionless"
        return " / ".join([" * ".join(above) or "1", *below])

    def _unit(self, e: Element, name: str) -> tuple[str, float]:
        kind = e.attributes.get("kind", "")
        values = {}
        for attribute, default in (("exponent", "1"), ("scale", "0"), ("multiplier", "1")):
            try:
                values[attribute] = number(e.attributes.get(attribute, default))
            except ValueError as error:
                self.problems.add(f"{attribute} {error}", e.line, name)
                values[attribute] = float(default)
        if kind not in _KINDS:
            self.problems.add(f"unknown kind of unit: {shown(kind)}{closest(kind, _KINDS)}", e.line, name)
        kind = {"liter": "litre", "meter": "metre"}.get(kind, kind)
        scale, multiplier, power = int(values["scale"]), values["multiplier"], values["exponent"]
        if kind == "second" and scale == 0 and multiplier in _TIMES:
            text = _TIMES[multiplier]
        elif multiplier == 1.0 and scale in _PREFIXES:
            text = _PREFIXES[scale] + kind
        elif -300 < scale < 300:
            text = f"{multiplier * 10.0**scale:.15g} {kind}"
        else:
            text = kind
            self.problems.add(f"scale {scale} of a unit is out of range", e.line, name)
        if abs(power) != 1.0:
            text = f"({text})^{abs(power):g}" if " " in text else f"{text}^{abs(power):g}"
        return ("" if power == 0 else text), power
