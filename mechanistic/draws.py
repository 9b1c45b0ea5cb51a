"""The draws of SBML's package "distrib" (Smith et al., J. Integr. Bioinform. 17, 20200018, 2020) as plain data.

A draw in a tree is [kind, site, parameter, ..., (low, high)]: `site` numbers the draws of a model, so that two
that read alike are two draws, and an argument of a function that is used twice is one. `low` and `high` truncate
what is drawn; both ends belong to it. The lognormal takes mean and spread of the logarithm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# how many parameters a draw has, and whether it may be truncated
KINDS: dict[str, tuple[int, bool]] = {
    "normal": (2, True),
    "uniform": (2, False),
    "bernoulli": (1, False),
    "binomial": (2, True),
    "cauchy": (2, True),
    "chisquare": (1, True),
    "exponential": (1, True),
    "gamma": (2, True),
    "laplace": (2, True),
    "lognormal": (2, True),
    "poisson": (1, True),
    "rayleigh": (1, True),
}
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_ABOUT_ZERO = ("cauchy", "laplace")  # their location may be left out


def draw(kind: str, arguments: list) -> list:
    """The tree of a draw as a model writes it, its site not yet numbered.

    Raises:
        ValueError: the number of arguments is wrong.
    """
    parameters, truncates = KINDS[kind]
    if kind in _ABOUT_ZERO and len(arguments) == 1:
        arguments = [0.0, *arguments]
    if len(arguments) not in ((parameters, parameters + 2) if truncates else (parameters,)):
        wanted = f"{parameters} or, truncated, {parameters + 2}" if truncates else str(parameters)
        raise ValueError(f"{kind} takes {wanted} arguments (got {len(arguments)})")
    return [kind, -1.0, *arguments]


def is_draw(tree: Any) -> bool:
    return isinstance(tree, list) and tree[0] in KINDS


def draws_in(tree: Any) -> Iterator[list]:
    """Every draw of `tree`, the ones among another's parameters too."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            if is_draw(part):
                yield part
            waiting.extend(part[1:])


def parameters(tree: list) -> tuple[list, list]:
    """What a draw depends on: two parameters (the second may be meaningless), and its two bounds."""
    count = KINDS[tree[0]][0]
    values, bounds = tree[2 : 2 + count], tree[2 + count :]
    return [*values, 0.0][:2], bounds or [float("-inf"), float("inf")]
