"""The table of published figures: every row is asked for by a configuration, and the verdict is what it says."""

from pathlib import Path

import pytest

from benchmarks.published import PUBLISHED, Cell
from metapulse.sim.suite import read_suite

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "reproductions"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_row_is_judged_by_its_configuration(path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # as for the script, whose folder holds one of the sources
    configs = read_suite(path).configs
    rows = {(method, step, metric) for stem, method, step, metric in PUBLISHED if stem == path.stem}
    assert rows
    for method, step, metric in rows:
        evaluation = configs[method].evaluation
        assert step in evaluation.steps
        scenario = metric.split()[0] if " " in metric else evaluation.scenarios[0]
        assert scenario in evaluation.scenarios
        assert metric != "pooled" or evaluation.split == "held_out"


def test_no_row_is_without_a_configuration():
    assert {stem for stem, *_ in PUBLISHED} <= {path.stem for path in CONFIGS.glob("*.toml")}


def test_a_verdict_is_the_distance_against_the_tolerance():
    assert Cell("0.34 ± .01", 0.34, 0.01).verdict(0.345) == "reproduced"
    assert Cell("0.34 ± .01", 0.34, 0.01).verdict(0.4) == "not reproduced: +0.06"
    assert Cell("figure only").verdict(0.4) == "–"
