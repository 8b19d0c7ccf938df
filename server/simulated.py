"""The section [faults] of a simulated population, and where it and [attack] are refused.

An engine whose devices are simulated brings both about (``metapulse.sim.population``). No instruction holds them, and a
deployment, whose devices are real, refuses them. Asking more clients than the cohort is the coordinator's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metapulse.errors import ConfigError
from metapulse.registry import ATTACKS
from metapulse.settings import setting


@dataclass(frozen=True)
class FaultSettings:
    """What goes wrong with simulated devices; off by default, and what is off costs nothing and draws nothing."""

    hours_per_round: float = setting(0.0, "availability: hours from one round to the next (0: always available)", ge=0)
    time_zones: float = setting(
        1.0,
        "share of the day over which people's clocks are spread (0: all alike)",
        ge=0,
        le=1,
        used_if=("hours_per_round",),
    )
    night_h: float = setting(8.0, "hours of a person's night", ge=0, le=24, used_if=("hours_per_round",))
    charging_night: float = setting(
        0.8, "probability that a device is on its charger at night", ge=0, le=1, used_if=("hours_per_round",)
    )
    charging_day: float = setting(0.15, "the same by day", ge=0, le=1, used_if=("hours_per_round",))
    wifi_night: float = setting(
        0.95, "probability that a device is on Wi-Fi at night", ge=0, le=1, used_if=("hours_per_round",)
    )
    wifi_day: float = setting(0.5, "the same by day", ge=0, le=1, used_if=("hours_per_round",))
    outage: float = setting(0.0, "probability that a device drops out in a round", ge=0, lt=1)
    outage_rounds: int = setting(3, "rounds after which it is back", ge=1, used_if=("outage",))
    deadline_s: float = setting(0.0, "replies that take longer do not count, seconds (0: no deadline)", ge=0)
    samples_per_s: float = setting(
        100.0, "samples that a device trains on in a second, all steps together", gt=0, used_if=("deadline_s",)
    )
    speed: Mapping[str, float] = setting(
        {}, "device model → how many times faster it is than that", used_if=("deadline_s",)
    )
    jitter: float = setting(
        0.5, "standard deviation of the logarithm of the time a round takes", ge=0, le=50, used_if=("deadline_s",)
    )
    partial: float = setting(0.0, "probability that a device uses only a share of its samples", ge=0, le=1)
    partial_least: float = setting(
        0.2, "smallest such share; drawn uniformly up to 1", gt=0, le=1, used_if=("partial",)
    )
    duplicate: float = setting(0.0, "probability that a reply comes twice", ge=0, le=1)
    over_selection: float = setting(0.0, "clients asked beyond the cohort, as a share of it", ge=0)

    def __post_init__(self) -> None:
        for device, speed in self.speed.items():
            if not 1e-6 <= speed <= 1e6:
                raise ConfigError(f"faults.speed.{device}", speed, "must be a number from 1e-06 to 1e+06")

    @property
    def simulated(self) -> tuple[str, ...]:
        """Settings that are on and that only an engine with simulated devices can bring about."""
        keys = ("hours_per_round", "outage", "deadline_s", "partial", "duplicate")
        return tuple(key for key in keys if getattr(self, key))


def check_population(attack: Mapping[str, Any], faults: FaultSettings, private: bool, secure: bool) -> None:
    """Refuse attacks and faults that have no meaning under a protection.

    Raises:
        ConfigError: names the setting.
    """
    if ATTACKS.make(attack).omniscient:
        key, name = "attack.name", attack["name"]
        if private:
            raise ConfigError(key, name, "puts one person's update into others': no sensitivity is known for it")
        if secure:
            raise ConfigError(key, name, "needs all clients' updates, and no client sees another's")
    if secure and faults.duplicate:
        raise ConfigError("faults.duplicate", faults.duplicate, "must be 0: there is no reply that could come twice")


def refuse_simulated(attack: Mapping[str, Any], faults: FaultSettings) -> None:
    """Refuse what only a simulation can bring about, where devices are real.

    Raises:
        ConfigError: names the setting.
    """
    why = "is for simulated devices, and these are not; run it with: metapulse run"
    if attack["name"] != "none":
        raise ConfigError("attack.name", attack["name"], why)
    for key in faults.simulated:
        raise ConfigError(f"faults.{key}", getattr(faults, key), why)
