"""A device learns from its own record by a recipe that its own configuration names, whatever an instruction names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord

from metapulse.client.trust import read_client_config, read_policy
from metapulse.client.wire import WORK
from metapulse.record.clock import DAY, MINUTE
from metapulse.record.recipes.glucose import Glucose30
from metapulse.record.schema import Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from tests.client.test_hostile_instructions import changed

HERE = "tests.client.test_own_recipe"


class OwnRecipe(Glucose30):
    """A recipe of the device's own."""


@pytest.mark.parametrize("recipe", [f"{HERE}:OwnRecipe", {"name": f"{HERE}:OwnRecipe", "history_min": 60}])
def test_a_device_learns_by_its_own_recipe_whatever_an_instruction_names(recipe: Any, tmp_path: Path) -> None:
    """Its configuration may give the recipe by its name alone; an instruction's source is not even looked at."""
    start = 19_800 * DAY
    rows = [Row("glucose", start + 5 * i * MINUTE, 100.0 + i % 9, row=i) for i in range(60)]
    write_rows(rows, tmp_path / "person.parquet", FileTally("test", "test"))
    own = {"name": "records", "path": str(tmp_path / "person.parquet"), "recipe": recipe}
    policy = replace(read_policy({"source": json.dumps(own)}, 1), allow=())
    for asked in ({"name": "records", "path": "/etc", "recipe": "os:system"}, {"name": "own", "path": "/etc/passwd"}):
        work = read_client_config(ConfigRecord({WORK: changed(source=asked)}), policy)
        assert work.source.samples(1).x.shape[1:] == work.task.features
        assert len(work.source.samples(1)) > 10
