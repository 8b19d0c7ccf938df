"""ε as a plan, a log, the command and a sentence say it is one number, dp-accounting's own."""

from __future__ import annotations

import math

import dp_accounting as dp
import numpy as np
import pytest

from metapulse.rng import generator
from metapulse.sim.cli.privacy import describe_plan
from metapulse.strategies.privacy.plan import PrivacyPlan, complete_plan, sentence
from metapulse.strategies.privacy.settings import PrivacySettings
from tests import thorough

pytestmark = pytest.mark.long


def direct(plan: PrivacyPlan) -> float:
    """dp-accounting called without anything of ours."""
    s, release, rounds = plan.settings, plan.release, plan.rounds
    if release.sampling == "poisson":
        event = dp.PoissonSampledDpEvent(release.cohort / release.people, dp.GaussianDpEvent(release.sigma))
        accountant = dp.pld.PLDAccountant() if s.accountant == "pld" else dp.rdp.RdpAccountant()
        return float(accountant.compose(event, rounds).get_epsilon(s.delta))
    if s.accountant == "pld":
        return float(dp.get_epsilon_gaussian(release.sigma / 2 / math.sqrt(rounds), s.delta))
    one = dp.GaussianDpEvent(release.sigma / 2)
    if release.sampling == "fixed":
        one = dp.SampledWithoutReplacementDpEvent(release.people, release.cohort, one)
    relation = dp.NeighboringRelation.REPLACE_ONE
    return float(dp.rdp.RdpAccountant(neighboring_relation=relation).compose(one, rounds).get_epsilon(s.delta))


def drawn(index: int) -> PrivacyPlan:
    """A valid plan."""
    rng = generator(11, "plan", client=index)
    mechanism = str(rng.choice(["central", "client", "local"]))
    sampling = "fixed" if mechanism == "client" else str(rng.choice(["poisson", "fixed"]))
    people = int(10 ** rng.uniform(1, 5))
    cohort = int(np.clip(people * 10 ** rng.uniform(-2.5, 0), 1, people))
    settings = PrivacySettings(
        mechanism,  # type: ignore[arg-type]
        noise_multiplier=float(10 ** rng.uniform(-0.1, 1.3)),
        delta=float(10 ** rng.uniform(-8, -3)),
        sampling=sampling,  # type: ignore[arg-type]
        accountant=str(rng.choice(["pld", "rdp"])),  # type: ignore[arg-type]
    )
    return complete_plan(settings, cohort, people, int(10 ** rng.uniform(0, 2.5)))


@pytest.mark.parametrize("block", range(thorough.of(3, 20)))
def test_one_number_everywhere(block: int) -> None:
    for index in range(20 * block, 20 * block + 20):
        plan = drawn(index)
        stated = plan.stated(plan.rounds)
        assert stated["epsilon"] == pytest.approx(direct(plan), rel=1e-6, abs=1e-9)
        told = f"{math.ceil(stated['epsilon'] * 1e4 - 1e-6) / 1e4:.4f}"  # a bound, so rounded up
        assert f"ε = {told} " in sentence(stated)
        if index % 20:
            continue  # the command reckons six figures twice: one plan of a block
        kind = f"{told} ({plan.settings.accountant})"
        assert any(line.startswith(f"after {plan.rounds} of") and kind in line for line in describe_plan(plan))
