"""Neural ODEs of many cells: CPU time and error beside torchdiffeq in the same process.

    python benchmarks/neural.py [--json] [--quick]

10,000 cells of 32 dimensions, a tanh network of two layers of 64, single precision, 100 outputs in [0, 1], one
thread. torchdiffeq runs dopri5 with its own autograd at a relative and absolute tolerance of 1e-5. Ours runs at the
loosest tolerance of a ladder of half decades at which its measured error is no larger than torchdiffeq's. Errors are
the largest |x - reference| / (1 + |reference|) over the first cells, outputs and components, of gradients the
largest deviation of the gradient by all weights and states over its largest entry; the reference is torchdiffeq in
double precision at 1e-8. Times are CPU times of this process, the least of several taken in turn.
"""

from __future__ import annotations

import copy
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def _uncover() -> None:
    """Import the package `neural`, which this script hides by its name where its folder comes first on the path."""
    here, path = Path(__file__).resolve().parent, list(sys.path)
    sys.path[:] = [entry for entry in path if Path(entry or ".").resolve() != here]
    sys.modules.pop("neural", None)
    importlib.import_module("neural")
    sys.path[:] = path


_uncover()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from table import parser, show  # noqa: E402

from neural.odes import dosing, solve  # noqa: E402
from neural.vector_fields import MLPField  # noqa: E402

_LADDER = tuple(10.0 ** -(k / 2) for k in range(4, 15))
_PEER_TOLERANCE = 1e-5
_DIMENSION, _OUTPUTS = 32, 100
_GAIN = 2.0


def _field(controls: int = 0) -> MLPField:
    torch.manual_seed(0)
    field = MLPField(_DIMENSION, controls, (64, 64))
    with torch.no_grad():
        for layer in field.layers:
            layer.weight.mul_(_GAIN)  # torch's own start is nearly linear
    return field


def _states(cells: int) -> torch.Tensor:
    return torch.randn(cells, _DIMENSION, generator=torch.Generator().manual_seed(1))


def _gradient(field: MLPField, y0: torch.Tensor, times: Any, **how: Any) -> list[torch.Tensor]:
    """Gradients of a fixed sum of the outputs, by the states and by all weights."""
    y = y0.clone().requires_grad_(True)
    field.zero_grad()
    out = solve(field, y, times, **how)
    weights = torch.cos(torch.arange(out[:, 0].numel(), dtype=out.dtype)).view(out.shape[0], 1, -1)
    out.backward(weights.expand_as(out))
    return [y.grad, *(p.grad.clone() for p in field.parameters())]  # type: ignore[list-item]


def _off(found: torch.Tensor, reference: torch.Tensor) -> float:
    return float(((found.double() - reference).abs() / (1 + reference.abs())).max())


def _gradients_off(found: list[torch.Tensor], reference: list[torch.Tensor]) -> float:
    return max(
        float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(found, reference, strict=True)
    )


def _cpu(task: Callable[[], Any]) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


def _least(tasks: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Least CPU time of each, taken in turn."""
    best: dict[str, float] = {}
    for _ in range(repeats):
        for name, task in tasks.items():
            best[name] = min(_cpu(task), best.get(name, float("inf")))
    return best


def _loosest(error_at: Callable[[float], float], allowed: float) -> tuple[float, float]:
    for rtol in _LADDER:
        error = error_at(rtol)
        if error <= allowed:
            break
    return rtol, error


def _rows(cells: int, few: int, repeats: int) -> Iterator[dict]:
    field, y0 = _field(), _states(cells)
    times, exact = torch.linspace(0, 1, _OUTPUTS), copy.deepcopy(field).double()
    some = y0[:few]
    tight = {"rtol": 1e-8, "atol": 1e-8, "method": "dopri5"}
    peer = {"rtol": _PEER_TOLERANCE, "atol": _PEER_TOLERANCE, "method": "dopri5"}

    with torch.no_grad():
        reference = solve(exact, some.double(), times.double(), **tight)
        peer_error = _off(solve(field, some, times, **peer), reference)
        rtol, error = _loosest(
            lambda r: _off(solve(field, some, times, rtol=r, atol=r), reference), peer_error
        )
        spent = _least(
            {
                "ours": lambda: solve(field, y0, times, rtol=rtol, atol=rtol),
                "peer": lambda: solve(field, y0, times, **peer),
            },
            repeats,
        )
    shape = f"{cells} cells, {_DIMENSION} dimensions, {_OUTPUTS} outputs"
    yield _row(f"forward, {shape}", spent, error, peer_error, rtol)

    slopes = _gradient(exact, some.double(), times.double(), **tight)
    peer_slope_error = _gradients_off(_gradient(field, some, times, **peer), slopes)
    g_rtol, slope_error = _loosest(
        lambda r: _gradients_off(_gradient(field, some, times, rtol=r, atol=r), slopes), peer_slope_error
    )
    spent = _least(
        {
            "ours": lambda: _gradient(field, y0, times, rtol=g_rtol, atol=g_rtol),
            "peer": lambda: _gradient(field, y0, times, **peer),
        },
        max(1, repeats - 2),
    )
    yield _row(f"gradient, {shape}", spent, slope_error, peer_slope_error, g_rtol)
    yield from _variants(cells, rtol, repeats)
    yield from _kept(min(cells, 1000), rtol)


def _row(name: str, spent: dict[str, float], error: float, peer_error: float, rtol: float) -> dict:
    return {
        "name": f"{name}, rtol {rtol:.2g}",
        "value": spent["ours"],
        "unit": "s CPU",
        "error": error,
        "peer": f"torchdiffeq dopri5 {_PEER_TOLERANCE:g}",
        "peer_value": spent["peer"],
        "peer_error": peer_error,
        "ratio": spent["peer"] / spent["ours"],
    }


@torch.no_grad()
def _variants(cells: int, rtol: float, repeats: int) -> Iterator[dict]:
    """One cell; each cell's own times; dose events: beside the plain course."""
    field, y0, times = _field(), _states(cells), torch.linspace(0, 1, _OUTPUTS)
    dosed, none = _field(controls=2), torch.zeros(cells, 2)
    own = times[None] * (1 - 0.05 * torch.rand(cells, 1, generator=torch.Generator().manual_seed(2)))
    which = torch.arange(cells)
    controls, breaks = dosing(none, [(0.25, which % 2 == 0, 0, 1.0), (0.6, which % 3 == 0, 1, 1.0)])
    how = {"rtol": rtol, "atol": rtol, "start": 0.0}
    spent = _least(
        {
            "plain": lambda: solve(field, y0, times, **how),
            "own": lambda: solve(field, y0, own, **how),
            "held": lambda: solve(dosed, y0, times, none, **how),
            "events": lambda: solve(dosed, y0, times, controls, breaks, **how),
        },
        2 * repeats,
    )
    for name, task, plain in (
        (f"each of {cells} cells at its own {_OUTPUTS} times", "own", "plain"),
        (f"two dose events in halves and thirds of {cells} cells", "events", "held"),
    ):
        yield {
            "name": name, "value": spent[task], "unit": "s CPU", "peer": "ours without",
            "peer_value": spent[plain], "ratio": spent[plain] / spent[task],
        }  # fmt: skip
    one = [_cpu(lambda: solve(field, y0[:1], times, **how)) for _ in range(50 * repeats)]
    peer = [_cpu(lambda: solve(field, y0[:1], times, **how, method="dopri5")) for _ in range(5 * repeats)]
    found, theirs = float(np.median(one)), float(np.median(peer))
    yield {
        "name": f"one cell, {_OUTPUTS} outputs, rtol {rtol:.2g}", "value": found, "unit": "s CPU",
        "peer": f"torchdiffeq dopri5 {rtol:.2g}", "peer_value": theirs, "ratio": theirs / found,
    }  # fmt: skip


def _kept(cells: int, rtol: float) -> Iterator[dict]:
    """Memory kept for the way back, as outputs and time grow."""
    for outputs, end in ((_OUTPUTS, 1.0), (10 * _OUTPUTS, 1.0), (_OUTPUTS, 100.0)):
        y0 = _states(cells).requires_grad_(True)
        out = solve(_field(), y0, torch.linspace(0, end, outputs), rtol=rtol, atol=rtol)
        kept = sum(course.kept_bytes for course in out.grad_fn.courses)  # type: ignore[union-attr]
        yield {
            "name": f"kept for the gradient, {outputs} outputs to {end:g}",
            "value": kept / cells,
            "unit": "B/cell",
        }


def main() -> None:
    options = parser(__doc__, "few cells, under a minute").parse_args()
    torch.set_num_threads(1)
    rows = _rows(*((512, 64, 1) if options.quick else (10_000, 256, 4)))
    show(rows, options.json, 70)


if __name__ == "__main__":
    main()
