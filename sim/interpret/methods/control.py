"""What controls a pathway: response coefficients along its time course, control coefficients where it rests.

The pathway is taken by itself, with the inputs that the tissue gave its cells at the outcome's time: what its
parameters do within it is a direct effect, without the way round through the tissue. Response coefficients
R(t) = d ln S(t) / d ln p come from the exact gradient of the time course (discrete adjoint); at the steady state
the control coefficients of all reactions and the elasticities are kept, too, where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.controller import SAME_TIME
from sim.errors import ScenarioError
from sim.interpret.effects import Row, interval, judged
from sim.interpret.question import Answer, Question
from sim.processes.pathway import PathwayProcess

if TYPE_CHECKING:
    import xarray as xr

    from sim.simulation import Simulation

#: points of the time course, parameters of a pathway
_TIMES, _MOST_PARAMETERS = 9, 200


class Control:
    """Response and control coefficients of the pathways behind an outcome."""

    def __init__(self, question: Question, method: str = "control"):
        if not question.plan.pathways:
            raise ScenarioError("--method control: the scenario has no pathways")
        self.question = question
        self.inputs: list[dict[str, dict[str, float]]] = []
        question.watch(self)

    # ---- watching

    def begin(self, simulation: Simulation) -> None:
        self.inputs.append({})

    def look(self, simulation: Simulation) -> None:
        if simulation.state.time < self.question.outcome.stop - SAME_TIME:
            return
        for p in simulation.plan.pathways:
            rows = p.members(simulation.state) & (simulation.signals["cell.living"] > 0)
            values = {
                name: simulation.signals[f"{p.name}.{name}"][rows]
                for name in p.active
                if name not in p.network.assignment_rules
            }
            self.inputs[-1][p.name] = {
                n: float(np.nanmean(v)) for n, v in values.items() if v.size and not np.isnan(v).all()
            }

    # ---- answering

    def answer(self) -> Answer:
        q = self.question
        _ = q.intact
        rows: list[Row] = []
        variables: dict[str, xr.Variable] = {}
        coords: dict = {"seed": np.array(q.seeds, np.uint64)}
        notes = []
        for p in q.simulation.plan.pathways:
            for output in self._outputs(p):
                names, times, found = self._responses(p, output)
                label = f"{p.name}.{output}"
                variables[f"response of {label}"] = (  # type: ignore[assignment]
                    ("seed", "time", f"parameter of {p.settings.name}"),
                    found,
                    {"units": "1", "long_name": f"d ln({label}) / d ln(parameter)"},
                )
                coords[f"parameter of {p.settings.name}"] = np.array([f"{p.name}.{n}" for n in names], object)
                coords["time"] = ("time", times, {"units": "min", "long_name": "time"})
                rows += [self._row(f"{p.name}.{n}", label, found[:, -1, k]) for k, n in enumerate(names)]
            notes += self._at_rest(p, variables, coords)
        import xarray as xr

        return Answer(rows, xr.Dataset(variables, coords, {"kind": "direct", "method": "control"}), notes)

    # ---- parts

    def _outputs(self, p: PathwayProcess) -> list[str]:
        """What of the pathway the outcome is about: its own quantity, or what couplings take from the pathway."""
        prefix = f"{p.name}."
        named = [self.question.outcome.quantity, *(c.source for c in self.question.plan.couplings)]
        found = [n.removeprefix(prefix) for n in named if n.startswith(prefix)]
        known = set(p.network.species_ids) | set(p.network.parameter_ids) | set(p.network.reaction_ids)
        own = [n for n in found[:1] if self.question.outcome.quantity == prefix + n and n in known]
        return own or list(dict.fromkeys(n for n in found if n in known and n not in p.network.settable_ids))

    def _responses(self, p: PathwayProcess, output: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Parameters, times [min] and d ln(output)/d ln(parameter) (seed, time, parameter)."""
        import torch

        names = [n for n in p.network.settable_ids if n in p.network.parameter_ids][:_MOST_PARAMETERS]
        stop = self.question.outcome.stop / p.settings.minutes_per_unit
        times = np.linspace(0.0, stop, _TIMES)
        nominal = p.model.observe(p.model.initial_state(1, parameters=dict(p.settings.set)), names)[0]
        course = p.model.differentiable(times, names, outputs=[output])
        found = []
        for inputs in self.inputs:
            values = {**dict(zip(names, nominal)), **inputs.get(p.name, {})}
            given = torch.tensor([values[n] for n in names], dtype=torch.float64, requires_grad=True)
            result = course(given)[:, 0]
            slopes = [torch.autograd.grad(result[t], given, retain_graph=True)[0] for t in range(_TIMES)]
            with np.errstate(divide="ignore", invalid="ignore"):
                scaled = (
                    torch.stack(slopes).numpy() * given.detach().numpy() / result.detach().numpy()[:, None]
                )
            found.append(np.where(np.isfinite(scaled), scaled, 0.0))
        return names, times * p.settings.minutes_per_unit, np.array(found)

    def _row(self, name: str, on: str, values: np.ndarray) -> Row:
        e = interval(values)
        told = judged(e, np.where(np.abs(values) < 1e-9, 0.0, values))
        return self.question.row("control", name, e, told, on=on, kind="direct", unit="1", relative=e.mean)

    def _at_rest(self, p: PathwayProcess, variables: dict, coords: dict) -> list[str]:
        """Keeps control coefficients and elasticities at the steady state; says why where there are none."""
        from mechanistic.errors import IntegrationError, ModelError

        given = {**dict(p.settings.set), **self.inputs[0].get(p.name, {})}
        try:
            found = p.model.control_coefficients(parameters=given)
        except (IntegrationError, ModelError) as error:
            return [f"{p.name} has no control coefficients: {str(error).splitlines()[0]}."]
        for name in ("flux_control", "concentration_control", "elasticity"):
            part = found[name].isel(cell=0)
            dims = tuple(f"{d} of {p.settings.name}" for d in part.dims)
            variables[f"{name} of {p.name}"] = (dims, part.values, dict(part.attrs))
            coords |= {d: part[old].values for d, old in zip(dims, part.dims)}
        return []
