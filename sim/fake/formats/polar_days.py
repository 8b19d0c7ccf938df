"""Polar Flow's files of days: totals and steps, heart rate, beats, what is known of a night by its date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import DAY, US
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Making, walls
from metapulse.sim.fake.formats.items import daily, gathered, written_value
from metapulse.sim.fake.formats.parts import iso
from metapulse.sim.fake.formats.polar_keys import ACTIVE, BREATH, NIGHTLY, SUMMARY, polar_date, polar_duration


def polar_days(told: Sequence[Row], making: Making) -> list[tuple[str, dict[str, Any]]]:
    """Totals of days, and steps of their minutes."""
    of_days = [row for row in told if daily(row) and (row.metric in SUMMARY or row.metric.endswith("_minutes"))]
    items: dict[str, list[dict[str, Any]]] = {}
    for item in gathered(of_days, lambda row: polar_date(row, making), lambda row: (row.metric, row.code)):
        levels = [
            {"level": ACTIVE[row.code] if row.code else "SEDENTARY", "duration": polar_duration(row)}
            for row in item.values()
            if row.metric not in SUMMARY
        ]
        summary = {SUMMARY[row.metric]: written_value(row, None) for row in item.values() if row.metric in SUMMARY}
        day = {"summary": {**summary, "activityLevels": levels}, "samples": {"mets": [], "steps": []}}
        items.setdefault(polar_date(next(iter(item.values())), making), []).append(day)
    for row in told:
        if row.metric == "steps":
            stamp = iso(walls(row, making.zone)[0], "", 0)
            days = items.setdefault(stamp[:10], [])
            days += [] if days else [{"samples": {"mets": [], "steps": []}}]
            days[0]["samples"]["steps"].append({"localTime": stamp[11:], "value": written_value(row, None)})
    return [
        (f"activity-{date}", {"exportVersion": "1.2", "date": date, **day}) for date in items for day in items[date]
    ]


def polar_recoveries(told: Sequence[Row], making: Making) -> list[dict[str, Any]]:
    """What is of a night and has its date alone."""
    dated = [row for row in told if row.metric in (*NIGHTLY, "sleep_score", "respiratory_rate") and daily(row)]
    nights = []
    for item in gathered(dated, lambda row: polar_date(row, making)):
        night: dict[str, Any] = {"night": polar_date(next(iter(item.values())), making), "sleepStateChanges": None}
        for metric, row in item.items():
            if metric == "sleep_score":
                night["sleepScoreResult"] = {"sleepScore": written_value(row, None)}
            elif metric == "respiratory_rate":
                night[BREATH] = round(60_000 / (row.value or 1.0))
            else:
                night[NIGHTLY[str(metric)]] = written_value(row, None)
        nights.append(night)
    return nights


def polar_pulse(pulse: Sequence[Row], making: Making) -> list[dict[str, Any]]:
    """Heart rate by device, day and second of the day."""
    days: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in pulse:
        wall = walls(row, making.zone)[0]
        sample = {"heartRate": written_value(row, None), "secondsFromDayStart": wall % DAY // US, "source": "24_7"}
        days.setdefault((iso(wall)[:10], row.device.unit), []).append(sample)
    return [{"date": date, "deviceId": unit, "samples": samples} for (date, unit), samples in days.items()]


def polar_beats(beats: Sequence[Row], making: Making) -> list[dict[str, Any]]:
    """Beats by device."""
    devices: dict[str | None, list[dict[str, Any]]] = {}
    for row in beats:
        sample = {"sampleDateTime": iso(walls(row, making.zone)[0], ""), "pulseLength": written_value(row, None)}
        devices.setdefault(row.device.unit, []).append(sample)
    return [{"deviceId": unit, "ppiSamples": samples} for unit, samples in devices.items()]
