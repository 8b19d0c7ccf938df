"""Ways to run clients: stacked cohorts, Flower's Simulation Runtime, a deployment."""
