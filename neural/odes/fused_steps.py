"""One block of cells through the Runge-Kutta stages of an MLP field, forward and reverse, in buffers made once.

A block's activations stay in the processor's cache through all stages of a step. On a processor tanh is NumPy's,
whose vector code is several times as fast as torch's for single precision.
"""

from __future__ import annotations

import torch

from neural.odes import tableau

_tanh_gradient = torch.ops.aten.tanh_backward.grad_input


class Stages:
    """Buffers and arithmetic for `cells` cells of one field.

    Attributes:
        z: (1 + STAGES, n, d): the state at the start of the step, then the stages' derivatives.
        new: (n, d) the state at the end of the step.
        error: (n, d) estimate of the step's error.

    Args:
        parts: of `MLPField.parts`, without gradient.
        reverse: also make the buffers of `pull_back`.
    """

    def __init__(self, parts: list[torch.Tensor], cells: int, reverse: bool = False):
        self.w_y, self.w_u, self.w_t, self.b = parts[:4]
        self.rest = list(zip(parts[4::2], parts[5::2], strict=True))
        self.cells = cells
        self.timed = self.w_t.shape[1] > 0
        d, like = self.w_y.shape[1], {"dtype": self.w_y.dtype, "device": self.w_y.device}
        self.on_cpu = self.w_y.device.type == "cpu"
        self.z = torch.empty(1 + tableau.STAGES, cells, d, **like)
        self.flat = self.z.view(1 + tableau.STAGES, -1)
        self.new, self.error = torch.empty(cells, d, **like), torch.empty(cells, d, **like)
        widths = [self.w_y.shape[0]] + [w.shape[0] for w, _ in self.rest[:-1]]
        copies = tableau.STAGES - 1 if reverse else 1
        self.hidden = [torch.empty(copies, cells, w, **like) for w in widths]
        self.state = torch.empty(copies, cells, d, **like)
        self._slots = [self._slot(k) for k in range(copies)]
        self._first_t = self.w_y.t()
        self._rest_t = [(w.t(), b) for w, b in self.rest]
        self._base = self.b
        # rows of weights over (state, stages): stages 2 to 7, then the error
        rows = torch.zeros(tableau.STAGES, 1 + tableau.STAGES, **like)
        rows[: tableau.STAGES - 1, 1:] = torch.tensor(tableau.A[1:], **like)
        rows[-1, 1:] = torch.tensor(tableau.ERROR, **like)
        self._unit_rows = rows[:, 1:].clone()
        rows[: tableau.STAGES - 1, 0] = 1.0
        self._scaled = rows[:, 1:]
        self._rows = [(rows[i : i + 1, : i + 2], self.flat[: i + 2]) for i in range(tableau.STAGES - 1)]
        self._error_row = rows[-1:]
        self._derivative = [self.z[1 + i] for i in range(tableau.STAGES)]
        self._error_flat = self.error.view(1, -1)
        if reverse:
            self.d_hidden = [torch.empty(copies, cells, w, **like) for w in widths]
            self.g = torch.zeros(1 + tableau.STAGES, cells, d, **like)
            self.g_flat = self.g.view(1 + tableau.STAGES, -1)
            self.g_state = torch.zeros(copies, cells, d, **like)
            self.g_state_flat = self.g_state.view(copies, -1)
            self._ones = torch.ones(copies * cells, **like)

    def _slot(self, k: int) -> tuple:
        """Buffers of one evaluation: state, its flat view, hidden layers with their NumPy faces."""
        hidden = [(h[k], h[k].numpy() if self.on_cpu else None) for h in self.hidden]
        return self.state[k], self.state[k].view(1, -1), hidden

    def hold(self, controls: torch.Tensor | None) -> None:
        """Controls (n, c) of the steps to come."""
        self._base = self.b if controls is None else torch.addmm(self.b, controls, self.w_u.t())

    def derivative(self, y: torch.Tensor, t: float, out: torch.Tensor, slot: int = 0) -> torch.Tensor:
        """f(t, y) into `out` (n, d); hidden activations stay in the slot's buffers."""
        base = self._base + t * self.w_t[:, 0] if self.timed else self._base
        hidden = self._slots[slot][2]
        h, face = hidden[0]
        torch.addmm(base, y, self._first_t, out=h)
        _tanh(h, face)
        for (w, b), (into, its_face) in zip(self._rest_t[:-1], hidden[1:], strict=True):
            torch.addmm(b, h, w, out=into)
            _tanh(into, its_face)
            h = into
        w, b = self._rest_t[-1]
        return torch.addmm(b, h, w, out=out)

    def start(self, y: torch.Tensor, t: float) -> None:
        """A first step from y (n, d): evaluates its first stage."""
        self.z[0].copy_(y)
        self.derivative(self.z[0], t, self._derivative[0])

    def step(self, t: float, h: float, keep: bool = False) -> None:
        """Stages 2 to 7 from `z[0]` and `z[1]`: fills `z`, `new` and `error`.

        `keep` leaves every stage's activations in its own slot, for `pull_back`.
        """
        torch.mul(self._unit_rows, h, out=self._scaled)
        last = tableau.STAGES - 2
        for i, (row, known) in enumerate(self._rows):
            slot = i if keep else 0
            y, flat, _ = self._slots[slot]
            torch.mm(row, known, out=flat)
            if i == last:
                self.new.copy_(y)
            self.derivative(y, t + tableau.NODES[i + 1] * h, self._derivative[i + 1], slot)
        torch.mm(self._error_row, self.flat, out=self._error_flat)

    def accept(self) -> None:
        """The end of the step becomes the start of the next."""
        self.z[0].copy_(self.new)
        self.z[1].copy_(self.z[-1])

    # ---- reverse

    def pull_back(self, t: float, h: float, g_new: torch.Tensor, sums: Sums) -> torch.Tensor:
        """Reverse of a step made with `keep`: gradient of the state at its start (n, d).

        Args:
            g_new: (n, d) gradient of the new state. `self.g` holds on entry the gradients of dense output: g[0] of
                the start, g[1 + i] of stage i; the last also that of the next step's first stage. On return
                g[1] is the gradient of the first stage.
            sums: where the gradients of the weights are added.
        """
        g, g_flat, states = self.g, self.g_flat, self.g_state
        for i in range(tableau.STAGES - 2, -1, -1):
            self._input_gradient(i, g[i + 2], states[i])
            if i == tableau.STAGES - 2:
                states[i].add_(g_new)
            # the stage's state is z[0] + h sum_j a_ij k_j
            row = self._scaled[i, : i + 1]
            torch.addmm(g_flat[1 : i + 2], row[:, None], self.g_state_flat[i : i + 1], out=g_flat[1 : i + 2])
        sums.add(self, t, h)
        return g[0] + states.sum(0)

    def pull_back_start(self, t: float, g_first: torch.Tensor, sums: Sums) -> torch.Tensor:
        """Reverse of `start`, after `derivative(y, t, …)` in slot 0: gradient of y (n, d)."""
        self._input_gradient(0, g_first, self.g_state[0])
        sums.add_one(self, t, g_first)
        return self.g_state[0].clone()

    def _input_gradient(self, slot: int, g: torch.Tensor, out: torch.Tensor) -> None:
        """Gradient of a stage's state from that of its derivative; those of hidden layers stay in `d_hidden`."""
        for layer in range(len(self.hidden) - 1, -1, -1):
            into = self.d_hidden[layer][slot]
            torch.mm(g, self.rest[layer][0], out=into)
            _tanh_gradient(into, self.hidden[layer][slot], grad_input=into)
            g = into
        torch.mm(g, self.w_y, out=out)


class Sums:
    """Gradients of the weights, summed over stages, steps and blocks.

    Attributes:
        parts: in the order of `MLPField.parts`.
        held: (n, w) gradient of what the held controls add to the first layer; the caller takes and clears it.
    """

    def __init__(self, parts: list[torch.Tensor]):
        self.parts = [torch.zeros_like(p, memory_format=torch.contiguous_format) for p in parts]
        self.held: torch.Tensor | None = None

    def add(self, stages: Stages, t: float, h: float) -> None:
        """The stages 2 to 7 of one step: one product for each layer."""
        self._layers(stages, stages.state, stages.g[2:], stages._ones)
        first = stages.d_hidden[0]
        if stages.timed:
            for i in range(len(first)):
                self.parts[2][:, 0].add_(first[i].sum(0), alpha=t + float(tableau.NODES[i + 1]) * h)
        if self.held is not None:
            self.held += first.sum(0)

    def add_one(self, stages: Stages, t: float, g: torch.Tensor) -> None:
        """One evaluation in slot 0 at the state `z[0]`, with the gradient g (n, d) of its derivative."""
        self._layers(stages, stages.z[:1], g[None], stages._ones[: len(g)], 1)
        first = stages.d_hidden[0][0]
        if stages.timed:
            self.parts[2][:, 0].add_(first.sum(0), alpha=t)
        if self.held is not None:
            self.held += first

    def _layers(
        self,
        stages: Stages,
        states: torch.Tensor,
        g: torch.Tensor,
        ones: torch.Tensor,
        count: int | None = None,
    ) -> None:
        inputs = [states, *(h[:count] for h in stages.hidden)]
        gradients = [*(h[:count] for h in stages.d_hidden), g]
        places = [(0, 3), *((4 + 2 * k, 5 + 2 * k) for k in range(len(stages.rest)))]
        for x, dz, (w, b) in zip(inputs, gradients, places, strict=True):
            dz = dz.reshape(-1, dz.shape[-1])
            self.parts[w].addmm_(dz.t(), x.reshape(-1, x.shape[-1]))
            self.parts[b].addmv_(dz.t(), ones)


def _tanh(h: torch.Tensor, face) -> None:
    if face is None:
        torch.tanh(h, out=h)
    else:
        import numpy as np

        np.tanh(face, out=face)
