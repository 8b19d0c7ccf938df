"""The registry: names, dotted references, and messages for what is neither."""

from __future__ import annotations

import pytest

from metapulse.errors import ConfigError
from metapulse.methods.base import Learner
from metapulse.methods.maml import MAML
from metapulse.models.base import Model
from metapulse.registry import LEARNERS, MODELS, Registry, resolve
from tests.cases import classification


def test_every_learner_and_model_can_be_had_by_name() -> None:
    assert list(LEARNERS) == sorted(LEARNERS)
    assert len(LEARNERS) == len(list(LEARNERS)) >= 9
    assert all(issubclass(LEARNERS[name], Learner) for name in LEARNERS)
    assert all(issubclass(MODELS[name], Model) for name in MODELS)
    assert "maml" in LEARNERS
    assert "mmal" not in LEARNERS


def test_make_reads_the_section() -> None:
    made = LEARNERS.make({"name": "maml", "inner_lr": 0.5})
    assert made == MAML(inner_lr=0.5)
    assert LEARNERS.make({"name": "metapulse.methods.maml:MAML", "inner_lr": 0.5}) == made
    assert MODELS.make({"name": "mlp", "hidden": [4]}, task=classification(3)).widths == (3, 4, 3)


def test_an_entry_is_imported_when_it_is_asked_for() -> None:
    registry = Registry("thing", {"broken": "no_such_module:Thing", "good": "metapulse.methods.maml:MAML"})
    assert list(registry) == ["broken", "good"]
    assert registry["good"] is MAML
    with pytest.raises(ConfigError, match="cannot be imported"):
        registry["broken"]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "learner.name = None: must be one of alpaca"),
        ({"name": 3}, "learner.name = 3"),
        ({"name": "mmal"}, "learner.name = 'mmal': must be one of alpaca, "),
        ({"name": "no.such.module:X"}, "cannot be imported"),
        ({"name": "metapulse.methods.maml:Nothing"}, "cannot be imported"),
        ({"name": "maml", "inner_lr": -1.0}, "learner.inner_lr = -1.0: must be > 0"),
        ({"name": "maml", "inner_step": 1}, "did you mean 'inner_steps'"),
        ({"name": "maml", "optimizer": "adam"}, "unknown key (allowed: batch_size, inner_lr"),
    ],
)
def test_refuses(section: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LEARNERS.make(section)
    assert words in str(caught.value)


@pytest.mark.parametrize("reference", ["", "a.b", ":X", "metapulse.rng:"])
def test_a_reference_has_a_module_and_a_name(reference: str) -> None:
    with pytest.raises(ConfigError, match=r"package\.module:Name"):
        resolve(reference, "here")
