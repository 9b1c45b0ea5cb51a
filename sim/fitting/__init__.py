"""Fitting models to measurements: the objective with its gradient, optimisation, identifiability.

Knows no file format; `sim.petab` reads problems into it.
"""
