"""Units as they are written, conversions, and the table of metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import DataError
from metapulse.record.metrics import MERGES, metric, metrics
from metapulse.record.units import EXACT, SPELLINGS, UNITS, Conversion, conversion, ucum


def converted(name: str, value: float, unit: str | None) -> float:
    to = conversion(name, unit)
    assert to.known
    return value * to.scale + to.shift


@pytest.mark.parametrize(
    ("name", "value", "unit", "wanted"),
    [
        ("glucose", 5.5, "mmol/L", 99.0858),
        ("glucose", 5.5, "mmol<180.1558800000541>/L", 99.0857),
        ("glucose_lab", 1.0, "g/L", 100),
        ("glucose_rate", 0.1, "mmol/l/min", 1.80156),
        ("ketones", 0.4, "mmol/L", 0.4),
        ("active_energy", 418.4, "kJ", 100),
        ("active_energy", 100, "Cal", 100),
        ("active_energy", 100_000, "cal", 100),
        ("distance", 1.5, "mi", 2414.016),
        ("distance", 2.4, "Km", 2400),
        ("weight", 165.3, "lb", 74.97882),
        ("body_temperature", 98.6, "degF", 37),
        ("body_temperature", 310.15, "K", 37),
        ("spo2", 0.97, "1", 97),
        ("sleep_duration", 7.5, "h", 450),
        ("sleep_duration", 27_000, "sec", 450),
        ("bp_systolic", 16.0, "kPa", 120.00987),
        ("insulin_rapid", 4, "Einheiten", 4),
        ("insulin_basal_rate", 0.85, "E/u", 0.85),
        ("heart_rate", 1.0, "count/s", 60),
        ("heart_rate", 61, "{beats}/min", 61),
        ("ecg", 0.5, "mV", 500),
        ("eda", 2.0, "µS", 2.0),
        ("height", 173, "cm", 1.73),
    ],
)
def test_values_in_canonical_units(name: str, value: float, unit: str, wanted: float) -> None:
    assert converted(name, value, unit) == pytest.approx(wanted, rel=1e-6)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(sorted(metrics())))
def test_a_canonical_value_stays_to_the_digit(value: float, name: str) -> None:
    assert converted(name, value, None) == converted(name, value, metric(name).unit) == value


@pytest.mark.parametrize(
    ("name", "unit"), [("glucose", "kg"), ("weight", "furlong"), ("ketones", "mg/dL"), ("steps", "")]
)
def test_a_unit_of_something_else_changes_nothing(name: str, unit: str) -> None:
    assert conversion(name, unit) == Conversion(unit, 1.0, 0.0, False)


def test_every_spelling_is_of_a_unit_and_ucum_is_itself() -> None:
    assert {*SPELLINGS.values(), *EXACT.values()} <= UNITS.keys()
    assert all(ucum(unit) == unit for unit in UNITS)
    assert all(spelling == "".join(spelling.lower().split()) for spelling in SPELLINGS)


def test_the_table_of_metrics_is_whole() -> None:
    for name, entry in metrics().items():
        assert entry.name == name
        assert entry.merge in MERGES
        assert entry.unit in UNITS, name
        assert entry.low is None or entry.high is None or entry.low < entry.high, name
        assert not entry.schema or len(entry.schema.split(":")) == 3, name
    with pytest.raises(DataError, match="temperament"):
        metric("temperament")
