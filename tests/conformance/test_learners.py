"""The contract of a learner, checked for every registered one, on every kind of model and task.

A learner added to the registry is checked here without another line.
"""

from __future__ import annotations

import pytest

from metapulse.methods.amortised import AmortisedLearner
from metapulse.methods.gaussian import ClosedForm, GaussianLearner
from metapulse.registry import LEARNERS
from metapulse.sim.conformance.learners import LearnerUnderTest, RefusalError
from metapulse.sim.conformance.suite import ALL, CHECKS, Check, check_places, run_check
from metapulse.sim.conformance.traits import TRAITS
from tests.cases import STILL
from tests.covering import pairwise

READERS = {name for name in LEARNERS if issubclass(LEARNERS[name], AmortisedLearner)}
#: Learners whose head is a belief, and those of them that count instead of descending.
GAUSSIAN = {name for name in LEARNERS if issubclass(LEARNERS[name], GaussianLearner)}
COUNTING = {name for name in LEARNERS if issubclass(LEARNERS[name], ClosedForm)}
#: Learners that take their support in at once: they have no zeroth step, and no start to stay at.
AT_ONCE = {"r2d2"} | GAUSSIAN | READERS
#: Learners whose first answers need not fit the support any better once they have seen it: only training makes them.
UNTRAINED = {"relation", "cnp", "persistence", "recurrent", "mann", "snail", "meta_lstm"}

#: Learners that look at the samples to choose where to begin.
CHOOSING = {"ifca"}

#: Learners whose weight is no number of samples.
OWN_WEIGHT = {"qffl"}

BY_TRAIT = {
    "at_once": AT_ONCE,
    "untrained": UNTRAINED,
    "still": STILL,
    "choosing": CHOOSING,
    "own_weight": OWN_WEIGHT,
    "solved": {"imaml"},
    "moments": {"meta_lstm"},
    "sequential": GAUSSIAN,
    "statistics": COUNTING,
    "particular": AT_ONCE | {"cavia"},
}
#: Checks that run on every model: there each two of check, learner and model meet; elsewhere every learner does.
EVERYWHERE = [check for check, models in CHECKS.items() if models == ALL]
CASES: list[tuple[Check, str, str]] = [
    *pairwise(EVERYWHERE, list(LEARNERS), list(ALL)),
    *((check, name, model) for check, model in check_places() if check not in EVERYWHERE for name in LEARNERS),
]


@pytest.mark.parametrize(
    ("check", "name", "model"),
    [pytest.param(*case, id="-".join(filter(None, (case[0].__name__, *case[1:])))) for case in CASES],
)
def test_a_learner_keeps_the_contract(check: Check, name: str, model: str) -> None:
    subject = LearnerUnderTest(name, frozenset(trait for trait in TRAITS if name in BY_TRAIT[trait]))
    try:
        run_check(check, subject, model)
    except RefusalError as refusal:  # a one-line refusal of this kind of model is within the contract
        pytest.skip(str(refusal))
