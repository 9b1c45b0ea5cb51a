"""State, processes, couplings and the clock. Knows no biology, no file format, no torch."""
