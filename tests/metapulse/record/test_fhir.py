"""FHIR: values of every form, the devices they refer to, and files that are not quite as the standard has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metapulse.record.clock import zone
from metapulse.record.metrics import metrics
from metapulse.record.readers.base import Options
from metapulse.record.readers.codes import CODES
from metapulse.record.store import import_files
from metapulse.record.units import conversion
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES

HEART_RATE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}


def observation(**members: Any) -> dict[str, Any]:
    """An Observation of a heart rate, unless told otherwise."""
    given = {"code": HEART_RATE, "effectiveDateTime": "2024-04-03T08:00:00+02:00", **members}
    return {"resourceType": "Observation", "status": "final", **{k: v for k, v in given.items() if v is not None}}


def of(value: object, unit: str = "/min", **members: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, **members}


def lines(*resources: object) -> str:
    return "\n".join(json.dumps(resource) for resource in resources)


def short(made: pl.DataFrame) -> list[tuple[Any, ...]]:
    return made.select("metric", "value", "code", "unit", "quality").rows()


def test_the_sample(record: Import) -> None:
    made, tally = record({"bundle.json": SAMPLES["bundle.json"]})
    assert short(made) == [
        ("heart_rate", 61.0, None, "/min", []),
        ("bp_diastolic", 40.0, None, "mm[Hg]", ["censored_low"]),
        ("bp_systolic", 121.0, None, "mm[Hg]", []),
        ("ecg", 11.0, "lead I", "uV", []),
        ("ecg", 12.0, "lead I", "uV", []),
        ("ecg", None, "lead I", "uV", ["sensor_error"]),
        ("ecg", -10.0, "lead I", "uV", ["censored_low"]),
    ]
    series = made.filter(pl.col("metric") == "ecg")
    assert series["start"].diff().dt.total_milliseconds().to_list() == [None, 250, 250, 250]
    assert series["end"].null_count() == 4
    device = {"manufacturer": "Acme", "model": "Band 2", "hardware": None, "firmware": "1.2", "unit": "S1", "app": None}
    assert made["device"].to_list() == [device, *[None] * 6]
    (file,) = tally.files.values()
    assert file.skipped == {"Device: no measurement": 1}


def test_an_array_and_lines_and_single_resources_are_the_same(record: Import) -> None:
    resources = [observation(valueQuantity=of(61)), observation(valueQuantity=of(62))]
    bundle = {"entry": [{"resource": r} for r in resources], "resourceType": "Bundle"}  # in order of the alphabet
    bare = {"resourceType": "Bundle", "entry": resources}  # without wrappers
    for text in (lines(*resources), json.dumps(resources), json.dumps(bundle), lines(bundle), json.dumps(bare)):
        made, _ = record({"file": "\ufeff" + text})
        assert made["value"].to_list() == [61.0, 62.0]


def test_lines_of_bundles_longer_than_a_head(record: Import) -> None:
    entry = {"resource": observation(valueQuantity=of(61), text={"div": "x" * 1000})}
    made, tally = record({"file": lines(*[{"resourceType": "Bundle", "entry": [entry] * 100}] * 2)})
    assert tally.records == len(made) == 200


def test_a_broken_resource_costs_itself(record: Import) -> None:
    good = json.dumps({"resource": observation(valueQuantity=of(61))})
    broken = '{"resource": {"resourceType": "Observation", "status": final}}'
    made, tally = record({"file": f'{{"resourceType": "Bundle", "entry": [{good}, {broken}, {good}, 5, {good[:60]}'})
    (file,) = tally.files.values()
    assert made["value"].to_list() == [61.0, 61.0]
    assert file.skipped == {"no JSON": 1, "no resource": 1, "torn at the end of the file": 1}


@pytest.mark.parametrize(
    ("members", "value", "marks"),
    [
        ({"valueQuantity": of("61")}, 61.0, []),
        ({"valueQuantity": of("<25")}, 25.0, ["censored_low"]),
        ({"valueQuantity": of(240, comparator=">=")}, 240.0, ["censored_high"]),
        ({"valueQuantity": {"value": 61}}, 61.0, ["unit_assumed"]),
        ({"valueInteger": 61}, 61.0, ["unit_assumed"]),
        ({"valueString": "61 bpm"}, 61.0, []),
        ({"valueString": ">240 bpm"}, 240.0, ["censored_high"]),
        ({"dataAbsentReason": {"coding": [{"code": "error"}]}}, None, ["sensor_error"]),
        ({"valueQuantity": of(61, "furlong")}, 61.0, ["unit_unknown"]),
        ({"valueQuantity": of(1, "Hz")}, 60.0, []),
        ({"valueQuantity": of(61), "status": "preliminary"}, 61.0, []),
        ({"valueQuantity": of(61), "effectiveDateTime": "2024-04-03T08:00"}, 61.0, ["zone_assumed"]),
    ],
)
def test_forms_of_a_value(record: Import, members: dict[str, Any], value: float | None, marks: list[str]) -> None:
    made, _ = record({"file": json.dumps(observation(**members))})
    assert (made["value"].to_list(), made["quality"].to_list()) == ([value], [marks])
    assert made["start"][0].hour == 6


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"status": "entered-in-error", "valueQuantity": of(300)}, "status entered-in-error"),
        ({"dataAbsentReason": {"coding": [{"code": "unknown"}]}}, "no value: unknown"),
        ({"valueCodeableConcept": {"text": "fast"}}, "a value that is no number"),
        ({}, "no value"),
        ({"valueQuantity": of(61), "effectiveDateTime": "2024-04"}, "no time that is a day or an instant"),
        ({"valueQuantity": of(61), "effectiveDateTime": None}, "no time that is a day or an instant"),
        ({"valueQuantity": of(1), "code": {"coding": [{"code": "20570-8"}]}}, "code 20570-8: no metric of the record"),
        ({"code": {"coding": []}, "component": [], "hasMember": []}, "code unknown: no metric of the record"),
    ],
)
def test_what_is_no_value_is_counted_away(record: Import, members: dict[str, Any], why: str) -> None:
    _, tally = record({"file": json.dumps(observation(**members))})
    (file,) = tally.files.values()
    assert (tally.records, file.skipped) == (0, {why: 1})


def test_times(record: Import) -> None:
    """A period of days ends with its last day; a timing with one event is that event."""
    days = observation(valueQuantity=of(61), effectivePeriod={"start": "2024-05-01", "end": "2024-05-31"})
    event = observation(valueQuantity=of(62), effectiveTiming={"event": ["2024-05-01T10:00:00Z"]})
    for resource in (days, event):
        del resource["effectiveDateTime"]
    made, _ = record({"file": lines(days, event)}, Options(zone("UTC")))
    assert made["start"].dt.to_string("%F %H").to_list() == ["2024-05-01 00", "2024-05-01 10"]
    assert made["end"].dt.to_string("%F").to_list() == ["2024-06-01", None]
    assert made["quality"].to_list() == [["date_only"], []]


def test_what_the_guide_for_sensors_of_glucose_has(record: Import) -> None:
    """Readings in mass and in moles, means of a month, and summaries that are no metric of ours."""

    def one(code: str, value: float, unit: str) -> dict[str, Any]:
        coded = {"coding": [{"system": "http://loinc.org", "code": code}]}
        return observation(code=coded, valueQuantity={"value": value, "unit": unit, "code": unit})

    values = (
        ("99504-3", 120.0, "mg/dL"),
        ("105272-9", 6.7, "mmol/L"),
        ("97507-8", 145.0, "mg/dL"),
        ("97506-0", 6.8, "%"),
    )
    made, tally = record({"file": lines(*(one(*value) for value in values))})
    assert short(made) == [
        ("glucose", 120.0, None, "mg/dL", []),
        ("glucose", pytest.approx(120.70, abs=0.01), None, "mg/dL", []),
        ("glucose", 145.0, "average", "mg/dL", []),
    ]
    (file,) = tally.files.values()
    assert file.skipped == {"code 97506-0: no metric of the record": 1}


@pytest.mark.parametrize(
    ("reference", "wrapped"),
    [
        ("Device/w1", {"resource": {"id": "w1"}}),
        ("https://example.org/fhir/Device/w1/_history/3", {"resource": {"id": "w1"}}),
        ("urn:uuid:7", {"fullUrl": "urn:uuid:7", "resource": {}}),
    ],
)
def test_devices_by_reference(record: Import, reference: str, wrapped: dict[str, Any]) -> None:
    wrapped["resource"] |= {"resourceType": "Device", "deviceName": [{"name": "Band", "type": "user-friendly-name"}]}
    entries = [{"resource": observation(valueQuantity=of(61), device={"reference": reference})}, wrapped]
    made, _ = record({"file": json.dumps({"resourceType": "Bundle", "entry": entries})})
    assert made["device"][0]["model"] == "Band"


def test_devices_in_a_file_beside_it(tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "Observation.ndjson").write_text(lines(observation(valueInteger=61, device={"reference": "Device/w1"})))
    (export / "Device.ndjson").write_text(lines({"resourceType": "Device", "id": "w1", "manufacturer": "Acme"}))
    tally = import_files([export], tmp_path / "person.parquet")
    assert pl.read_parquet(tmp_path / "person.parquet")["device"][0]["manufacturer"] == "Acme"
    assert [file.skipped for file in tally.in_order()] == [{"Device: no measurement": 1}, {}]


def test_devices_within_an_observation_and_by_name(record: Import) -> None:
    inside = {"resourceType": "Device", "id": "d", "manufacturer": "Acme", "serialNumber": "S2"}
    made, _ = record({"file": json.dumps(observation(valueInteger=61, contained=[inside], device={"reference": "#d"}))})
    assert (made["device"][0]["manufacturer"], made["device"][0]["unit"]) == ("Acme", "S2")
    made, _ = record(
        {"file": json.dumps(observation(valueInteger=61, device={"reference": "Device/x", "display": "Ring"}))}
    )
    assert (made["device"][0]["model"], made["device"][0]["unit"]) == ("Ring", "Device/x")


def test_more_than_one_subject_is_told(record: Import) -> None:
    one, other = (observation(valueQuantity=of(61), subject={"reference": f"Patient/{name}"}) for name in "ab")
    _, tally = record({"file": lines(one, other)})
    (file,) = tally.files.values()
    assert file.notes["Observations of more than one subject: all were read"] == 1


def test_a_part_without_a_metric_beside_one_with_one_is_noted(record: Import) -> None:
    flow = {"code": {"coding": [{"system": "http://loinc.org", "code": "3151-8"}]}, "valueQuantity": of(2, "L/min")}
    made, tally = record({"file": json.dumps(observation(valueQuantity=of(61), component=[flow]))})
    (file,) = tally.files.values()
    assert len(made) == 1
    assert file.notes == {"a part was left out: code 3151-8: no metric of the record": 1}


def test_every_code_is_a_metric_with_its_unit() -> None:
    """LOINC codes end in a check digit: of their digits, every second one from the right doubled (Luhn)."""
    for code, meaning in CODES.items():
        assert meaning.metric in metrics(), code
        assert conversion(meaning.metric, meaning.unit).known, code
        if "-" in code:
            digits = [int(d) * (2 if at % 2 == 0 else 1) for at, d in enumerate(reversed(code.split("-")[0]))]
            assert (10 - sum(d // 10 + d % 10 for d in digits) % 10) % 10 == int(code[-1]), code
