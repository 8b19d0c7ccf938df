"""What secure aggregation cannot be combined with."""

from __future__ import annotations

from typing import Any

import pytest

from metapulse.errors import ConfigError
from metapulse.strategies.secure import SecureSettings
from tests.runs import ROBUST, STRATEGIES, make

LOOKING = [name for name in STRATEGIES if name.startswith("stock") or name == "fednova"] + list(ROBUST)


@pytest.mark.parametrize("name", LOOKING)
def test_a_strategy_that_looks_at_replies_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"strategy\.(name|aggregator) = .*(every reply|no party sees an update)"):
        make("maml", name, "sine", secure_aggregation={"on": True})
    assert not make("maml", name, "sine").secure_aggregation.on


@pytest.mark.parametrize("name", ["fedavg", "fedreptile", "fedmaml"])
def test_every_mean_is_let_through(name: str) -> None:
    assert make("maml", name, "sine", secure_aggregation={"on": True}).secure_aggregation.on


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"strategy": {"cohort": 1}}, r"strategy\.cohort = 1: must be ≥ 2"),
        ({"secure_aggregation": {"on": True, "neighbours": 3}}, r"secure_aggregation\.neighbours = 3: must be even"),
        (
            {"secure_aggregation": {"on": True, "neighbours": 4}, "strategy": {"cohort": 50}},
            r"secure_aggregation\.neighbours = 4: must be ≥ 22 \(or 0, which chooses\) for 50 clients of whom 5 "
            r"collude and 15 are lost, 40 bits",
        ),
        (
            {"secure_aggregation": {"on": True, "threshold": 0.1, "corrupt": 0.3}, "strategy": {"cohort": 10}},
            r"secure_aggregation\.threshold = 0\.1: 2 of 10 open; must be ≥ 0\.4 ",
        ),
        (
            {"secure_aggregation": {"on": True, "corrupt": 0.5, "drop_out": 0.5}},
            r"corrupt = 0\.5: with drop_out must be",
        ),
        (
            {"secure_aggregation": {"on": True, "drop_out": 0.5}, "strategy": {"cohort": 2}},
            r"secure_aggregation\.drop_out = 0\.5: no threshold is safe and opens for 2 clients",
        ),
        ({"secure_aggregation": {"on": True, "dropout": [0.1]}}, r"secure_aggregation\.dropout = \[0\.1\]: expected 4"),
        ({"secure_aggregation": {"on": True, "bits": 24}}, r"secure_aggregation\.bits = 24: must be one of 16, 32"),
        (
            {"secure_aggregation": {"on": True, "bits": 16}, "strategy": {"cohort": 40000}},
            r"secure_aggregation\.bits = 16: has no room for the sum of 40000 clients",
        ),
        (
            {"privacy": {"mechanism": "central", "noise_multiplier": 1.0}, "strategy": {"weighting": "uniform"}},
            r"privacy\.mechanism = 'central': must be client or local",
        ),
        ({"attack": {"name": "alie"}}, r"attack\.name = 'alie': needs all clients' updates"),
        ({"faults": {"duplicate": 0.1}}, r"faults\.duplicate = 0\.1: must be 0"),
    ],
)
def test_refusals(sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make("maml", "fedmaml", "sine", **{"secure_aggregation": {"on": True}, **sections})


def test_it_is_off_unless_asked_for() -> None:
    assert not SecureSettings().on
