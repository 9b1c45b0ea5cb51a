"""Parameters that an explanation may change: `--over KEY=LOW..HIGH`, and the runs with them changed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.errors import ScenarioError, escaped
from sim.interpret.variants import Variant
from sim.scenario.overrides import key_path
from sim.scenario.units import UnitError, unit
from sim.spelling import did_you_mean

if TYPE_CHECKING:
    from sim.interpret.question import Question
    from sim.scenario import Scenario

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*(.*?)\s*\.\.\s*({_NUMBER})\s*(.*?)(\s*:\s*log)?")
_EXAMPLE = "for example --over pathway.egfr.k_mek=0.5..2 or --over 'perturbations[0].to=0.1 uM..1 uM'"


@dataclass(frozen=True)
class Range:
    """A parameter with the range it may take.

    Attributes:
        name: as the user wrote it.
        key: dotted key of the scenario's file that holds it.
        low, high: in `unit`.
        unit: text of the unit, empty for a pure number.
        log: steps and samples are even in the logarithm.
    """

    name: str
    key: str
    low: float
    high: float
    unit: str = ""
    log: bool = False

    def at(self, share: float) -> float:
        """The value at a share in [0, 1] of the range."""
        if self.log:
            return float(math.exp(math.log(self.low) + share * math.log(self.high / self.low)))
        return self.low + share * (self.high - self.low)

    def share(self, value: float) -> float:
        """Where in the range a value lies; outside of [0, 1] where it does."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else -math.inf
        return (value - self.low) / (self.high - self.low)

    def text(self, value: float) -> str:
        """The value as the scenario's file has it."""
        return f"{float(value)!r} {self.unit}".strip()


def parse_over(texts: Sequence[str], scenario: Scenario) -> dict[str, Range]:
    """Ranges by name.

    `pathway.<p>.<id>` is a parameter or initial value of a pathway; every other name is a dotted key of the
    scenario's file. A range over more than a factor of 10 between positive ends is taken in the logarithm, and one
    that ends in `:log` is, too.

    Raises:
        ScenarioError: not of the form, or the scenario has no such key.
    """
    found = {}
    for text in texts:
        name, equals, written = (part.strip() for part in text.partition("="))
        match = _RANGE.fullmatch(written)
        if not equals or not name or match is None:
            raise ScenarioError(f"--over {escaped(text)}: write it as KEY=LOW..HIGH, {_EXAMPLE}")
        low, high = float(match[1]), float(match[3])
        first, second = match[2], match[4]
        if first and second and first != second:
            raise ScenarioError(
                f"--over {escaped(text)}: both ends need one unit (got {escaped(first)}, {escaped(second)})"
            )
        if not low < high or not (math.isfinite(low) and math.isfinite(high)):
            raise ScenarioError(f"--over {escaped(text)}: the range must rise from LOW to HIGH")
        log = bool(match[5])
        if log and low <= 0:
            raise ScenarioError(
                f"--over {escaped(text)}: a range in the logarithm must be of positive numbers"
            )
        try:
            key = scenario_key(name, scenario)
        except ValueError as error:
            raise ScenarioError(f"--over {escaped(name)}: {error}") from None
        unit_text = second or first or _written_unit(scenario, key)
        found[name] = Range(name, key, low, high, unit_text, log or (low > 0 and high / low > 10))
    return found


def current(given: Range, question: Question) -> float | None:
    """The value that the scenario has now, in the range's unit; None where it has none of its own."""
    value = _at(question.scenario.to_plain(), given.key)
    if value is None and given.name.startswith("pathway."):
        return _nominal(given, question)
    if isinstance(value, str):
        match = re.fullmatch(rf"({_NUMBER})\s*(.*)", value.strip())
        if match is None:
            return None
        number, has = float(match[1]), match[2]
        if has and given.unit and has != given.unit:
            try:
                return number * float(unit(has).factor / unit(given.unit).factor)
            except (UnitError, ZeroDivisionError):
                return None
        return number
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def variant_at(question: Question, values: Mapping[str, float], outcome: str = "") -> Variant:
    """The run with parameters of `question.over` at these values, and the question's outcome or another one of it."""
    texts = {question.over[n].key: question.over[n].text(v) for n, v in values.items()}
    told = ", ".join(f"{n} = {question.over[n].text(tidy(v))}" for n, v in values.items())
    other = outcome if outcome != question.outcome.text else ""
    return Variant(told, values=tuple(texts.items()), outcome=other)


def present(question: Question) -> dict[str, float]:
    """The values that the scenario has now of all parameters of `question.over`.

    Raises:
        ScenarioError: one of them has none to start from.
    """
    found = {}
    for name, r in question.over.items():
        here = current(r, question)
        if here is None:
            raise ScenarioError(f"--over {name}: has no value in the scenario to start from")
        found[name] = here
    return found


def scenario_key(name: str, scenario: Scenario) -> str:
    """The dotted key of the scenario's file that holds the parameter `name`.

    Raises:
        ValueError: there is none; the message says what is near it.
    """
    parts = name.split(".", 2)
    if parts[0] == "pathway" and len(parts) == 3:
        if parts[1] not in scenario.pathways:
            raise ValueError(f"no pathway '{escaped(parts[1])}'{did_you_mean(parts[1], scenario.pathways)}")
        return f"pathways.{parts[1]}.set.{parts[2]}"
    path = key_path(name)
    top = list(scenario.to_plain())
    if not path or path[0] not in top:
        raise ValueError(f"the scenario has no such key{did_you_mean(str(path[0]) if path else '', top)}")
    return name


def _written_unit(scenario: Scenario, key: str) -> str:
    """The unit that the scenario writes the value in, for ranges without one."""
    value = _at(scenario.to_plain(), key)
    match = re.fullmatch(rf"{_NUMBER}\s*(.*)", value.strip()) if isinstance(value, str) else None
    return match[1] if match else ""


def _at(data, key: str):
    for step in key_path(key):
        try:
            data = data[int(step)] if isinstance(data, list) else data[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return data


def _nominal(given: Range, question: Question) -> float | None:
    _, pathway, name = given.name.split(".", 2)
    for p in question.plan.pathways:
        if p.settings.name == pathway and name in p.network.settable_ids:
            model = question.simulation.plan.pathways[question.plan.pathways.index(p)].model
            return float(model.observe(model.initial_state(1), (name,))[0, 0])
    return None


def set_to(question: Question, values: Mapping[str, float]) -> str:
    """Parameters at values in words: `a to 2 uM, b to 4`."""
    return ", ".join(f"{n} to {question.over[n].text(tidy(v))}" for n, v in values.items())


def moved(question: Question, values: Mapping[str, float], here: Mapping[str, float]) -> str:
    """A change in words: `a from 1 uM to 2 uM and b from 3 to 4`."""
    return " and ".join(
        f"{n} from {question.over[n].text(tidy(here[n]))} to {question.over[n].text(tidy(v))}"
        for n, v in values.items()
    )


def tidy(value: float) -> float:
    """A value as it is told."""
    return float(f"{value:.4g}")
