"""The cohort engine against Flower's Simulation Runtime: the same configuration, the same numbers.

Distances are ‖a − b‖₂ / ‖b‖₂ over the whole of θ, and over the step θ₁ − θ₀, which a small rate would otherwise hide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest

from metapulse.server.config import Config
from metapulse.sim import experiment
from metapulse.trees import norm, sub
from tests.cases import STILL
from tests.parity.conftest import Runtime
from tests.runs import CURVES, PAIRS, Result, distance, make, read

LOOKING = ["median", "krum", "fedavg-centred_clipping", "fedavg-nnm"]
AGAIN = [("maml", "fedmaml"), ("fedavg", "stock-adam")]
Key: TypeAlias = tuple[str, str, str]  # world, learner, strategy


def cases() -> dict[Key, Config]:
    """One round of every pair on people, and a few on curves."""
    found = {("wearables", *pair): make(*pair) for pair in PAIRS}
    found |= {("wearables", "fomaml", strategy): make("fomaml", strategy) for strategy in LOOKING}
    return found | {
        ("sine", learner, "fedmaml"): make(learner, "fedmaml", "sine") for learner in ("reptile", "maml", *CURVES)
    }


@pytest.fixture(scope="module")
def flower(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> dict[Key, Result]:
    return runtime(cases(), tmp_path_factory.mktemp("flower"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Key], Result]:
    folder = tmp_path_factory.mktemp("cohort")
    done: dict[Key, Result] = {}

    def run(key: Key) -> Result:
        if key not in done:
            path = folder / "-".join(key)
            done[key] = read(path, experiment.run_experiment(cases()[key], path))
        return done[key]

    return run


@pytest.mark.ray
@pytest.mark.parametrize("key", cases(), ids="-".join)
def test_first_round_is_the_same(key, flower, cohort) -> None:
    ours, theirs = cohort(key), flower[key]
    assert ours.summary["dropped"] == theirs.summary["dropped"] == 0
    assert ours.digests[0] == theirs.digests[0]
    assert distance(ours.thetas[1], theirs.thetas[1]) <= 1e-6
    steps = [sub(result.thetas[1], result.thetas[0]) for result in (ours, theirs)]
    if key[1] in STILL:  # no client's θ moves; stock strategies average weights, which rounds
        assert max(map(norm, steps)) <= 1e-7 * norm(ours.thetas[0])
    else:
        assert distance(*steps) <= 1e-5


@pytest.mark.ray
@pytest.mark.parametrize("key", cases(), ids="-".join)
def test_scores_are_the_same(key, flower, cohort) -> None:
    ours, theirs = cohort(key).rows, flower[key].rows
    assert ours, "no scores at all"
    assert [{k: v for k, v in row.items() if k != "value"} for row in ours] == [
        {k: v for k, v in row.items() if k != "value"} for row in theirs
    ]
    np.testing.assert_allclose([row["value"] for row in ours], [row["value"] for row in theirs], rtol=1e-5, atol=1e-6)


@pytest.mark.ray
def test_flower_repeats_itself_to_the_bit(tmp_path, flower, runtime) -> None:
    """A second start has other node ids and another order of replies."""
    keys = [("wearables", *pair) for pair in AGAIN]
    runtime.close()
    again = runtime({key: cases()[key] for key in keys}, tmp_path)
    for key in keys:
        assert again[key].digests == flower[key].digests
        assert again[key].rows == flower[key].rows
        assert again[key].summary == flower[key].summary
