"""Settings of every process of a simulation: one thread, and no telemetry."""

from __future__ import annotations

import os

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def set_process_defaults() -> None:
    """Set these variables where the user has not: Flower and Ray read them when they are imported or started."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
