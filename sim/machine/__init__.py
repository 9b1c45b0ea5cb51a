"""What a run asks of the machine: signals, memory, threads, processes here or elsewhere."""
