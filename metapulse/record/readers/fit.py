"""Garmin FIT and that of others: activities, days of monitoring, sleep, heart rate variability, scales.

Instants are seconds since the end of 1989 in UTC; below 2^28 they count from when the device was switched on, and are
marked ``time_implausible``. Of days of monitoring most stamps are the low bits of one. Counts of the day are running
totals since the person's midnight, one for each activity, and become what was added between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import US
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.fit_facts import DAY, Facts, Totals, facts, micros, spread
from metapulse.record.readers.fit_stream import Message, messages
from metapulse.record.readers.fit_tables import INSTANTS, LEAST, SERIES, SESSION, STAGES, STAMPS
from metapulse.record.readers.fit_walk import ABSOLUTE
from metapulse.record.readers.text import number
from metapulse.record.schema import Row

RIGHT_AFTER = 60  # seconds between a beat and the record that it is told behind
LOW = {"timestamp_16": (2**16, 1), "timestamp_min_8": (2**8, 60)}  # low bits of a stamp: how many, of how many seconds
AFTER = ("sleep_assessment",)  # messages that have no stamp and are of the time before


def sniff(sample: Sample) -> str:
    """Four letters in the header."""
    return "the header of a FIT file" if sample.bytes[8:12] == b".FIT" else ""


def read(context: Context) -> Iterator[Row]:
    """Every message with something that was measured."""
    known = facts(context)
    reading = _Reading(context, known)
    for message in messages(context):
        rows = list(reading.rows(message))
        yield from rows
        if not rows and not reading.waits(message):
            context.skip(reading.why or f"a message without a measurement: {message.name}")
    yield from reading.last_stage(known.asleep_until)


class _Reading:
    """What has to be remembered from message to message."""

    def __init__(self, context: Context, known: Facts) -> None:
        self.context, self.facts, self.offset = context, known, known.offset_min
        self.now = self.beat = self.distance_at = 0  # seconds, µs, seconds
        self.distance = 0.0  # m
        self.anchor: tuple[float, float] | None = None  # a strap's clock: seconds since 1989, and its own
        self.totals = Totals(known, context.clock)
        self.stage: tuple[Row, int] | None = None
        self.why = ""

    def rows(self, message: Message) -> Iterator[Row]:
        """What one message tells."""
        self.why = ""
        name, values = message.name, message.values
        self._clock(message)
        if name == "monitoring_info" and (offset := self.facts.offset_of(values)) is not None:
            self.offset = self.totals.offset_min = offset
        if name == "hr":
            yield from self._beats(message)
        elif name in ("hrv", "beat_intervals", "raw_bbi"):
            yield from self._intervals(message)
        elif name == "session":
            yield from self._session(message)
        elif name in SERIES:
            yield from self._series(message)
        elif name == "sleep_level":
            yield from self._sleep(message)
        elif name in INSTANTS:
            if not self.now or not (message.raw.keys() & {STAMPS.get(name, "timestamp"), *LOW} or name in AFTER):
                self.why = "a measurement without a time"
                return
            yield from self._instants(message)
            yield from self._sums(message)

    def _row(self, metric: str, seconds: float, value: float | None, unit: str | None, message: Message) -> Row:
        marks = ("time_implausible",) if seconds < ABSOLUTE else ()
        start = micros(seconds)
        offset = self.context.clock.offset(start) if self.offset is None else self.offset
        return Row(metric, start, value, unit, message.row, None, offset, None, self.facts.device, marks)

    def _clock(self, message: Message) -> None:
        """Where time stands: a whole stamp, or the low bits of one, which go on from the last."""
        whole = message.raw.get(STAMPS.get(message.name, "timestamp"))
        if isinstance(whole, int) and whole:
            self.now = whole
        for name, (modulus, each) in LOW.items():
            low = message.raw.get(name)
            if isinstance(low, int) and self.now and message.name == "monitoring":
                ahead = (low - self.now // each) % modulus
                ahead -= modulus if ahead > modulus - modulus // 64 else 0  # a little earlier: not in order
                self.now = (self.now // each + ahead) * each

    def _instants(self, message: Message) -> Iterator[Row]:
        user = message.values.get("user_profile_index") if len(self.facts.users) > 1 else None
        for names, metric, unit, code in INSTANTS[message.name]:
            value = next((v for name in names.split() if (v := _value(message.values.get(name))) is not None), None)
            if value is not None and value < LEAST.get(metric, value):
                self.context.note(f"{metric}: a code for a value that could not be measured")
                value = None
            if value is None:
                continue
            code = f"user {user}" if user is not None else code
            yield self._row(metric, self.now, value, unit, message)._replace(code=code)
        if user is not None:
            self.context.note("the scale knows several people; the code says which")
        if "position_lat" in message.values:
            self.context.note("a position, which the record does not keep")

    def _sums(self, message: Message) -> Iterator[Row]:
        """Running totals, as what was added; and minutes of activity, which are no totals."""
        values = message.values
        if message.name == "record" and (meters := _value(values.get("distance"))) is not None:
            before: float = self.distance_at or min(self.facts.begin or self.now, self.now)
            if meters < self.distance:  # another session begins at 0
                self.distance, before = 0.0, self.now
            added = meters - self.distance
            self.distance, self.distance_at = meters, self.now
            row = self._row("distance", min(before, self.now), added, "m", message)
            yield row._replace(end=micros(self.now))
        if message.name != "monitoring":
            return
        for metric, value, unit, begin in self.totals.added(message, self.now):
            yield self._row(metric, begin, value, unit, message)._replace(end=micros(self.now))
        if self.totals.carried:
            self.why = "a running total from before the file"
            self.context.note(self.why)
        for name, code in (("moderate_activity_minutes", "moderate"), ("vigorous_activity_minutes", "vigorous")):
            if minutes := _value(values.get(name)):
                row = self._row("active_minutes", self.now - 60 * minutes, minutes, "min", message)
                yield row._replace(end=micros(self.now), code=code)
        if (level := _value(values.get("intensity"))) is not None:
            code = str(values.get("activity_type", "unknown"))[:40]
            yield self._row("activity_level", self.now, level, None, message)._replace(code=code)

    def _session(self, message: Message) -> Iterator[Row]:
        begin, length = message.raw.get("start_time"), _value(message.values.get("total_elapsed_time"))
        if not isinstance(begin, int) or length is None or length > 30 * DAY:
            return
        code = str(message.values.get("sport", "unknown"))[:40]
        for name, metric, unit in SESSION:
            if (value := _value(message.values.get(name))) is not None and (value or metric == "workout"):
                row = self._row(metric, begin, value, unit, message)
                yield row._replace(end=micros(begin + length), code=code)

    def _series(self, message: Message) -> Iterator[Row]:
        field, metric, unit = SERIES[message.name]
        every = _value(message.values.get("processing_interval"))
        if not self.now or not every:
            self.why = "a measurement without a time"
            return
        for place, each in enumerate(spread(message.values.get(field))):
            value = _value(each)
            if value is not None and value >= LEAST.get(metric, 0):
                row = self._row(metric, self.now + place * every, value, unit, message)
                until = micros(self.now + (place + 1) * every)
                yield row._replace(end=until) if metric == "steps" else row

    def _sleep(self, message: Message) -> Iterator[Row]:
        """A stage lasts until the next is told."""
        if self.now:
            yield from self.last_stage(self.now)
            row = self._row("sleep_stage", self.now, None, None, message)
            self.stage = row._replace(code=STAGES.get(str(message.values.get("sleep_level")), "unknown")), self.now

    def last_stage(self, until: float | None) -> Iterator[Row]:
        """The stage that ends now; without an end where the file tells none."""
        if self.stage is not None:
            (row, began), self.stage = self.stage, None
            told = until is not None and began < until < began + DAY
            yield row._replace(end=micros(until)) if told and until is not None else row

    def waits(self, message: Message) -> bool:
        """Whether the message's row comes later."""
        return self.stage is not None and self.stage[0].row == message.row

    def _beats(self, message: Message) -> Iterator[Row]:
        """A strap's own heart rate, beat by beat: times in 1/1024 s of its clock, whole or their low 12 bits."""
        whole = [v for v in spread(message.raw.get("event_timestamp")) if isinstance(v, int)]
        packed = [v for v in spread(message.raw.get("event_timestamp_12")) if isinstance(v, int)]
        if packed:
            if self.anchor is None:
                self.why = "heart beats without a start"
                return
            ticks = round(self.anchor[1] * 1024)
            times = []
            for low in _twelve_bits(packed):
                ticks += (low - ticks) & 0xFFF
                times.append(ticks / 1024)
        else:
            times = [v / 1024 for v in whole]
        stamp = message.raw.get("timestamp")
        if times and isinstance(stamp, int):
            self.anchor = (stamp + (_value(message.values.get("fractional_timestamp")) or 0.0), times[0])
        if self.anchor is None:
            self.why = "heart beats without a start"
            return
        utc, own = self.anchor
        for time, bpm in zip(times, spread(message.values.get("filtered_bpm")), strict=False):
            value, seconds = _value(bpm), utc + time - own
            if value is None:
                continue
            if self.facts.begin and not self.facts.begin <= seconds <= self.facts.end:
                self.why = "heart beats before or after the session"
                self.context.note("a heart beat before or after the session")
                continue
            yield self._row("heart_rate", seconds, value, "bpm", message)
        if times:
            self.anchor = (utc + times[-1] - own, times[-1])

    def _intervals(self, message: Message) -> Iterator[Row]:
        """Times between beats. Their own time is not told: they follow one another from the message before."""
        unit = 1.0 if message.name == "hrv" else 1e-3
        if not self.now:
            self.why = "a measurement without a time"
            return
        now = micros(self.now + 1e-3 * (_value(message.values.get("timestamp_ms")) or 0.0))
        if message.name != "hrv" or not 0 <= self.beat - now < RIGHT_AFTER * US:
            self.beat = now
        for each in spread(message.values.get("time")):
            value = _value(each)
            if value:
                self.beat += round(value * unit * US)
                yield self._row("rr_interval", 0, value * unit * 1000, "ms", message)._replace(
                    start=self.beat, quality=("time_implausible",) if self.now < ABSOLUTE else ()
                )


def _twelve_bits(packed: list[int]) -> Iterator[int]:
    for at in range(0, len(packed) - 2, 3):
        a, b, c = packed[at : at + 3]
        yield a | (b & 0xF) << 8
        yield b >> 4 | c << 4


def _value(value: Any) -> float | None:
    return number(value[0] if isinstance(value, tuple) and len(value) else value)


READER = Reader("fit", "Garmin FIT: activities, monitoring, sleep, heart rate variability, scales", sniff, read)
