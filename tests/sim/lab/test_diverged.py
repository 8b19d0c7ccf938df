"""A run that diverged is a failure of its method, by name, and in no mean: in a list of seeds and in a pilot."""

import numpy as np
import polars as pl
import pytest

from metapulse.server.files import read_json, read_sealed
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.lab.pilot import KEPT
from tests.lab import SPEC, Ear, spec, tables_only

pytestmark = pytest.mark.long

WILD = """
[methods.wild]
learner = { name = "fedavg", inner_lr = RATE }
[methods.calm]
learner = { name = "fedavg", inner_lr = 0.02 }
"""
#: Rates with what becomes of them: finite numbers without sense, losses that overflow, no usable update at all.
RATES = {"1.0": "training diverged", "2.0": "the loss of all", "1000.0": "no round of 4 had a usable outcome"}


def conducted(folder, text):
    with tables_only():
        return ComparisonRunner(spec(folder, text), folder / "out", 0, lambda *batch: Ear()).run()


@pytest.fixture(scope="module", params=RATES)
def wild(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wild")
    return folder, *conducted(folder, SPEC + WILD.replace("RATE", request.param)), RATES[request.param]


def test_it_is_named_first_and_has_no_mean(wild):
    folder, said, failures, _ = wild
    assert said.words[0].startswith("wild failed on few, many: its training diverged or had no result")
    assert {failure.cell.method for failure in failures} == {"wild"}
    assert {score.method for score in said.scores} == {"fedavg_ft", "maml", "calm"}
    assert all(np.isfinite(score.last.value) and score.last.value < 1e3 for score in said.scores)
    assert {pair.method for pair in said.pairs} == {"maml", "calm"}
    table = pl.read_parquet(folder / "out" / "results.parquet")
    assert set(table["method"].unique()) == {"fedavg_ft", "maml", "calm"}
    assert all(ranking.methods[-1] == "wild" for ranking in said.rankings)


def test_the_failure_says_why_and_the_others_are_as_without_it(wild, tmp_path):
    folder, said, _, why = wild
    told = [cell["failure"] for cell in read_json(folder / "out" / "spec.json")["cells"] if cell["method"] == "wild"]
    assert len(told) == 4
    assert sum(why in one for one in told) >= 2  # of a data set at least
    assert all(told)
    alone, _ = conducted(tmp_path, SPEC + WILD[WILD.index("[methods.calm]") :])
    assert [(score.method, score.last) for score in said.scores] == [(s.method, s.last) for s in alone.scores]
    assert said.pairs == alone.pairs


def test_a_pilot_is_over_when_a_method_failed_and_decides_by_the_others(tmp_path):
    plan = SPEC.replace("seeds = [0, 1]", "seeds = { first = 3, most = 6, find = 50.0 }")
    plan = plan.replace('[datasets.few]\nsource = { name = "sine", clients = 10 }\n', "")
    with_it, without = tmp_path / "with", tmp_path / "without"
    with_it.mkdir()
    without.mkdir()
    said, failures = conducted(with_it, plan + WILD.split("[methods.calm]")[0].replace("RATE", "1000.0"))
    conducted(without, plan)
    decided = [read_sealed(folder / "out" / KEPT)["decision"] for folder in (with_it, without)]
    assert decided[0] == decided[1]
    assert len(said.seeds) == decided[0]["seeds"] > 3
    assert {failure.cell.method for failure in failures} == {"wild"}
    names = [failure.cell.name for failure in failures]
    assert len(names) == len(set(names)) == len(said.seeds)  # each told once
