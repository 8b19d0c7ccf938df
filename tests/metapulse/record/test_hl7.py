"""HL7 v2: numbers with limits, times with and without zones, codes in either place, and messages one after another."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from metapulse.record.clock import zone
from metapulse.record.readers.base import Options
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES

MSH = "MSH|^~\\&|LAB|H|X|X|20240703101500+0300||ORU^R01|M1|P|2.5.1"
NOWHERE = Options()


def obx(value: str, *, kind: str = "NM", code: str = "8867-4^Heart rate^LN", unit: str = "/min", **other: str) -> str:
    """A result; ``status`` and ``time`` may be told."""
    time = other.get("time", "20240403080000+0200")
    return f"OBX|1|{kind}|{code}||{value}|{unit}|||||{other.get('status', 'F')}|||{time}"


def text(*segments: str) -> str:
    return "\r".join((MSH, *segments))


def short(made: pl.DataFrame) -> list[tuple[Any, ...]]:
    return made.select("metric", "value", "unit", "quality").rows()


def test_the_sample(record: Import) -> None:
    made, tally = record({"oru.hl7": SAMPLES["oru.hl7"]})
    assert short(made) == [
        ("glucose_lab", 40.0, "mg/dL", ["censored_low"]),
        ("heart_rate", 61.0, "/min", []),
    ]
    assert made["raw"].to_list() == ["<40 mg/dL", None]
    assert made["device"][1] == dict.fromkeys(("manufacturer", "model", "hardware", "firmware")) | {
        "unit": "METER7", "app": "GATEWAY",
    }  # fmt: skip
    (file,) = tally.files.values()
    assert file.skipped["code 8251-1: no metric of the record"] == 1
    assert (made["end"][1] - made["start"][1]).total_seconds() == 600  # from OBR-7 to OBR-8


@pytest.mark.parametrize("ends", ["\r", "\n", "\r\n"])
def test_messages_in_frames_and_batches(record: Import, ends: str) -> None:
    """Each message with its own separators."""
    other = "MSH#*~\\&#A#####20240403101500##ORU*R01#\rOBX#1#NM#8867-4*HR*LN##70#{beats}/min#####F###20240403+0200"
    batch = f"FHS|^~\\&|\r\x0b{text(obx('61'), obx('62'))}\r\x1c\r\x0b{other}\r\x1c\r".replace("\r", ends)
    made, _ = record({"file": "\ufeff" + batch})
    assert sorted(made["value"].to_list()) == [61.0, 62.0, 70.0]
    assert made.filter(pl.col("value") == 70)["quality"].to_list() == [["date_only"]]


@pytest.mark.parametrize(
    ("segment", "values", "marks"),
    [
        (obx("<^40", kind="SN"), [40.0], ["censored_low"]),
        (obx(">=^140", kind="SN"), [140.0], ["censored_high"]),
        (obx("^61", kind="SN"), [61.0], []),
        (obx("<40"), [40.0], ["censored_low"]),
        (obx("61", kind="ST"), [61.0], []),
        (obx("61~62"), [61.0, 62.0], []),
        (obx("61", unit=""), [61.0], ["unit_assumed"]),
        (obx("61", unit="bpm^beats^L"), [61.0], []),
        (obx("61", unit="264864^MDC_DIM_BEAT_PER_MIN^MDC"), [61.0], []),
        (obx("61", code="HR^Pulse^L^8867-4^Heart rate^LN"), [61.0], []),
        (obx("61", code="8867-4^HEART RATE^NRAT:PT:XXX:QN"), [61.0], []),
    ],
)
def test_forms_of_a_value(record: Import, segment: str, values: list[float], marks: list[str]) -> None:
    made, _ = record({"file": text(segment)})
    assert (made["value"].to_list(), made["quality"].to_list()) == (values, [marks] * len(values))


@pytest.mark.parametrize(
    ("segment", "why"),
    [
        (obx("60^-^70", kind="SN"), "no value that is a number"),
        (obx("^1^:^128", kind="SN"), "no value that is a number"),
        (obx('""'), "no value that is a number"),
        (obx("a \\T\\ b", kind="ST"), "no value that is a number"),
        (obx("61", kind="TX"), "a value of type TX, which is no number"),
        (obx("61", status="W"), "status W: wrong"),
        (obx("27~25", status="I"), "status I: not finished"),
        (obx("61", code="8867-4^HR^SCT"), "code 8867-4: no metric of the record"),
        (obx("61", time=""), "no time that is a day or an instant"),
        (obx("61", time="202404"), "no time that is a day or an instant"),
        ("OBX", "code unknown: no metric of the record"),
        ("some text", "no segment"),
        ("ZXX|1", "a segment ZXX: no result"),
    ],
)
def test_what_is_no_value_is_counted_away(record: Import, segment: str, why: str) -> None:
    _, tally = record({"file": text(segment)})
    (file,) = tally.files.values()
    assert tally.records == 0
    assert file.skipped[why] == 1


@pytest.mark.parametrize(
    ("time", "options", "hour", "offset", "marks"),
    [
        ("20240403080000+0200", NOWHERE, 6, 120, []),
        ("202404030800-0500", NOWHERE, 13, -300, []),
        ("20240403080000.1234+0000", NOWHERE, 8, 0, []),
        ("2024040308+0200", NOWHERE, 6, 120, []),
        ("20240403080000", NOWHERE, 5, 180, ["zone_assumed"]),  # of the message's own time
        ("20240403080000", Options(zone("Europe/Berlin")), 6, 120, ["zone_assumed"]),
        ("20240403", NOWHERE, 21, 180, ["date_only"]),
    ],
)
def test_times(record: Import, time: str, options: Options, hour: int, offset: int, marks: list[str]) -> None:
    made, _ = record({"file": text(obx("61", time=time))}, options)
    assert (made["start"][0].hour, made["offset_min"][0], made["quality"][0].to_list()) == (hour, offset, marks)


def test_a_result_without_a_time_has_that_of_its_request(record: Import) -> None:
    """As in a message whose one result names LOINC by its axes."""
    request = "OBR|1|845439^GHH OE|1045813^GHH LAB|15545^GLUCOSE|||20020215073000+0600"
    result = "OBX|1|SN|1554-5^GLUCOSE^POST 12H CFST:MCNC:PT:SER/PLAS:QN||^182|mg/dl|70_105|H|||F"
    made, _ = record({"file": text(request, result)})
    assert short(made) == [("glucose_lab", 182.0, "mg/dL", [])]
    assert made["code"].to_list() == ["fasting"]
    assert made["start"][0].isoformat() == "2002-02-15T01:30:00+00:00"


def test_a_value_that_its_field_repeats_is_counted(record: Import) -> None:
    made, tally = record({"file": text(obx("61~61~62"))})
    (file,) = tally.files.values()
    assert (made["value"].to_list(), file.kept, tally.again) == ([61.0, 62.0], 2, 0)
    assert file.notes["a value that its field repeats: it is there once"] == 1


def test_results_of_two_people_are_told(record: Import) -> None:
    _, tally = record({"file": text("PID|1||A", obx("61"), "PID|1||B", obx("62"))})
    (file,) = tally.files.values()
    assert file.notes["results of more than one person: all were read"] == 1
