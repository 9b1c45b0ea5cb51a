"""A time course of a network as a torch operation: values of parameters in, outputs out, gradients back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mechanistic.adjoint import Adjoint


class PathwayCourse(torch.nn.Module):
    """The stiff solver as a layer; its gradient is the discrete adjoint (`mechanistic.adjoint`).

    Attributes:
        parameters_: ids, the columns of what `forward` takes.
        outputs: ids, the last dimension of what it gives.
    """

    def __init__(
        self,
        adjoint: Adjoint,
        times: Sequence[float] | np.ndarray,
        parameters: Sequence[str],
        outputs: Sequence[str] | None,
        options: Mapping[str, Any],
    ):
        super().__init__()
        self.parameters_ = tuple(parameters)
        self.outputs = adjoint.network.species_ids if outputs is None else tuple(outputs)
        self._adjoint, self._times, self._options = adjoint, np.asarray(times, dtype=float), dict(options)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The outputs (cell, time, outputs), in double precision on the CPU.

        Args:
            values: (cell, parameters), or (parameters,) for one cell.

        Raises:
            ModelError, IntegrationError: as `mechanistic.adjoint.Adjoint`.
        """
        rows = values if values.ndim == 2 else values[None]
        if rows.ndim != 2 or rows.shape[1] != len(self.parameters_):
            shape = tuple(values.shape)
            raise ValueError(f"values must be (cell, {len(self.parameters_)}) (got {shape})")
        found = _Solve.apply(rows, self)
        assert isinstance(found, torch.Tensor)
        return found if values.ndim == 2 else found[0]

    def _run(self, values: np.ndarray):
        given = dict(zip(self.parameters_, values.T))
        return self._adjoint(
            self._times,
            self.parameters_,
            cells=len(values),
            values=given,
            outputs=self.outputs,
            **self._options,
        )


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, course: PathwayCourse) -> torch.Tensor:
        run = course._run(values.detach().to("cpu", torch.float64).numpy())
        ctx.run, ctx.like = run, values
        return torch.from_numpy(np.array(run.outputs))

    @staticmethod
    def backward(ctx: Any, *asked: Any) -> Any:
        gradient = ctx.run.gradient(asked[0].detach().to("cpu", torch.float64).numpy())
        return torch.from_numpy(gradient).to(ctx.like), None
