"""What is known of two populations, the lab says of real runs on them (a short form of configs/known_answers.toml)."""

from __future__ import annotations

from pathlib import Path

import pytest

from metapulse.sim.cli import main
from metapulse.sim.report.comparison.folder import read_comparison

pytestmark = pytest.mark.long

SPEC = Path(__file__).resolve().parents[3] / "configs" / "known_answers.toml"
#: Fewer seeds, rounds and local steps.
SHORTER = (("seeds = [0, 1, 2, 3, 4]", "seeds = [0, 1, 2]"), ("rounds = 300", "rounds = 60"), ("[1200]", "[200]"))


def test_training_alone_wins_among_the_unlike_and_loses_among_the_alike(tmp_path: Path) -> None:
    text = SPEC.read_text()
    for long, short in SHORTER:
        assert long in text
        text = text.replace(long, short)
    (tmp_path / "spec.toml").write_text(text)
    only = ["--only", "*/local_only/*", "--only", "*/fedavg/*"]
    assert main(["compare", str(tmp_path / "spec.toml"), "--out", str(tmp_path / "out"), *only]) == 0
    pairs = read_comparison(tmp_path / "out" / "comparison.json").pairs
    assert {(p.dataset, p.method, p.verdict) for p in pairs if p.method == "fedavg"} == {
        ("unlike", "fedavg", "worse"),
        ("alike", "fedavg", "better"),
    }
