"""The embedded default: a simulator of people, their activities, and the devices they wear (docs/wearables.md)."""

from metapulse.sim.sources.wearables.population import Wearables

__all__ = ["Wearables"]
