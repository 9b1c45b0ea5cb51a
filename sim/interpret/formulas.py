"""Shapes that biology writes its rates in, as candidates for a learned term.

A shape is a sum of parts, each with a factor of its own that least squares give, and with inner parameters (half-
maximal values K, powers n) that are searched. Rate laws after Cornish-Bowden, Fundamentals of Enzyme Kinetics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

#: more inputs than this are not paired with each other
_MOST_PAIRED = 6
_POWERS = (1.5, 4.0)
_QUANTILES = (0.15, 0.4, 0.7)


@dataclass(frozen=True)
class Shape:
    """One candidate: outputs = sum over parts of factor * part(inputs; inner parameters).

    Attributes:
        family: what people call it.
        factors: names of the factors, one for each part.
        inner: names of the inner parameters; all are positive.
        parts: (row, input), inner values -> (row, part).
        starts: where the search for the inner parameters begins.
        text: with the names of the inputs, and `{name}` for each parameter.
    """

    family: str
    factors: tuple[str, ...]
    inner: tuple[str, ...]
    parts: Callable[[np.ndarray, np.ndarray], np.ndarray]
    starts: tuple[tuple[float, ...], ...]
    text: str

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*self.factors, *self.inner)


def rising(x: np.ndarray, half: float, power: float = 1.0) -> np.ndarray:
    """xⁿ/(Kⁿ + xⁿ); negative x counts as 0."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return 1.0 / (1.0 + (half / np.maximum(x, 0.0)) ** power)


def shapes(inputs: np.ndarray, names: Sequence[str]) -> Iterator[Shape]:
    """Candidates for inputs (row, input) with these names."""
    count = inputs.shape[1]
    for i in range(count):
        if np.ptp(inputs[:, i]) > 0 and inputs[:, i].max() > 0:
            yield from _of_one(inputs[:, i], i, names[i])
    if count <= _MOST_PAIRED:
        for i, j in permutations(range(count), 2):
            if all(np.ptp(inputs[:, k]) > 0 and inputs[:, k].max() > 0 for k in (i, j)):
                yield from _of_two(inputs, i, j, names)


def _of_one(x: np.ndarray, i: int, name: str) -> Iterator[Shape]:
    one = np.ones_like
    halves = _halves(x)
    with_power = tuple(product(halves, _POWERS))
    only = tuple((h,) for h in halves)
    for base in (False, True):
        plus, factors = (" + {base}", ("V", "base")) if base else ("", ("V",))

        def parts(terms: np.ndarray, base: bool = base) -> np.ndarray:
            return np.stack([terms, one(terms)], 1) if base else terms[:, None]

        yield Shape(
            "Michaelis-Menten",
            factors,
            ("K",),
            lambda a, p, parts=parts: parts(rising(a[:, i], p[0])),
            only,
            f"{{V}} {name} / ({{K}} + {name}){plus}",
        )
        yield Shape(
            "Hill",
            factors,
            ("K", "n"),
            lambda a, p, parts=parts: parts(rising(a[:, i], p[0], p[1])),
            with_power,
            f"{{V}} {name}^{{n}} / ({{K}}^{{n}} + {name}^{{n}}){plus}",
        )
        yield Shape(
            "falling Michaelis-Menten",
            factors,
            ("K",),
            lambda a, p, parts=parts: parts(1 - rising(a[:, i], p[0])),
            only,
            f"{{V}} {{K}} / ({{K}} + {name}){plus}",
        )
        yield Shape(
            "falling Hill",
            factors,
            ("K", "n"),
            lambda a, p, parts=parts: parts(1 - rising(a[:, i], p[0], p[1])),
            with_power,
            f"{{V}} {{K}}^{{n}} / ({{K}}^{{n}} + {name}^{{n}}){plus}",
        )
    yield Shape(
        "substrate inhibition",
        ("V",),
        ("K", "Ki"),
        lambda a, p: (a[:, i] / (p[0] + a[:, i] + a[:, i] ** 2 / p[1]))[:, None],
        tuple(product(halves, halves)),
        f"{{V}} {name} / ({{K}} + {name} + {name}^2 / {{Ki}})",
    )
    yield Shape(
        "rational",
        ("a", "b", "c"),
        ("K", "L"),
        lambda a, p: (
            np.stack([one(a[:, i]), a[:, i], a[:, i] ** 2], 1)
            / (1 + a[:, i] / p[0] + (a[:, i] / p[1]) ** 2)[:, None]
        ),
        tuple(product(halves[:2], halves[1:])),
        f"({{a}} + {{b}} {name} + {{c}} {name}^2) / (1 + {name} / {{K}} + ({name} / {{L}})^2)",
    )


def _of_two(inputs: np.ndarray, i: int, j: int, names: Sequence[str]) -> Iterator[Shape]:
    x, y = names[i], names[j]
    halves = _halves(inputs[:, i])
    only = tuple((h,) for h in halves)
    with_power = tuple(product(halves, _POWERS))
    yield Shape(
        "Michaelis-Menten with enzyme",
        ("V",),
        ("K",),
        lambda a, p: (a[:, j] * rising(a[:, i], p[0]))[:, None],
        only,
        f"{{V}} {y} {x} / ({{K}} + {x})",
    )
    yield Shape(
        "Hill with enzyme",
        ("V",),
        ("K", "n"),
        lambda a, p: (a[:, j] * rising(a[:, i], p[0], p[1]))[:, None],
        with_power,
        f"{{V}} {y} {x}^{{n}} / ({{K}}^{{n}} + {x}^{{n}})",
    )
    yield Shape(
        "falling Hill with enzyme",
        ("V",),
        ("K", "n"),
        lambda a, p: (a[:, j] * (1 - rising(a[:, i], p[0], p[1])))[:, None],
        with_power,
        f"{{V}} {y} {{K}}^{{n}} / ({{K}}^{{n}} + {x}^{{n}})",
    )
    yield Shape(
        "Michaelis-Menten and linear",
        ("V", "k"),
        ("K",),
        lambda a, p: np.stack([rising(a[:, i], p[0]), a[:, j]], 1),
        only,
        f"{{V}} {x} / ({{K}} + {x}) + {{k}} {y}",
    )
    yield Shape(
        "competitive inhibition",
        ("V",),
        ("K", "Ki"),
        lambda a, p: (a[:, i] / (p[0] * (1 + a[:, j] / p[1]) + a[:, i]))[:, None],
        tuple(product(halves, _halves(inputs[:, j]))),
        f"{{V}} {x} / ({{K}} (1 + {y} / {{Ki}}) + {x})",
    )
    if i < j:
        yield Shape(
            "two substrates",
            ("V",),
            ("K", "L"),
            lambda a, p: (rising(a[:, i], p[0]) * rising(a[:, j], p[1]))[:, None],
            tuple(product(halves, _halves(inputs[:, j]))),
            f"{{V}} {x} / ({{K}} + {x}) {y} / ({{L}} + {y})",
        )
        yield Shape(
            "two Hill terms",
            ("V", "W"),
            ("K", "n", "L", "m"),
            lambda a, p: np.stack([rising(a[:, i], p[0], p[1]), rising(a[:, j], p[2], p[3])], 1),
            tuple((k, 2.0, q, 2.0) for k, q in product(halves[1:2], _halves(inputs[:, j])[1:2])),
            f"{{V}} {x}^{{n}} / ({{K}}^{{n}} + {x}^{{n}}) + {{W}} {y}^{{m}} / ({{L}}^{{m}} + {y}^{{m}})",
        )


def _halves(x: np.ndarray) -> tuple[float, ...]:
    """Where to begin with a half-maximal value: quantiles of the positive inputs."""
    positive = x[x > 0]
    return tuple(float(q) for q in np.quantile(positive, _QUANTILES))
