"""Integrators for many cells at once."""
