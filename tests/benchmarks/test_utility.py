"""Utility against privacy: figures are those of the rows, a cell is a run, and people once simulated stay the same."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from benchmarks import utility
from benchmarks.utility import EPSILONS, METHODS, markdown, one, page, same, save, spread
from metapulse.sim.sources.wearables import population
from tests.pages import drawn, in_browser


def rows(seeds=3):
    """Numbers that say where they belong."""
    return [
        {
            "method": m,
            "epsilon": e,
            "people": p,
            "seed": s,
            "before": 0.25,
            "after": (i + 10 * j) / 200 + s / 50,
            "spent": e,
            "sigma": 1.0,
            "cpu_s": 1.0,
        }
        for p in (100, 1000)
        for i, m in enumerate(METHODS)
        for j, e in enumerate(EPSILONS)
        for s in range(seeds)
    ]


def test_cells_are_means_and_deviations_over_seeds():
    for i, method in enumerate(METHODS):
        for j, epsilon in enumerate(EPSILONS):
            values = 100 * ((i + 10 * j) / 200 + np.arange(3) / 50)
            found = spread(same(rows(), method, epsilon, 1000), "after")
            assert found == pytest.approx((values.mean(), values.std(ddof=1)))
    assert "| 100 | fomaml | 2.5 ± 2.0 (25.0) |" in markdown(rows())


def test_the_page_draws_a_curve_a_method(tmp_path):
    text = page(rows())
    figures = drawn(text)
    assert len(figures) == 4
    for figure in figures.values():
        go.Figure(figure)
        assert [trace["name"] for trace in figure["data"]] == list(METHODS)
        assert figure["data"][0]["x"][-1] == "no privacy"
    (tmp_path / "utility.html").write_text(text, encoding="utf-8")
    assert in_browser(tmp_path / "utility.html", 1200, 900).count('class="main-svg"') >= 4


def test_rows_come_back_in_an_order_of_their_own(tmp_path):
    save(tmp_path / "a.json", rows())
    save(tmp_path / "b.json", rows()[::-1])
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["runs"][0]["people"] == 100


def test_a_cell_is_a_run(monkeypatch):
    """It spends no more than its budget, and people remembered from another run change nothing."""
    monkeypatch.setattr(utility, "ROUNDS", 3)
    monkeypatch.setattr(utility, "COHORT", 10)
    monkeypatch.setattr(
        utility,
        "METHODS",
        {"fedavg_ft": METHODS["fedavg_ft"] | {"strategy": {"name": "fedavg", "cohort": 10, "weighting": "uniform"}}},
    )
    monkeypatch.setattr(population, "_record", population._record)  # which ``together`` replaces
    private = one("fedavg_ft", 4.0, 300, 0)
    assert 0 < private["spent"] <= 4.0
    assert private["sigma"] > 0
    bare = one("fedavg_ft", None, 300, 0)
    assert bare["spent"] is None
    again = utility.together(300, 0, [("fedavg_ft", None)] * 2)
    assert [row["after"] for row in again] == [bare["after"]] * 2
