"""One name is a complete configuration; a pair that makes another algorithm is refused, unless it is meant."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest

from metapulse.errors import ConfigError
from metapulse.methods.method import participation
from metapulse.registry import LEARNERS, METHODS
from metapulse.server.common import unreached
from metapulse.server.config import Config, build_config, merge, resolved
from metapulse.server.effect import notes
from metapulse.server.method import conflicts, learner_constants
from metapulse.strategies.registry import STRATEGIES
from tests.runs import CURVES

#: What each strategy is where nothing else is said, and FedAvg with uniform weights, which some papers have.
SERVERS: dict[str, dict[str, Any]] = {name: {"name": name} for name in STRATEGIES}
SERVERS["fedavg, uniform"] = {"name": "fedavg", "weighting": "uniform"}

#: Learners whose update is nothing but a direction, so that whatever follows a mean of them serves; all but FedNova's.
EVERY = set(SERVERS) - {"fednova"}
#: Which servers go with the learners that rest on more. q-FFL's weights are its own; uniform are the means of SCAFFOLD
#: and FedDyn, whose second variables take no other step than the mean's, and of EM; sums of a ridge take plain steps;
#: IFCA's models are zero in most updates; the step of what a device takes no part in is zero, which an outer optimiser
#: does not undo.
GOES: dict[str, set[str]] = {
    "scaffold": {"fedavg, uniform"},
    "feddyn": {"fedavg, uniform"},
    "qffl": {"fedavg"},
    "fednova": {"fednova"},
    "pooled_ridge": {"fedavg", "fedavg, uniform", "fedreptile"},
    "random_effects": {"fedavg, uniform", "fedreptile"},
    "ifca": {"fedavg", "fedavg, uniform", "fedreptile", "fedmaml"},
    **dict.fromkeys(
        (
            "majority",
            "class_mean",
            "persistence",
            "local_only",
            "fedrep",
            "fedper",
            "fedbabu",
            "lg_fedavg",
            "local_norm",
        ),
        EVERY - {"stock"},
    ),
}
REFUSED = [(a, b) for a, b in itertools.product(sorted(LEARNERS), sorted(SERVERS)) if b not in GOES.get(a, EVERY)]


def table(learner: str, server: str) -> dict[str, Any]:
    source = {"name": "sine"} if learner in CURVES else {"name": "wearables"}
    return {"source": source, "learner": {"name": learner}, "strategy": SERVERS[server]}


@pytest.mark.parametrize("learner", sorted(LEARNERS))
def test_what_goes_with_a_learner_makes_no_conflict(learner: str) -> None:
    servers = GOES.get(learner, EVERY)
    assert servers
    assert [line for server in sorted(servers) for line in conflicts(build_config(table(learner, server)))] == []


@pytest.mark.parametrize(("learner", "server"), REFUSED, ids=map("-".join, REFUSED))
def test_any_other_pair_is_refused_in_one_line_that_says_what_goes_with_what(learner: str, server: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(table(learner, server))
    said = str(caught.value)
    assert said.startswith("strategy.")
    assert "\n" not in said
    assert METHODS[learner].server.strategy in said or "it must be" in said
    assert said.endswith("(method.free = true: a combination of your own)")
    free = build_config({**table(learner, server), "method": {"free": True}})
    assert any(line.endswith("(method.free)") for line in notes(free))


SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "another rate": (
        "scaffold",
        {"lr": 0.5},
        "strategy.lr = 0.5: makes another algorithm; with scaffold it must be 1.0",
    ),
    "a schedule": ("feddyn", {"schedule": "cosine"}, "strategy.schedule = 'cosine': .* must be 'constant'"),
    "moments": ("scaffold", {"outer": "momentum"}, "strategy.outer = 'momentum': .* must be 'sgd'"),
    "a weighting": ("feddyn", {"weighting": "samples"}, "strategy.weighting = 'samples': .* must be 'uniform'"),
    "uniform weights": ("qffl", {"weighting": "uniform"}, "strategy.weighting = 'uniform': .* must be 'samples'"),
    "a robust mean": ("qffl", {"aggregator": {"name": "median"}}, "strategy.aggregator = 'median': .* must be 'mean'"),
    "a drawn start": ("fedbabu", {"l2": 0.1}, r"strategy.l2 = 0.1: .* must be 0\.0"),
}


@pytest.mark.parametrize(("method", "strategy", "words"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_on_which_the_algorithm_rests_is_held(method: str, strategy: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"^{words}"):
        build_config({"method": {"name": method}, "strategy": strategy})


def test_the_same_step_under_another_name_is_the_same_algorithm() -> None:
    same = {"name": "fedreptile", "schedule": "constant"}
    assert not list(conflicts(build_config({"method": {"name": "scaffold"}, "strategy": same})))


@pytest.mark.parametrize("name", METHODS)
def test_a_name_fills_both_halves_and_decides_nothing_else(name: str) -> None:
    source = {"source": {"name": "sine"}} if name in ("cnp", "persistence") else {}
    config, method = build_config({"method": {"name": name}, **source}), METHODS[name]
    assert method.name == config.learner["name"] == name
    assert config.strategy == {"name": method.server.strategy, **method.server.settings}
    whole = resolved(config)
    assert whole["method"] == {"name": name, "free": False}
    assert build_config(whole) == build_config(resolved(build_config(whole)))
    assert build_config(whole).digest() == config.digest()
    spelled = build_config({"learner": whole["learner"], "strategy": whole["strategy"], **source})
    assert spelled.digest() == config.digest()
    assert "method" not in resolved(spelled)


def test_halves_and_single_settings_are_laid_over_a_methods() -> None:
    change = {"learner": {"inner_lr": 0.3}, "strategy": {"name": "fedavg", "cohort": 4}}
    config = build_config({"method": {"name": "maml"}, **change})
    assert config.learner == {"name": "maml", "inner_lr": 0.3}
    assert config.strategy == {"name": "fedavg", "cohort": 4}
    assert build_config({"method": {"name": "scaffold"}, "strategy": {"cohort": 4}}).strategy["weighting"] == "uniform"


def test_a_learner_that_is_not_the_methods_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^learner.name = 'maml': is no half of method.name = 'scaffold'"):
        build_config({"method": {"name": "scaffold"}, "learner": {"name": "maml"}})
    with pytest.raises(ConfigError, match=r"^method.name = 'scafold': must be one of alpaca"):
        build_config({"method": {"name": "scafold"}})


def test_choosing_another_method_leaves_of_the_one_before_what_a_round_is() -> None:
    held = {
        "learner": {"name": "fomaml", "inner_lr": 0.1},
        "strategy": {"name": "fedmaml", "cohort": 7, "lr": 0.1},
        "run": {"rounds": 3},
    }
    config = build_config(merge(held, {"method": {"name": "scaffold"}, "learner": {"inner_steps": 2}}))
    assert config.learner == {"name": "scaffold", "inner_steps": 2}
    assert config.strategy == {"name": "fedavg", "weighting": "uniform", "cohort": 7}
    assert config.run.rounds == 3
    kept = merge(
        {"learner": {"name": "maml", "inner_lr": 0.1}, "strategy": held["strategy"]}, {"method": {"name": "maml"}}
    )
    assert build_config(kept).learner == {"name": "maml", "inner_lr": 0.1}
    again = merge(resolved(config), {"method": {"name": "scaffold"}, "strategy": {"cohort": 3}})
    assert build_config(again).learner["inner_steps"] == 2


def test_what_of_a_suites_common_part_does_not_reach_a_method_is_told() -> None:
    common = {"learner": {"name": "fomaml", "inner_lr": 0.1}, "strategy": {"name": "fedmaml", "cohort": 7, "lr": 0.1}}
    for name, lines in {"scaffold": 2, "maml": 1, "fomaml": 0}.items():
        change = {"method": {"name": name}}
        config = build_config(merge(copy.deepcopy(common), change))
        said = unreached(common, change, config)
        assert len(said) == lines, said
        assert all("cohort" not in line for line in said)


def test_a_free_pair_has_a_digest_of_its_own_and_an_unused_section_none() -> None:
    assert "method" not in resolved(Config())
    assert build_config({"method": {"free": True}}).digest() != Config().digest()


@pytest.mark.parametrize("name", ["scaffold", "feddyn"])
def test_the_share_of_a_round_is_computed_and_another_one_refused(name: str) -> None:
    config = build_config({"method": {"name": name}})
    assert learner_constants(config, 10, 40)[0] == {"share": 0.25}
    assert learner_constants(config, 0, 40)[0] == learner_constants(config, 50, 40)[0] == {"share": 1.0}
    given = build_config({"method": {"name": name}, "learner": {"share": 0.25}})
    assert learner_constants(given, 10, 40)[0] == {"share": 0.25}
    with pytest.raises(ConfigError, match=r"^learner.share = 0.25: .*10 of 20 clients are in a round: .* give 0.5 "):
        learner_constants(given, 10, 20)
    free = build_config({"method": {"name": name, "free": True}, "learner": {"share": 0.25}})
    assert learner_constants(free, 10, 20)[0] == {}
    assert participation(3, 12) == 0.25


OWN = '''
from dataclasses import dataclass
from typing import ClassVar
from metapulse.methods.base import Paper
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.method import Method, Server


@dataclass(frozen=True)
class Near(FOMAML):
    """Mine."""

    paper: ClassVar[Paper] = Paper("near", "Near", 2026, "Near", "", "")


METHOD = Method("near", Near, Server("fedmaml", fixed=("weighting",)), sends="a gradient")
'''


def test_a_method_of_ones_own_is_named_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "near_method.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    config = build_config({"method": {"name": "near_method:METHOD"}, "learner": {"inner_lr": 0.5}})
    assert config.learner == {"name": "near_method:Near", "inner_lr": 0.5}
    assert config.strategy == {"name": "fedmaml"}
    assert build_config(resolved(config)).digest() == config.digest()
    with pytest.raises(ConfigError, match=r"^method.name = 'near_method:Near': is no Method"):
        build_config({"method": {"name": "near_method:Near"}})
    with pytest.raises(ConfigError, match=r"^strategy.weighting = 'samples': .*with near it must be 'uniform'"):
        build_config({"learner": {"name": "near_method:Near"}, "strategy": {"name": "fedavg", "weighting": "samples"}})
