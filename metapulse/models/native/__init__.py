"""Models compiled to the machine: the kernels' formulas, one client after the other, with no Python between."""
