"""The course of one cell with delays in math, fast reactions and events; see `delay`."""

from __future__ import annotations

import bisect
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mechanistic.errors import IntegrationError
from mechanistic.solvers.radau.collocation import POINTS, NoConvergence, Step, step
from mechanistic.solvers.radau.past import Past
from mechanistic.solvers.radau.waiting import EventFunctions, EventQueue

if TYPE_CHECKING:
    from mechanistic.solvers.radau.solver import CourseSolver

_LOOKS = np.linspace(0.0, 1.0, 25)[1:]  # of conditions along a step
_LONGEST = 1 / 20  # of the course, a step
_MOST_STEPS = 1_000_000
_FORETOLD = 10.0  # times the last step


class Earlier(Protocol):
    """What delays look up before the start of a course."""

    def value(self, delay: int, cell: int, times: np.ndarray) -> np.ndarray:
        """(time,): what delay number `delay` looks at."""
        ...


class Course:
    """The course of one cell.

    Attributes:
        h: length of the step to try next.
        past: the course so far.
        queue: its events.
        generation: the moments at which something jumps, and of how many derivatives nothing is seen there.

    Args:
        longest: share of the course that a step may be.
        scale: volume of the cell relative to the model's.
    """

    def __init__(
        self,
        solver: CourseSolver,
        state,
        constants,
        times,
        rtol,
        atol,
        key,
        cell,
        before: Earlier,
        longest: float = _LONGEST,
        scale: float = 1.0,
    ):
        self.solver, self.times, self.rtol, self.atol = solver, times, rtol, np.asarray(atol)
        self.constants, self.cell, self.before, self.scale = list(constants), cell, before, scale
        self.start, self.span = float(times[0]), float(times[-1] - times[0])
        self.longest, self.h = longest * self.span, 0.0
        self.tiny = 4e-15 * max(abs(self.start), abs(float(times[-1])), 1e-300)
        self.past = Past(self.start, np.array(state, dtype=float))
        self.bounds: dict[int, tuple[float, float]] = {}
        self.breaks, self.generation = [self.start], {self.start: 0}
        self.held = np.zeros(len(solver.held), dtype=bool)
        self.negative: IntegrationError | None = None  # a delay that was, last
        self.queue = EventQueue([self._functions(e) for e in solver.events], key, cell)

    # ---- values at a moment

    def inputs(self, times: np.ndarray, states: np.ndarray, wanted: list[int], earlier: bool = False) -> list:
        """The inputs of the graph at `times` (time,) and `states` (time, state), with the delays `wanted`.

        Args:
            earlier: whether these are times that a delay looks back to, not those of the present step.
        """
        solver = self.solver
        inputs = [times, self.scale, *states.T, *self.constants, *[np.nan] * len(solver.system.delays)]
        for delay in wanted:
            lag = np.broadcast_to(solver.lags[delay](inputs)[0], times.shape)
            if not np.all(lag >= 0):
                where = solver.system.delays[delay]
                at = float(times[~(lag >= 0)][0])
                message = f"the delay in the math of '{where.key}' (line {where.line}) is not 0 or more"
                self.negative = IntegrationError(f"{message} at time {at:g}", time=at, species=where.key)
                if self.past.current is not None:
                    # a guess that a shorter step may do without
                    raise NoConvergence
                raise self.negative
            inputs[solver.first_delay + delay] = self._looked_up(delay, times - lag, earlier)
        return inputs

    def _looked_up(self, delay: int, times: np.ndarray, earlier: bool) -> np.ndarray:
        if delay in self.bounds and not earlier:
            low, high = self.bounds[delay]
            times = np.clip(times, low + 4 * self.tiny, high - 4 * self.tiny)
        values = np.empty(len(times))
        early = times < self.start - self.tiny
        if early.any():
            values[early] = self.before.value(delay, self.cell, times[early])
        if not early.all():
            then = times[~early]
            inputs = self.inputs(then, self.past.at(then), self.solver.inner_needs[delay], earlier=True)
            values[~early] = self.solver.inner[delay](inputs)[0]
        return values

    def inner(self, times: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(delay, time): what each delay looks at, at `times` of the course so far and the `states` there."""
        solver = self.solver
        result = np.empty((len(solver.system.delays), len(times)))
        for delay in range(len(result)):
            inputs = self.inputs(times, states, solver.inner_needs[delay])
            result[delay] = solver.inner[delay](inputs)[0]
        return result

    def one(self, formula, time: float, state: np.ndarray) -> list[float]:
        formulas, needs = formula
        values = formulas(self.inputs(np.array([time]), state[None, :], needs))
        return [float(np.ravel(v)[0]) for v in values]

    def _functions(self, event) -> EventFunctions:
        said, trigger, delay, priority, values, worth, targets = event

        def number(formula, time, state):
            return self.one(formula, time, state)[0]

        return EventFunctions(
            said,
            lambda time, state: number(trigger, time, state) != 0.0,
            None if delay is None else partial(number, delay),
            None if priority is None else partial(number, priority),
            partial(self.one, values),
            partial(self.one, worth),
            targets,
        )

    def _rates(self, times: np.ndarray, states: np.ndarray) -> np.ndarray:
        values = self.solver.rates(self.inputs(times, states, self.solver.rate_needs), self.held)
        result = np.empty(states.shape)
        for i, value in enumerate(values):
            result[:, i] = value
        return result

    def _slopes(self, time: float, state: np.ndarray) -> np.ndarray:
        result = np.zeros((len(state), len(state)))
        inputs = self.inputs(np.array([time]), state[None, :], self.solver.rate_needs)
        values = self.solver.slopes(inputs, self.held)
        result[self.solver.slopes_at] = [float(np.ravel(v)[0]) for v in values]
        return result

    def _truths(self, times: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(time, watched conditions)."""
        values = self.solver.conditions(self.inputs(times, states, self.solver.condition_needs))
        result = np.empty((len(times), len(values)), dtype=bool)
        for i, value in enumerate(values):
            result[:, i] = value
        return result

    # ---- the course

    def run(self) -> np.ndarray:
        past, times = self.past, self.times
        rows = np.empty((len(times), self.solver.states + len(self.solver.system.delays)))
        self._settle()
        written = self._write(rows, 0, None)
        last = None
        for _ in range(_MOST_STEPS):
            if written == len(times):
                return rows
            done, self.h = self._advance(self.h, last)
            truths = self.truths
            past.add(done)
            past.time, past.state = done.end, done.at(np.array([done.end]))[0]
            if not np.all(np.isfinite(past.state)):
                raise self._failure("its state is not finite")
            until = self._write(rows, written, done)
            self.truths = self._truths(np.array([done.end]), past.state[None, :])[0]
            if not np.array_equal(truths, self.truths) or self.queue.next_due <= past.time:
                before = past.state
                self._settle()
                last = None if not np.array_equal(before, past.state) or self.turned else done
                if last is None:
                    self.add_break(past.time, 0)
            else:
                last = done
            written = self._write(rows, until, None)
        raise self._failure(f"more than {_MOST_STEPS} steps")

    def _settle(self) -> None:
        """Fast reactions, events and conditions at the present moment."""
        past, held = self.past, self.held.copy()

        def relaxed(state: np.ndarray) -> np.ndarray:
            past.state = state
            if self.solver.equilibrium is not None:
                past.state = self.solver.equilibrium.of(self, past.time, state)
            return past.state

        past.state = self.queue.at(past.time, relaxed(past.state), relaxed)
        self.truths = self._truths(np.array([past.time]), past.state[None, :])[0]
        self.held = self.truths[: len(self.held)].copy()
        self.turned = not np.array_equal(held, self.held)

    def _write(self, rows: np.ndarray, written: int, within: Step | None) -> int:
        """Fills in the output times before now (those `within` the last step) or at it."""
        past, now = self.past, self.past.time
        end = bisect.bisect_left(self.times, now) if within else bisect.bisect_right(self.times, now)
        if end > written:
            at = self.times[written:end]
            states = within.at(at) if within else np.repeat(past.state[None, :], len(at), axis=0)
            rows[written:end, : self.solver.states] = states
            every = self.solver.ordered([d.leaf for d in self.solver.system.delays])
            inputs = self.inputs(at, states, every)
            for k in range(len(self.solver.system.delays)):
                rows[written:end, self.solver.states + k] = inputs[self.solver.first_delay + k]
        return max(end, written)

    def _advance(self, h: float, last: Step | None) -> tuple[Step, float]:
        """The next step, up to the next thing that happens, and the length to try after it."""
        past = self.past
        time, state = past.time, past.state
        ends = float(self.times[-1])
        longest = min(ends - time, self.longest, self.queue.next_due - time)
        first = self._rates(np.array([time]), state[None, :])[0]
        if not np.all(np.isfinite(first)):
            raise self._failure("its rates are not finite", first)
        scale = self.atol + self.rtol * np.abs(state)
        if len(state) == 0:
            h = longest
        elif h == 0.0:
            speed = np.sqrt(np.mean((first / scale) ** 2))
            h = min(longest, 1e-3 * np.sqrt(np.mean((state / scale) ** 2)) / speed if speed > 0 else longest)
            h = max(h, 1e-6 * longest)
        slopes = self._slopes(time, state) if len(state) else np.zeros((0, 0))
        self.negative = None
        wanted, smallest = h, max(16 * self.tiny, 1e-13 * self.span)
        for _ in range(200):
            h = min(h, longest)
            h = self._bounded(h)
            done = Step(time, h, time + h, np.empty((1 + len(POINTS), len(state))))
            # a far longer step than the last, as after one that ended at once, is none to foretell from it
            if last is not None and h > _FORETOLD * last.h:
                last = None
            done.values[:] = state if last is None else last.at(time + np.concatenate([[0.0], POINTS]) * h)
            done.values[0] = state
            if not np.all(np.isfinite(done.values)):
                done.values[:] = state
            error = 0.0
            if len(state):
                past.current = done
                try:
                    # the error's first rates look at the side of each jump that the step is on
                    begin = self._rates(np.array([time]), state[None, :])[0]
                    _, error = step(self._rates, slopes, time, state, begin, h, done, self.rtol, self.atol)
                except NoConvergence:
                    error, last = np.inf, None
                finally:
                    past.current = None
            if error > 1.0:
                h *= 0.25 if not np.isfinite(error) else max(0.2, 0.9 * error ** (-1 / 6))
                wanted = h
                if h < smallest:
                    raise self.negative or self._failure("the step became too small", first)
                continue
            reached = self._reached(done)
            if reached is None:
                break
            h = reached
        else:
            raise self._failure("the step became too small", first)
        self.bounds = {}
        past.current = done
        self._stop_at_conditions(done)
        past.current = None
        if done.end == time + h:
            self._pass_on(done)
        growth = min(8.0, 0.9 * error ** (-1 / 6)) if error > 0 else 8.0
        return done, max(wanted, h) if h < wanted else h * max(growth, 0.2)

    # ---- jumps that delays look back to

    def begins_as(self, generation: int) -> None:
        """How smoothly the course goes on from what was before it: by default, its start is a jump."""
        self.generation[self.start] = generation

    def add_break(self, time: float, generation: int) -> None:
        """Notes a jump of the value (generation 0) or of a derivative at `time`, which delays will look back to."""
        if not self.solver.tracked or generation > self.solver.generations:
            return
        near = bisect.bisect_left(self.breaks, time - 10 * self.tiny)
        if near < len(self.breaks) and self.breaks[near] <= time + 10 * self.tiny:
            known = self.breaks[near]
            self.generation[known] = min(self.generation[known], generation)
            return
        bisect.insort(self.breaks, time)
        self.generation[time] = generation

    def looks_at(self, delay: int, time: float, state: np.ndarray) -> float:
        """The time that a delay looks back to."""
        inputs = self.inputs(np.array([time]), state[None, :], self.solver.lag_needs[delay])
        return time - float(np.ravel(self.solver.lags[delay](inputs)[0])[0])

    def _bounded(self, h: float) -> float:
        """`h`, shortened to where a delay reaches back to the next jump; sets between which jumps each looks."""
        time, state = self.past.time, self.past.state
        self.bounds = {}
        bounds, margin = {}, 20 * self.tiny
        for delay in self.solver.tracked:
            at = self.looks_at(delay, time, state)
            k = bisect.bisect_right(self.breaks, at + margin)
            low = self.breaks[k - 1] if k else -np.inf
            high = self.breaks[k] if k < len(self.breaks) else np.inf
            bounds[delay] = (low, high)
            if high < np.inf and self.solver.steady_lag[delay]:
                h = min(h, high - at)
        self.bounds = bounds
        return h

    def _reached(self, done: Step) -> float | None:
        """The length at which a delay that changes passes a jump within the step, if one does."""
        margin = 20 * self.tiny
        bounds = self.bounds
        shortest = None
        for delay, (low, high) in bounds.items():
            if self.solver.steady_lag[delay] or (low == -np.inf and high == np.inf):
                continue
            self.bounds = {}

            def outside(fraction: float, delay=delay, low=low, high=high) -> bool:
                time = done.start + fraction * done.h
                at = self.looks_at(delay, time, done.at(np.array([time]))[0])
                return not low - margin <= at <= high + margin

            wrong = next((f for f in _LOOKS if outside(f)), None)
            if wrong is not None:
                left, right = wrong - _LOOKS[0], wrong
                while (right - left) * done.h > 4 * self.tiny:
                    middle = (left + right) / 2
                    left, right = (left, middle) if outside(middle) else (middle, right)
                length = max(left * done.h, 16 * self.tiny)
                shortest = length if shortest is None else min(shortest, length)
        self.bounds = bounds
        return shortest if shortest is not None and shortest < done.h * (1 - 1e-9) else None

    def _pass_on(self, done: Step) -> None:
        """A delay that has reached a jump makes a smoother one of now."""
        state = done.values[-1]
        for delay in self.solver.tracked:
            at = self.looks_at(delay, done.end, state)
            k = bisect.bisect_left(self.breaks, at - 40 * self.tiny)
            if k < len(self.breaks) and self.breaks[k] <= at + 40 * self.tiny:
                self.add_break(done.end, self.generation[self.breaks[k]] + 1)

    # ---- conditions

    def _stop_at_conditions(self, done: Step) -> None:
        """Ends the step right after the first change of a condition within it."""
        if not self.solver.watched:
            return
        left, right = 0.0, None
        looks = _LOOKS
        while True:
            times = done.start + looks * done.h
            truths = self._truths(times, done.at(times))
            changed = np.flatnonzero((truths != self.truths).any(1))
            if right is None and len(changed) == 0:
                return
            if len(changed):
                k = int(changed[0])
                left, right = (left if k == 0 else float(looks[k - 1])), float(looks[k])
            else:
                left = float(looks[-1])
            assert right is not None
            if (right - left) * done.h <= self.tiny / 2 or not left < (left + right) / 2 < right:
                done.end = self._turned_by(done, done.start + right * done.h)
                return
            looks = left + (right - left) * np.linspace(0.0, 1.0, 18)[1:-1]

    def _turned_by(self, done: Step, end: float) -> float:
        """`end`, right after which a condition has turned, or the output time just before at which it has already."""
        end = max(end, float(np.nextafter(done.start, np.inf)))
        k = bisect.bisect_right(self.times, end) - 1
        asked = float(self.times[k]) if k >= 0 else end
        if done.start < asked < end <= asked + self.tiny:
            at = np.array([asked])
            if np.any(self._truths(at, done.at(at)) != self.truths):
                return asked
        return end

    def _failure(self, why: str, first: np.ndarray | None = None) -> IntegrationError:
        """What names the time, and the variable that is not finite or changes fastest."""
        state, names = self.past.state, self.solver.network.state_ids
        speed = state if first is None else np.abs(first) / (np.abs(state) + 1e-300)
        worst = names[int(np.argmax(np.where(np.isfinite(speed), speed, np.inf)))] if names else ""
        message = f"{why} at time {self.past.time:g} ('{worst}' changes fastest)"
        return IntegrationError(message, time=self.past.time, species=worst)
