"""The command `cellweave`. Signal handlers stand before anything slow is imported."""

from sim import interrupts

interrupts.install()


def main() -> None:
    """Entry point of the command."""
    from sim.loading import loading

    with loading():
        from sim.cli import main as command
    command()


if __name__ == "__main__":
    main()
