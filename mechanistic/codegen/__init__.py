"""From rate laws to what computes them: one graph of operations, read by numpy, LLVM and torch."""
