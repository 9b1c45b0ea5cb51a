"""The page of a fit: measured beside simulated, the starts, and how well each parameter is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sim.report.page import document
from sim.report.section import Figure, Section
from sim.report.style import INK, PALETTE, SOFT, drawing, log_axis, panels, plain_axis, plain_number, to_svg

_MOST_PANELS, _MOST_SERIES, _MOST_PARAMETERS = 12, 7, 40
#: half of the 95 % quantile of chi-square with one degree of freedom: as deep a profile falls at the interval's ends
_DEPTH = 1.9207

Point = tuple[str, str, float, float, float]


def fit_page(
    name: str,
    points: Sequence[Point],
    result: Mapping[str, Any],
    heights: Sequence[float],
    profiles: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> str:
    """The page as HTML.

    Args:
        name: of the problem's file.
        points: what was measured, as (observable, condition or experiment, time, measured, simulated).
        result: what the command prints of the fit.
        heights: log-posterior that each start came to.
        profiles: by parameter, values and the log-posterior along them.
    """
    numbers = [
        (
            plain_number(result["chi2"]) if result["chi2"] is not None else "–",
            f"chi-square of {len(points)} measurements",
        ),
        (
            plain_number(result["log_posterior"]) if result["log_posterior"] is not None else "–",
            "log-posterior",
        ),
        (f"{result['at_best']} of {result['starts']}", "starts came to the best optimum"),
    ]
    sections = [_glance(points, result), _known(result, profiles), _starts(heights)]
    return document(
        f"Fit of {name}",
        f"{len(result['parameters'])} parameters from {len(points)} measurements.",
        numbers,
        [s for s in sections if s is not None],
        f"Drawn by cellweave from the fit of {name}.",
    )


def _glance(points: Sequence[Point], result: Mapping[str, Any]) -> Section:
    said = [
        "How sure: several starts that come to one optimum speak for it, and do not prove it."
        if result["at_best"] > 1
        else "How sure: only one start came to this optimum; more (--starts) may find a better one.",
        *result["hardly_determined"],
    ]
    words = "".join(f"<li>{escape(s)}</li>" for s in said)
    return Section("At a glance", "", [_measured(points), Figure(f'<ul class="said">{words}</ul>')])


def _measured(points: Sequence[Point]) -> Figure:
    """A panel an observable: courses where it was followed in time, else simulated over measured."""
    observables = list(dict.fromkeys(p[0] for p in points))
    kinds = set()
    with drawing() as figure_class:
        figure, axes = panels(
            figure_class, min(len(observables), _MOST_PANELS), min(len(observables), 3), 2.8
        )
        for ax, observable in zip(axes, observables):
            mine = [p for p in points if p[0] == observable]
            series = list(dict.fromkeys(p[1] for p in mine))
            times = max(len({p[2] for p in mine if p[1] == s and np.isfinite(p[2])}) for s in series)
            draw = _courses if times > 1 and len(series) <= _MOST_SERIES else _scattered
            kinds.add(draw)
            draw(ax, mine, series)
            ax.set_title(observable)
            plain_axis(ax)
        body = to_svg(figure, "measured and simulated")
    said = []
    if _courses in kinds:
        said.append("Dots were measured; lines join what the fitted model says at the same times.")
    if _scattered in kinds:
        said.append("Simulated over measured: on the dashed line they agree.")
    if len(observables) > _MOST_PANELS:
        said.append(f"The first {_MOST_PANELS} of {len(observables)} observables.")
    return Figure(body, " ".join(said))


def _courses(ax: Any, points: Sequence[Point], series: Sequence[str]) -> None:
    for k, one in enumerate(series):
        mine = sorted((p[2:] for p in points if p[1] == one), key=lambda p: p[0])
        time, measured, simulated = np.array(mine).T
        ax.plot(time, simulated, color=PALETTE[k], label=one or None)
        ax.plot(time, measured, "o", color=PALETTE[k], ms=4.6, mec="none")
    ax.set_xlabel("time")
    if any(series):
        ax.legend()


def _scattered(ax: Any, points: Sequence[Point], series: Sequence[str]) -> None:
    measured, simulated = np.array([p[3:] for p in points]).T
    both = np.concatenate([measured, simulated])
    ends = [np.nanmin(both), np.nanmax(both)]
    ax.plot(ends, ends, color=SOFT, lw=0.8, linestyle=(0, (4, 2)))
    ax.plot(measured, simulated, "o", color=PALETTE[0], ms=3.4, mec="none", alpha=0.7)
    ax.set(xlabel="measured", ylabel="simulated")


def _known(result: Mapping[str, Any], profiles: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Section:
    """Parameters with their intervals, and profiles where they were asked for."""
    figures = []
    if profiles:
        shown = list(profiles)[:_MOST_PANELS]
        with drawing() as figure_class:
            figure, axes = panels(figure_class, len(shown), min(len(shown), 4), 2.1)
            for ax, name in zip(axes, shown):
                values, heights = profiles[name]
                ax.plot(values, heights - np.max(heights), color=PALETTE[0])
                ax.axhline(-_DEPTH, color=SOFT, lw=0.8, linestyle=(0, (2, 2)))
                ax.set(title=name, ylim=(-2.2 * _DEPTH, 0.4))
                if (values > 0).all() and values.max() > 20 * values.min():
                    log_axis(ax, "x")
                ax.plot([result["parameters"][name]], [0], "o", color=INK, ms=4)
            axes[0].set_ylabel("log-posterior below the best")
            body = to_svg(figure, "profiles of the parameters")
        caption = (
            "How the fit suffers as one parameter is held and all others follow; the dot is the best value. Where the "
            "curve crosses the dotted line the 95 % interval ends; a curve that does not leaves that side unknown."
        )
        figures.append(Figure(body, caption))
    figures.append(_table(result))
    return Section("How well each parameter is known", "", figures)


def _table(result: Mapping[str, Any]) -> Figure:
    intervals, found = result.get("intervals", {}), result.get("profiles", {})
    titles = ["parameter", "value"]
    titles += ["95 %, from the curvature"] if intervals else []
    titles += ["95 %, from the profile", ""] if found else []
    lines = ["<tr>" + "".join(f"<th>{t}</th>" for t in titles) + "</tr>"]
    named = list(result["parameters"].items())
    for name, value in named[:_MOST_PARAMETERS]:
        cells = [name, plain_number(value)]
        cells += [_interval(*intervals.get(name, (None, None)))] if intervals else []
        if found:
            one = found.get(name, {})
            cells += [_interval(one.get("lower"), one.get("upper")), one.get("kind", "")]
        lines.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    more = len(named) - _MOST_PARAMETERS
    caption = f"{more} more are in fit.tsv." if more > 0 else ""
    return Figure(f'<table class="changes">{"".join(lines)}</table>', caption)


def _interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "cannot be told"
    ends = ["no end" if v is None else plain_number(v) for v in (low, high)]
    return " to ".join(ends)


def _starts(heights: Sequence[float]) -> Section | None:
    """Where each start came to, the best first."""
    known = np.sort(np.asarray(heights, float)[np.isfinite(heights)])[::-1]
    if len(known) < 2:
        return None
    with drawing() as figure_class:
        figure = figure_class(figsize=(5.2, 2.6), layout="constrained")
        ax = figure.add_subplot()
        ax.plot(np.arange(1, len(known) + 1), known[0] - known, "o-", color=PALETTE[0], ms=4, lw=0.8)
        ax.set(xlabel="start, the best first", ylabel="log-posterior below the best")
        deepest = float(known[0] - known[-1])
        if deepest > 10:
            log_axis(ax, "y", linear=1.0)
        ax.set_ylim(max(1.0, 1.3 * deepest), -0.08)
        ax.xaxis.get_major_locator().set_params(integer=True)
        body = to_svg(figure, "log-posterior of the starts")
    left = len(heights) - len(known)
    caption = "Where each start came to; those level with the first came to the same optimum." + (
        f" {left} could not be simulated." if left else ""
    )
    return Section("The starts", "", [Figure(body, caption)])
