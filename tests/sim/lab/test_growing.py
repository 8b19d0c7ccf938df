"""A comparison whose first seeds decide how many there are: decided once, whatever the clock, to the same numbers."""

import shutil

import polars as pl
import pytest

from metapulse.server.files import read_json, read_sealed
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.lab.pilot import KEPT
from metapulse.sim.report.comparison.folder import read_comparison
from tests.lab import SPEC, Ear, spec, tables_only

pytestmark = pytest.mark.long


def growing(plan):
    """Two methods on twenty people; a plan in place of the list of seeds."""
    text = SPEC.replace('[datasets.few]\nsource = { name = "sine", clients = 10 }\n', "")
    return text.replace("seeds = [0, 1]", f"seeds = {plan}" if plan else "seeds = [0, 1, 2, 3, 4]")


def conducted(folder, plan, only=()):
    """What was begun, and what is said."""
    ear = Ear()
    asked = spec(folder, growing(plan))
    with tables_only():
        said, failures = ComparisonRunner(asked, folder / "out", 0, lambda *batch: ear).run(only)
    assert failures == []
    return ear, said


FIVE = "{ first = 3, most = 8, find = 50.0 }"  # anything is smaller: the least number after the pilot


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    folder = tmp_path_factory.mktemp("five")
    return folder, *conducted(folder, FIVE)


def test_the_pilot_first_then_what_it_asked_for(five):
    folder, ear, said = five
    assert ear.begun[:6] == [f"many/{method}/{seed}" for method in ("fedavg_ft", "maml") for seed in range(3)]
    assert len(ear.begun) == 2 * len(said.seeds)
    assert said.seeds == tuple(range(read_sealed(folder / "out" / KEPT)["decision"]["seeds"]))
    assert len(said.seeds) == 5
    assert (said.pilot, {pair.seeds for pair in said.pairs}) == (3, {len(said.seeds)})
    assert any(word.startswith(f"Of {len(said.seeds)} seeds the first 3 decided") for word in said.words)
    assert read_json(folder / "out" / "spec.json")["seeds"] == list(said.seeds)
    assert read_comparison(folder / "out" / "comparison.json") == said


def test_again_nothing_is_done_and_nothing_is_decided_anew(five, monkeypatch):
    folder, _, said = five
    monkeypatch.setattr("metapulse.sim.runner.run_batch", None)
    monkeypatch.setattr("metapulse.sim.lab.pilot.decide", None)
    ear, again = conducted(folder, FIVE)
    assert (ear.begun, again) == ([], said)
    cells, untuned = ComparisonRunner(spec(folder, growing(FIVE)), folder / "out", 0, lambda *batch: ear).cells()
    assert (len(cells), untuned) == (2 * len(said.seeds), set())


def test_seeds_have_the_numbers_that_they_have_in_a_list_and_with_any_budget(five, tmp_path):
    """The clock decides on how many, and on nothing else: with no time left there is the pilot, tested plainly."""
    folder, _, said = five
    whole = pl.read_parquet(folder / "out" / "results.parquet")
    (tmp_path / "short").mkdir()
    ear, short = conducted(tmp_path / "short", "{ first = 3, most = 8, find = 50.0, budget_minutes = 1e-9 }")
    assert (len(ear.begun), short.seeds, short.pilot) == (6, (0, 1, 2), 0)
    assert any("the budget allowed 3" in word for word in short.words)
    part = pl.read_parquet(tmp_path / "short" / "out" / "results.parquet")
    assert part.equals(whole.filter(pl.col("seed") < 3))
    (tmp_path / "list").mkdir()
    _, listed = conducted(tmp_path / "list", "")
    plain = pl.read_parquet(tmp_path / "list" / "out" / "results.parquet")
    assert plain.equals(whole)
    for mine, other in zip(said.pairs, listed.pairs, strict=True):
        assert (mine.difference.value, mine.seeds) == (other.difference.value, other.seeds)
        assert mine.p != other.p  # the error over seeds is of two degrees of freedom in place of four


def test_a_part_of_the_pilot_decides_nothing_and_says_so(tmp_path):
    _, said = conducted(tmp_path, FIVE, only=["many/*/0", "many/*/1"])
    assert not (tmp_path / "out" / KEPT).exists()
    assert any(word.startswith("How many seeds there will be is not decided yet") for word in said.words)
    ear, whole = conducted(tmp_path, FIVE)
    assert len(ear.begun) == 2 * (len(whole.seeds) - 2)
    assert whole.pilot == 3


def test_another_plan_is_another_decision(five, tmp_path):
    folder, _, said = five
    shutil.copytree(folder / "out", tmp_path / "out")  # the other tests find what was decided first
    ear, other = conducted(tmp_path, FIVE.replace("first = 3", "first = 4"))
    assert (len(said.seeds), len(other.seeds), other.pilot) == (5, 6, 4)
    assert ear.begun == ["many/fedavg_ft/5", "many/maml/5"]  # all others are there
