"""Strategies for an app of Flower's own: Flower's front half around metapulse's outer updates."""
