"""Fields of FIT messages that hold one value each, and words of its profile, for writing."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from metapulse.record.readers.fit_tables import LEAST
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.fit_bytes import S8, S16, STAMP, U8, U16, U32


class Place(NamedTuple):
    """Where a value is: message, field, its type; what is written of a canonical unit, and of 0; when."""

    message: int
    field: int
    kind: int
    scale: float = 1.0
    shift: float = 0.0
    stamp: int = STAMP

    def number(self, row: Row) -> int:
        """What is written of a row."""
        return round(((row.value or 0.0) + self.shift) * self.scale)


PLACES: dict[tuple[str, str | None], Place] = {
    ("heart_rate", None): Place(55, 27, U8),
    ("skin_temperature", None): Place(55, 12, S16, 100),
    ("cadence", None): Place(20, 4, U8),
    ("power", None): Place(20, 7, U16),
    ("speed", None): Place(20, 73, U32, 1000),
    ("altitude", None): Place(20, 78, U32, 5, 500),
    ("ambient_temperature", None): Place(20, 13, S8),
    ("body_temperature", None): Place(20, 139, U16, 100),
    ("resting_heart_rate", None): Place(211, 1, U8),
    ("spo2", None): Place(269, 0, U8),
    ("respiratory_rate", None): Place(297, 0, S16, 100),
    ("hrv_rmssd", None): Place(371, 0, U16, 128),
    ("hrv_rmssd", "mean of the night"): Place(370, 1, U16, 128),
    ("stress", None): Place(227, 0, S16, stamp=1),
    ("vo2max", None): Place(229, 2, U16, 10, stamp=0),
    ("weight", None): Place(30, 0, U16, 100),
    ("body_fat", None): Place(30, 1, U16, 100),
    ("body_water", None): Place(30, 2, U16, 100),
    ("bone_mass", None): Place(30, 4, U16, 100),
    ("muscle_mass", None): Place(30, 5, U16, 100),
    ("bmi", None): Place(30, 13, U16, 10),
    ("bp_systolic", None): Place(51, 0, U16),
    ("bp_diastolic", None): Place(51, 1, U16),
    ("body_battery", None): Place(314, 1, S8),
    ("steps", None): Place(304, 1, U32),
    ("rr_interval", None): Place(290, 1, U16),
}
#: Base type → numbers that are values: 0 is none of some, and the greatest says that there is none.
RANGES = {U8: (0, 254), S8: (-128, 126), U16: (0, 65_534), S16: (-(2**15), 2**15 - 2), U32: (0, 2**32 - 2)}
FEWEST = LEAST | {"rr_interval": 1}
LEVELS = {"unknown": 0, "awake": 1, "light": 2, "deep": 3, "rem": 4}
SPORTS = {"generic": 0, "running": 1, "cycling": 2, "swimming": 5, "training": 10, "walking": 11, "hiking": 17}
WORDS = {"biking": "cycling", "strength": "training"}
GARMIN, PRODUCT, MODEL = 1, 3290, "fenix6"
ACTIVITY, MONITORING, NIGHT = 4, 32, 49  # types of files


def watch(device: Device) -> Device:
    """A watch, by its serial number; one that is no number becomes one."""
    unit = device.unit
    known = unit is None or (unit.isdecimal() and unit == str(int(unit)) and 0 < int(unit) < 2**32)
    serial = unit if known else str(zlib.crc32((unit or "").encode()) or 1)
    return Device("garmin", MODEL, f"garmin {PRODUCT}", unit=serial)
