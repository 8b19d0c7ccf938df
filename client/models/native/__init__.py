"""Models compiled to the machine: the same formulas as the kernels, one client after the other, without Python between."""
