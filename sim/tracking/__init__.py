"""A run's numbers, also sent to TensorBoard, Weights & Biases or MLflow: ``metapulse run … --track NAME``."""

from metapulse.sim.tracking.base import TRACKERS, Tracker, chosen, tracked

__all__ = ["TRACKERS", "Tracker", "chosen", "tracked"]
