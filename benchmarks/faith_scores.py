"""Scores of FAITH-Hybrid from the records of its problems, and the tables of docs/faith-hybrid.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import beta

from sim.interpret.refits import refit_interval

NULL_RATIO = "null: first, over chance"
COVERAGE = "coverage of 90 % intervals"
_COLUMNS = {
    "AUPRC": "AUPRC",
    "active ranked first": "first",
    "sign": "sign",
    "Spearman with the analytic effect": "Spearman",
    "decoys kept below threshold": "decoys kept out",
    "top-ranked acts in the truth simulator": "acts in the truth",
    "null: edge not claimed": "null: not claimed",
    NULL_RATIO: NULL_RATIO,
    COVERAGE: "coverage",
}


class Kept:
    """Records of problems by family, condition and seed, in a file where one is given, so that a run can go on."""

    def __init__(self, path: Path | None):
        self.path = path
        self.records: dict[str, list[dict]] = {}
        if path is not None and path.exists():
            self.records = json.loads(path.read_text(encoding="utf-8"))

    def get(self, key: str) -> list[dict] | None:
        return self.records.get(key)

    def add(self, key: str, records: list[dict]) -> None:
        """Adds a seed's records, beside what other runs have put into the file meanwhile."""
        if self.path is not None:
            if self.path.exists():
                self.records = json.loads(self.path.read_text(encoding="utf-8")) | self.records
            self.records[key] = records
            part = self.path.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(self.records), encoding="utf-8")
            part.replace(self.path)
        self.records[key] = records


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall curve as the mean precision at each true one."""
    order = np.argsort(-scores, kind="stable")
    hits = labels[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean()) if hits.any() else float("nan")


def binomial(hits: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of Clopper and Pearson (1934) for a probability."""
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, count - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def values(records: list[dict]) -> Iterator[tuple[str, float, tuple[float, float] | None]]:
    """Names, numbers and, for some, 95 % intervals by the number of trials, of one method's records.

    All lie between 0 and 1 but Spearman's, from -1 on, and the null test's ratio to chance.
    """

    def joined(what: str) -> np.ndarray:
        return np.array([v for r in records for v in (r[what] if isinstance(r[what], list) else [r[what]])])

    yield "AUPRC", average_precision(joined("active").astype(bool), joined("share")), None
    yield "active ranked first", *_share(joined("first"))
    if "sign" in records[0]:
        yield "sign", float(joined("sign").mean()), None
    monotone = [r["spearman"] for r in records if "spearman" in r]
    if monotone:
        yield "Spearman with the analytic effect", float(np.mean(monotone)), None
    yield "decoys kept below threshold", *_share(1 - joined("decoys"))
    yield "top-ranked acts in the truth simulator", float(joined("causal").mean()), None
    yield "null: edge not claimed", *_share(1 - joined("null_claimed"))
    hits, chance = joined("null_first"), joined("null_chance").mean()
    mean, ends = _share(hits)
    yield NULL_RATIO, mean / chance, (ends[0] / chance, ends[1] / chance)
    covered = [c for r in records if "fits" in r for c in _covered(r["fits"])]
    if covered:
        yield COVERAGE, *_share(np.array(covered, float))


def _covered(fits: dict) -> np.ndarray:
    """Which intervals of active inputs hold the analytic effect."""
    effect, *said = (np.array(fits[k]) for k in ("effect", "whole", "without", "starts", "again"))
    _, lower, upper = refit_interval(*said)
    return (lower <= effect) & (effect <= upper)


def _share(hits: np.ndarray) -> tuple[float, tuple[float, float]]:
    return float(hits.mean()), binomial(float(hits.sum()), len(hits))


def tables(groups: dict[tuple[str, float, int], list[dict[str, dict]]], seeds: int) -> str:
    """The tables of the page: a condition each, a row for every family and method.

    `groups` holds the problems' records by method, under family, noise and trajectories.
    """
    out = []
    for noise, count in dict.fromkeys((n, c) for _, n, c in groups):
        own = {f: found for (f, n, c), found in groups.items() if (n, c) == (noise, count)}
        out += [f"{noise:.0%} noise, {count} trajectories, {seeds} seeds:", "", *_table(own), ""]
    return "\n".join(out)


def _table(families: dict[str, list[dict[str, dict]]]) -> Iterator[str]:
    yield "| family | method | " + " | ".join(_COLUMNS.values()) + " |"
    yield "| --- | --- |" + " --- |" * len(_COLUMNS)
    every = [r for found in families.values() for r in found]
    for family, found in [*families.items(), ("**all**", every)]:
        for method in found[0]:
            cells = {what: _cell(what, v, ends) for what, v, ends in values([r[method] for r in found])}
            yield f"| {family} | {method} | " + " | ".join(cells.get(what, "") for what in _COLUMNS) + " |"


def _cell(what: str, value: float, ends: tuple[float, float] | None) -> str:
    if ends is not None and what in (NULL_RATIO, COVERAGE):
        return f"{value:.2f} ({ends[0]:.2f}-{ends[1]:.2f})"
    return f"{value:.2f}"
