"""Biology in equations: SBML pathways, diffusing fields. Usable alone."""
