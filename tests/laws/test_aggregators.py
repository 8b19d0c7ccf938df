"""Laws of the aggregators: what must not change, what must follow, and what attackers cannot do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.strategies.aggregators.base import Aggregator
from metapulse.strategies.aggregators.median import median
from metapulse.strategies.aggregators.registry import AGGREGATORS

CLIENTS, ATTACKERS = 11, 2
SECTIONS: dict[str, dict[str, Any]] = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"attackers": ATTACKERS},
    "krum": {"attackers": ATTACKERS},
    "multi_krum": {"attackers": ATTACKERS},
    "bulyan": {"attackers": ATTACKERS},
    "geometric_median": {"steps": 5, "floor": 1e-9},
    "centred_clipping": {"radius": 2.0, "steps": 2},
    "norm_filter": {"attackers": ATTACKERS},
    "nnm": {"attackers": ATTACKERS, "then": {"name": "trimmed_mean", "attackers": ATTACKERS}},
}
#: Those whose rule knows a place or a length of its own.
NOT_TRANSLATED = {"centred_clipping", "norm_filter"}
NOT_SCALED = {"centred_clipping"}

seeds = st.integers(0, 2**32)
#: What attackers report: any number a float32 can be, in any pattern.
hostile = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=8)


def make(name: str) -> Aggregator:
    return AGGREGATORS.make({"name": name, **SECTIONS[name]})


def drawn(seed: int, clients: int = CLIENTS) -> torch.Tensor:
    return torch.randn(clients, 6, generator=torch.Generator().manual_seed(seed)) + 0.5


def attacked(seed: int, values: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Honest updates, and all of them with two attackers among them."""
    honest = drawn(seed, CLIENTS - ATTACKERS)
    bad = torch.tensor([values[i % len(values)] for i in range(6 * ATTACKERS)]).view(ATTACKERS, 6)
    return honest, torch.cat([honest[:4], bad[:1], honest[4:], bad[1:]])


def near(a: torch.Tensor, b: torch.Tensor, scale: float = 1.0) -> None:
    torch.testing.assert_close(a.double(), b.double(), rtol=1e-5, atol=1e-5 * scale)


def test_every_aggregator_is_here() -> None:
    assert set(SECTIONS) == set(AGGREGATORS)


@pytest.mark.parametrize("name", SECTIONS)
@given(seed=seeds)
def test_order_of_clients_changes_nothing(name: str, seed: int) -> None:
    x = drawn(seed)
    turn = torch.randperm(CLIENTS, generator=torch.Generator().manual_seed(seed))
    near(make(name).aggregate(x[turn]), make(name).aggregate(x))


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - NOT_TRANSLATED))
@given(seed=seeds, shift=st.floats(-100, 100, width=32))
def test_what_all_have_in_common_is_common_to_the_aggregate(name: str, seed: int, shift: float) -> None:
    x = drawn(seed)
    near(make(name).aggregate(x + shift), make(name).aggregate(x) + shift, 1.0 + abs(shift))


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - NOT_SCALED))
@given(seed=seeds, factor=st.floats(0.125, 1000, width=32), sign=st.sampled_from([-1.0, 1.0]))
def test_scale_is_followed(name: str, seed: int, factor: float, sign: float) -> None:
    x = drawn(seed)
    near(make(name).aggregate(sign * factor * x), sign * factor * make(name).aggregate(x), factor)


@pytest.mark.parametrize("name", SECTIONS)
@given(seed=seeds)
def test_of_equals_it_is_their_equal(name: str, seed: int) -> None:
    one = drawn(seed)[0]
    one = one / one.norm()  # within the radius of centred clipping
    near(make(name).aggregate(one.expand(CLIENTS, 6)), one)


@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
@given(seed=seeds, values=hostile)
def test_every_coordinate_stays_among_the_honest(name: str, seed: int, values: list[float]) -> None:
    honest, x = attacked(seed, values)
    found = make(name).aggregate(x)
    slack = 1e-6 * honest.abs().max()
    assert (found >= honest.amin(0) - slack).all()
    assert (found <= honest.amax(0) + slack).all()


@pytest.mark.parametrize("name", ["bulyan", "nnm"])
@given(seed=seeds, values=hostile)
def test_coordinates_stay_within_one_diameter_of_the_honest(name: str, seed: int, values: list[float]) -> None:
    """Bulyan: the n − 4f nearest the median lie no farther from it than the honest that were chosen. Mixing: whichever
    client is among an honest client's n − f nearest is no farther than its farthest honest one."""
    honest, x = attacked(seed, values)
    found = make(name).aggregate(x)
    reach = torch.cdist(honest.double(), honest.double()).max() * (1 + 1e-6)
    assert (found >= honest.amin(0) - reach).all()
    assert (found <= honest.amax(0) + reach).all()


@pytest.mark.parametrize("name", ["krum", "multi_krum"])
@given(seed=seeds, values=hostile)
def test_krum_stays_near_an_honest_one(name: str, seed: int, values: list[float]) -> None:
    """The best score is at most an honest one's, (n − f − 2) D² with D the honest diameter, and at least one of the
    neighbours behind it is honest; of the n − f best at least as many as are honest score no more."""
    honest, x = attacked(seed, values)
    found = make(name).aggregate(x).double()
    reach = torch.cdist(honest.double(), honest.double()).max() * (CLIENTS - ATTACKERS - 2) ** 0.5
    centre = honest.double().mean(0) if name == "multi_krum" else None
    apart = (found - (honest.double() if centre is None else centre)).view(-1, 6).norm(dim=1).min()
    assert apart <= reach * (1 + 1e-5) * (1 if centre is None else 2)


@given(seed=seeds, values=hostile)
def test_the_geometric_median_breaks_at_one_half(seed: int, values: list[float]) -> None:
    """From z₀ on the sum of distances does not grow, but for n ν/2 of smoothing: ‖z − z₀‖ ≤ (2H + nν)/(n − 2f), where H
    is the sum of the honest distances to z₀, the median of every coordinate."""
    honest, x = attacked(seed, values)
    start = median(x).double()
    bound = (2 * (honest.double() - start).norm(dim=1).sum() + 1e-6) / (CLIENTS - 2 * ATTACKERS)
    assert (make("geometric_median").aggregate(x).double() - start).norm() <= bound * (1 + 1e-6)


@given(seed=seeds, values=hostile)
def test_clipping_bounds_every_round(seed: int, values: list[float]) -> None:
    last = drawn(seed)[0]
    found = make("centred_clipping").aggregate(attacked(seed, values)[1], last)
    assert (found - last.double()).norm() <= 2 * 2.0 * (1 + 1e-6)


@given(seed=seeds, values=hostile)
def test_the_filter_lets_nothing_longer_than_the_honest_through(seed: int, values: list[float]) -> None:
    honest, x = attacked(seed, values)
    assert make("norm_filter").aggregate(x).norm() <= honest.double().norm(dim=1).max() * (1 + 1e-6)
