"""cellweave: hybrid mechanistic-neural simulation of cells in tissue."""
