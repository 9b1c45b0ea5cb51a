"""Time courses of a network with their derivatives: forwards along directions, or kept so as to be undone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.vectors import LANES
from mechanistic.errors import IntegrationError
from mechanistic.network import ReactionNetwork
from mechanistic.solvers import discrete_adjoint_driver as driver
from mechanistic.solvers.discrete_adjoint import build
from mechanistic.solvers.discrete_adjoint_back import Round, pull_cells
from mechanistic.solvers.discrete_adjoint_jumps import Jump, Jumps, Moment
from mechanistic.solvers.rosenbrock import DENSE, STAGES

_KEPT = 32  # steps that are taken again at once: what they keep should fit the processor's cache
_MOST = 1_000_000
# Where a state rests, its error says nothing of what a parameter does to it, which relaxes at every rate at once. When
# steps are to be undone no tangent is there to say it: then they begin at this share of the way to the next output and
# grow by a share that falls as the tolerance of a method of fifth order does, so each relaxation is followed.
_SHARE, _GROW, _GROW_MOST = 0.1, 4.0, 6.0
# Share of the course within which conditions may not turn more often in a row; how often when steps fail among them too
_NEAR, _MOST_NEAR, _FEW_NEAR = 1e-9, 200, 5
_REASONS = {
    driver.TOO_MANY_STEPS: f"more than {_MOST} steps",
    driver.STEP_TOO_SMALL: "the step became too small",
}


@dataclass
class Tape:
    """What is needed to go back: rounds of steps and jumps, in the order in which they were made.

    Attributes:
        triggers: (cell, event) whether each event's trigger held in the end.
    """

    entries: list[Round | Jump] = field(default_factory=list)
    triggers: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))


class Follower:
    """Integrates some cells of one network with derivatives.

    Args:
        transposed: whether it is to go back over a course, or carries tangents along.
    """

    def __init__(self, network: ReactionNetwork, transposed: bool):
        self.network = network
        self.equations = SwitchedSystem(network)
        self.jumps = Jumps(self.equations)
        self.transposed = transposed
        self.program = program = build(self.equations, transposed)
        self.states, self.rows = len(network.state_ids), program.rows
        self.columns = self.rows if transposed else 2 * self.rows
        offset, address = program.layout.offset, program.code.address
        names = ["y", "w", "K", "h", "p", "now", "error", "rtol", "atol"] + (
            ["lam", "kept", "asked", "pbar"] if transposed else []
        )
        places = [program.layout.size, program.tape * LANES, self.rows, *(offset[n] for n in names)]
        self._code = driver.Code(
            address("prepare"), address("step"), address("measure"), address("adjoint" if transposed else "tangent"),
            address("conditions"), np.array(places, dtype=np.int64), np.array(DENSE), self.equations.sided,
            (offset["on"] - offset["p"]) // LANES,
        )  # fmt: skip
        assert self._code.dense.shape[1] == STAGES

    # ---- forwards

    def run(
        self,
        state: np.ndarray,
        constants: np.ndarray,
        grid: np.ndarray,
        rtol: float,
        atol: np.ndarray,
        tangents: tuple[np.ndarray, np.ndarray] | None = None,
        triggers: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Tape]:
        """The course (cell, time, state_ids, 1 or 2): the state and, where it is carried along, its tangent.

        Args:
            state, constants: (cell, state_ids) at grid[0] and (cell, settable_ids).
            grid: [model time], rising.
            atol: (state_ids,) or (2, state_ids): of states, and of tangents.
            tangents: (cell, state_ids) and (cell, settable_ids) the direction, if not `transposed`.
            triggers: (cell, event) whether each event's trigger held just before, where the cells were already on
                their way; what the model says of it where None.

        Raises:
            IntegrationError: names cell and time.
        """
        cells, n = state.shape
        switches = len(self.equations.switches)
        fixed = np.zeros((cells, self._code.switched + switches))
        fixed[:, 0] = 1.0
        fixed[:, 1 : 1 + constants.shape[1]] = constants
        full = np.zeros((cells, self.columns))
        full[:, :n] = state
        if self.program.timed:
            full[:, n] = grid[0]
        level = np.full((self.columns // self.rows, self.rows), np.inf)
        level[:, :n] = atol
        if tangents is not None:
            full[:, self.rows : self.rows + n] = tangents[0]
            fixed[:, 1 + constants.shape[1] : 1 + 2 * constants.shape[1]] = tangents[1]
        run = _Run(self, full, fixed, grid, rtol, level.ravel())
        run.to_the_end(triggers)
        run.tape.triggers = run.triggers
        course = run.cells.course.reshape(cells, len(grid), -1, self.rows)[..., :n]
        return np.moveaxis(course, 2, 3), run.tape

    # ---- back

    def pull_back(self, tape: Tape, grid: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is asked of the states at grid[0] (cell, state_ids) and of the constants (cell, settable_ids).

        Args:
            grid: as the course was made.
            weights: (cell, time, state_ids) what is asked of the course.
        """
        cells, times, n = weights.shape
        asked = np.zeros((cells, times, self.rows))
        asked[..., :n] = weights
        lam = np.zeros((cells, self.rows))
        constants = np.zeros((cells, len(self.equations.constants)))
        for entry in reversed(tape.entries):
            if isinstance(entry, Jump):
                c, (low, high) = entry.cell, entry.outputs
                before, by = self.jumps.pulled(entry, lam[c, :n] + weights[c, low:high].sum(0))
                # time itself is given: what depends on it is in the jump
                lam[c, :n], lam[c, n:] = before, 0.0
                constants[c] += by
                continue
            order = np.argsort(-entry.count, kind="stable")
            order = order[entry.count[order] > 0]
            pull_cells(self._code, entry, grid, asked, lam, constants, order)
        if not self.jumps.needed:
            lam[:, :n] += weights[:, 0]
        return lam[:, :n], constants


class _Run:
    """One course of some cells on its way."""

    def __init__(self, follower: Follower, full, fixed, grid, rtol: float, atol: np.ndarray):
        self.follower, self.grid, self.rtol, self.atol = follower, grid, rtol, atol
        self.grow = 1.0 + _GROW * rtol ** (1.0 / 6.0) if follower.transposed else _GROW_MOST
        self.code, self.jumps, self.tape = follower._code, follower.jumps, Tape()
        self.states, self.rows = follower.states, follower.rows
        count, keep = len(full), _KEPT if follower.transposed else 0
        self.cells = driver.Cells(
            full, np.full(count, grid[0]), np.zeros(count), np.full(count, np.inf), fixed,
            np.ones(count, np.int64), np.empty((count, len(grid), full.shape[1])), np.zeros(count, np.int64),
            np.zeros(count, np.int64), np.zeros((count, keep)), np.zeros((count, keep), np.int64),
            np.zeros(count, np.int64),
        )  # fmt: skip
        events = len(follower.equations.events)
        self.triggers = np.zeros((count, events), dtype=bool)
        self.due = np.full(count, -1)
        self.idle, self.last = np.zeros(count, np.int64), np.full(count, -np.inf)

    def to_the_end(self, triggers: np.ndarray | None) -> None:
        cells = self.cells
        if self.jumps.needed:
            for c in range(len(cells.state)):
                self._begin(c, None if triggers is None else triggers[c])
        cells.course[:, 0] = cells.state
        everyone = np.arange(len(cells.state))
        self._first_steps(everyone)
        running = everyone if len(self.grid) > 1 and self.states else everyone[:0]
        if not self.states:
            cells.course[:] = cells.course[:, :1]
        while len(running):
            status = self._advance(running, self.code)
            for c in running[status >= driver.TOO_MANY_STEPS]:
                raise self._failed(int(c))
            turned = running[status == driver.SWITCHED]
            for c in turned:
                self._turned(int(c))
            for c in running[(status == driver.DONE) & (cells.following[running] < len(self.grid))]:
                self._jumped(int(c), int(self.due[c]))
            running = running[cells.following[running] < len(self.grid)]

    def _advance(self, which: np.ndarray, code: driver.Code) -> np.ndarray:
        """Some cells until they stop; their statuses."""
        cells = self.cells
        cells.count[which] = 0
        own = which if len(which) < len(cells.state) else slice(None)
        part = driver.Cells(*(a[own] for a in cells))
        state, time, following = part.state.copy(), part.time.copy(), part.following.copy()
        driver.record_cells(code, part, self.grid, self.rtol, self.atol, self.grow, _MOST)
        if own is which:
            for whole, some in zip(cells, part):
                whole[which] = some
        if self.follower.transposed:
            most = max(1, int(part.count.max()))
            self.tape.entries.append(
                Round(
                    which.copy(), state, time, following,
                    part.fixed.copy() if self.jumps.needed else part.fixed,
                    part.sizes[:, :most].copy(), part.marks[:, :most].copy(), part.count.copy(),
                )
            )  # fmt: skip
        return cells.status[which]

    # ---- where things turn

    def _moment(self, c: int) -> Moment:
        cells, switched = self.cells, self.code.switched
        constants = cells.fixed[c, 1 : 1 + len(self.follower.equations.constants)]
        return Moment(
            float(cells.time[c]), cells.state[c, : self.states].copy(), constants, cells.fixed[c, switched:].copy()
        )  # fmt: skip

    def _begin(self, c: int, triggers: np.ndarray | None) -> None:
        m = self._moment(c)
        jump, self.triggers[c] = self.jumps.begin(m.time, m.state, m.constants, c, 0, triggers)
        self._accept(c, jump, (0, 1))

    def _turned(self, c: int) -> None:
        """A watched switch turns within the next step: steps to where the first of them does."""
        cells, n = self.cells, self.states
        m, h = self._moment(c), float(cells.h[c])
        full = cells.state[c, : self.rows].copy()

        def gap(size: float, k: int) -> float:
            if size <= 0.0:
                return float(self.jumps.gaps(m)[k])
            new = driver.one_step(self.code, full, cells.fixed[c], size)
            return float(self.jumps.gaps(Moment(m.time + size, new[:n], m.constants, m.on))[k])

        found = []
        for k in range(self.code.sided):
            end = gap(h, k)
            if (end > 0) != (m.on[k] > 0):
                found.append((_root(lambda size, k=k: gap(size, k), h, m.on[k] > 0), k))
        if not found:
            raise IntegrationError(
                f"cell {c} at time {m.time:g}: a condition turns back and forth", c, m.time
            )
        size, k = min(found)
        if size > 0.0:
            cells.stop[c], cells.h[c] = m.time + size, size
            if cells.stop[c] > m.time:
                self._advance(np.array([c]), self.code._replace(sided=0))
                if cells.status[c] >= driver.TOO_MANY_STEPS:
                    raise self._failed(c)
        self._jumped(c, k)

    def _jumped(self, c: int, k: int) -> None:
        m = self._moment(c)
        near = m.time - self.last[c] <= _NEAR * (self.grid[-1] - self.grid[0])
        self.idle[c], self.last[c] = (self.idle[c] + 1 if near else 0), m.time
        if self.idle[c] > _MOST_NEAR:
            raise self._endless(c, m.time)
        jump, self.triggers[c] = self.jumps.turn(m, k, self.triggers[c], c)
        f = int(self.cells.following[c])
        beyond = f
        while beyond < len(self.grid) and self.grid[beyond] <= m.time:
            beyond += 1
        following, other = self.jumps.next_time(jump.after)
        if following <= m.time:
            # another switch turns at this time too: what is asked for now is read after it
            self._accept(c, jump, (f, f))
            self._jumped(c, other)
            return
        self._accept(c, jump, (f, beyond))
        self._first_steps(np.array([c]))

    def _accept(self, c: int, jump: Jump, outputs: tuple[int, int]) -> None:
        cells, n = self.cells, self.states
        jump = Jump(c, jump.turned, jump.before, jump.after, jump.fired, outputs)
        constants = len(self.follower.equations.constants)
        if self.follower.transposed:
            self.tape.entries.append(jump)
        else:
            along = cells.fixed[c, 1 + constants : 1 + 2 * constants]
            tangent = cells.state[c, self.rows : self.rows + n]
            cells.state[c, self.rows : self.rows + n] = self.jumps.tangent(jump, tangent, along)
        cells.state[c, :n] = jump.after.state
        cells.fixed[c, self.code.switched :] = jump.after.on
        low, high = outputs
        cells.course[c, low:high] = cells.state[c]
        cells.following[c] = max(cells.following[c], high)
        cells.stop[c], self.due[c] = self.jumps.next_time(jump.after)

    # ---- helpers

    def _first_steps(self, which: np.ndarray) -> None:
        """A step in which no state changes by much of its size, or of a millionth of the largest."""
        cells, n = self.cells, self.states
        if not n or not len(which):
            return
        count = len(self.follower.equations.constants)
        state = cells.state[which, :n]
        rows = cells.fixed[which]
        inputs = [cells.time[which], 1.0, *state.T, *rows[:, 1 : 1 + count].T]
        inputs += list(rows[:, self.code.switched :].T)
        rate = np.stack([np.broadcast_to(np.abs(r), len(which)) for r in self.jumps.all_rates(inputs)], 1)
        if not np.all(np.isfinite(rate)):
            row, i = np.argwhere(~np.isfinite(rate))[0]
            c, name = int(which[row]), self.follower.network.state_ids[i]
            message = f"cell {c}: the rate of '{name}' is not finite at time {cells.time[c]:g}"
            raise IntegrationError(message, c, float(cells.time[c]), name)
        size = np.abs(state)
        largest = size.max(1, keepdims=True)
        size = size + 1e-6 * np.where(largest > 0, largest, 1.0)
        with np.errstate(divide="ignore"):
            h = 1e-2 * (size / rate).min(1)
        rest = np.maximum(self.grid[-1] - cells.time[which], 1e-12)
        cells.h[which] = np.minimum(h, 1e-2 * rest)
        if self.follower.transposed:
            wait = self.grid[np.minimum(cells.following[which], len(self.grid) - 1)] - cells.time[which]
            cells.h[which] = np.minimum(cells.h[which], np.where(wait > 0, _SHARE * wait, np.inf))

    def _failed(self, c: int) -> IntegrationError:
        cells, m = self.cells, self._moment(c)
        if self.idle[c] > _FEW_NEAR:
            return self._endless(c, m.time)
        reason = _REASONS[int(cells.status[c])]
        rate = np.abs(self.jumps.rates(m)) / (np.abs(m.state) + 1e-300)
        name = self.follower.network.state_ids[int(np.argmax(np.where(np.isfinite(rate), rate, np.inf)))]
        message = f"cell {c} at time {m.time:g}: {reason} ('{name}' changes fastest)"
        return IntegrationError(message, c, m.time, name)

    def _endless(self, c: int, time: float) -> IntegrationError:
        return IntegrationError(f"cell {c}: conditions turn without end near time {time:g}", c, time)


def _root(gap, h: float, held: bool) -> float:
    """Where `gap` crosses 0 between 0 and h; 0 where it is on the other side of it already."""
    from scipy.optimize import brentq

    first = gap(0.0)
    if (first > 0) != held or first == 0.0:
        return 0.0
    return float(brentq(gap, 0.0, h, xtol=1e-15 * h, rtol=8.9e-16))  # pyright: ignore[reportArgumentType]
