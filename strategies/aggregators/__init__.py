"""Robust aggregators in place of the mean, one paper per file, as pure functions over stacks."""
