"""An explanation into a store, its finished runs kept on the way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.errors import Interrupted, ScenarioError
from sim.interpret.explain import explain
from sim.interpret.journal import Journal
from sim.interpret.show import require_free, write
from sim.machine import interrupts
from sim.progress import Progress, Silent
from sim.store.lock import Lock

if TYPE_CHECKING:
    import xarray as xr

    from sim.scenario import Scenario


def explain_into(
    output: Path | None,
    scenario: Scenario,
    outcome: str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> xr.DataTree:
    """`explain`, written to the store `output` where one is named.

    Args:
        resume: take the runs of an explanation of the same that was stopped.
        options: of `sim.interpret.explain.explain`.

    Raises:
        ScenarioError: also where the output exists, or has runs and `resume` is not asked.
        StoreError: disk or lock.
        Interrupted: by a signal; says how many runs are kept.
    """
    progress = progress or Silent()
    if output is None:
        if resume:
            raise ScenarioError("--resume: name the output with -o")
        try:
            return explain(scenario, outcome, progress=progress, **options)
        finally:
            progress.done()
    require_free(output)
    if not output.absolute().parent.is_dir():
        raise ScenarioError(f"{output}: {output.absolute().parent} is not a folder")
    lock = Lock(output)
    journal, whole = None, False
    try:
        if resume and (seed := Journal.seed(output)) is not None:
            scenario = scenario.begun_with(seed)
        journal = Journal(output, _identity(scenario, outcome), resume)
        if len(journal):
            progress.phase(f"{len(journal)} runs were finished before")
        found = explain(scenario, outcome, progress=progress, journal=journal, **options)
        write(found, output)
        whole = True
        return found
    except Interrupted as stopped:
        assert journal is not None
        text = f"stopped with {len(journal)} runs finished; they are kept"
        raise Interrupted(stopped.exit_code - 128, text, kept=len(journal) > 0) from None
    finally:
        interrupts.guard(False)
        progress.done()
        if journal is not None:
            journal.close(remove=whole or not len(journal))
        lock.release()


def _identity(scenario: Scenario, outcome: str) -> dict[str, str]:
    """What runs must share to be taken for those of this question."""
    from sim.build import plan
    from sim.version import made_by

    hashes = {f"sha256 of {name}": value for name, value in plan(scenario).hashes.items()}
    return {
        "seed": str(scenario.seed),
        "outcome": " ".join(outcome.split()),
        "scenario": scenario.sha256,
        **made_by(),
        **hashes,
    }
