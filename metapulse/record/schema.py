"""The canonical row of a person's record, and the Parquet file that holds them.

    start       UTC, µs
    end         UTC, µs; null for an instant
    offset_min  minutes of the person's clock before UTC at ``start``; null if the file does not know
    metric      a name of metrics.csv
    value       in the metric's canonical unit; null where there is none, as after a sensor's error
    code        what kind of value, where the metric does not say: a sleep stage, "minimum", "scan", "nap"
    unit        UCUM; what the file wrote, where that is no unit known
    device      manufacturer, model, hardware, firmware, unit (its serial number), app (what computed the value)
    source      file, and row in it: where the value was read
    quality     marks, sorted; the words are in ``MARKS``
    raw         what the file said, where the value was converted, or is a sum of what it said; an id of the vendor's

Rows are in the order of (start, metric, end, value, code, device, source), but for those that say the same: a doubtful
one comes after others, then one without an id of its vendor's after those that have one. A row marked ``duplicate_of``
repeats the nearest row before it that has neither that mark nor ``superseded`` or ``outdated``. A day is a day of the
person: the date of ``start`` + ``offset_min``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from metapulse.errors import DataError

VERSION = 1  # of the schema: another number means that columns have changed their meaning
MAPPED_VERSION = 2  # of a record with rows marked ``MAPPED``: a program that knows version 1 alone would count them
MAPPED = "device_mapped"
KEY = b"metapulse.record"  # of the file's metadata: JSON with the version and the tally
#: How a record is written: a changed byte shows when it is read again.
WRITING: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
ROW_GROUP = 131_072  # rows
ROW_GROUP_TEXT = 24 * 2**20  # characters of their texts: a group with long ones has fewer rows

#: Every mark, and what it means.
MARKS = {
    "censored_high": "the device said only that the value is above this",
    "censored_low": "the device said only that the value is below this",
    "clock_ambiguous": "the local time exists twice, as when clocks go back: the first, or that nearer to other rows",
    "clock_corrected": "the stamp was moved, for a reason that the file gives",
    "clock_missing": "the local time does not exist, as when clocks go forward; read as if they had not",
    "covered": "another source counts at this time, by the order of sources that the merge was told",
    MAPPED: "no measurement: what this device would have shown, from another device's row; ``raw`` tells map and band",
    "date_only": "the file gives a day and no time: start and end are its midnights",
    "date_order_assumed": "the column does not tell day from month; the vendor's usual order was taken",
    "duplicate_of": "repeats the nearest row before it that has no mark of a repeat, from what may be one device",
    "implausible": "outside the metric's plausible range, kept as it was",
    "interpolated": "filled in by the device or its app, not measured",
    "low_confidence": "the device itself does not trust the value",
    "manual": "typed in by a person",
    "mapped": "the vendor's own category, mapped to the nearest of ours",
    "not_worn_suspected": "looks like a device that was not worn",
    "offline": "the device had no contact at that time",
    "outdated": "a later state of the same night, cycle or treatment is in the record, as it was scored anew or edited",
    "sensor_error": "the sensor reported an error instead of a value",
    "shifted_repeat": "repeats a row of another file whose stamps are all off by the same time",
    "superseded": "the file itself holds the value once more, or in a better version",
    "time_implausible": "the stamp cannot be right: before 1995, after 2100, or an end before its start",
    "unit_assumed": "the file names no unit; it was inferred from other columns",
    "unit_unknown": "no unit known, or not one of this metric: the value is as the file wrote it",
    "zone_assumed": "a local time without a zone: read in UTC, as none was told; among instants also as told",
}

#: Marks that follow from the other rows of a record: found anew whenever a record is read or merged.
DERIVED = ("covered", "duplicate_of", "outdated", "shifted_repeat")

#: Codes of ``sleep_stage``. "asleep" says no more than that; "restless" is the older classification of some vendors.
STAGES = ("asleep", "awake", "deep", "in_bed", "light", "out_of_bed", "rem", "restless", "unknown")


class Device(NamedTuple):
    """What measured, and what computed the value; a part that the file does not name is None."""

    manufacturer: str | None = None
    model: str | None = None
    hardware: str | None = None
    firmware: str | None = None
    unit: str | None = None  # the one device among its kind: a serial number, a transmitter's id
    app: str | None = None


NO_DEVICE = Device()


def known_first(device: Device) -> tuple[int, tuple[str, ...]]:
    """Devices are in order of how much is known of them, then of the parts."""
    return device.count(None), tuple(part or "" for part in device)


class Row(NamedTuple):
    """One value, as a reader yields it. A named tuple, because tens of millions of them are made: 0.4 µs each.

    Args:
        metric: a name of metrics.csv.
        start: µs since 1970 in UTC; ``Stamp.start`` of ``clock.py``.
        value: the number, in ``unit``.
        unit: as the file writes it, in any spelling; the store converts. None: the metric's canonical unit.
        row: number of the file's row (line, element, item) that it came from.
        end: µs since 1970 in UTC; None for an instant.
        offset_min: minutes of the person's clock before UTC; None if not known.
        code: a category, see the module's docstring.
        device: what measured.
        quality: marks.
        raw: what the file said, if the reader itself changed it; the store fills it where it converts.
        file: None: the file being read. Only a record that is read again, and what lies beside a file, names others.
        origin: file and row that the value was first read from, where an export of a record tells it.
    """

    metric: str
    start: int
    value: float | None = None
    unit: str | None = None
    row: int = 0
    end: int | None = None
    offset_min: int | None = None
    code: str | None = None
    device: Device = NO_DEVICE
    quality: tuple[str, ...] = ()
    raw: str | None = None
    file: str | None = None
    origin: tuple[str, int] | None = None


def arrow_schema() -> Any:
    """The columns of ``person.parquet`` (a ``pyarrow.Schema``)."""
    import pyarrow as pa

    instant, text = pa.timestamp("us", "UTC"), pa.string()
    return pa.schema(
        [
            pa.field("start", instant, nullable=False),
            pa.field("end", instant),
            pa.field("offset_min", pa.int16()),
            pa.field("metric", text, nullable=False),
            pa.field("value", pa.float64()),
            pa.field("code", text),
            pa.field("unit", text, nullable=False),
            pa.field("device", pa.struct([(name, text) for name in Device._fields])),
            pa.field("source", pa.struct([("file", text), ("row", pa.int64())]), nullable=False),
            pa.field("quality", pa.list_(text), nullable=False),
            pa.field("raw", text),
        ]
    )


def check_version(found: object, name: str) -> None:
    """Of a record that is read.

    Raises:
        DataError: it is of another version.
    """
    if found not in (VERSION, MAPPED_VERSION):
        known = f"versions {VERSION} and {MAPPED_VERSION}"
        raise DataError(f"{name}: a record of schema version {found!r}; this metapulse reads {known}")
