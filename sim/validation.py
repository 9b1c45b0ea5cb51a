"""One door for every kind of file that a user may bring."""

from __future__ import annotations

from pathlib import Path

from sim.errors import Problem, ScenarioError, escaped
from sim.forms import key_of

_MODELS = {".xml", ".sbml", ".ant", ".txt", ".gz"}
_EXPERIMENTS = {".sedml", ".sedx", ".omex"}


def validated(file: Path, *, allow_outside: bool = False) -> list[str]:
    """Check `file`; what to tell about a good one (conversions, choices).

    Raises:
        CellweaveError: with every problem found.
    """
    if file.suffix.lower() in _MODELS:
        return _model(file)
    if file.suffix.lower() in _EXPERIMENTS:
        from sim.one_model.experiments import notes

        return notes(file)
    form, _ = key_of(file)
    if form == "training":
        return _training(file)
    if form == "sweep":
        return _sweep(file, allow_outside)
    if form == "format_version":
        from sim.petab.check import checked

        return checked(file)
    from sim.build import plan
    from sim.scenario import Scenario

    return [f"{file}: {note}" for note in plan(Scenario.load(file, allow_outside=allow_outside)).notes]


def _model(file: Path) -> list[str]:
    from mechanistic.errors import ModelError
    from mechanistic.sbml import read_network

    try:
        read_network(file)
    except ModelError as error:
        raise ScenarioError(Problem(str(file), p.message, p.line, p.key) for p in error.problems) from None
    return []


def _sweep(file: Path, allow_outside: bool) -> list[str]:
    from sim.sweeping.form import load_sweep

    found = load_sweep(file, allow_outside=allow_outside)
    return [f"{file}: {len(found.members())} runs"]


def _training(file: Path) -> list[str]:
    from neural.errors import TrainingError
    from neural.files import is_there
    from neural.training import load_training
    from neural.training_file import said_in
    from sim.hybrid.train_file import load_hybrid_training
    from sim.learning.commands import KINDS
    from sim.learning.scenario_file import load_scenario_training

    kinds = dict(zip(KINDS, (load_scenario_training, load_hybrid_training), strict=True))
    kind = said_in(file).get("kind")
    try:
        if isinstance(kind, str) and kind in kinds:
            job = kinds[kind](file, need_data=False)
        else:
            job = load_training(file, need_data=False, elsewhere=KINDS)
    except TrainingError as error:
        raise ScenarioError(Problem(f, m, line, key) for f, line, key, m in error.problems) from None
    if job.data is not None and not is_there(job.data):
        return [f"{file}: the measurements are not here yet ({escaped(job.data, 200)})"]
    return []
