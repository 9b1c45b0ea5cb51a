"""`cellweave train` and `predict`: the learned side's own functions, with errors as the command line prints them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.errors import Problem, ScenarioError, SimulationError

Say = Callable[[str], None]

#: kinds of training that are of this package, beside those of `neural`
KINDS = ("scenario", "hybrid")

_SECONDS_BETWEEN_LINES = 5.0


def trained(
    training: Path, output: Path | None = None, *, resume: bool = False, say: Say | None = None
) -> str:
    """Fit what a training file asks for; the model card as text, its first line the path of the weights.

    Args:
        output: where the weights go; the file's own `output` by default. The card lies beside them.
        resume: go on from an interrupted run's checkpoint.
        say: called with a line of progress every few seconds.

    Raises:
        ScenarioError: every fault of the training file, or of its data; nothing was written.
    """
    if output is not None:
        from neural.files import no_place_for_weights

        if (wrong := no_place_for_weights(output)) is not None:
            raise ScenarioError(f"--output {output}: {wrong}")
    with _as_scenario_errors():
        from neural.training_file import said_in

        said = said_in(training)
        if said.get("kind") == "scenario":
            from sim.learning.in_scenario import train_in_scenario

            weights = train_in_scenario(training, output, resume, _spoken(say))
        elif said.get("kind") == "hybrid":
            from sim.hybrid.train import train_hybrid

            weights = train_hybrid(training, output, _spoken(say))
        elif "simulated" in said:
            from sim.learning.simulated_tracks import train_on_simulated

            weights = train_on_simulated(training, output, resume, _spoken(say))
        else:
            from neural.training import train

            weights = train(training, output, resume, _spoken(say), elsewhere=KINDS)
    card = weights.with_suffix(".md")
    return f"{weights}\n\n{card.read_text(encoding='utf-8').rstrip()}"


def predicted(weights: Path, conditions: Path) -> str:
    """Predictions with 90 % intervals as CSV, a row for each condition and time.

    Raises:
        ScenarioError: the weights cannot be used, or every fault of the table.
    """
    with _as_scenario_errors():
        from neural.predict import predict_table

        return predict_table(weights, conditions).to_csv(index=False)


@contextmanager
def _as_scenario_errors() -> Iterator[None]:
    from neural.errors import TrainingError, WeightsError

    try:
        yield
    except (TrainingError, WeightsError) as error:
        raise ScenarioError(
            Problem(file, message, line, key) for file, line, key, message in error.problems
        ) from None
    except ArithmeticError as error:
        raise SimulationError(str(error)) from None


def _spoken(say: Say | None) -> Callable[[int, int, str], None] | None:
    """A progress callback that speaks at most every few seconds, and at the end."""
    if say is None:
        return None
    last = -_SECONDS_BETWEEN_LINES

    def progress(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES or done == total:
            last = now
            say(f"{done} of {total}: {text}")

    return progress
