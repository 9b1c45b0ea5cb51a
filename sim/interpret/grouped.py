"""What networks follow, a line for each: its strongest inputs over all that it says. The ranking keeps everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.interpret.effects import Row

_OF = "attribution of "
TISSUE = "tissue"


@dataclass(frozen=True)
class Pull:
    """An input, and its share in what moves an output or a whole network; its sign where that is one."""

    name: str
    share: float
    sign: int


@dataclass(frozen=True)
class Follows:
    """One network.

    Attributes:
        name: as in the scenario.
        outputs: what it says.
        inputs: the strongest first; shares over all outputs sum up to 1.
        by_output: the same for each output by itself.
        rows: of the ranking.
    """

    name: str
    outputs: list[str]
    inputs: list[Pull]
    by_output: dict[str, list[Pull]]
    rows: list[Row]


def grouped(rows: Sequence[Row], owner: Mapping[str, str]) -> list[Follows]:
    """Rows of one attributing method by the network that they are of, what acts on the tissue first.

    Args:
        owner: the network of each output; see `owners`.
    """
    by_network: dict[str, list[Row]] = {}
    for r in rows:
        by_network.setdefault(owner.get(r.on, r.on), []).append(r)
    found = [_followed(name, mine) for name, mine in by_network.items()]
    return sorted(found, key=lambda f: (f.outputs[0].startswith("d("), f.name))


def owners(data: Any) -> dict[str, str]:
    """The network of each output, from the group of the method in an explanation."""
    found: dict[str, str] = {}
    for name in data.data_vars:
        if str(name).startswith(_OF):
            outputs = data[name].dims[2]
            found |= dict.fromkeys(data[outputs].values.tolist(), str(name).removeprefix(_OF))
    if "message" in data.coords:
        found |= {f"{TISSUE}.{m}": TISSUE for m in data["message"].values.tolist()}
    return found


def _followed(name: str, rows: list[Row]) -> Follows:
    outputs = list(dict.fromkeys(r.on for r in rows))
    by_output = {o: _pulls([r for r in rows if r.on == o]) for o in outputs}
    moved = [pulls for pulls in by_output.values() if pulls]
    total: dict[str, list[Pull]] = {}
    for pull in (p for pulls in moved for p in pulls):
        total.setdefault(pull.name, []).append(pull)
    inputs = [
        Pull(n, sum(p.share for p in parts) / len(moved), _one_sign([p.sign for p in parts]))
        for n, parts in total.items()
    ]
    return Follows(name, outputs, sorted(inputs, key=lambda p: -p.share), by_output, rows)


def _pulls(rows: list[Row]) -> list[Pull]:
    """What can be told of, by its share in the sizes of all; empty where nothing moved the output."""
    sizes = np.abs(np.nan_to_num([r.effect for r in rows]))
    if not sizes.sum():
        return []
    found = [
        Pull(r.quantity, float(s / sizes.sum()), int(np.sign(r.effect)))
        for r, s in zip(rows, sizes)
        if r.firm
    ]
    return sorted(found, key=lambda p: -p.share)


def _one_sign(signs: list[int]) -> int:
    return signs[0] if len(set(signs)) == 1 else 0
