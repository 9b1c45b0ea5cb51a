"""Time courses of a network with their derivatives: forwards along directions, or kept so as to be undone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.codegen.vectors import LANES
from mechanistic.errors import IntegrationError
from mechanistic.network import ReactionNetwork
from mechanistic.solvers.discrete_adjoint import driver
from mechanistic.solvers.discrete_adjoint.back import Round, pull_cells
from mechanistic.solvers.discrete_adjoint.jumps import Jump, Jumps, Moments
from mechanistic.solvers.discrete_adjoint.step import build
from mechanistic.solvers.roots import roots
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
                c = entry.before.cells
                lam[c, :n] += _read_at(weights, c, entry.outputs)
                # time itself is given: what depends on it is in the jump
                lam[c, :n], by = self.jumps.pulled(entry, lam[c, :n])
                lam[c, n:] = 0.0
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
        everyone = np.arange(len(cells.state))
        if self.jumps.needed and len(everyone):
            jump, self.triggers = self.jumps.begin(self._moments(everyone), triggers)
            self._accept(jump, np.tile([0, 1], (len(everyone), 1)))
        cells.course[:, 0] = cells.state
        self._first_steps(everyone)
        running = everyone if len(self.grid) > 1 and self.states else everyone[:0]
        if not self.states:
            cells.course[:] = cells.course[:, :1]
        while len(running):
            status = self._advance(running, self.code)
            self._check(running)
            due = running[(status == driver.DONE) & (cells.following[running] < len(self.grid))]
            self._turned(running[status == driver.SWITCHED])
            self._jumped(due, self.due[due])
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

    def _moments(self, which: np.ndarray) -> Moments:
        cells, first = self.cells, self.code.switched
        constants = cells.fixed[:, 1 : 1 + len(self.follower.equations.constants)]
        state, on = cells.state[which, : self.states], cells.fixed[which, first:]
        return Moments(which, cells.time[which], state, on, constants)

    def _turned(self, which: np.ndarray) -> None:
        """In each of these a watched switch turns within the next step: steps to where the first of them does."""
        if not len(which):
            return
        cells, m, sided = self.cells, self._moments(which), self.code.sided
        full, fixed, h = cells.state[which, : self.rows], cells.fixed[which], cells.h[which]

        def gaps(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
            """(row, switch) at the end of steps of these sizes."""
            after = driver.steps(self.code, full[rows], fixed[rows], sizes)[:, : self.states]
            own = m.of(rows)
            return self.jumps.gaps(Moments(own.cells, own.time + sizes, after, own.on, own.constants))

        everyone = np.arange(len(which))
        begin, end, held = self.jumps.gaps(m), gaps(everyone, h), m.on > 0
        row, k = np.nonzero((end[:, :sided] > 0) != held[:, :sided])
        none = np.setdiff1d(everyone, row)
        if len(none):
            c, time = int(which[none[0]]), float(m.time[none[0]])
            raise IntegrationError(f"cell {c} at time {time:g}: a condition turns back and forth", c, time)
        size = np.zeros(len(row))
        # what is on the other side already turns now
        ahead = np.flatnonzero(((begin[row, k] > 0) == held[row, k]) & (begin[row, k] != 0.0))
        r, s = row[ahead], k[ahead]
        size[ahead] = roots(
            lambda x, some: gaps(r[some], x)[np.arange(len(x)), s[some]], h[r], begin[r, s], end[r, s]
        )
        first = np.lexsort((k, size, row))
        first = first[np.unique(row[first], return_index=True)[1]]
        size, k = size[first], k[first]
        later = which[size > 0]
        cells.stop[later], cells.h[later] = cells.time[later] + size[size > 0], size[size > 0]
        later = later[cells.stop[later] > cells.time[later]]
        if len(later):
            self._advance(later, self.code._replace(sided=0))
            self._check(later)
        self._jumped(which, k)

    def _jumped(self, which: np.ndarray, k: np.ndarray) -> None:
        """Switch k turns in each of these, and so on as long as others turn at the same time."""
        cells = self.cells
        while len(which):
            m = self._moments(which)
            near = m.time - self.last[which] <= _NEAR * (self.grid[-1] - self.grid[0])
            self.idle[which], self.last[which] = np.where(near, self.idle[which] + 1, 0), m.time
            endless = np.flatnonzero(self.idle[which] > _MOST_NEAR)
            if len(endless):
                raise self._endless(int(which[endless[0]]), float(m.time[endless[0]]))
            jump, self.triggers[which] = self.jumps.turn(m, k, self.triggers[which])
            following, other = self.jumps.next_time(jump.after)
            # what is asked for now is read after all that turns at this time
            again, low = following <= m.time, cells.following[which]
            high = np.maximum(low, np.searchsorted(self.grid, m.time, side="right"))
            self._accept(jump, np.stack([low, np.where(again, low, high)], 1))
            self._first_steps(which[~again])
            which, k = which[again], other[again]

    def _accept(self, jump: Jump, outputs: np.ndarray) -> None:
        """Takes over what happened; outputs: (row, 2) first, beyond the last that are read after it."""
        cells, n, which = self.cells, self.states, jump.before.cells
        jump = replace(jump, outputs=outputs)
        if self.follower.transposed:
            self.tape.entries.append(jump)
        else:
            constants = len(self.follower.equations.constants)
            along = cells.fixed[which, 1 + constants : 1 + 2 * constants]
            tangents = cells.state[which, self.rows : self.rows + n]
            cells.state[which, self.rows : self.rows + n] = self.jumps.tangent(jump, tangents, along)
        cells.state[which, :n] = jump.after.state
        cells.fixed[which, self.code.switched :] = jump.after.on
        for c, (low, high) in zip(which, outputs):
            cells.course[c, low:high] = cells.state[c]
        cells.following[which] = np.maximum(cells.following[which], outputs[:, 1])
        cells.stop[which], self.due[which] = self.jumps.next_time(jump.after)

    # ---- helpers

    def _first_steps(self, which: np.ndarray) -> None:
        """A step in which no state changes by much of its size, or of a millionth of the largest."""
        cells, n = self.cells, self.states
        if not n or not len(which):
            return
        state, rate = cells.state[which, :n], np.abs(self.jumps.rates(self._moments(which)))
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

    def _check(self, which: np.ndarray) -> None:
        """Raises what failed in the first of these that did."""
        failed = which[self.cells.status[which] >= driver.TOO_MANY_STEPS]
        if len(failed):
            raise self._failed(int(failed[0]))

    def _failed(self, c: int) -> IntegrationError:
        cells, m = self.cells, self._moments(np.array([c]))
        time = float(m.time[0])
        if self.idle[c] > _FEW_NEAR:
            return self._endless(c, time)
        reason = _REASONS[int(cells.status[c])]
        rate = np.abs(self.jumps.rates(m)[0]) / (np.abs(m.state[0]) + 1e-300)
        name = self.follower.network.state_ids[int(np.argmax(np.where(np.isfinite(rate), rate, np.inf)))]
        message = f"cell {c} at time {time:g}: {reason} ('{name}' changes fastest)"
        return IntegrationError(message, c, time, name)

    def _endless(self, c: int, time: float) -> IntegrationError:
        return IntegrationError(f"cell {c}: conditions turn without end near time {time:g}", c, time)


def _read_at(weights: np.ndarray, cells: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(row, state_ids): what is asked of the outputs (row, 2) of these cells together."""
    found = np.zeros((len(cells), weights.shape[2]))
    for row in np.flatnonzero(outputs[:, 1] > outputs[:, 0]):
        low, high = outputs[row]
        found[row] = weights[cells[row], low:high].sum(0)
    return found
