"""A stiff solver for any vector field in torch, with its gradient: for networks too wide to be written as formulas.

    from sim.hybrid.odeint import odeint
    course = odeint(field, start, times)            # as torchdiffeq's odeint; `field(t, y)`

The method is that of the pathways (Rodas5P, `mechanistic.solvers.rosenbrock`) with the Jacobian by torch. The gradient
is that of the numbers: steps are taken without a graph and once more with one as they are gone back over, so memory
grows with the number of steps by their states alone. `register()` makes it a method of torchdiffeq, called "rodas5p".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from mechanistic.errors import IntegrationError
from mechanistic.solvers.rosenbrock import DENSE, GAMMA, A, C

Field = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_SAFETY, _SHRINK, _GROW, _MOST = 0.9, 0.2, 6.0, 100_000


def odeint(
    func: Field, y0: torch.Tensor, t: torch.Tensor, *, rtol: float = 1e-6, atol: float = 1e-9
) -> torch.Tensor:
    """The course (time, *y0.shape).

    Args:
        func: called as func(t, y) with y of the shape of `y0`; rows of a (cell, state) must not depend on each other.
            The gradient reaches every tensor that its value at the start was computed from, once.
        y0: (state,) or (cell, state), double precision; cells share their steps.
        t: (time,) rising; `y0` holds at t[0].

    Raises:
        IntegrationError: the step became too small, or there were too many of them.
    """
    if y0.ndim not in (1, 2) or not y0.is_floating_point():
        raise ValueError(f"y0 must be (state,) or (cell, state) (got {tuple(y0.shape)})")
    if t.ndim != 1 or len(t) < 1 or bool((t[1:] <= t[:-1]).any()):
        raise ValueError("t must be times that rise")
    equations = _Equations(func, y0, t[0])
    rows = y0 if y0.ndim == 2 else y0[None]
    times = t.detach().cpu().numpy().astype(float)
    z = torch.cat([rows, t[0].detach().to(rows).expand(len(rows), 1)], 1)
    sizes = _steps(equations, z.detach(), times, rtol, atol)
    found, now, k = [rows], times[0], 1
    for h in sizes:
        after, dense = _Taken.apply(equations, h, z, *equations.leaves)  # pyright: ignore
        while k < len(times) and times[k] <= now + h * (1 + 1e-12):
            q = min((times[k] - now) / h, 1.0)
            inner = sum(dense[d] * q**d for d in range(len(DENSE)))
            found.append((z + q * (after - z) + q * (1 - q) * inner)[:, :-1])
            k += 1
        z, now = after, now + h
    return torch.stack(found[: len(times)]).reshape(len(times), *y0.shape)


def register() -> None:
    """Makes "rodas5p" a method of `torchdiffeq.odeint`, for problems that its own methods cannot follow."""
    from importlib import import_module

    # the package has a function of the module's name
    import_module("torchdiffeq._impl.odeint").SOLVERS["rodas5p"] = _Solver


class _Solver:
    """What torchdiffeq makes of a method."""

    def __init__(self, func: Field, y0: torch.Tensor, rtol: float, atol: float, **_options: Any):
        self.func, self.y0, self.rtol, self.atol = func, y0, rtol, atol

    @classmethod
    def valid_callbacks(cls) -> set[str]:
        return set()

    def integrate(self, t: torch.Tensor) -> torch.Tensor:
        return odeint(self.func, self.y0, t, rtol=float(self.rtol), atol=float(self.atol))


class _Equations:
    """The vector field with time as one more state.

    Attributes:
        timed: whether it depends on time.
        leaves: the tensors that it was computed from and that want a gradient.
    """

    def __init__(self, func: Field, y0: torch.Tensor, t0: torch.Tensor):
        self.func, self.flat = func, y0.ndim == 1
        with torch.enable_grad():
            time = t0.detach().to(y0).clone().requires_grad_()
            slope = func(time, y0.detach())
            by_time = None
            if slope.requires_grad:
                (by_time,) = torch.autograd.grad(slope.sum(), time, retain_graph=True, allow_unused=True)
        self.timed = by_time is not None
        self.leaves = tuple(leaf for leaf in _leaves(slope) if leaf is not time)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """d(z)/dt, (cell, state and time)."""
        slope = self.func(z[0, -1], z[0, :-1] if self.flat else z[:, :-1])
        slope = slope.reshape(len(z), -1)
        return torch.cat([slope, torch.ones_like(slope[:, :1])], 1)


def _leaves(value: torch.Tensor) -> list[torch.Tensor]:
    """What `value` was computed from, in the order in which it is met."""
    if value.grad_fn is None:
        return [value] if value.requires_grad else []
    waiting, seen, found = [value.grad_fn], {value.grad_fn}, []
    while waiting:
        node = waiting.pop()
        if hasattr(node, "variable"):
            found.append(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return found


class _Taken(torch.autograd.Function):
    """The state after a step, and the coefficients of its dense output."""

    @staticmethod
    def forward(ctx: Any, equations: _Equations, h: float, z: torch.Tensor, *leaves: torch.Tensor):
        ctx.equations, ctx.h = equations, h
        ctx.save_for_backward(z, *leaves)
        after, dense, _ = _step(equations, z, h, graph=False)
        return after, dense

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, asked: torch.Tensor, asked_inside: torch.Tensor):
        first, *leaves = ctx.saved_tensors
        z = first.detach().requires_grad_()
        with torch.enable_grad():
            after, dense, _ = _step(ctx.equations, z, ctx.h, graph=True)
        # what the field's tensors were computed from is gone through again at each step
        found = torch.autograd.grad(
            (after, dense), (z, *leaves), (asked, asked_inside), retain_graph=True, allow_unused=True
        )
        return None, None, *found


def _step(field: _Equations, z: torch.Tensor, h: float, graph: bool):
    """The state after a step of `h`, its dense output (coefficient, cell, state), its error."""
    slope, jacobian = _jacobian(field, z, graph)
    n = z.shape[1]
    matrix = torch.eye(n, dtype=z.dtype, device=z.device) / (GAMMA * h) - jacobian
    factors = torch.linalg.lu_factor(matrix)
    stages: list[torch.Tensor] = []
    at = z
    for i in range(len(C)):
        if 0 < i < len(A):
            at = z + sum(a * k for a, k in zip(A[i], stages))
        elif i >= len(A):
            at = at + stages[-1]
        right = slope if i == 0 else field(at)
        if i:
            right = right + sum(c * k for c, k in zip(C[i], stages)) / h
        stages.append(torch.linalg.lu_solve(*factors, right[..., None])[..., 0])
    after = at + stages[-1]
    dense = torch.stack([sum(d * k for d, k in zip(row, stages)) for row in DENSE])  # pyright: ignore
    return after, dense, stages[-1]


def _jacobian(field: _Equations, z: torch.Tensor, graph: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The slope, and its derivative (cell, state, state): a pass for each state, two for time."""
    with torch.enable_grad():
        at = z if z.requires_grad else z.detach().requires_grad_()
        # all cells have one time, and each its own slope by it
        time = at[0, -1].detach().requires_grad_()
        joined = torch.cat([at[:, :-1], time.expand(len(at), 1)], 1)
        slope = field(joined)
        rows = []
        for i in range(z.shape[1]):
            row = _derivative(slope[:, i].sum(), joined, graph)
            rows.append((torch.zeros_like(z) if row is None else row)[:, :-1])
        by_time = _by_time(slope, time, graph) if field.timed else torch.zeros_like(slope)
        jacobian = torch.cat([torch.stack(rows, 1), by_time[..., None]], 2)
    return (slope, jacobian) if graph else (slope.detach(), jacobian.detach())


def _derivative(total: torch.Tensor, by: torch.Tensor, graph: bool) -> torch.Tensor | None:
    if not total.requires_grad:
        return None
    return torch.autograd.grad(total, by, retain_graph=True, create_graph=graph, allow_unused=True)[0]


def _by_time(slope: torch.Tensor, time: torch.Tensor, graph: bool) -> torch.Tensor:
    """d(slope)/d(time) (cell, state): the derivative, by weights, of what weights of the slopes ask of time."""
    weights = torch.zeros_like(slope, requires_grad=True)
    (asked,) = torch.autograd.grad(slope, time, weights, create_graph=True, allow_unused=True)
    found = None if asked is None else _derivative(asked, weights, graph)
    return torch.zeros_like(slope) if found is None else found


def _steps(field: _Equations, z: torch.Tensor, times: np.ndarray, rtol: float, atol: float) -> list[float]:
    """The sizes of the steps from the first to the last of `times`."""
    now, end, sizes = float(times[0]), float(times[-1]), []
    if end <= now:
        return sizes
    h = _first(field, z, end - now, rtol, atol)
    for _ in range(_MOST):
        last = now + h >= end - 1e-12 * (end - now)
        h = end - now if last else h
        if h < 1e-14 * max(abs(now), end - times[0]):
            raise IntegrationError("the step became too small", time=now)
        with torch.no_grad():
            after, _, error = _step(field, z, h, graph=False)
        scale = atol + rtol * torch.maximum(z.abs(), after.abs())
        ratio = (error / scale)[:, :-1].square().mean(1).max().sqrt()
        size = float(ratio) if bool(torch.isfinite(after).all()) and bool(torch.isfinite(ratio)) else np.inf
        factor = float(np.clip(_SAFETY * max(size, 1e-10) ** -0.2, _SHRINK, _GROW))
        if size <= 1.0:
            sizes.append(h)
            now, z = now + h, after
            if last:
                return sizes
        h *= factor
    raise IntegrationError(f"more than {_MOST} steps", time=now)


def _first(field: _Equations, z: torch.Tensor, span: float, rtol: float, atol: float) -> float:
    """A first step in which the state changes little."""
    with torch.no_grad():
        slope = field(z)[:, :-1]
    scale = atol + rtol * z[:, :-1].abs()
    speed = float((slope / scale).square().mean(1).max().sqrt())
    return min(span, 0.5 / speed) if np.isfinite(speed) and speed > 0 else 1e-6 * span
