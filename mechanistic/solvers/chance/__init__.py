"""Reactions by chance: one firing after the other, or many in a leap."""
