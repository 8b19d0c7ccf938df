"""Attacks that a run makes on itself: what its release tells an attacker, beside what is claimed of it."""
