"""What answers a question, a module each: `Method` in `sim.interpret.explain` says what all have in common."""
