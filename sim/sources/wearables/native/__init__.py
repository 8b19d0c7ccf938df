"""The simulation in C (``simulate.c``)."""
