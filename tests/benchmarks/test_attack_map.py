"""The map of attacks: its figures are those of its rows, and one cell of it is a run."""

import numpy as np
import plotly.graph_objects as go
import pytest

from benchmarks import attack_map
from benchmarks.attack_map import AGGREGATORS, ATTACKS, LEVELS, cells, config, measure, page, table
from metapulse.registry import ATTACKS as REGISTERED
from metapulse.strategies.aggregators.registry import AGGREGATORS as AGGREGATING
from tests.pages import drawn, in_browser, text_of


def rows(seeds=3):
    """Numbers that say where they belong."""
    return [
        {"attack": a, "aggregator": g, "level": k, "seed": s, "accuracy": (i + 10 * j) / 200 + s / 50, "success": 0.5}
        for k in LEVELS
        for s in range(seeds)
        for i, a in enumerate(ATTACKS)
        for j, g in enumerate(AGGREGATORS)
    ]


def test_what_the_map_is_of():
    """Eight attacks against eight robust aggregators and the mean; a backdoor is a replacement that is not boosted."""
    assert {section["name"] for section in ATTACKS.values()} == set(REGISTERED) - {"none", "backdoor"}
    assert {section["name"] for section in AGGREGATORS.values()} == set(AGGREGATING) - {"krum"}


def test_cells_are_means_and_deviations_over_seeds():
    found = cells(rows(), "alike", "accuracy", list(ATTACKS))
    names = list(ATTACKS), list(AGGREGATORS)
    for i in range(len(names[0])):
        for j in range(len(names[1])):
            values = 100 * ((i + 10 * j) / 200 + np.arange(3) / 50)
            assert found[i][j] == pytest.approx((values.mean(), values.std(ddof=1)))
    assert "| sign flip | 2.5 ± 2.0 |" in table(rows(), "alike", "accuracy", list(ATTACKS))


def test_the_page_draws_four_maps(tmp_path):
    text = page({"runs": rows()})
    figures = drawn(text)
    assert len(figures) == 2 * len(LEVELS)
    for figure in figures.values():
        go.Figure(figure)
    assert list(figures["figure-0"]["data"][0]["y"]) == list(ATTACKS)
    assert "People unlike" in text_of(text)
    (tmp_path / "map.html").write_text(text, encoding="utf-8")
    assert in_browser(tmp_path / "map.html", 1200, 900).count("heatmaplayer") >= 4


def test_a_cell_is_a_run(monkeypatch):
    monkeypatch.setattr(attack_map, "ROUNDS", 2)
    row = measure("replacement", "Bulyan", "alike", 0)
    assert row["rounds_moved"] == 2
    assert 0 <= row["success"] <= 1
    assert row["dropped"] == 0
    assert attack_map.attackers("alike", 0) == 5  # drawn by (seed, "attack", 0, person), fraction 0.15
    assert config("none", "mean", "alike", 0).attack["first"] > 10**5
