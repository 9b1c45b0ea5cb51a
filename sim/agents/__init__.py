"""Cells as points with radii: neighbours, mechanics, motility, life and placement, on plain arrays.

Positions are float64 (n, 3) in um also in two dimensions, where z is left alone. Nothing here knows of
scenarios or processes; kernels only gather, so results are the same bits at any number of threads.
"""
