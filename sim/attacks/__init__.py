"""Attacks by clients of the federation."""
