"""Treatments whose exports tell little of which state is the later one, and what their change stamps tell."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.metapulse.record.test_outdated import MEAL, counting, outdated, record_of


def of_one_name(folder: Path, *given: list[dict[str, object]]) -> pl.DataFrame:
    """The record of exports that are all called treatments.json; the same in every order and grouping."""
    paths = []
    for number, items in enumerate(given):
        path = folder / f"s{number}" / "treatments.json"
        path.parent.mkdir()
        path.write_text(json.dumps(items), encoding="utf-8")
        paths.append(path)
    return record_of(folder, paths)


def changed(at: int, **facts: object) -> list[dict[str, object]]:
    """The treatment as it was changed so many minutes after it was made."""
    return [{**MEAL, **facts, "srvModified": 1712138400000 + 60_000 * at}]


def test_of_two_states_in_files_of_one_name_one_counts(tmp_path: Path) -> None:
    """Nothing tells which is the later; it is the larger, as of nights."""
    made = of_one_name(tmp_path, [MEAL], [{**MEAL, "insulin": 3.5, "carbs": 45}])
    assert counting(made) == [("carbohydrates", 45), ("insulin_rapid", 4)]
    assert outdated(made) == [("carbohydrates", 40), ("insulin_rapid", 3.5)]


@pytest.mark.parametrize("facts", [{"eventType": "Bolus"}, {"enteredBy": "AAPS"}, {"eventType": ""}])
def test_of_two_kinds_or_devices_of_a_treatment_one_counts(facts: dict[str, object], tmp_path: Path) -> None:
    made = of_one_name(tmp_path, [{**MEAL, **facts, "carbs": None}], [{**MEAL, "carbs": None}])
    assert counting(made) == [("insulin_rapid", 4)]
    assert len(outdated(made)) == 1


def test_of_two_states_in_one_file_the_one_further_down_counts(tmp_path: Path) -> None:
    made = of_one_name(tmp_path, [MEAL, {**MEAL, "insulin": 3.5}])
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 3.5)]
