"""The command line: one error is one line, and one exit code."""

from __future__ import annotations

import logging
import sys
from typing import Any, NoReturn

import typer

# each module adds its commands to the application when it is imported; --help lists them in this order
# isort: off
from sim.commands import scenarios  # noqa: F401
from sim.commands import runs  # noqa: F401
from sim.commands import sweeps  # noqa: F401
from sim.commands import models  # noqa: F401
from sim.commands import learned  # noqa: F401
from sim.commands import petab  # noqa: F401

# isort: on
from sim.commands.common import Debug, again, app, print_error, say
from sim.errors import CellweaveError, Interrupted, StoreError, escaped, printable
from sim.machine import interrupts

#: typer carries its own copy of click from 0.26 on, so the class is reached through typer
UsageError: Any = typer.BadParameter.__mro__[1]


@app.callback()
def _options(debug: Debug = False) -> None:
    """Accepted before the command here; `main` takes it from anywhere."""


def _fail(text: str, code: int) -> NoReturn:
    print(f"cellweave: error: {text}", file=sys.stderr)
    raise SystemExit(code)


class _Warnings(logging.Handler):
    """What is logged on the way, as lines like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        say(printable(f"warning: {record.getMessage()}"))


def main() -> None:
    """Run the command; every error becomes one line and an exit code."""
    debug = "--debug" in sys.argv[1:]
    sys.argv = [word for word in sys.argv if word != "--debug"]
    if not sys.argv[1:]:
        # asked for nothing, it tells what there is to ask for
        sys.argv.append("--help")
    log = logging.getLogger("cellweave")
    if not any(isinstance(handler, _Warnings) for handler in log.handlers):
        log.addHandler(_Warnings())
    interrupts.last_words(
        lambda: (
            "cellweave: stopped at once"
            + f", the last checkpoint is whole; go on with: {again()}" * interrupts.guarded()
        )
    )
    try:
        code = app(standalone_mode=False)
    except Interrupted as error:
        how = f"; go on with: {again()}" if error.kept else ""
        say(printable(f"{error}{how}"))
        raise SystemExit(error.exit_code) from None
    except CellweaveError as error:
        if debug:
            raise
        print_error(error, *sys.argv[1:])
        raise SystemExit(error.exit_code) from None
    except UsageError as error:
        known = sys.argv[1] if error.ctx is not None and error.ctx.parent is not None else ""
        _fail(
            f"{error.format_message()} ({' '.join(filter(None, ('cellweave', known)))} --help lists what there is)",
            2,
        )
    except typer.Abort:
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    except (OSError, MemoryError) as error:
        if debug:
            raise
        _fail(str(StoreError(f"{type(error).__name__}: {error}")), StoreError.exit_code)
    except Exception as error:
        if debug:
            raise
        what = escaped(f"{type(error).__name__}: {error}", 300)
        _fail(f"a fault of cellweave itself, please report it: {what} (--debug shows where)", 1)
    raise SystemExit(code if isinstance(code, int) else 0)
