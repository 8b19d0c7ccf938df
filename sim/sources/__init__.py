"""Populations: generators, real recordings, and data of your own."""
