"""Apple Health: ``export.xml`` of any size and language, and the routes of workouts (GPX) that it names.

The device stands in a free string with a pointer in it, which is no part of its identity. Units follow the phone's
region; what Apple calls % is a fraction. Values that are typed in say so in a child element.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import Any

from metapulse.errors import ConfigError
from metapulse.record.clock import MINUTE, Clock, Stamp, zone
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.markup import REMEMBERED, Tag, tags
from metapulse.record.readers.text import noted, number
from metapulse.record.schema import Device, Row

FRACTION = "1"  # what Apple calls %
HERE = files("metapulse.record.readers").joinpath("apple.csv").read_text(encoding="utf-8")
#: Type without "HKQuantityTypeIdentifier" → metric; unit, where not the written one ("none": the metric's); code.
QUANTITIES = {r["type"]: (r["metric"], r["unit"], r["code"] or None) for r in csv.DictReader(HERE.splitlines())}
STAGES = {
    "InBed": "in_bed",
    "Asleep": "asleep",
    "AsleepUnspecified": "asleep",
    "AsleepCore": "light",
    "AsleepDeep": "deep",
    "AsleepREM": "rem",
    "Awake": "awake",
}
#: What a workout says of itself, by type and statistic.
STATISTICS = {
    ("HeartRate", "average"): "workout_hr_mean",
    ("HeartRate", "maximum"): "workout_hr_max",
    ("ActiveEnergyBurned", "sum"): "workout_energy",
    **{(name, "sum"): "workout_distance" for name in QUANTITIES if name.startswith("Distance")},
}
STATISTIC = ("average", "maximum", "sum")
ROWS = ("Record", "Workout", "ActivitySummary")


def sniff(sample: Sample) -> str:
    """The root is what counts: export_cda.xml lies beside it."""
    return "its root element is HealthData" if re.search(r"<HealthData[\s>]", sample.text) else ""


def read(context: Context) -> Iterator[Row]:
    """Records, workouts and their routes."""
    return _Export(context).rows()


class _Export:
    """State while the tags of an export go by: the element that is open, and what its children say of it."""

    def __init__(self, context: Context) -> None:
        self.context, self.clock = context, context.clock
        self.row = 0
        self.meta: dict[str, str] = {}
        self.open: Tag | None = None  # a Record or Workout that waits for its children
        self.children: list[Tag] = []

    def rows(self) -> Iterator[Row]:
        for tag in tags(self.context):
            if tag.name in ROWS:
                if self.open is not None:
                    yield from self.finish()
                if tag.opens:
                    self.row += 1
                    self.context.seen()
                    self.open = tag
                    if tag.closes:
                        yield from self.finish()
            elif tag.opens and self.open is not None:
                if tag.name == "MetadataEntry":
                    self.meta[tag.attributes.get("key", "")] = tag.attributes.get("value", "")
                elif self.open.name == "Workout":
                    self.children.append(tag)
        yield from self.finish()

    def finish(self) -> Iterator[Row]:
        """The rows of the element that was open."""
        if self.open is None:
            return
        tag, self.open = self.open, None
        if tag.name == "Record":
            row = self.record(tag.attributes)
            if row is not None:
                yield row
        elif tag.name == "Workout":
            yield from self.workout(tag.attributes)
        else:
            self.context.skip("a day's summary of samples that stand there themselves")
        if self.meta:
            self.meta = {}
        if self.children:
            self.children = []

    def record(self, given: dict[str, str]) -> Row | None:
        """One sample."""
        kind = given.get("type", "")
        if kind.startswith("HKQuantityTypeIdentifier"):
            kind = kind[24:]
            if kind not in QUANTITIES:
                return self.skip(f"no metric of ours: {kind[:60]}")
            metric, unit, code = QUANTITIES[kind]
            value = number(given.get("value"))
            if value is None:
                return self.skip("its value is no number")
            if metric == "insulin_rapid" and self.meta.get("HKInsulinDeliveryReason") == "1":
                metric = "insulin_basal"
            if not unit:
                return self.made(given, metric, value, given.get("unit", ""), code)
            row = self.made(given, metric, value, None if unit == "none" else unit, code)
            return row and row._replace(raw=f"{value} %" if unit == FRACTION else None)
        if kind == "HKCategoryTypeIdentifierSleepAnalysis":
            stage = STAGES.get(given.get("value", "").removeprefix("HKCategoryValueSleepAnalysis"))
            return self.made(given, "sleep_stage", None, None, stage or "unknown")
        if kind == "HKCategoryTypeIdentifierMindfulSession":
            row = self.made(given, "mindful_minutes", None, None, None)
            return row and row._replace(value=((row.end or row.start) - row.start) / MINUTE)
        return self.skip(f"no metric of ours: {kind.removeprefix('HKCategoryTypeIdentifier')[:60]}")

    def made(
        self, given: dict[str, str], metric: str, value: float | None, unit: str | None, code: str | None
    ) -> Row | None:
        """A row with the element's times and device."""
        began, ended = given.get("startDate", ""), given.get("endDate", "")
        start = self.clock.read(began)
        end = None if began == ended or start is None else self.clock.read(ended)
        if start is None or (end is None and began != ended):
            return self.skip("a stamp that is no time")
        offset, marks = start.offset_min, start.marks
        if self.meta:
            if self.meta.get("HKWasUserEntered") == "1":
                marks = (*marks, "manual")
            if "HKTimeZone" in self.meta:
                offset = _offset(self.meta["HKTimeZone"], start)
        written, source = given.get("device", ""), given.get("sourceName", "")
        device = (_device if len(written) + len(source) < REMEMBERED else _device.__wrapped__)(written, source)
        until = None if end is None or end.start == start.start else end.start
        return Row(metric, start.start, value, unit, self.row, until, offset, code, device, marks)

    def skip(self, reason: str) -> Row | None:
        self.context.skip(reason)
        return None

    def workout(self, given: dict[str, str]) -> Iterator[Row]:
        """A workout, its totals, and the points of its route."""
        code = given.get("workoutActivityType", "").removeprefix("HKWorkoutActivityType").lower() or "unknown"
        whole = self.made(given, "workout", number(given.get("duration")), given.get("durationUnit", "min"), code)
        if whole is None:
            return
        yield whole
        totals = [
            ("workout_distance", given.get("totalDistance"), given.get("totalDistanceUnit", "")),
            ("workout_energy", given.get("totalEnergyBurned"), given.get("totalEnergyBurnedUnit", "")),
        ]
        for given in (child.attributes for child in self.children if child.name == "WorkoutStatistics"):
            kind = given.get("type", "").removeprefix("HKQuantityTypeIdentifier")
            totals += [(STATISTICS.get((kind, of), ""), given.get(of), given.get("unit", "")) for of in STATISTIC]
        for metric, text, unit in totals:
            if metric and (value := noted(self.context, text, metric)) is not None:
                yield whole._replace(metric=metric, value=value, unit=unit)
        for child in self.children:
            given = child.attributes
            if child.name == "Location":
                yield from self.point(
                    whole, given.get("date", ""), given.get("speed"), given.get("altitude"), whole.row
                )
            elif child.name == "FileReference":
                yield from self.route(whole, given.get("path", ""))

    def route(self, whole: Row, path: str) -> Iterator[Row]:
        """The points of a GPX file that the export names."""
        file = self.context.companion(path)
        if file is None:
            return self.context.note("a route that is not in what was given")
        point: dict[str, str] = {}
        count = 0
        for tag in tags(self.context, file):
            if tag.name == "trkpt" and tag.opens:
                point, count = {}, count + 1
                self.context.seen()
            elif tag.name in ("time", "speed", "ele") and tag.opens:
                point[tag.name] = tag.text.strip()
            elif tag.name == "trkpt":
                found = list(self.point(whole, point.get("time", ""), point.get("speed"), point.get("ele"), count))
                yield from (row._replace(file=file.name) for row in found)
                if not found:
                    self.context.skip("a point of a route without time or values")

    def point(self, whole: Row, time: str, speed: str | None, altitude: str | None, row: int) -> Iterator[Row]:
        stamp = self.clock.read(time)
        for metric, text, unit in (("speed", speed, "m/s"), ("altitude", altitude, "m")):
            value = noted(self.context, text, metric)
            if stamp and value is not None and not (metric == "speed" and value < 0):  # -1: not known
                yield Row(
                    metric, stamp.start, value, unit, row, None, whole.offset_min, None, whole.device, stamp.marks
                )


@lru_cache(4096)
def _device(text: str, source: str) -> Device:
    """Parts of ``<<HKDevice: 0x282a45810>, name:Apple Watch, hardware:Watch6,1, software:10.1>`` and a source."""
    parts: dict[str, Any] = dict(re.findall(r"(\w+):([^<>]*?)(?=, \w+:|>|$)", text[text.find(">") + 1 :]))
    return Device(
        parts.get("manufacturer") or None,
        parts.get("model") or parts.get("name") or None,
        parts.get("hardware") or None,
        parts.get("software") or parts.get("firmware") or None,
        parts.get("localIdentifier") or None,
        source.strip() or None,
    )


def _offset(name: str, stamp: Stamp) -> int | None:
    """Where the person's clock stood, by the zone that the sample names; the stamp has the phone's at export."""
    try:
        return Clock(zone(name)).offset(stamp.start)
    except ConfigError:
        return stamp.offset_min


READER = Reader("apple", "Apple Health: export.xml and the routes of workouts", sniff, read)
