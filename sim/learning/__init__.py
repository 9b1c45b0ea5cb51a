"""What training files ask for: fits of the networks alone (`neural`), of hybrids, and inside whole scenarios."""

from sim.learning.commands import predicted, trained

__all__ = ["predicted", "trained"]
