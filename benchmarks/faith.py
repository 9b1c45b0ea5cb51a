"""FAITH-Hybrid: can explanations of a hybrid be believed? Attribution on systems whose truth is known.

    python benchmarks/faith.py [--json] [--quick] [--seed N] [--seeds N] [--family NAME]... [--noise X]...
        [--kept FILE] [--page FILE]

Five families (benchmarks/faith_families.py) with decoys, ten seeds each, at several levels of noise and numbers of
trajectories. A network learns the hidden term; every method of `cellweave explain` that applies says which input
drives it; and what it says is held against the truth. With `--kept` what was done stays in a file, a run that was
stopped goes on from there, and several may work on one file. The tables of docs/faith-hybrid.md are this script's,
by `--page`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from faith_families import problems
from faith_scores import NULL_RATIO, Kept, tables, values
from faith_verdicts import judged
from table import parser, show

FAMILIES = ("dynamics", "network", "pathway", "tissue", "forces")
#: noise and number of trajectories
CONDITIONS = ((0.05, 48), (0.10, 24), (0.02, 48))
_SIZES = (10, 30, 100)
_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"

Groups = dict[tuple[str, float, int], list[dict[str, dict]]]


def records(
    conditions: tuple[tuple[float, int], ...],
    seeds: range,
    families: tuple[str, ...],
    quick: bool,
    kept: Kept,
) -> Iterator[tuple[tuple[str, float, int], list[dict[str, dict]]]]:
    """Of every condition and family: the records by method of the problems of all seeds."""
    for noise, trajectories in conditions:
        for family in families:
            for size in _SIZES if family == "network" and not quick else _SIZES[:1]:
                label = f"{family} of {size}" if family == "network" else family
                found = []
                for seed in seeds:
                    key = f"{label}, {noise:g}, {trajectories}, {seed}"
                    done = kept.get(key)
                    if done is None:
                        done = one_seed(family, size, noise, trajectories, seed)
                        kept.add(key, done)
                    found += done
                yield (label, noise, trajectories), found


def one_seed(family: str, size: int, noise: float, trajectories: int, seed: int) -> list[dict[str, dict]]:
    """The records by method of a family's problems of one seed."""
    on = problems(family, seed, noise, trajectories, size)
    off = problems(family, seed, noise, trajectories, size, off=True)
    return [judged(problem, silent, seed) for problem, silent in zip(on, off, strict=True)]


def rows(groups: Iterator[tuple[tuple[str, float, int], list[dict[str, dict]]]]) -> Iterator[dict]:
    """One row a number; the peer of attribution is knocking out and running again."""
    for (label, noise, trajectories), found in groups:
        said = {method: list(values([r[method] for r in found])) for method in found[0]}
        peer = said["ablation"][0][1]
        for method, scores in said.items():
            for what, value, ends in scores:
                if not np.isfinite(value):
                    continue
                name = f"{label}, {noise:.0%} noise, {trajectories} trajectories, {method}: {what}"
                row = {"name": name, "value": float(value), "unit": "1"}
                if what == "AUPRC" and method != "ablation" and peer > 0:
                    row |= {"peer": "knock-out and rerun", "peer_value": peer, "ratio": value / peer}
                yield row
                if what == NULL_RATIO and ends is not None:
                    yield {"name": f"{name}, lower end of 95 %", "value": ends[0], "unit": "1"}
                    yield {"name": f"{name}, upper end of 95 %", "value": ends[1], "unit": "1"}


def main() -> None:
    """Print the rows, or write the page."""
    asked = parser(__doc__, "one seed, one condition")
    asked.add_argument("--seed", type=int, default=0, help="first seed")
    asked.add_argument("--family", action="append", choices=FAMILIES, help="only this one")
    asked.add_argument("--noise", action="append", type=float, help="only this condition, by its noise")
    asked.add_argument("--seeds", type=int, default=10, help="how many seeds, without --quick")
    asked.add_argument("--kept", type=Path, help="file of what was done, to go on from")
    asked.add_argument("--page", type=Path, help="page whose tables are to be written")
    options = asked.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    conditions = ((0.05, 24),) if options.quick else CONDITIONS
    conditions = tuple(c for c in conditions if options.noise is None or c[0] in options.noise)
    seeds = range(options.seed, options.seed + (1 if options.quick else options.seeds))
    families = tuple(options.family or FAMILIES)
    groups: Groups = {}

    def gathered() -> Iterator[tuple[tuple[str, float, int], list[dict[str, dict]]]]:
        for key, found in records(conditions, seeds, families, options.quick, Kept(options.kept)):
            groups[key] = found
            yield key, found

    show(rows(gathered()), options.json, 70)
    if not options.json:
        print(f"{time.process_time() - began:.0f} s of one processor")
    if options.page is not None:
        text = options.page.read_text(encoding="utf-8")
        before, rest = text.split(_BEGIN)
        _, after = rest.split(_END)
        figures = tables(groups, len(seeds))
        options.page.write_text(f"{before}{_BEGIN}\n{figures}{_END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
