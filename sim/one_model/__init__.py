"""What `simulate` does with a file: an experiment, a flux balance or a time course."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sim import tables
from sim.one_model.time_course import Request, time_course, write


def simulated(request: Request, output: Path | None, say: Callable[[str], None]) -> None:
    """Run what the file asks for, and write its results.

    A SED-ML file is an experiment, and so is an archive that holds one unless the request has an end: then the
    archive's model has a time course. A model without rate laws has a flux balance, and `say` tells so.

    Raises:
        ScenarioError: every fault of the file, or of the options; nothing has been run.
        SimulationError: it failed numerically.
    """
    from mechanistic.sedml import is_experiment

    archive = request.model.suffix.lower() == ".omex"
    if is_experiment(request.model) and not (archive and request.end is not None):
        from sim.one_model.experiments import run_file

        run_file(request, output, say)
        return
    tables.check_output(output)
    from sim.one_model.files import loaded

    model = loaded(request.model)
    fluxes_alone = model.network.flux_balance is not None and not model.network.has_rate_laws
    if request.method == "auto" and fluxes_alone:
        say(
            f"{request.model.name} has no rate laws, but an objective: this is its flux balance (--method fba)"
        )
    if request.method == "fba" or (request.method == "auto" and fluxes_alone):
        from sim.one_model.flux_balance import balance
        from sim.one_model.flux_balance import write as write_fluxes

        write_fluxes(balance(request, model), request, output)
        return
    write(time_course(request, model), request, output)
