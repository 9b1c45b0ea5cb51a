"""Derivatives of what the stiff solver computes, along its steps or back over them."""
