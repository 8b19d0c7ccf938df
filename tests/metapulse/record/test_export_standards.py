"""What the standards themselves say of an export: without anything of ours in it, and by a validator of FHIR."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.frame import without
from metapulse.record.metrics import metrics
from metapulse.record.readers.codes import CODES, METRIC
from metapulse.record.readers.fhir_own import MARK
from metapulse.record.readers.openmhealth_own import NAMESPACE, PROPERTY
from metapulse.record.schema import MARKS, STAGES, Device, Row
from metapulse.record.store import import_files
from metapulse.record.writers import export_record
from metapulse.record.writers.fhir_codes import UNITS, concept
from metapulse.record.writers.openmhealth import MEASURES
from tests.metapulse.record.conftest import BERLIN
from tests.metapulse.record.exports import NAMES, NOON, again, rows, stored

BAND = Device("Acme", "Band 2", "B2", "1.4", "S1")
PLAIN = st.builds(
    Row,
    metric=st.sampled_from(NAMES).filter(lambda name: name != "sleep_stage"),
    start=st.integers(NOON, NOON + 1000 * DAY),
    value=st.decimals(0, 500, places=2).map(float),
    row=st.integers(0, 1000),
    end=st.none(),
    offset_min=st.none() | st.integers(-840, 840),
    device=st.sampled_from([Device(), BAND, Device(model="A")]),
    **dict.fromkeys(("unit", "code", "raw", "origin"), st.none()),
    quality=st.just(()),
    file=st.just("a"),
)
#: Columns that FHIR says without anything of ours.
SAID = ("start", "end", "offset_min", "metric", "value", "unit", "device")


def resources(text: str) -> Iterator[dict[str, Any]]:
    """Of NDJSON."""
    return map(json.loads, text.splitlines())


def bare(resource: dict[str, Any]) -> dict[str, Any]:
    """Without extensions and tags."""
    kept = {key: value for key, value in resource.items() if key not in ("extension", "meta")}
    if "component" in kept:
        kept["component"] = [bare(part) for part in kept["component"]]
    if kept.get("resourceType") == "Device":
        kept["identifier"] = [name for name in kept["identifier"] if "system" not in name]
    return kept


def imported(path: Path, name: str, text: str) -> pl.DataFrame:
    """The record of a text."""
    path.with_name(name).write_text(text)
    import_files([path.with_name(name)], path.with_name("bare.parquet"))
    return pl.read_parquet(path.with_name("bare.parquet"))


# -- FHIR ---------------------------------------------------------------------


@settings(max_examples=25)
@given(made=st.lists(PLAIN, min_size=1, max_size=6), length=st.none() | st.integers(0, DAY))
def test_times_values_units_and_devices_are_fhirs_own(
    tmp_path_factory: pytest.TempPathFactory, made: list[Row], length: int | None
) -> None:
    path = tmp_path_factory.mktemp("bare") / "person.parquet"
    ends = [row._replace(end=None if length is None else row.start + length) for row in made]
    before = stored(path, ends)
    export_record(path, path.with_name("o.ndjson"), "fhir")
    text = "\n".join(json.dumps(bare(one)) for one in resources(path.with_name("o.ndjson").read_text()))
    after = imported(path, "bare.ndjson", text)
    assert sorted(after.select(SAID).rows(), key=repr) == sorted(before.select(SAID).rows(), key=repr)


def test_limits_errors_panels_days_and_typed_in_values_are_fhirs_own(tmp_path: Path) -> None:
    path, day = tmp_path / "person.parquet", NOON - 600 * MINUTE
    made = [
        Row("glucose", NOON, 400.0, quality=("censored_high",), offset_min=120),
        Row("glucose", NOON + 1, None, quality=("sensor_error",), offset_min=120),
        Row("bp_systolic", NOON + 2, 121.0, code="sitting", offset_min=120, row=1),
        Row("bp_diastolic", NOON + 2, 80.0, code="sitting", offset_min=120, row=2),
        Row("steps_daily", day, 8000.0, end=day + DAY, quality=("date_only",)),
        Row("weight", NOON + 3, 70.5, quality=("manual",), offset_min=120),
        Row("heart_rate", NOON + 4, 61.0, code="average", offset_min=120),
    ]
    stored(path, made)
    export_record(path, tmp_path / "o.ndjson", "fhir")
    found = list(resources((tmp_path / "o.ndjson").read_text()))
    after = imported(path, "bare.ndjson", "\n".join(json.dumps(bare(one)) for one in found))
    assert after.select("metric", "value", "code", "quality").rows() == [
        ("steps_daily", 8000.0, None, ["date_only"]),
        ("glucose", 400.0, None, ["censored_high"]),
        ("glucose", None, None, ["sensor_error"]),
        ("bp_diastolic", 80.0, "sitting", []),
        ("bp_systolic", 121.0, "sitting", []),
        ("weight", 70.5, None, []),
        ("heart_rate", 61.0, "average", []),
    ]
    by_code = {one["code"]["coding"][0]["code"]: one for one in found if one["resourceType"] == "Observation"}
    (patient,) = (one for one in found if one["resourceType"] == "Patient")
    assert patient.keys() == {"resourceType", "id"}
    assert by_code["29463-7"]["performer"] == [{"reference": f"Patient/{patient['id']}"}]
    assert by_code["41950-7"]["effectiveDateTime"] == "2024-04-03"
    halves = by_code["85354-9"]["component"]
    assert [half["code"]["coding"][0]["code"] for half in halves] == ["8453-3", "8459-0"]


def test_codes_are_read_as_the_metric_they_were_written_for() -> None:
    for name, metric in metrics().items():
        assert metric.unit in UNITS or metric.unit == "stage"
        for coding in concept(name, None)["coding"]:
            assert CODES[coding["code"]][:2] == (name, None) if coding["system"] != METRIC else coding["code"] == name
    assert concept("heart_rate", "minimum") == concept("heart_rate", None) | {
        "coding": [{"system": METRIC, "code": "heart_rate"}]
    }
    assert concept("glucose", "scan") == concept("glucose", None)
    used = [metric.loinc for metric in metrics().values() if metric.loinc]
    assert len(set(used)) == len(used)


@pytest.fixture(scope="module")
def valid() -> Any:
    """Raises where a resource is not of FHIR R4B, whose Observation, Device and Patient are those of R4."""
    pytest.importorskip("fhir.resources", reason="the validator is not installed: pip install fhir.resources")

    def check(resource: dict[str, Any]) -> None:
        kind = resource["resourceType"]
        getattr(importlib.import_module(f"fhir.resources.R4B.{kind.lower()}"), kind).model_validate(resource)

    return check


def test_the_validator_refuses_what_is_wrong(valid: Any) -> None:
    right = {"resourceType": "Observation", "status": "final", "code": concept("steps", None)}
    valid(right)
    for wrong in ({"effectiveDateTime": "2024-04-03T08:00:00"}, {"effectiveDateTime": "2024-04-03T08:00:00+15:00"},
                  {"valueQuantity": {"value": "x"}}, {"id": "a_b"}, {"heartRate": 61}):  # fmt: skip
        with pytest.raises(ValueError, match="validation error"):
            valid(right | wrong)


def test_every_metric_is_valid_in_every_form(tmp_path: Path, valid: Any) -> None:
    path = tmp_path / "person.parquet"
    made = [Row(name, NOON, 50.5, offset_min=120, device=BAND, file="a", raw="x") for name in NAMES]
    made += [Row(name, NOON, 50.0, end=NOON + 1, device=Device(app=" "), file="a", code="minimum") for name in NAMES]
    made += [Row("heart_rate", NOON + n, None, quality=(mark,), file="a") for n, mark in enumerate(MARKS, 1)]
    made += [Row("sleep_stage", NOON, None, end=NOON + MINUTE, code=stage, file="a") for stage in STAGES]
    stored(path, made)
    for name in ("o.json", "o.ndjson"):
        export_record(path, tmp_path / name, "fhir")
    for one in resources((tmp_path / "o.ndjson").read_text()):
        valid(one)
    bundle = json.loads((tmp_path / "o.json").read_text())
    valid(bundle)
    assert len({entry["fullUrl"] for entry in bundle["entry"]}) == len(bundle["entry"])
    inside = [entry["resource"] for entry in bundle["entry"]]
    referred = {one[key]["reference"] for one in inside for key in ("subject", "device") if key in one}
    assert referred < {entry["fullUrl"] for entry in bundle["entry"]}


@settings(max_examples=25)
@given(made=st.lists(rows(), min_size=1, max_size=12))
def test_any_row_is_valid(tmp_path_factory: pytest.TempPathFactory, valid: Any, made: list[Row]) -> None:
    path = tmp_path_factory.mktemp("valid") / "person.parquet"
    stored(path, made)
    export_record(path, path.with_name("o.ndjson"), "fhir")
    for one in resources(path.with_name("o.ndjson").read_text()):
        valid(one)


@pytest.mark.parametrize("kind", ["fhir_r4", "open_mhealth_schemas", "withings_api"])
def test_real_exports_are_valid_and_come_back(data_dir: Path, tmp_path: Path, valid: Any, kind: str) -> None:
    path = tmp_path / "person.parquet"
    import_files([data_dir / "exports" / kind], path, BERLIN)
    after, exported, _ = again(path, "fhir", "o.ndjson")
    assert after.equals(pl.read_parquet(path))
    assert exported.written == len(after)
    for one in list(resources((tmp_path / "o.ndjson").read_text()))[:300]:
        valid(one)


def test_tags_and_remarks_tell_what_fhir_has_no_element_for(tmp_path: Path) -> None:
    path = tmp_path / "person.parquet"
    stored(path, [Row("heart_rate", NOON, 61.0, quality=("low_confidence", "manual")), Row("strain", NOON, 9.0)])
    exported = export_record(path, tmp_path / "o.ndjson", "fhir")
    assert exported.remarks == {
        "the mark low_confidence: a tag of metapulse's": 1,
        "no code of LOINC or MDC: written under metapulse's own system": 1,
    }
    found = [one for one in resources((tmp_path / "o.ndjson").read_text()) if "meta" in one]
    assert [tag["code"] for tag in found[0]["meta"]["tag"] if tag["system"] == MARK] == ["low_confidence", "manual"]
    assert {row["why"]: row["rows"] for row in exported.reasons()} == exported.remarks


# -- Open mHealth -------------------------------------------------------------


@settings(max_examples=25)
@given(made=st.lists(rows(), min_size=1, max_size=12))
def test_only_measurements_are_under_a_schema(tmp_path_factory: pytest.TempPathFactory, made: list[Row]) -> None:
    """Without anything of ours its data points are those rows of the record, to the digit, that need no mark."""
    path = tmp_path_factory.mktemp("bare") / "person.parquet"
    before = stored(path, [Row("heart_rate", NOON - 1, 61.0, file="a"), *made])
    export_record(path, path.with_name("o.jsonl"), "openmhealth")
    points = list(resources(path.with_name("o.jsonl").read_text()))
    standard = [point for point in points if point["header"]["schema_id"]["namespace"] != NAMESPACE]
    for point in standard:
        del point["header"][PROPERTY]
        assert point["header"]["schema_id"]["namespace"] == "omh"
    after = imported(path, "bare.jsonl", "\n".join(map(json.dumps, standard)))
    columns = ("start", "end", "offset_min", "metric", "value", "unit")
    fit = without(
        before, ("censored_low", "censored_high", "implausible", "sensor_error", "superseded", "duplicate_of")
    )
    fit = set(fit.filter(pl.col("metric").is_in(list(MEASURES))).select(columns).rows())
    assert set(after.select(columns).rows()) <= fit
    assert len(after) >= len(standard)


def test_a_pressure_a_statistic_and_a_typed_in_value_are_open_mhealths_own(tmp_path: Path) -> None:
    path = tmp_path / "person.parquet"
    made = [
        Row("bp_systolic", NOON, 121.0, quality=("manual",)),
        Row("bp_diastolic", NOON, 80.0, quality=("manual",)),
        Row("heart_rate", NOON + 1, 61.0, end=NOON + DAY, code="average per d", device=Device(app="App")),
        Row("steps", NOON + 2, 10.0),
    ]
    stored(path, made)
    exported = export_record(path, tmp_path / "o.jsonl", "openmhealth")
    points = list(resources((tmp_path / "o.jsonl").read_text()))
    assert [point["header"]["schema_id"]["name"] for point in points] == ["blood-pressure", "heart-rate", "steps"]
    assert exported.remarks == {"an instant, where the schema has an interval: under the namespace metapulse": 1}
    for point in points:
        del point["header"][PROPERTY]
    after = imported(path, "bare.jsonl", "\n".join(map(json.dumps, points[:2])))
    assert after.select("metric", "value", "code", "quality").rows() == [
        ("bp_diastolic", 80.0, None, ["manual"]),
        ("bp_systolic", 121.0, None, ["manual"]),
        ("heart_rate", 61.0, "average per d", []),
    ]
    assert after["device"].struct.field("app").to_list() == ["unknown", "unknown", "App"]
    assert points[0]["header"]["creation_date_time"] == "2024-04-03T10:00:00+00:00"
