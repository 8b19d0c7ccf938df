"""Attacks on a run: what its release reveals, compared with what is claimed."""
