"""Many cells through one neural ODE: a batched solver with dense output, dose events and a discrete adjoint.

    field = MLPField(32, controls=2)
    out = solve(field, y0, times, controls)            # (T, n, d), differentiable in y0, controls and weights
    out = solve(field, y0, times, controls, breaks)    # controls (S, n, c) that change at S - 1 breaks

Cells go in blocks, each at its own step size; within a block the cell that errs most decides. Output times lie where
the user wants them, the same for all cells or each cell's own: they cost one product with the stages and never a
step. Reverse mode repeats the accepted steps from a bounded number of kept states: its memory depends neither on the
number of outputs nor, beyond those, on how long the course is. Step sizes are constants to it, as in any discrete
adjoint.

Fields that are not an `MLPField`, and `method="dopri5"`, go to torchdiffeq, the reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from neural.odes.block_course import BlockCourse, Segment, Tolerance
from neural.odes.fused_steps import Stages, Sums
from neural.vector_fields import MLPField

BLOCK = 512


def solve(
    field: MLPField | Callable[..., torch.Tensor],
    y0: torch.Tensor,
    times: torch.Tensor | np.ndarray | Sequence[float],
    controls: torch.Tensor | None = None,
    breaks: Sequence[float] = (),
    *,
    start: float | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    method: str = "tsit5",
    block: int = BLOCK,
) -> torch.Tensor:
    """States at `times`.

    Args:
        field: dy/dt = field(t, y, u), an `MLPField` or any callable on tensors (without u where `controls` is None).
        y0: (n, d) states at `start`.
        times: (T,), or (n, T) with each cell's own, ascending and not before `start`.
        controls: (n, c) held throughout, or (S, n, c) held between the S - 1 `breaks`.
        breaks: ascending times at which controls change. A block whose own controls stay the same runs on.
        start: of the course; by default the smallest of `times`.
        rtol, atol: of the error of a step, root mean square over a cell's components, of the worst cell of a block.
        method: "tsit5" (ours) or "dopri5" (torchdiffeq's, through its own autograd).
        block: cells a block.

    Returns:
        (T, n, d) in y0's type.

    Raises:
        ValueError: shapes or times that do not fit each other, or an unknown method.
        ArithmeticError: the step size vanished (the solution is not finite); names the time.
    """
    at = np.asarray(times.detach().cpu() if isinstance(times, torch.Tensor) else times, float)
    first = float(at.min()) if start is None else float(start)
    _check(field, y0, at, controls, breaks, first, method)
    held = controls[None] if controls is not None and controls.dim() == 2 else controls
    if method == "dopri5" or not isinstance(field, MLPField):
        return _by_torchdiffeq(field, y0, at, held, breaks, first, rtol, atol)
    plan = _Plan(
        at, tuple(float(b) for b in breaks), first, Tolerance(rtol, atol), block, torch.is_grad_enabled()
    )
    given = held if held is not None else y0.new_zeros(0)
    return _Solve.apply(plan, y0, given, *field.parts())  # type: ignore[return-value]


def dosing(
    controls: torch.Tensor, events: Sequence[tuple[float, Any, int, Any]]
) -> tuple[torch.Tensor, list[float]]:
    """Controls (S, n, c) and breaks from `controls` (n, c) at the start and events (time, cells, control, value).

    `cells` is a mask (n,) or indices; `value` a number or one a cell. Events at one time make one break.
    """
    steps, breaks, now = [controls], [], controls
    for time, cells, column, value in sorted(events, key=lambda e: e[0]):
        now = now.clone()
        now[cells, column] = torch.as_tensor(value, dtype=now.dtype, device=now.device)
        if breaks and breaks[-1] == time:
            steps[-1] = now
        else:
            breaks.append(float(time))
            steps.append(now)
    return torch.stack(steps), breaks


@dataclass(frozen=True)
class _Plan:
    times: np.ndarray
    breaks: tuple[float, ...]
    start: float
    tolerance: Tolerance
    block: int
    # torch's own flag is off inside a Function
    reverse: bool

    @property
    def end(self) -> float:
        return float(self.times.max())

    def segments(self, controls: torch.Tensor, rows: slice, apart: bool) -> list[Segment]:
        """Stretches of held controls of the cells `rows`; those alike are joined unless kept `apart`."""
        if not controls.numel():
            return [Segment(self.start, self.end, None, 0)]
        edges = [self.start, *self.breaks, self.end]
        out: list[Segment] = []
        for s in range(len(controls)):
            t0, t1 = max(edges[s], self.start), min(edges[s + 1], self.end)
            if t1 <= t0 and not (s == 0 and t1 == t0):
                continue
            mine = controls[s, rows]
            last = out[-1] if out else None
            if last and last.controls is not None and not apart and torch.equal(mine, last.controls):
                out[-1] = replace(last, end=t1)
            else:
                out.append(Segment(t0, t1, mine, s))
        return out

    def blocks(self, n: int):
        for first in range(0, n, self.block):
            yield slice(first, min(first + self.block, n))

    def times_of(self, rows: slice) -> np.ndarray:
        return self.times if self.times.ndim == 1 else self.times[rows]


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, plan: _Plan, y0: torch.Tensor, controls: torch.Tensor, *parts: torch.Tensor):
        n, d = y0.shape
        reverse = plan.reverse and any(ctx.needs_input_grad[1:])
        parts = tuple(p.detach() for p in parts)
        out = torch.empty(plan.times.shape[-1], n, d, dtype=y0.dtype, device=y0.device)
        courses = []
        stages: Stages | None = None
        for rows in plan.blocks(n):
            size = rows.stop - rows.start
            if stages is None or stages.cells != size:
                stages = Stages(list(parts), size)
            apart = bool(ctx.needs_input_grad[2])
            course = BlockCourse(
                plan.segments(controls.detach(), rows, apart), plan.times_of(rows), plan.tolerance
            )
            course.forward(stages, y0.detach()[rows], out[:, rows], keep=reverse)
            courses.append(course)
        ctx.plan, ctx.courses = plan, courses
        ctx.save_for_backward(controls, *parts)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor):
        (g_out,) = grad_outputs
        controls, *parts = ctx.saved_tensors
        plan: _Plan = ctx.plan
        sums = Sums(parts)
        n = g_out.shape[1]
        g_y0 = g_out.new_empty(g_out.shape[1:])
        g_controls = torch.zeros_like(controls) if ctx.needs_input_grad[2] else None
        stages: Stages | None = None
        for rows, course in zip(plan.blocks(n), ctx.courses, strict=True):
            size = rows.stop - rows.start
            if stages is None or stages.cells != size:
                stages = Stages(parts, size, reverse=True)
            g_y0[rows] = course.reverse(
                stages, g_out[:, rows], sums, None if g_controls is None else g_controls[:, rows]
            )
        return None, g_y0, g_controls, *sums.parts


def _check(field, y0, at, controls, breaks, first, method) -> None:
    if method not in ("tsit5", "dopri5"):
        raise ValueError(f"unknown method '{method}'; there are tsit5 and dopri5")
    if y0.dim() != 2:
        raise ValueError(f"y0 must be (cell, dimension), got {tuple(y0.shape)}")
    if at.ndim not in (1, 2) or not at.size or (at.ndim == 2 and len(at) != len(y0)):
        raise ValueError(f"times must be (T,) or ({len(y0)}, T), got {at.shape}")
    if (np.diff(at, axis=-1) < 0).any() or at.min() < first or not np.isfinite(at).all():
        raise ValueError("times must ascend, be finite and not lie before the start")
    wanted = 1 + len(breaks)
    found = 0 if controls is None else len(controls) if controls.dim() == 3 else 1
    if controls is not None and (found != wanted or controls.shape[-2] != len(y0)):
        raise ValueError(
            f"{len(breaks)} breaks need controls ({wanted}, {len(y0)}, c), got {tuple(controls.shape)}"
        )
    if controls is None and len(breaks):
        raise ValueError("breaks without controls change nothing; give controls (S, n, c)")
    if list(breaks) != sorted(set(breaks)):
        raise ValueError("breaks must ascend and differ")
    if isinstance(field, MLPField):
        given = 0 if controls is None else controls.shape[-1]
        if field.dimension != y0.shape[1] or field.controls != given:
            raise ValueError(
                f"the field takes {field.dimension} components and {field.controls} controls, "
                f"got {y0.shape[1]} and {given}"
            )


def _by_torchdiffeq(field, y0, at, held, breaks, first, rtol, atol) -> torch.Tensor:
    """torchdiffeq between breaks, at all times that any cell asks for."""
    from torchdiffeq import odeint

    wanted = np.unique(at)
    edges = [first, *(b for b in breaks if first < b < wanted[-1]), float(wanted[-1])]
    offset = sum(b <= first for b in breaks)
    y, pieces = y0, [y0[None].expand(int((wanted <= first).sum()), *y0.shape)]
    for s, (a, b) in enumerate(itertools.pairwise(edges)):
        if b <= a:
            continue
        inside = wanted[(wanted > a) & (wanted <= b)]
        asked = np.unique(np.concatenate([[a], inside, [b]]))
        u = None if held is None else held[s + offset]

        def rhs(t, y, u=u):
            return field(t, y) if u is None else field(t, y, u)

        vanished = (
            f"the step size vanished between {a:g} and {b:g}: the solution or the field is not finite there"
        )
        wanted_at = torch.as_tensor(asked, dtype=y0.dtype, device=y0.device)
        try:
            course = odeint(rhs, y, wanted_at, rtol=rtol, atol=atol)
        except AssertionError as error:  # its way to say so
            raise ArithmeticError(vanished) from error
        assert isinstance(course, torch.Tensor)
        if not torch.isfinite(course[-1]).all():
            raise ArithmeticError(vanished)
        pieces.append(course[torch.as_tensor(np.searchsorted(asked, inside))])
        y = course[-1]
    everything = torch.cat(pieces)
    places = torch.as_tensor(np.searchsorted(wanted, at))
    if at.ndim == 1:
        return everything[places]
    return everything[places.t(), torch.arange(len(y0))[None]]
