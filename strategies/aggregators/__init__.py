"""What may stand in the place of the mean: robust aggregators, one paper per file, pure functions over stacks."""
