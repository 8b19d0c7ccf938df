"""Medtronic CareLink: the CSV of pumps and sensors. Whole seconds on a pump's clock that stays at home; newest first.

In the night when clocks go back a sensor's rows without a value, five minutes apart, lead over the hour that exists
twice, as they do while it warms up: so the order of rows tells which of two 02:30 is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metapulse.record.clock import MINUTE
from metapulse.record.readers.carelink import LIMITS
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, clock_in, in_zone
from metapulse.sim.fake.formats.items import limited, newest_first, rounded, wall_at_home, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, csv_text, floored, moment, of_day, plain, put

HEADER = (
    "Index", "Date", "Time", "New Device Time", "BG Reading (mg/dL)", "Linked BG Meter ID", "Basal Rate (U/h)",
    "Temp Basal Amount", "Temp Basal Type", "Temp Basal Duration (h:mm:ss)", "Bolus Type",
    "Bolus Volume Selected (U)", "Bolus Volume Delivered (U)", "Bolus Duration (h:mm:ss)", "Prime Type",
    "Prime Volume Delivered (U)", "Alarm", "BWZ Carb Ratio (g/U)", "BWZ Carb Input (grams)", "BWZ BG Input (mg/dL)",
    "Sensor Calibration BG (mg/dL)", "Sensor Glucose (mg/dL)", "ISIG Value", "Event Marker",
)  # fmt: skip
DUTCH = (
    "Index", "Datum", "Tijd", "Nieuwe apparaattijd", "BG-meetwaarde (mg/dL)", "ID gekoppelde BG-meter",
    "Basaalsnelheid (E/u)", "Tijdelijk basaal hoeveelheid", "Tijdelijk basaal type",
    "Tijdelijk basaal duur (h:mm:ss)", "Bolustype", "Geselecteerd bolusvolume (E)", "Toegediend bolusvolume (E)",
    "Bolusduur (h:mm:ss)", "Type vulling", "Toegediend vulvolume (E)", "Alarm", "BWZ KH-ratio (g/E)",
    "BWZ KH-invoer (gram)", "BWZ BG-invoer (mg/dL)", "Sensorkalibratie BG (mg/dL)", "Sensorglucose (mg/dL)",
    "ISIG-waarde", "Gebeurtenismarkering",
)  # fmt: skip
FINGER, BASAL, TEMPORARY, BOLUS, ALARM, CARBS, CALIBRATION, SENSOR, ISIG, MARKER = 4, 6, 7, 10, 16, 18, 20, 21, 22, 23
DIGITS = {"insulin_rapid": 3, "insulin_basal_rate": 3, "insulin": 2}  # of others none
LOW, HIGH = LIMITS["mg/dL"]
LONGEST = 999 * 3600 * SECOND
STEP, AROUND = 5 * MINUTE, 130 * MINUTE  # of rows that lead over an hour that exists twice


def says(row: Row) -> Row | None:
    """Whole mg/dL from 40 to 400, and errors; what a pump delivered, at which rate; what was eaten."""
    if of_day(row):
        return None
    told = floored(plain(row), SECOND)._replace(offset_min=None, device=_device(row.device))
    length = 0 if told.end is None else told.end - told.start
    told = rounded(told if 0 < length <= LONGEST else told._replace(end=None), DIGITS.get(row.metric))
    instant = told._replace(end=None, code=None)
    if row.metric == "glucose" and row.code is None:
        if "sensor_error" in row.quality:
            return instant._replace(value=None, quality=("sensor_error",))
        known = row.value is not None  # what is at a limit is beyond it
        return limited(instant, row.quality, (LOW + 1, HIGH - 1), (LOW, HIGH)) if known else None
    if row.value is None or row.metric not in METRICS or row.metric == "glucose":
        return None
    if row.metric == "insulin_rapid":
        return told._replace(code="normal" if told.end is None else "square")
    if row.metric == "insulin_basal_rate":
        return told._replace(code=None if told.end is None else "temporary")
    if row.metric == "glucose_blood":
        return instant._replace(code=row.code) if told.value and row.code in (None, "calibration") else None
    return instant._replace(quality=("manual",)) if told.value or row.metric == "insulin" else None


def _device(device: Device) -> Device:
    model = device.model if device.model and "MiniMed" in device.model else "MiniMed 780G"
    return Device("Medtronic", model, unit=device.unit)


def write(rows: Sequence[Row], making: Making) -> None:
    """A table for each device and kind; with traps in Dutch, `;` and decimal commas, repeats, alarms and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    if not told:
        return
    told = newest_first(again(told, making.rng) if making.traps else told)
    cut, end = (";", "\r\n") if making.traps else (",", "\n")
    head = ("Last Name", "First Name", "Patient ID", "System ID", "Start Date", "End Date", "Device", "MiniMed 780G")
    lines: list[Sequence[object]] = [head, ("X", "X", "", "", "", "", "Serial Number", "")]
    for device in sorted({row.device for row in told}, key=str):
        for kind in ("Pump", "Sensor"):
            chosen = [r for r in told if r.device == device and (r.metric == "glucose") == (kind == "Sensor")]
            if chosen:
                lines += [(), ("-------", device.model, kind, device.unit, "-------")]
                lines += [DUTCH if making.traps else HEADER, *_lines(chosen, making)]
    text = csv_text([*lines], cut, end)
    put(making.folder / "carelink.csv", text + ("99,00000;2024/04/0" if making.traps else ""))


def _lines(rows: Sequence[Row], making: Making) -> Iterator[list[str]]:
    leading = newest_first([*rows, *_leading(rows, making.zone)])
    for at, row in enumerate(leading):
        cells: list[object] = [""] * len(HEADER)
        when = moment(wall_at_home(row.start, making.zone))
        cells[:3] = f"{at}.00000" if making.traps else at, f"{when:%Y/%m/%d}", f"{when:%H:%M:%S}"
        for place, cell in _cells(row).items():
            cells[place] = cell
        if making.traps and not row.metric:
            cells[ALARM] = "LOST SENSOR"
        comma = making.traps
        yield [
            str(cell).replace(".", ",") if comma and place != MARKER else str(cell) for place, cell in enumerate(cells)
        ]


def _leading(rows: Sequence[Row], zone: str) -> list[Row]:
    """Rows without a value around those whose local time exists twice."""
    clock = clock_in(zone)
    twice = [r.start for r in rows if "clock_ambiguous" in clock.local(wall_at_home(r.start, zone)).marks]
    places = {at for s in twice for at in range((s - AROUND) // STEP * STEP, s + AROUND, STEP)}
    return [Row("", at, device=rows[0].device) for at in places]


def _cells(row: Row) -> dict[int, object]:
    """The cells of a row by column."""
    value = 0 if row.value is None else written_value(row, DIGITS.get(row.metric))
    seconds = ((row.end or row.start) - row.start) // SECOND
    length = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}" if seconds else ""
    if row.metric == "insulin_rapid":
        return dict(zip(range(BOLUS, BOLUS + 4), ((row.code or "").title(), value, value, length), strict=True))
    if row.metric == "insulin_basal_rate" and length:
        return dict(zip(range(TEMPORARY, TEMPORARY + 3), (value, "Rate", length), strict=True))
    if row.metric == "glucose_blood":
        return {CALIBRATION if row.code else FINGER: value}
    if row.metric == "insulin":
        return {MARKER: f"Insulin: {value:.2f}units"}
    if row.metric == "glucose":
        return {SENSOR: value, ISIG: "24.51"}
    return {ISIG: "23.90"} if not row.metric else {CARBS if row.metric == "carbohydrates" else BASAL: value}


METRICS = frozenset({"glucose", "glucose_blood", "insulin_rapid", "insulin_basal_rate", "insulin", "carbohydrates"})
FORMAT = Format("carelink", "Medtronic CareLink: CSV", METRICS, says, write, in_zone, placed=True)
