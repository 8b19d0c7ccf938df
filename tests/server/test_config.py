"""Configuration: every default is documented and parses back, every mistake is one line that names key and value."""

import dataclasses
import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.client.spec import Asked, read_trial_json, to_json
from metapulse.errors import ConfigError
from metapulse.registry import ENGINES, LEARNERS, METHODS, MODELS, SOURCES, TRANSFORMS
from metapulse.server.config import Config, build_config, load_config, merge, parse, resolved
from metapulse.server.config_text import commented_default, commented_method, to_toml
from metapulse.server.effect import idle
from metapulse.server.metatest import question
from metapulse.settings import is_setting, part, plain, setting
from metapulse.sim.engines.settings import Cohort, Flower
from metapulse.strategies.base import StrategySettings
from metapulse.strategies.registry import STRATEGIES


def test_the_commented_default_is_the_default():
    table, methods = parse(commented_default())
    assert methods == {}
    assert resolved(build_config(table)) == resolved(Config())
    assert build_config(table).digest() == Config().digest()


@pytest.mark.parametrize("name", METHODS)
def test_what_is_printed_of_a_method_is_the_method_and_nothing_that_it_does_not_read(name):
    text = commented_method(name)
    table, _ = parse(text)
    config = build_config(table)
    same = {section: {"name": table[section]["name"]} for section in ("method", "source", "model")}
    assert config.digest() == build_config(same).digest()
    assert not [key for key in idle(config) if key.partition(".")[2] in table.get(key.partition(".")[0], {})]
    assert not set(METHODS[name].server.fixed) & set(table["strategy"])
    assert ("beta1" in table["strategy"]) == (config.strategy["name"] == "fedmaml")  # of Adam


def test_a_method_is_printed_for_the_data_that_it_can_learn():
    for name, source, model in (("maml", "sine", "mlp"), ("cnp", "", "mlp"), ("protonet", "", "cnn1d")):
        assert parse(commented_method(name, source))[0]["model"]["name"] == model
    assert "restrict" not in parse(commented_method("maml", "sine"))[0]["evaluation"]
    with pytest.raises(ConfigError, match=r"^source.name = 'sine': protonet learns classification only"):
        commented_method("protonet", "sine")
    with pytest.raises(ConfigError, match=r"^method.name = 'mamel': must be one of alpaca"):
        commented_method("mamel")


@pytest.mark.parametrize(
    ("name", "source", "model"),
    [
        ("maml", "spsw_har", "cnn1d"),
        ("maml", "aw_fitbit", "mlp"),
        ("protonet", "uci_har", "mlp"),
        ("protonet", "omniglot", "mlp"),
        ("cnp", "cgm_open", "cnn1d"),
        ("reptile", "own", "mlp"),
    ],
)
def test_no_data_are_needed_to_print_what_is_for_them(monkeypatch, tmp_path, name, source, model):
    monkeypatch.setenv("METAPULSE_CACHE", str(tmp_path))
    monkeypatch.delenv("METAPULSE_DATA", raising=False)
    table = parse(commented_method(name, source))[0]
    assert (table["source"]["name"], table["model"]["name"]) == (source, model)
    assert ("restrict" in table["evaluation"]) == (source != "cgm_open")
    with pytest.raises(ConfigError, match=r"^source.name = 'cgm_open': protonet learns classification only"):
        commented_method("protonet", "cgm_open")


@dataclasses.dataclass(frozen=True)
class OfNoBase:
    """Settings of a strategy that answer none of what a run asks."""

    cohort: int = setting(2, "clients per round")


@dataclasses.dataclass(frozen=True)
class MakesNothing(StrategySettings):
    """Settings that say of no strategy that it is theirs."""


def test_settings_of_a_strategy_derive_from_ours_and_make_one():
    with pytest.raises(ConfigError, match=r"must derive from metapulse\.strategies\.base\.StrategySettings$"):
        build_config({"strategy": {"name": f"{__name__}:OfNoBase"}})
    with pytest.raises(ConfigError, match=r"^strategy = .*abstract method '?make"):
        build_config({"strategy": {"name": f"{__name__}:MakesNothing"}})


def test_every_setting_of_the_default_has_a_comment():
    lines = commented_default().splitlines()
    settings = [i for i, line in enumerate(lines) if line[:1].isalpha() and not line.startswith("name = ")]
    assert len(settings) > 50
    assert all(lines[i - 1].startswith("# ") and len(lines[i - 1]) > 10 for i in settings)
    for section in dataclasses.fields(Config):
        assert f"[{section.name}]" in lines


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (kind, name)
        for kind, registry in {
            "learner": LEARNERS,
            "strategy": STRATEGIES,
            "source": SOURCES,
            "transform": TRANSFORMS,
            "model": MODELS,
            "engine": ENGINES,
        }.items()
        for name in registry
        if name != "own"  # data of one's own has no default
    ],
)
def test_whatever_is_registered_resolves_to_itself(section, name):
    config = build_config({section: {"name": name}, "method": {"free": True}})
    whole = resolved(config)
    assert resolved(build_config(whole)) == whole
    assert build_config(whole).digest() == config.digest()
    assert tomllib.loads(to_toml(whole)) == whole


def test_digest_follows_what_decides_the_numbers_and_nothing_else():
    first = Config().digest()
    assert build_config({"engine": {"workers": 3}, "checkpoint": {"every": 7}}).digest() == first
    assert build_config({"run": {"seed": 0}, "model": {"name": "cnn1d", "kernel": 5}}).digest() == first
    for change in ({"run": {"seed": 1}}, {"model": {"name": "cnn1d", "kernel": 3}}, {"learner": {"name": "maml"}}):
        assert build_config(change).digest() != first


MISTAKES = [
    ({"rum": {}}, "rum", "unknown key; did you mean 'run'?"),
    ({"run": {"round": 3}}, "run.round", "unknown key; did you mean 'rounds'?"),
    ({"run": {"rounds": -1}}, "run.rounds", "must be ≥ 0"),
    ({"run": {"rounds": 1.5}}, "run.rounds", "expected an integer"),
    ({"run": {"rounds": True}}, "run.rounds", "expected an integer"),
    ({"run": {"rounds": "many"}}, "run.rounds", "expected an integer"),
    ({"run": 3}, "run", "expected a table of settings"),
    ({"split": {"test": 1.0}}, "split.test", "must be ≥ 0 and < 1"),
    ({"split": {"test": 0.6, "validation": 0.5}}, "split.test", "validation + test must be < 1"),
    ({"split": {"test": float("nan")}}, "split.test", "must be a finite number"),
    ({"evaluation": {"scenarios": ["new_user", "old_user"]}}, "evaluation.scenarios", "must be one of known_user"),
    ({"evaluation": {"shots": [1, -1]}}, "evaluation.shots", "must be ≥ 0"),
    ({"evaluation": {"shots": 5}}, "evaluation.shots", "expected a list"),
    ({"evaluation": {"steps": [0, 200_000]}}, "evaluation.steps", "≤ 100000"),
    ({"evaluation": {"adapt": {"inner_rate": 1.0}}}, "evaluation.adapt.inner_rate", "did you mean"),
    ({"evaluation": {"adapt": {"inner_lr": -1.0}}}, "evaluation.adapt.inner_lr", "must be > 0"),
    ({"engine": {"name": "cluster"}}, "engine.name", "must be one of cohort, flower"),
    ({"learner": {"name": "mamel"}}, "learner.name", "must be one of alpaca"),
    ({"learner": {"name": 3}}, "learner.name", "must be one of alpaca"),
    ({"learner": {"name": "maml", "inner_lr": 0}}, "learner.inner_lr", "must be > 0"),
    ({"learner": {"name": "no.such.module:Learner"}}, "learner", "cannot be imported"),
    ({"strategy": {"name": "fedmaml", "outer": "lion"}}, "strategy.outer", "must be one of sgd"),
    ({"source": {"name": "wearables", "users": 0}}, "source.users", "must be ≥ 1"),
    ({"transform": {"name": "standardize"}}, "transform.name", "standardise"),
    ({"model": {"name": "cnn"}}, "model.name", "must be one of cnn1d"),
    ({"model": {"channels": [0]}}, "model.channels", "must be ≥ 1"),
    ({"model": {"name": "mlp", "width": 3}}, "model.width", "unknown key"),
    ({"model": {"name": "mlp", "hidden": [0]}}, "model.hidden", "must be ≥ 1"),
    ({"checkpoint": {"keep": 0}}, "checkpoint.keep", "must be ≥ 1"),
]


@pytest.mark.parametrize(("table", "key", "allowed"), MISTAKES, ids=[key for _, key, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_key_value_and_what_is_allowed(table, key, allowed):
    with pytest.raises(ConfigError) as caught:
        build_config(table)
    message = str(caught.value)
    assert message.startswith(f"{key} = ")
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["[run", "run = ", "a = 1\na = 2", "x = [" + "[" * 5000])
def test_what_is_no_toml_is_refused(text):
    with pytest.raises(ConfigError, match="is not valid TOML"):
        parse(text)


def test_files_that_cannot_be_read_are_named(tmp_path):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.toml", tmp_path, binary):
        with pytest.raises(ConfigError, match=r"cannot be read") as caught:
            load_config(path)
        assert str(path) in str(caught.value)


def test_overrides_are_toml_or_a_bare_word():
    table, _ = parse(
        "[run]\nrounds = 3\n[learner]\nname = 'maml'\ninner_lr = 0.5\n",
        ["run.seed=4", "run.name=hello", "evaluation.shots=[1, 5]", "learner.inner_steps = 2", "split.test=0.3"],
    )
    assert table["run"] == {"rounds": 3, "seed": 4, "name": "hello"}
    assert table["evaluation"] == {"shots": [1, 5]}
    assert table["learner"] == {"name": "maml", "inner_lr": 0.5, "inner_steps": 2}


@pytest.mark.parametrize("override", ["run.rounds", "=3", ".rounds=3", "run..rounds=3", ""])
def test_malformed_overrides_are_refused(override):
    with pytest.raises(ConfigError, match=r"--set"):
        parse("", [override])


@pytest.mark.parametrize("swapped", [False, True])
def test_the_order_of_overrides_does_not_matter(swapped):
    sets = ["learner.batch_size=3", "learner.name=fedavg_ft"]
    table, _ = parse("[learner]\nname = 'reptile'\ninner_lr = 0.1", sets[::-1] if swapped else sets)
    assert table == {"learner": {"name": "fedavg_ft", "batch_size": 3}}
    assert parse("", ["run.seed=1", "run.seed=2"])[0] == {"run": {"seed": 2}}


def test_another_name_starts_from_its_own_defaults():
    table = {"learner": {"name": "maml", "inner_lr": 0.5}, "run": {"seed": 1}}
    merge(table, {"learner": {"name": "fomaml"}, "run": {"rounds": 2}})
    assert table == {"learner": {"name": "fomaml"}, "run": {"seed": 1, "rounds": 2}}
    merge(table, {"learner": {"name": "fomaml", "inner_lr": 0.1}})
    assert table["learner"] == {"name": "fomaml", "inner_lr": 0.1}
    merge(table, {"run": {"name": "other"}})
    assert table["run"] == {"seed": 1, "rounds": 2, "name": "other"}


@pytest.mark.parametrize("methods", ["methods = 3", "[methods]\nmaml = 3"])
def test_methods_must_be_tables(methods):
    with pytest.raises(ConfigError, match=r"expected tables \[methods\.NAME\]"):
        parse(methods)


def test_settings_of_another_engine_are_refused_and_what_all_have_stays() -> None:
    flower = {"name": "flower", "workers": 2, "timeout_s": 5.0}
    assert build_config({"engine": {**flower, "cpus_per_client": 1.0}}).engine == Flower(
        workers=2, timeout_s=5.0, cpus_per_client=1.0
    )
    refused = r"^engine.chunk = 3: has no effect with engine.name = 'flower'; it is a setting of 'cohort'$"
    with pytest.raises(ConfigError, match=refused):
        build_config(merge({"engine": {"chunk": 3}}, {"engine": {"name": "flower"}}))
    with pytest.raises(ConfigError, match=r"^engine.chunks = 3: unknown key; did you mean 'chunk'"):
        build_config({"engine": {"chunks": 3}})


def test_a_configuration_of_every_engine_is_read_and_holds_no_more_than_its_own() -> None:
    """As runs of 0.1 have it: what another engine has is there with its default."""
    config = build_config({"engine": {"chunk": 2, "cpus_per_client": 0.5}})
    assert config.engine == Cohort(chunk=2)
    assert "cpus_per_client" not in resolved(config)["engine"]
    assert build_config(resolved(config)).engine == config.engine


scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
inline = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
tables = st.recursive(inline, lambda inner: st.dictionaries(keys, inner, max_size=4))


@given(table=st.dictionaries(keys, tables, max_size=4))
def test_toml_comes_back_as_it_went(table):
    assert tomllib.loads(to_toml(table)) == table


def test_only_settings_reach_the_resolved_configuration():
    for section in dataclasses.fields(Config):
        assert is_setting(section)
    assert plain(Config())["run"] == {"name": "run", "seed": 0, "rounds": 50}


def test_a_section_without_a_name_keeps_the_default_one() -> None:
    config = build_config({"model": {"channels": [4]}, "source": {"users": 8}, "learner": {"inner_lr": 0.2}})
    assert dict(config.model) == {"name": "cnn1d", "channels": [4]}
    assert dict(config.source) == {"name": "wearables", "users": 8}
    assert dict(config.learner) == {"name": "reptile", "inner_lr": 0.2}


def test_what_devices_are_told_is_what_is_configured() -> None:
    said = {
        "restrict": False,
        "steps": [3, 0],
        "episodes": 7,
        "seed": 5,
        "adapt": {"inner_lr": 0.3},
        "history_steps": 2,
    }
    config = build_config({"run": {"seed": 4}, "evaluation": {**said, "scenarios": ["new_device_history"]}})
    work, trial = config.client_config(), question(config, "new_device_history", 5, ("phone",))
    assert work.seed == 4
    for section in ("source", "transform", "model", "learner", "episodes"):
        assert getattr(work, section) is getattr(config, section)
    assert {**part(Asked, config.evaluation), "steps": (0, 3)} == part(Asked, trial)
    assert trial == read_trial_json(json.loads(to_json(trial)))
