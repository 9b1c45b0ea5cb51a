"""Sweeps: one scenario run over every combination of some of its values, as one dataset."""
