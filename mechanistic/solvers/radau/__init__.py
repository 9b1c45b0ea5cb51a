"""Cells that look back: collocation at Radau points, delays in math, delayed events, fast reactions."""
