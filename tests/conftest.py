"""One thread for every test, the shared reference data where they are, and the command line."""

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# before numpy or torch are loaded by a test
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def one_thread():
    """Kernels and networks on one thread, whatever a test before has set."""
    from mechanistic.threads import set_threads

    set_threads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared reference data; tests that need it are skipped where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared reference data at {SHARED}, which are not here")
    return SHARED


@dataclass(frozen=True)
class Command:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that are errors."""
        return [line for line in self.err.splitlines() if line.startswith("cellweave: error: ")]


@pytest.fixture
def cellweave(monkeypatch):
    """`cellweave("run", file, …)` runs the command line here; what a process is, `cellweave_process` shows."""

    def call(*arguments) -> Command:
        from sim.cli import main

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            monkeypatch.setattr(sys, "argv", ["cellweave", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
        assert "Traceback" not in err.getvalue(), err.getvalue()
        return Command(ended.value.code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def cellweave_process():
    """`cellweave`, in a process of its own that is waited for."""

    def call(*arguments) -> Command:
        done = subprocess.run(
            [sys.executable, "-m", "sim", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Command(done.returncode, done.stdout, done.stderr)

    return call
