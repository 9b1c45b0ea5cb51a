"""Cell-to-cell variation as text: `lognormal(cv=0.2)`, `normal(cv=0.1)`, `uniform(low=1, high=2)`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_CALL = re.compile(r"\s*([A-Za-z_]+)\s*\(([^()]*)\)\s*")
_ARGUMENT = re.compile(rf"\s*([a-z_]+)\s*=\s*({_NUMBER})\s*")
_ARGUMENTS = {"lognormal": ("cv",), "normal": ("cv",), "uniform": ("low", "high")}


@dataclass(frozen=True)
class Distribution:
    """How a quantity varies from cell to cell.

    Attributes:
        kind: "lognormal" and "normal" vary about the model's own value, which is their mean; "uniform" lies
            between two values and ignores it.
        cv: standard deviation over mean (lognormal, normal).
        low, high: bounds (uniform).
    """

    kind: str
    cv: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        names = _ARGUMENTS[self.kind]
        return f"{self.kind}({', '.join(f'{n}={getattr(self, n):g}' for n in names)})"


def parse(text: str) -> Distribution:
    """The distribution that `text` writes. Nothing is evaluated.

    Raises:
        ValueError: says what is wrong and shows the right form.
    """
    call = _CALL.fullmatch(text)
    kind = call[1] if call else text.split("(")[0].strip()
    if call is None or kind not in _ARGUMENTS:
        forms = "lognormal(cv=0.2), normal(cv=0.1) or uniform(low=1, high=2)"
        raise ValueError(f"is not a distribution; write {forms}")
    wanted = _ARGUMENTS[kind]
    values = {}
    for part in call[2].split(","):
        argument = _ARGUMENT.fullmatch(part)
        if argument is None or argument[1] not in wanted or argument[1] in values:
            raise ValueError(f"{kind} takes {' and '.join(f'{n}=NUMBER' for n in wanted)}")
        values[argument[1]] = float(argument[2])
    if missing := [n for n in wanted if n not in values]:
        raise ValueError(f"{kind} lacks {missing[0]}=NUMBER")
    if not all(map(math.isfinite, values.values())):
        raise ValueError(f"a number of {kind} overflows")
    result = Distribution(kind, **values)
    if result.cv < 0:
        raise ValueError(f"cv must be 0 or more (got {result.cv:g})")
    if result.low > result.high:
        raise ValueError(f"low must not be above high (got low={result.low:g}, high={result.high:g})")
    return result


def sample(distribution: Distribution, base: float, u: np.ndarray) -> np.ndarray:
    """Values for uniforms `u` in [0, 1), by the inverse of the distribution function.

    Args:
        base: the model's value, the mean of lognormal and normal (their median is below it for lognormal).
        u: one uniform a cell; equal uniforms give equal values, on any machine of one kind.

    A normal is cut at 0 on the side of `base`'s sign, so that a positive constant stays positive.
    """
    import numpy as np  # here, because reading a scenario must not import it

    u = np.asarray(u, dtype=float)
    if distribution.kind == "uniform":
        return distribution.low + (distribution.high - distribution.low) * u
    from scipy.special import ndtri

    # the middle of the interval of a 53-bit uniform: u = 0 must not give minus infinity
    z = ndtri(np.clip(u, 2.0**-54, 1 - 2.0**-53))
    if distribution.kind == "lognormal":
        variance = math.log1p(distribution.cv**2)
        return base * np.exp(math.sqrt(variance) * z - 0.5 * variance)
    return base * np.maximum(1.0 + distribution.cv * z, 0.0)
