"""Metabolic control analysis: control coefficients and elasticities at the steady state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.moieties import conserved, stoichiometry
from mechanistic.network import ReactionNetwork
from mechanistic.steady_state import inputs_at, rests_of

if TYPE_CHECKING:
    import xarray


def control_coefficients(
    network: ReactionNetwork,
    parameters: Mapping[str, Any] | None = None,
    cells: int = 1,
    *,
    initial: Mapping[str, Any] | None = None,
    method: str = "auto",
) -> xarray.Dataset:
    """How much each reaction controls each flux and each concentration at the steady state.

    With N = L N_r the stoichiometry matrix and e = dv/ds the elasticities (exact, symbolic), the concentration
    control coefficients are -L (N_r e L)^-1 N_r and those of the fluxes 1 + e times them (Reder, J. theor. Biol.
    135, 1988).

    Args:
        parameters, cells, initial, method: as `steady_state` takes them. A steady state need not be stable.

    Returns:
        `flux_control` (cell, flux, reaction), `concentration_control` (cell, species, reaction) and `elasticity`
        (cell, reaction, species) are scaled (logarithmic, without unit; not a number where the flux or the
        concentration is 0); `unscaled_<name>` are the plain derivatives, of extents per time and of
        concentrations. `flux_value` (cell, flux), `concentration_value` (cell, species) and `stable` (cell) tell
        where. Species are those that reactions change.

    Raises:
        ModelError: the model has events, rate rules or compartments that change, or no reaction that changes a
            species; a rate depends on time.
        IntegrationError: no steady state was found, or it is not isolated.
    """
    _refuse(network)
    tangent, constants, rests, _ = rests_of(network, {**(parameters or {}), **(initial or {})}, cells, method)
    species, reactions = network.state_ids, network.reaction_ids
    evaluated = tangent.derivatives([*reactions, *species, *(network[s].compartment for s in species)])
    found: dict[str, list[np.ndarray]] = {}
    for cell, (rest, fixed) in enumerate(zip(rests, constants)):
        values, slopes = evaluated(inputs_at(rest.state, fixed))
        fluxes, levels, sizes = np.split(values, [len(reactions), len(reactions) + len(species)])
        matrix = stoichiometry(network, fixed)
        moieties = conserved(network, matrix)
        by_amount, inner = slopes[: len(reactions)], matrix[moieties.independent]
        try:
            response = np.linalg.solve(inner @ by_amount @ moieties.link, inner)
        except np.linalg.LinAlgError:
            message = f"cell {cell}: the steady state is not isolated: its Jacobian is singular"
            raise IntegrationError(message, cell) from None
        amounts = -moieties.link @ response
        parts = {
            "unscaled_flux_control": np.eye(len(reactions)) + by_amount @ amounts,
            "unscaled_concentration_control": amounts / sizes[:, None],
            "unscaled_elasticity": by_amount * sizes,
            "flux_value": fluxes,
            "concentration_value": levels,
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = {
                "flux_control": _scaled(parts["unscaled_flux_control"], fluxes, fluxes),
                "concentration_control": _scaled(parts["unscaled_concentration_control"], levels, fluxes),
                "elasticity": _scaled(parts["unscaled_elasticity"], fluxes, levels),
            }
        for name, part in {**scaled, **parts}.items():
            found.setdefault(name, []).append(part)
    return _dataset(network, {name: np.stack(parts) for name, parts in found.items()}, rests)


def _scaled(slopes: np.ndarray, of: np.ndarray, by: np.ndarray) -> np.ndarray:
    """d ln(of) / d ln(by)."""
    scaled = slopes * by / of[:, None]
    scaled[of == 0] = np.nan
    return scaled


def _refuse(network: ReactionNetwork) -> None:
    what = "control coefficients are those of reactions at constant size"
    problems = [
        ModelProblem(f"{what}: '{name}' has a rate rule", rule.line, name)
        for name, rule in network.rate_rules.items()
    ]
    problems += [
        ModelProblem(f"{what}: a rule sets the size of '{name}'", network.line_of(name), name)
        for name in network.compartment_ids
        if name in network.assignment_rules
    ]
    if not problems and not (network.reactions and network.state_ids):
        problems = [ModelProblem("no reaction changes a species: there is nothing to control")]
    if problems:
        raise ModelError(network.file, problems)


def _dataset(network: ReactionNetwork, found: dict[str, np.ndarray], rests: list) -> xarray.Dataset:
    import xarray

    dims = {
        "flux_control": ("cell", "flux", "reaction"),
        "concentration_control": ("cell", "species", "reaction"),
        "elasticity": ("cell", "reaction", "species"),
        "flux_value": ("cell", "flux"),
        "concentration_value": ("cell", "species"),
    }
    variables: dict[str, Any] = {}
    for name, data in found.items():
        plain = name.removeprefix("unscaled_")
        scaled = plain == name and not name.endswith("_value")
        units = "1" if scaled else "as the model counts"
        variables[name] = (dims[plain], data, {"units": units, "long_name": name.replace("_", " ")})
    variables["stable"] = ("cell", [r.stable for r in rests], {"units": "1", "long_name": "is it stable"})
    coordinates = {
        "cell": np.arange(len(rests)),
        "flux": list(network.reaction_ids),
        "reaction": list(network.reaction_ids),
        "species": list(network.state_ids),
    }
    return xarray.Dataset(variables, coordinates, {"model": network.id})
