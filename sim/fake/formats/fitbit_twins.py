"""The CSV that Fitbit's Takeout has beside its JSON: a column of stamps, of values, and of the device."""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.schema import Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import walls
from metapulse.sim.fake.formats.parts import csv_text, iso, of_day

#: Metric → column, name of the file, minutes, unit.
CSV: dict[str, tuple[str, str, int, str | None]] = {
    **{
        "floors": ("floors", "floors", 1, None),
        "hrv_rmssd": ("rmssd", "Daily Heart Rate Variability Summary", 0, "ms"),
    },
    "respiratory_rate": ("daily_respiratory_rate", "Daily Respiratory Rate Summary", -1, "/min"),
    "sleep_score": ("overall_score", "sleep_score", -1, None),
    "stress": ("stress_score", "Stress Score", -1, None),
    "skin_temperature": ("temperature", "Computed Temperature", 0, "Cel"),
    "spo2": ("oxygen saturation percentage", "Minute SpO2", 0, "%"),
}
DAILY_SPO2: tuple[str, str, int, str | None] = ("average_value", "Daily SpO2", -1, "%")


def column_of(row: Row) -> tuple[str, str, int, str | None]:
    """Column, name of the file, minutes, unit of a row."""
    return DAILY_SPO2 if row.metric == "spo2" and of_day(row) else CSV[row.metric]


def twin_table(rows: Sequence[Row], zone: str) -> str:
    """The file of one column."""
    column, _, _, unit = column_of(rows[0])
    lines: list[list[object]] = [["timestamp", column, "data source"]]
    for row in rows:
        stamp = iso(walls(row, zone)[0], "")[:10] if of_day(row) else iso(row.start, "Z", 0)
        lines.append([stamp, repr(float(row.value or 0.0) / conversion(row.metric, unit).scale), row.device.model])
    return csv_text(lines)
