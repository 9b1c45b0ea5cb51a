"""Learned dynamics: representations, manipulators, decoders, tissue networks. Usable alone."""
