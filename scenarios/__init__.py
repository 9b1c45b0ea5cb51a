"""Scenarios that ship with cellweave, with the models and weights they use."""
