"""What a FIT file says of itself: the device, the person's clock, when sessions were; and its running totals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from metapulse.record.clock import US, Clock
from metapulse.record.readers.base import Context
from metapulse.record.readers.fit_stream import Message, messages
from metapulse.record.readers.fit_walk import ABSOLUTE
from metapulse.record.readers.text import number
from metapulse.record.schema import NO_DEVICE, Device

EPOCH = 631_065_600  # 1989-12-31 in seconds since 1970
DAY = 86_400
SOON = 120  # seconds after a file's beginning within which a total was carried over from the file before
WALKING = ("walking", "running")
#: file_id, user_profile, session, event, device_info, activity, file_creator, monitoring_info
TOLD = (0, 3, 18, 21, 23, 34, 49, 103)
#: Field of a day of monitoring that is a running total → metric, unit.
TOTALS = {
    "cycles": ("steps", None),
    "cycles_16": ("steps", None),
    "distance": ("distance", "m"),
    "active_calories": ("active_energy", "kcal"),
    "ascent": ("elevation_gain", "m"),
}


def micros(seconds: float) -> int:
    """FIT's seconds → µs since 1970."""
    return (seconds + EPOCH) * US if isinstance(seconds, int) else round((seconds + EPOCH) * US)


def spread(value: Any) -> tuple[Any, ...]:
    """One value or several → several."""
    if isinstance(value, (bytes, bytearray)):
        return tuple(value)
    return value if isinstance(value, tuple) else () if value is None else (value,)


@dataclass
class Facts:
    """Of a file.

    Args:
        device: that wrote it.
        offset_min: the person's clock before UTC.
        start: when a day of monitoring begins; FIT's seconds.
        begin: of the first session. end: of the last.
        asleep_until: when a night ends.
        users: the people that a scale knows.
    """

    device: Device = NO_DEVICE
    offset_min: int | None = None
    start: int = 0
    begin: float = 0
    end: float = 0
    asleep_until: float | None = None
    users: set[Any] = field(default_factory=set)

    def offset_of(self, values: dict[str, Any]) -> int | None:
        """The local stamp less the stamp, where that is what a zone may be."""
        local, stamp = values.get("local_timestamp"), values.get("timestamp")
        if not isinstance(local, int) or not isinstance(stamp, int) or stamp < ABSOLUTE:
            return None
        quarters = round((local - stamp) / 900)
        fits = abs(quarters) <= 4 * 14 and abs(local - stamp - 900 * quarters) <= 60
        return 15 * quarters if fits else None


def facts(context: Context) -> Facts:
    """Go through the file once beforehand, for what it tells of itself at any place."""
    known = Facts()
    firmware: float | None = None
    for message in messages(context, TOLD):
        values, raw = message.values, message.raw
        if message.name == "file_id" and known.device is NO_DEVICE:
            known.device = _device(values, raw)
        elif message.name == "file_creator":
            version = number(raw.get("software_version"))
            firmware = version / 100 if version is not None else firmware
        elif message.name == "device_info" and raw.get("device_index") == 0:
            firmware = number(values.get("software_version")) or firmware
        elif message.name in ("activity", "monitoring_info"):
            known.offset_min = known.offset_of(values) if known.offset_min is None else known.offset_min
            if message.name == "monitoring_info" and isinstance(raw.get("timestamp"), int):
                known.start = known.start or raw["timestamp"]
        elif message.name == "session":
            _session(known, values)
        elif message.name == "event" and raw.get("event") == 74 and raw.get("event_type") == 1:
            known.asleep_until = number(raw.get("timestamp"))
        elif message.name == "user_profile":
            known.users.add(raw.get("message_index"))
    if firmware is not None:
        known.device = known.device._replace(firmware=f"{firmware:.2f}")
    return known


def _device(values: dict[str, Any], raw: dict[str, Any]) -> Device:
    """Maker, model and the maker's number of the model."""
    maker, product = values.get("manufacturer"), raw.get("garmin_product", raw.get("product"))
    model = values.get("product_name") or values.get("garmin_product") or values.get("favero_product")
    serial = raw.get("serial_number")
    return Device(
        manufacturer=None if maker is None else str(maker)[:60],
        model=model[:60] if isinstance(model, str) else None,
        hardware=None if product is None else f"{maker} {product}"[:60],
        unit=None if serial is None else str(serial)[:60],
    )


def _session(known: Facts, values: dict[str, Any]) -> None:
    begin, length = values.get("start_time"), number(values.get("total_elapsed_time"))
    if isinstance(begin, int) and length is not None and length < 30 * DAY:
        known.begin = min(known.begin or begin, begin)
        known.end = max(known.end, begin + length)


class Totals:
    """Running totals since the person's midnight, by field and activity.

    Args:
        known: of the file.
        clock: for where midnight is, if the file does not tell.
    """

    def __init__(self, known: Facts, clock: Clock) -> None:
        self.known, self.clock, self.offset_min = known, clock, known.offset_min
        self.last: dict[tuple[str, Any], tuple[float, int]] = {}
        self.carried = False  # whether the last message had a total that was added before the file

    def added(self, message: Message, now: int) -> Iterator[tuple[str, float, str | None, int]]:
        """(metric, what was added, unit, since when) of every total in the message.

        A total that a file begins with was added before it, as the file before tells. Of walking and running the
        number is in steps; of other activities it is in turns of pedals or arms, and no steps. Where midnight is not
        known, a total begins again where it has become less.
        """
        activity, self.carried = message.values.get("activity_type"), False
        for name, (metric, unit) in TOTALS.items():
            name = "steps" if name == "cycles" and "steps" in message.raw else name
            value = number((message.raw if metric == "steps" else message.values).get(name))
            if value is None or (metric == "steps" and activity not in WALKING):
                continue
            before = self.last.get((metric, activity))
            self.last[metric, activity] = (value, now)
            known, midnight = self.known.start, self._midnight(now)
            start = known or now
            if before is not None:
                again = value < before[0] or (midnight is not None and before[1] <= midnight)
                since = before[1] if midnight is None else max(midnight, before[1])
                yield metric, value if again else value - before[0], unit, since
            elif not value or (known and now - start > SOON) or (midnight is not None and self._whole(start, midnight)):
                yield metric, value, unit, start if midnight is None else midnight
            else:
                self.carried = True

    def _whole(self, start: int, midnight: int) -> bool:
        """Whether the totals of the file are of no other: it begins at midnight, or does not tell where it begins."""
        return not self.known.start or start - midnight <= SOON

    def _midnight(self, now: int) -> int | None:
        """Before a moment; a total of midnight itself is that of the day before. None: not known."""
        offset = self.clock.offset(micros(now)) if self.offset_min is None else self.offset_min
        return None if offset is None else (now - 1 + 60 * offset) // DAY * DAY - 60 * offset
