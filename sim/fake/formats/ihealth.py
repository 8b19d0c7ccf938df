"""iHealth: answers of its API. Whole seconds on the person's clock with the offset; 0 is no value.

The time asleep is not written: reading it always gives the time in bed as well, and a row is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import DAY, MINUTE, US
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.items import daily, gathered, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, floored, json_text, offset_text, plain, put

#: Metric → list, field, digits.
FIELDS: dict[str, tuple[str, str, int | None]] = {
    "glucose_blood": ("BG", "BG", None),
    "bp_systolic": ("BP", "HP", None),
    "bp_diastolic": ("BP", "LP", None),
    "spo2": ("BO", "BO", None),
    "weight": ("Weight", "WeightValue", 2),
    "bone_mass": ("Weight", "BoneValue", 2),
    "muscle_mass": ("Weight", "MuscaleValue", 2),
    "body_fat": ("Weight", "FatValue", 1),
    "body_water": ("Weight", "WaterValue", 1),
    "bmi": ("Weight", "BMI", 2),
    "time_in_bed": ("SR", "HoursSlept", None),
    "sleep_latency": ("SR", "FallSleep", None),
    "sleep_efficiency": ("SR", "SleepEfficiency", None),
    "sleep_disturbances": ("SR", "Awaken", None),
    "workout": ("SPORT", "SportName", None),
    "steps_daily": ("AR", "Steps", None),
    "total_energy": ("AR", "Calories", None),
    "distance": ("AR", "DistanceTraveled", 3),
}
UNITS = {"BG": "BGUnit", "BP": "BPUnit", "Weight": "WeightUnit", "AR": "DistanceUnit"}  # mg/dL, mmHg, kg, km: 0
MOMENTS = ("BG", "BO", "BP", "Weight")  # lists of what was measured at a moment
KM = 1000.0


def says(row: Row) -> Row | None:
    """What a cuff, a meter or a scale measured at a moment; nights without the time asleep, sports, totals of days."""
    if row.metric not in FIELDS or daily(row) != (FIELDS[row.metric][0] == "AR"):
        return None
    kind, _, digits = FIELDS[row.metric]
    told = floored(plain(row, "manual"), SECOND)._replace(device=Device("iHealth"), offset_min=row.offset_min or 0)
    long = told.end is not None and told.end > told.start
    length = ((told.end or told.start) - told.start) / MINUTE
    if kind == "SPORT":
        code = (row.code or "unknown").strip().lower()[:40]
        return told._replace(value=length, code=code) if long else None
    if row.value is None or row.code not in (None, "daily" if kind == "AR" else None):
        return None
    if row.metric == "time_in_bed":
        return told._replace(value=length) if long else None
    told = rounded(told, digits, KM if row.metric == "distance" else 1.0)
    if kind == "AR":
        return _of_day(told)
    return told._replace(end=told.end if kind == "SR" else None) if told.value else None


def _of_day(told: Row) -> Row | None:
    """The day where the person is."""
    offset = (told.offset_min or 0) * MINUTE
    start = (told.start + offset) // DAY * DAY - offset
    still = ("not_worn_suspected",) if told.metric == "steps_daily" and not told.value else ()
    told = told._replace(start=start, end=start + DAY, code=None, quality=(*told.quality, "date_only", *still))
    return told if told.value or still else None


def write(rows: Sequence[Row], making: Making) -> None:
    """A file a list; with traps newest first, in pages, with readings of 0, repeats and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    files: dict[str, list[dict[str, Any]]] = {}
    for item in gathered(told, lambda row: (FIELDS[row.metric][0], row.start, row.end, row.offset_min, _manual(row))):
        kind = FIELDS[next(iter(item.values())).metric][0]
        files.setdefault(kind, []).append(_reading(kind, list(item.values())))
    for kind, items in files.items():
        unit = {UNITS[kind]: 0} if kind in UNITS else {}
        nothing = [{**items[0], **dict.fromkeys((name for of, name, _ in FIELDS.values() if of == kind), 0)}]
        pages = [items[:1], [*nothing, *items[1:]]] if making.traps and kind in MOMENTS else [items]
        text = "\n".join(json_text({f"{kind}DataList": page, **unit, "RecordCount": len(page)}) for page in pages)
        torn = f'{{"{kind}DataList": [{{"LP": 1' if making.traps else ""
        put(making.folder / f"{kind}.json", text + torn)


def _manual(row: Row) -> bool:
    return "manual" in row.quality


def _reading(kind: str, rows: list[Row]) -> dict[str, Any]:
    """One reading, with the seconds of the person's clock."""
    row = rows[0]
    moved = (row.offset_min or 0) * MINUTE
    start, end = (row.start + moved) // US, None if row.end is None else (row.end + moved) // US
    item: dict[str, Any] = {
        "DataSource": "Manual" if _manual(row) else "FromDevice",
        "LastChangeTime": row.start // US + 60,
    }
    item |= {"TimeZone": offset_text(row.offset_min, "")}
    if kind == "SPORT":
        return {**item, "SportStartTime": start, "SportEndTime": end, "SportName": row.code}
    if kind == "SR":
        item |= {"StartTime": start} | ({} if end is None else {"EndTime": end})
    else:
        item |= {"MDate": start} | ({"Steps": None} if kind == "AR" else {})
    for each in rows:
        _, name, digits = FIELDS[each.metric]
        scale = KM if each.metric == "distance" else 1.0
        item[name] = 0 if each.metric == "time_in_bed" else written_value(each, digits, scale)
    return item


METRICS = frozenset(FIELDS)
FORMAT = Format("ihealth", "iHealth: answers of its API", METRICS, says, write, in_zone, lambda row: False)
