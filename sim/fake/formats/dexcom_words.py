"""What Clarity writes in one of its languages."""

from __future__ import annotations

from typing import NamedTuple

HEADER = (
    "Index", "Timestamp (YYYY-MM-DDThh:mm:ss)", "Event Type", "Event Subtype", "Patient Info", "Device Info",
    "Source Device ID", "Glucose Value (mg/dL)", "Insulin Value (u)", "Carb Value (grams)", "Duration (hh:mm:ss)",
    "Glucose Rate of Change (mg/dL/min)", "Transmitter Time (Long Integer)", "Transmitter ID",
)  # fmt: skip
GERMAN = (
    '"Index"', "Zeitstempel (JJJJ-MM-TTThh:mm:ss)", "Ereignistyp", "Ereignissubtyp", "Patienteninfo", "Geräteinfo",
    "Quellgerät-ID", "Glukosewert (mg/dL)", "Insulinwert (E)", "Kohlenhydratwert (Gramm)", "Dauer (hh:mm:ss)",
    "Glukose-Änderungsrate (mg/dL/min)", "Transmitterzeit (Ganzzahl)", "Transmitter-ID",
)  # fmt: skip


class Words(NamedTuple):
    """Of one language."""

    header: tuple[str, ...]
    low: str
    high: str
    calibration: str
    between: str  # date and time


ENGLISH = Words(HEADER, "Low", "High", "Calibration", "T")
IN_GERMAN = Words(GERMAN, "Niedrig", "Hoch", "Kalibrierung", " ")
