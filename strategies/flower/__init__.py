"""Strategies for Flower apps: Flower's sampling and messages around metapulse's outer updates."""
