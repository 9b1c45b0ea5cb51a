"""The commands, a module for each kind of work; each is thin over the Python face."""
