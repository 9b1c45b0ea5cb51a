"""The course of one block of cells: steps by error, outputs by interpolation, and the way back.

Going forward it keeps the accepted steps' times and, of their states, every `stride`-th: when more than `CHECKPOINTS`
would be kept, every second is dropped and the stride doubled. Going back, the states between two kept ones are made
again from the first of them by the same steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from neural.odes import tableau
from neural.odes.fused_steps import Stages, Sums

CHECKPOINTS = 32
# outputs made at once where each cell has its own times: what the cache holds
_ROWS = 8
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0


@dataclass(frozen=True)
class Tolerance:
    """Relative and absolute error allowed in a step."""

    rtol: float
    atol: float


@dataclass(frozen=True)
class Segment:
    """A stretch of time with held controls (n, c), the `index`-th of those given."""

    start: float
    end: float
    controls: torch.Tensor | None
    index: int


@dataclass(frozen=True)
class _Step:
    segment: int
    t: float
    h: float
    end: float


class BlockCourse:
    """Course of one block.

    Args:
        segments: in time, end to start.
        times: (T,) for all cells or (n, T), ascending.
        tolerance: of a step.
    """

    def __init__(self, segments: list[Segment], times: np.ndarray, tolerance: Tolerance):
        self.segments, self.tolerance = segments, tolerance
        # (T,) or (T, n); rows between the earliest and the latest of a step are the ones to look at
        self.times = np.ascontiguousarray(times.T)
        self._earliest, self._latest = (
            (times, times) if times.ndim == 1 else (self.times.min(1), self.times.max(1))
        )
        self.steps: list[_Step] = []
        self._kept: dict[int, torch.Tensor] = {}
        self._stride = 1

    @property
    def kept_bytes(self) -> int:
        """What is kept for the way back: states and first derivatives of at most `CHECKPOINTS` steps."""
        return sum(state.nbytes for state in self._kept.values())

    # ---- forward

    def forward(self, stages: Stages, y0: torch.Tensor, out: torch.Tensor, keep: bool) -> None:
        """States at the times into `out` (T, n, d)."""
        begin = self.segments[0].start
        self._at_start(y0, out, begin)
        stages.z[0].copy_(y0)
        h: float | None = None
        for s, segment in enumerate(self.segments):
            stages.hold(segment.controls)
            stages.derivative(stages.z[0], segment.start, stages.z[1])
            t = segment.start
            if h is None and segment.end > t:
                h = self._first_step(stages, t, segment.end - t)
            while t < segment.end:
                assert h is not None
                end, size = _next(t, h, segment.end)
                stages.step(t, size)
                ratio = self._ratio(stages)
                if ratio <= 1.0:
                    if keep:
                        self._keep(stages)
                    self.steps.append(_Step(s, t, size, end))
                    self._write(stages, out, t, size, end)
                    stages.accept()
                    t = end
                    # a step cut short by an event says nothing against a longer one
                    h = max(h, size * _factor(ratio)) if size < h else size * _factor(ratio)
                else:
                    h = size * (_factor(ratio) if math.isfinite(ratio) else _SHRINK)
                    if h <= 1e-12 * max(abs(t), segment.end - segment.start):
                        raise ArithmeticError(
                            f"the step size vanished at time {t:g}: the solution or the field is not finite there"
                        )

    def _ratio(self, stages: Stages) -> float:
        """Error of the step over what is allowed: of the cell that errs most."""
        size = torch.maximum(stages.z[0].abs(), stages.new.abs())
        allowed = size.mul_(self.tolerance.rtol).add_(self.tolerance.atol)
        worst = (stages.error / allowed).square_().mean(1).max()
        return math.sqrt(worst.item())

    def _first_step(self, stages: Stages, t: float, longest: float) -> float:
        """Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations I, II.4."""
        y, f = stages.z[0], stages.z[1]
        allowed = y.abs() * self.tolerance.rtol + self.tolerance.atol

        def size(x: torch.Tensor) -> float:
            return math.sqrt((x / allowed).square().mean(1).max().item())

        d0, d1 = size(y), size(f)
        if not math.isfinite(d1):
            raise ArithmeticError(f"the field is not finite at the start, time {t:g}")
        h0 = 1e-6 if min(d0, d1) < 1e-5 else 0.01 * d0 / d1
        h0 = min(h0, longest)
        stages.derivative(y + h0 * f, t + h0, stages.new)
        d2 = size(stages.new - f) / h0
        steepest = max(d1, d2)
        h1 = max(1e-6, h0 * 1e-3) if steepest <= 1e-15 else (0.01 / steepest) ** (1.0 / tableau.ORDER)
        return min(100 * h0, h1, longest)

    def _keep(self, stages: Stages) -> None:
        index = len(self.steps)
        if index % self._stride:
            return
        if len(self._kept) == CHECKPOINTS:
            self._stride *= 2
            self._kept = {k: v for k, v in self._kept.items() if k % self._stride == 0}
            if index % self._stride:
                return
        self._kept[index] = stages.z[:2].clone()

    # ---- outputs

    def _at_start(self, y0: torch.Tensor, out: torch.Tensor, begin: float) -> None:
        if self.times.ndim == 1:
            out[: int((self.times <= begin).sum())] = y0
        else:
            mask = torch.as_tensor(self.times <= begin, device=out.device)[..., None]
            count = int(mask.any(1).sum())
            out[:count] = torch.where(mask[:count], y0, out.new_zeros(()))

    def _between(self, t: float, end: float) -> tuple[int, int]:
        """Range of outputs in (t, end], of any cell."""
        low = np.searchsorted(self._latest, t, side="right")
        return int(low), int(np.searchsorted(self._earliest, end, side="right"))

    def _shared_weights(self, low: int, high: int, t: float, h: float, like: torch.Tensor) -> torch.Tensor:
        """(m, 1 + stage) of outputs at times that all cells share."""
        rows = np.ones((high - low, 1 + tableau.STAGES))
        rows[:, 1:] = h * tableau.dense_weights((self.times[low:high] - t) / h)
        return torch.as_tensor(rows, dtype=like.dtype, device=like.device)

    def _own_shares(
        self, low: int, high: int, t: float, end: float, like: torch.Tensor
    ) -> tuple[torch.Tensor, np.ndarray]:
        """Shares theta (m, n, 1) of the step, and which (m, n) lie in it."""
        own = self.times[low:high]
        theta = torch.as_tensor((own - t) / (end - t), dtype=like.dtype, device=like.device)
        return theta[..., None], (own > t) & (own <= end)

    def _write(self, stages: Stages, out: torch.Tensor, t: float, h: float, end: float) -> None:
        low, high = self._between(t, end)
        if high <= low:
            return
        if self.times.ndim == 1:
            made = torch.mm(self._shared_weights(low, high, t, h, stages.flat), stages.flat)
            out[low:high] = made.view(high - low, *out.shape[1:])
            return
        theta, inside = self._own_shares(low, high, t, end, stages.flat)
        powers = torch.as_tensor(h * tableau.DENSE.T, dtype=theta.dtype, device=theta.device)
        terms = torch.mm(powers, stages.flat[1:]).view(4, *stages.new.shape)
        y, whole = stages.z[0], np.asarray(inside.all(1))
        for first in range(0, high - low, _ROWS):
            rows = slice(first, min(first + _ROWS, high - low))
            made = torch.addcmul(terms[2], theta[rows], terms[3])
            torch.addcmul(terms[1], theta[rows], made, out=made)
            torch.addcmul(terms[0], theta[rows], made, out=made)
            into = out[low + rows.start : low + rows.stop]
            if whole[rows].all():
                torch.addcmul(y, theta[rows], made, out=into)
            else:
                mine = torch.as_tensor(inside[rows], device=out.device)[..., None]
                torch.where(mine, torch.addcmul(y, theta[rows], made), into, out=into)

    # ---- reverse

    def reverse(
        self, stages: Stages, g_out: torch.Tensor, sums: Sums, g_controls: torch.Tensor | None
    ) -> torch.Tensor:
        """Gradient of y0 (n, d) from that of the outputs (T, n, d); adds to `sums` and to `g_controls` (S, n, c)."""
        g_y = torch.zeros_like(stages.new)
        g_first = torch.zeros_like(stages.new)
        segment = -1
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            if step.segment != segment:
                segment = step.segment
                self._enter(stages, sums, segment)
            start = self._state(stages, index)
            stages.z[:2].copy_(start)
            stages.step(step.t, step.h, keep=True)
            stages.g.zero_()
            self._pull_outputs(stages, g_out, step)
            stages.g[-1].add_(g_first)
            g_y = stages.pull_back(step.t, step.h, g_y, sums)
            g_first = stages.g[1].clone()
            if index == 0 or self.steps[index - 1].segment != segment:
                stages.derivative(stages.z[0], step.t, stages.z[1])
                g_y = g_y + stages.pull_back_start(step.t, g_first, sums)
                g_first = torch.zeros_like(g_y)
                self._leave(stages, sums, self.segments[segment], g_controls)
        begin = self.segments[0].start
        if self.times.ndim == 1:
            return g_y + g_out[: int((self.times <= begin).sum())].sum(0)
        mask = torch.as_tensor(self.times <= begin, device=g_out.device)
        return g_y + (g_out * mask[..., None]).sum(0)

    def _enter(self, stages: Stages, sums: Sums, segment: int) -> None:
        controls = self.segments[segment].controls
        stages.hold(controls)
        sums.held = None if controls is None else stages.new.new_zeros(len(controls), stages.w_u.shape[0])

    def _leave(self, stages: Stages, sums: Sums, segment: Segment, g_controls: torch.Tensor | None) -> None:
        if segment.controls is None or sums.held is None:
            return
        sums.parts[1].addmm_(sums.held.t(), segment.controls)
        if g_controls is not None:
            g_controls[segment.index] += sums.held @ stages.w_u

    def _state(self, stages: Stages, index: int) -> torch.Tensor:
        """State and first derivative (2, n, d) at the start of a step, made again from the last one kept."""
        if index not in self._kept:
            base = index - index % self._stride
            last = min(base + self._stride, index + 1)
            stages.z[:2].copy_(self._kept[base])
            # the segment's controls may differ from those of the steps repeated here
            held = self.steps[index].segment
            now = held
            for k in range(base, last - 1):
                if self.steps[k].segment != now:
                    now = self.steps[k].segment
                    stages.hold(self.segments[now].controls)
                stages.step(self.steps[k].t, self.steps[k].h)
                stages.accept()
                if self.steps[k + 1].segment != now:
                    now = self.steps[k + 1].segment
                    stages.hold(self.segments[now].controls)
                    stages.derivative(stages.z[0], self.steps[k + 1].t, stages.z[1])
                self._kept[k + 1] = stages.z[:2].clone()
            if now != held:
                stages.hold(self.segments[held].controls)
        return self._kept.pop(index) if index % self._stride else self._kept[index]

    def _pull_outputs(self, stages: Stages, g_out: torch.Tensor, step: _Step) -> None:
        low, high = self._between(step.t, step.end)
        if high <= low:
            return
        g = g_out[low:high]
        if self.times.ndim == 1:
            weights = self._shared_weights(low, high, step.t, step.h, stages.flat)
            torch.mm(weights.t(), g.reshape(high - low, -1), out=stages.g_flat)
            return
        theta, inside = self._own_shares(low, high, step.t, step.end, stages.flat)
        power = g * torch.as_tensor(inside, device=g.device)[..., None]
        stages.g[0] = power.sum(0)
        moments = []
        for _ in range(4):
            power = power * theta
            moments.append(power.sum(0))
        terms = torch.as_tensor(step.h * tableau.DENSE, dtype=g.dtype, device=g.device)
        torch.mm(terms, torch.stack(moments).view(4, -1), out=stages.g_flat[1:])


def _next(t: float, h: float, end: float) -> tuple[float, float]:
    """End and size of the next step: the rest of a segment in one or two equal steps if it is short."""
    rest = end - t
    if rest <= h * 1.0000001:
        return end, rest
    if rest < 2 * h:
        return t + 0.5 * rest, 0.5 * rest
    return t + h, h


def _factor(ratio: float) -> float:
    if ratio == 0.0:
        return _GROW
    return min(_GROW, max(_SHRINK, _SAFETY * ratio ** (-1.0 / tableau.ORDER)))
