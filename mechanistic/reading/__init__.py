"""From a model file to plain data: the part that runs in the guarded child process.

Only the standard library is imported here (antimony and libsbml where a file needs them), and nothing of a
model is ever executed. `mechanistic.sbml` starts the child and turns what it hands back into a network.
"""
