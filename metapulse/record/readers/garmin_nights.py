"""What a night of Garmin Connect adds up to."""

from __future__ import annotations

from typing import Any

from metapulse.record.readers.garmin_keys import CODES
from metapulse.record.readers.text import is_empty, number

STAGES = ("deepSleepSeconds", "lightSleepSeconds")  # that every device tells apart
REM = "remSleepSeconds"
BESIDES = ("awakeSleepSeconds", "unmeasurableSeconds", "unmeasurableSleepSeconds")
ROOM = 180  # seconds of a night that rounding may leave to no stage
CONFIRMED = "sleepWindowConfirmationType"  # as the validation of Garmin's CSV


def doubts_of(item: dict[str, Any]) -> tuple[str, ...]:
    """Marks of a night that is tentative; a final one has none, nor has one whose beginning and end a person confirmed.

    Args:
        item: the night.
    """
    state = str(item.get(CONFIRMED)).upper()
    return ("low_confidence",) if "TENTATIVE" in state or "UNCONFIRMED" in state else ()


def asleep_of(item: dict[str, Any], length: float) -> tuple[float | None, str | None, tuple[str, ...]]:
    """(seconds asleep, what was added, marks) of a night without a total; (None, None, ()) where a stage is missing.

    A sum is as doubtful as its parts: with one of them below 0 it may still be as long as nights are. Devices without
    REM write none, and their nights are full without it. Where there is time left, it is missing.

    Args:
        item: the night.
        length: of the night in seconds.
    """
    names = STAGES if is_empty(item.get(REM)) else (*STAGES, REM)
    parts = {name: _measured(item, name) for name in names}
    known = {name: value for name, value in parts.items() if value is not None}
    total = sum(known.values())
    besides = sum(_measured(item, name) or 0 for name in BESIDES)
    if len(known) < len(parts) or (REM not in parts and length - total - besides > ROOM):
        return None, None, ()
    doubts = ("implausible",) if min(known.values()) < 0 else ()
    return total, " + ".join(f"{name} {value:.15g}" for name, value in known.items()), doubts


def _measured(item: dict[str, Any], name: str) -> float | None:
    value = number(item.get(name))
    return None if value in CODES else value
