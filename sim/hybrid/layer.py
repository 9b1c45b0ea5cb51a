"""The time course of a hybrid as a torch module: weights and parameters in, outputs out, gradients back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neural.sciml import SciMLNetwork
from sim.hybrid.joint import Starts

if TYPE_CHECKING:
    from sim.hybrid.system import Hybrid


class HybridLayer(torch.nn.Module):
    """The stiff solver as a layer, with the networks' weights and chosen parameters of the pathway to be learned.

    Attributes:
        weights: by name of a network inside the model and `layer.array`.
        values: the chosen parameters of the pathway, by id.
        networks: torch modules of the networks that act before the simulation.
        outputs: ids, the last dimension of what it gives.
    """

    def __init__(
        self,
        hybrid: Hybrid,
        times: Iterable[float],
        parameters: Sequence[str],
        outputs: Sequence[str] | None,
        options: Mapping[str, Any],
    ):
        super().__init__()
        self.weights = torch.nn.ModuleDict()
        self.networks = torch.nn.ModuleDict()
        self._starts: dict[str, list[str]] = {}
        self._order: dict[str, list[str]] = {}
        columns: list[str] = []
        for name, joint in hybrid.joints.items():
            given = hybrid.weights[name]
            if joint.before:
                network = SciMLNetwork(joint.description())
                network.set_weights(given)
                self.networks[name] = network
                self._starts[name] = [t.id for t in joint.targets if isinstance(t, Starts)]
                columns += self._starts[name]
                continue
            arrays = {
                f"{layer}:{array}": torch.nn.Parameter(torch.tensor(np.asarray(values, dtype=float)))
                for layer, group in given.items()
                for array, values in group.items()
            }
            self.weights[name] = torch.nn.ParameterDict(arrays)
            # torch's dictionary sorts its keys; the columns have the order of the layers
            self._order[name] = list(arrays)
            columns += hybrid.weight_ids(name)
        self._ids = tuple(parameters)
        start = hybrid.model.initial_state(1, parameters=None)
        found = hybrid.model.observe(start, self._ids)[0] if self._ids else np.empty(0)
        self.values = torch.nn.ParameterDict(
            {
                name: torch.nn.Parameter(torch.tensor(float(v), dtype=torch.float64))
                for name, v in zip(self._ids, found)
            }
        )
        self._joints = hybrid.joints
        self._scales = {
            name: torch.tensor(joint.output_scales or (1.0,) * len(joint.targets), dtype=torch.float64)
            for name, joint in hybrid.joints.items()
        }
        columns += self._ids
        names = hybrid.pathway.species_ids if outputs is None else tuple(outputs)
        if hybrid.wide:
            from sim.hybrid.wide_course import WideCourse

            self._course: torch.nn.Module = WideCourse(hybrid, list(times), columns, names, options)
        else:
            self._course = hybrid.model.differentiable(list(times), columns, names, **options)
        self.outputs = names

    def forward(
        self,
        inputs: Mapping[str, torch.Tensor] | None = None,
        given: Mapping[str, torch.Tensor] | None = None,
        cells: int = 1,
    ) -> torch.Tensor:
        """The outputs (cell, time, outputs), in double precision on the CPU.

        Args:
            inputs: for each network that acts before the simulation, by name, its array (cell, ...).
            given: values (cell,) for some of the chosen parameters instead of the learned ones.
            cells: how many, where nothing else tells.

        Raises:
            ModelError, IntegrationError: as `mechanistic.adjoint.Adjoint`.
        """
        inputs, given = dict(inputs or {}), dict(given or {})
        for values in (*inputs.values(), *given.values()):
            cells = max(cells, len(values))
        columns: list[torch.Tensor] = []
        for name, joint in self._joints.items():
            if joint.before:
                out = self.networks[name](inputs[name]).reshape(-1, len(self._starts[name]))
                if joint.positive:
                    out = torch.nn.functional.softplus(out)
                columns.append((out * self._scales[name]).expand(cells, -1))
            else:
                group = dict(self.weights[name].named_parameters())
                flat = torch.cat([group[key].reshape(-1) for key in self._order[name]])
                columns.append(flat.expand(cells, -1))
        for name in self._ids:
            own = given[name] if name in given else self.values[name]
            assert own is not None
            columns.append(own.reshape(-1, 1).expand(cells, 1))
        return self._course(torch.cat(columns, 1))
