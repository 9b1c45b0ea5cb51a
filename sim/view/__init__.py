"""An interactive page of a run, served to this machine alone."""
