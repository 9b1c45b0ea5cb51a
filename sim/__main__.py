"""The command `cellweave`. Signal handlers stand before anything slow is imported."""

import os

from sim.machine import interrupts, streams

streams.install()
interrupts.install()
# linear algebra of numpy and scipy on one thread unless told otherwise: its last digits hang on their number, and
# threads that wait for the next product keep the cores from kernels
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Entry point of the command."""
    from sim.machine.loading import loading

    with loading():
        from sim.cli import main as command
    command()


if __name__ == "__main__":
    main()
