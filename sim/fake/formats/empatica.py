"""Empatica E4: a folder a session, a file a sensor, a sample a line. A line that is empty keeps its place in time.

Acceleration is not written: its line has three axes, and a row is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.clock import MINUTE, US
from metapulse.record.readers.empatica import SERIES
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.items import rounded
from metapulse.sim.fake.formats.parts import again, of_day, plain, put

#: Metric → file, rate in Hz, digits.
FILES = {metric: (name, round(rate), 2) for name, (metric, _, rate) in SERIES.items() if metric != "acceleration"}
FILES["eda"] = ("EDA", 4, 6)
BEATS, DIGITS = "rr_interval", 6  # s
SESSIONS = 8  # that are worn at one time, at most
LONGEST = 6 * MINUTE  # between two samples of one session


def says(row: Row) -> Row | None:
    """Samples at the sensor's rate, beats by the µs; no offset; the device's number where it is an E4's."""
    if row.value is None or row.code is not None or of_day(row):
        return None
    told = plain(row)._replace(device=_device(row.device), end=None, offset_min=None)
    if row.metric == BEATS:
        return rounded(told, DIGITS, 1000.0)
    if row.metric not in FILES:
        return None
    _, rate, digits = FILES[row.metric]
    told = rounded(told, digits)._replace(start=row.start * rate // US * US // rate)
    return told._replace(quality=("not_worn_suspected",)) if row.metric == "eda" and not told.value else told


def _device(device: Device) -> Device:
    serial = device.unit or ""
    known = len(serial) == 6 and serial[0] == "A" and set(serial[1:]) <= set("0123456789ABCDEF")
    return Device("Empatica", "E4", unit=serial if known else None)


def write(rows: Sequence[Row], making: Making) -> None:
    """A folder a session; with traps repeats, marks of the button, a text about the files and half a beat."""
    told = [row for row in map(says, rows) if row is not None]
    told = again(told, making.rng) if making.traps else told
    sessions = 0
    for device in sorted({row.device for row in told}, key=str):
        mine = [row for row in told if row.device == device]
        for metric in sorted({row.metric for row in mine}):
            series = [row for row in mine if row.metric == metric]
            for session in [series] if metric == BEATS else _sessions(series, FILES[metric][1]):
                serial = f"_{device.unit}" if device.unit else ""
                folder = making.folder / f"{session[0].start // US}-{sessions}{serial}"
                name, text = ("IBI", _beats(session, making)) if metric == BEATS else _samples(session, making)
                put(folder / f"{name}.csv", text)
                if making.traps and not sessions:
                    put(folder / "tags.csv", f"{session[0].start // US}.00\r\n")
                    put(folder / "info.txt", ".csv files in this archive are in the following format:\n")
                sessions += 1


def _sessions(series: Sequence[Row], rate: int) -> list[list[Row]]:
    """Samples that one file can hold: in order of time, none twice, no gap too long."""
    sessions: list[list[Row]] = []
    for row in series:
        recent = sessions[-SESSIONS:]
        open_session = next((each for each in recent if US // rate <= row.start - each[-1].start <= LONGEST), None)
        if open_session is None:
            sessions.append([row])
        else:
            open_session.append(row)
    return sessions


def _samples(session: Sequence[Row], making: Making) -> tuple[str, str]:
    """Name and text: the first sample is at the whole second before, or at it."""
    name, rate, digits = FILES[session[0].metric]
    begin = session[0].start // US
    lines = [f"{begin}.000000", f"{rate}.000000"]
    for row in session:
        at = 2 + (row.start - begin * US) * rate // US
        lines += [""] * (at - len(lines)) + [f"{row.value:.{digits}f}"]
    end = "\r\n" if making.traps else "\n"
    return name, end.join(lines) + end


def _beats(beats: Sequence[Row], making: Making) -> str:
    begin = beats[0].start // US
    lines = [f"{begin}.000000, IBI"]
    lines += [f"{(row.start - begin * US) / US:.6f},{(row.value or 0.0) / 1000:.{DIGITS}f}" for row in beats]
    return "\n".join(lines) + "\n" + (f"{(beats[-1].start - begin * US) / US + 1:.6f}," if making.traps else "")


METRICS = frozenset({*FILES, BEATS})
FORMAT = Format("empatica", "Empatica E4: CSV files of sessions", METRICS, says, write, in_zone, placed=True)
