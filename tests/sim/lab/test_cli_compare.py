"""``metapulse compare`` as a user meets it."""

import re

import polars as pl
import pytest

from metapulse.server.files import read_json
from tests.lab import SPEC


@pytest.fixture
def written(here):
    (here / "spec.toml").write_text(SPEC)
    return here


@pytest.mark.long
def test_a_comparison_from_specification_to_report(call, written):
    code, out, _ = call("compare", "spec.toml", "--dry")
    assert (code, out.splitlines()[-1]) == (0, "8 runs, 8 of them different, 8 to do")
    assert not (written / "compare").exists()
    code, out, err = call("compare", "spec.toml")
    assert code == 0, err
    assert out.splitlines()[-1] == "report: compare/tiny/report.html"
    folder = written / "compare" / "tiny"
    assert out.splitlines()[:-1] == read_json(folder / "comparison.json")["words"]
    assert len(err.splitlines()) == 8
    assert re.fullmatch(r"many/maml/1: \d+ s; 8 of 8 done", err.splitlines()[-1])
    costs = pl.read_parquet(folder / "costs.parquet")
    assert (len(costs), set(costs["rounds"])) == (8, {4})
    assert costs["flops"].min() > 0
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")[:500]
    assert list((folder / "tables").glob("*.tex"))
    bytes_ = (folder / "costs.parquet").read_bytes()
    again, out, err = call("compare", "spec.toml")
    assert (again, err) == (0, "")
    assert (folder / "costs.parquet").read_bytes() == bytes_
    assert call("compare", "spec.toml", "--dry")[1].splitlines()[-1] == "8 runs, 8 of them different, 0 to do"
    code, out, _ = call("compare", "spec.toml", "--plan")
    assert code == 0
    assert "seeds for 0.05, 0.02, 0.01" in out
    assert out.splitlines()[-1].startswith("rounds of one seed, all methods and data sets: ")


def test_a_plan_needs_a_pilot(call, written):
    code, _, err = call("compare", "spec.toml", "--plan")
    assert code != 0
    assert err.splitlines()[-1].endswith("a plan needs a pilot: finished runs of two seeds or more, and two people")


def test_failures_are_lines_and_an_exit_code(call, written):
    (written / "spec.toml").write_text(
        SPEC.replace(
            'name = "fedmaml", cohort = 3',
            'name = "fedmaml", cohort = 8, aggregator = { name = "krum", attackers = 2 }',
        )
    )
    code, out, err = call("compare", "spec.toml", "--only", "few/maml/*")
    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert lines[0].startswith(
        "few/maml/0: strategy.aggregator = 'krum': 5 replies are too few against 2 attackers: 2 f + 3 = 7 are needed"
    )
    assert lines[-1].startswith("metapulse: runs that failed: 2; few/maml/0: strategy.aggregator = 'krum'")


def test_interrupted_it_says_how_to_go_on(call, written, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("metapulse.sim.comparison_runner.run_cells", stop)
    code, _, err = call("compare", "spec.toml", "--out", "mine", "--only", "few/*", "--workers", "2")
    again = "metapulse compare spec.toml --out mine --workers 2 --only 'few/*'"
    assert (code, err.splitlines()[-1]) == (130, f"metapulse: interrupted; continue with: {again}")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["none.toml"], "configuration = 'none.toml': cannot be read: "),
        (["spec.toml", "--only", "x/*"], "--only = 'x/*': fits no DATASET/METHOD/SEED"),
        (["spec.toml", "--workers", "-1"], "Invalid value for '--workers'"),
        (["spec.toml", "--out", "spec.toml"], "cannot make spec.toml: "),
        (["spec.toml", "--out", "taken"], "taken holds a run; choose another folder"),
    ],
)
def test_mistakes_are_one_line(refused, written, argv, message):
    (written / "taken").mkdir()
    (written / "taken" / "suite.json").write_text("{}")
    assert refused("compare", *argv).startswith(message)
