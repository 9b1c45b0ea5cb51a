"""The steps by which `sim.build` turns a scenario into a plan. Light: declarations, model files and cards only."""
