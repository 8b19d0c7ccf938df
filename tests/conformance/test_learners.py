"""The contract of a learner, checked for every registered one, on every kind of model and task.

A learner added to the registry is checked here without another line.
"""

from __future__ import annotations

import pytest

from metapulse.methods.reading import Reader
from metapulse.registry import LEARNERS
from metapulse.sim.conformance.learners import RefusalError, Subject
from metapulse.sim.conformance.suite import Check, places, run
from metapulse.sim.conformance.traits import TRAITS
from tests.cases import STILL

READERS = {name for name in LEARNERS if issubclass(LEARNERS[name], Reader)}
#: Learners that take their support in at once: they have no zeroth step, and no start to stay at.
AT_ONCE = {"r2d2"} | READERS
#: Learners whose first answers need not fit the support any better once they have seen it: only training makes them.
UNTRAINED = {"relation", "cnp", "recurrent", "mann", "snail", "meta_lstm"}

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
    "particular": AT_ONCE | {"cavia"},
}
PLACES = [pytest.param(*place, id="-".join(filter(None, (place[0].__name__, place[1])))) for place in places()]


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(("check", "model"), PLACES)
def test_a_learner_keeps_the_contract(name: str, check: Check, model: str) -> None:
    subject = Subject(name, frozenset(trait for trait in TRAITS if name in BY_TRAIT[trait]))
    try:
        run(check, subject, model)
    except RefusalError as refusal:  # a one-line refusal of this kind of model is within the contract
        pytest.skip(str(refusal))
