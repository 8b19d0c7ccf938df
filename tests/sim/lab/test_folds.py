"""Folds over people: every person is tested once, and all folds are one family."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from metapulse.errors import ConfigError
from metapulse.server.config import build_config
from metapulse.server.split import Split
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.lab.cells import comparison_cells
from metapulse.sim.lab.compare import judge_methods
from tests.lab import SPEC, Ear, spec, tables_only
from tests.sim.lab.results import results
from tests.sim.lab.test_compare import METHODS, world

FOLDS = SPEC.replace("seeds = [0, 1]", "seeds = [0, 1]\nfolds = 3")


@pytest.mark.parametrize(("users", "folds"), [(10, 3), (7, 7), (9, 2)])
def test_everybody_is_tested_once_and_validates_apart(users, folds):
    people = np.arange(users)
    phases = np.stack([Split(users, 0.2, 0.5, 4, folds=folds, fold=fold).phases(people) for fold in range(folds)])
    assert ((phases == "test").sum(0) == 1).all()
    assert ((phases == "validation").sum(1) == round(0.2 * users)).all()
    sizes = (phases == "test").sum(1)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    "split",
    [
        {"folds": 1},
        {"folds": 3, "fold": 3},
        {"fold": 1},
        {"folds": 3, "test_users": ["1"]},
        {"folds": 2, "validation": 0.6},
    ],
)
def test_folds_that_cannot_be_are_refused(split):
    with pytest.raises(ConfigError, match=r"split\."):
        build_config({"split": split})


def test_known_people_and_tuning_have_no_folds(tmp_path):
    with pytest.raises(ConfigError, match="held-out people only"):
        spec(
            tmp_path,
            FOLDS.replace("evaluation = {", 'evaluation = { scenarios = ["known_user"],', 1).replace(
                ", validation_every = 2", ""
            ),
        )
    with pytest.raises(ConfigError, match=r"tuning\.trials"):
        spec(tmp_path, FOLDS + "[tuning]\ntrials = 3\n")


def test_folds_are_one_family_over_all_people():
    """Numbers of the same people, once of one split and once of four that each test some of them: the same pairs."""
    table = results(world(12), METHODS, shots=(1, 5), steps=(1,)).filter(pl.col("phase") == "test")
    parts = table.with_columns(fold=(pl.col("client") % 4).cast(pl.Int64))
    one, four = (judge_methods(t, "t", "base", METHODS, ["data"], range(5)) for t in (table, parts))
    assert four.pairs == one.pairs
    assert len(four.pairs) == 2 * 2  # a test for each method and question, none for a fold
    assert {(pair.users, pair.seeds) for pair in four.pairs} == {(12, 5)}
    assert four.scores == one.scores


@pytest.mark.long
def test_a_comparison_pools_them(tmp_path):
    text = FOLDS.replace('[datasets.many]\nsource = { name = "sine", clients = 20 }\n', "")
    asked = spec(tmp_path, text.replace("on.many = { learner = { inner_lr = 0.05 } }\n", "").replace("[0, 1]", "[0]"))
    assert [cell.name for cell in comparison_cells(asked)][:3] == [f"few/fedavg_ft/0/{fold}" for fold in range(3)]
    with tables_only():
        said, failures = ComparisonRunner(asked, tmp_path / "out", 0, lambda *batch: Ear()).run()
    assert failures == []
    assert {score.users for score in said.scores} == {10}  # all there are
    table = pl.read_parquet(tmp_path / "out" / "results.parquet").filter(phase="test", metric="mse", step=2)
    last = table.filter(pl.col("round") == 4, pl.col("method") == "maml")
    assert sorted(Counter(last["user"]).values()) == [1] * 10
