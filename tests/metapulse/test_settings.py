"""Settings: what is accepted, what is refused, and that the refusal names key, value and what is allowed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import ConfigError
from metapulse.server.config import RunSettings
from metapulse.settings import build, is_setting, plain, setting


@dataclass(frozen=True)
class Inner:
    rate: float = setting(0.1, "a rate", gt=0, le=1)
    steps: tuple[int, ...] = setting((1, 2), "some steps", ge=0)


@dataclass(frozen=True)
class Section:
    count: int = setting(3, "a count", ge=1, lt=10)
    name: str = setting("a", "a name")
    flag: bool = setting(False, "a switch")
    kind: Literal["x", "y"] = setting("x", "a kind")
    words: tuple[Literal["p", "q"], ...] = setting(("p",), "some kinds")
    pair: tuple[float, str] = setting((0.0, ""), "a pair")
    either: int | str | None = setting(None, "a number, a word or nothing")
    inner: Inner = setting(Inner(), "a section")
    table: Mapping[str, Any] = setting({}, "anything")


@dataclass(frozen=True)
class Strict:
    must: int = setting(0, "needed", ge=0)
    given: str = "not a setting"


def test_everything_has_a_default_and_a_value() -> None:
    assert build(Section, {}) == Section()
    full = {
        "count": 9,
        "name": "b",
        "flag": True,
        "kind": "y",
        "words": ["q", "p"],
        "pair": [1, "z"],
        "either": "word",
        "inner": {"rate": 1, "steps": [0, 5]},
        "table": {"a": {"b": [1]}},
    }
    built = build(Section, full)
    assert built == Section(9, "b", True, "y", ("q", "p"), (1.0, "z"), "word", Inner(1.0, (0, 5)), {"a": {"b": [1]}})
    assert type(built.pair[0]) is float
    assert type(built.inner.rate) is float


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "count": st.integers(1, 9),
            "name": st.text(max_size=5),
            "flag": st.booleans(),
            "kind": st.sampled_from(["x", "y"]),
            "either": st.none() | st.integers() | st.text(max_size=3),
            "inner": st.fixed_dictionaries(
                {}, optional={"rate": st.floats(0.01, 1.0), "steps": st.lists(st.integers(0, 9))}
            ),
        },
    )
)
def test_plain_and_build_are_inverse(mapping: dict[str, Any]) -> None:
    built = build(Section, mapping)
    assert build(Section, plain(built)) == built
    assert set(plain(built)) == {"count", "name", "flag", "kind", "words", "pair", "either", "inner", "table"}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"cuont": 3}, "cuont", "did you mean 'count'"),
    ({"zzz": 3}, "zzz", "allowed: count, either, flag"),
    ({"inner": {"rat": 0.1}}, "inner.rat", "did you mean 'rate'"),
    ({"count": 0}, "count", "≥ 1 and < 10"),
    ({"count": 10}, "count", "≥ 1 and < 10"),
    ({"count": 2.0}, "count", "an integer"),
    ({"count": "3"}, "count", "an integer"),
    ({"count": True}, "count", "an integer"),
    ({"count": None}, "count", "an integer"),
    ({"name": 3}, "name", "a string"),
    ({"flag": 1}, "flag", "true or false"),
    ({"kind": "z"}, "kind", "must be one of x, y"),
    ({"kind": 1}, "kind", "must be one of x, y"),
    ({"words": ["p", "z"]}, "words", "must be one of p, q"),
    ({"pair": [1.0]}, "pair", "list of 2"),
    ({"pair": "ab"}, "pair", "a list"),
    ({"pair": [1.0, 2.5]}, "pair[1]", "a string"),
    ({"pair": [float("nan"), "a"]}, "pair", "finite"),
    ({"either": 1.5}, "either", "an integer or expected a string or nothing"),
    ({"inner": 3}, "inner", "a table"),
    ({"inner": {"rate": 0}}, "inner.rate", "> 0 and ≤ 1"),
    ({"inner": {"rate": float("inf")}}, "inner.rate", "finite"),
    ({"inner": {"rate": True}}, "inner.rate", "a number"),
    ({"inner": {"steps": [1, -1]}}, "inner.steps", "≥ 0"),
    ({"inner": {"steps": [1, "2"]}}, "inner.steps[1]", "an integer"),
    ({"table": [1]}, "table", "a table"),
]


@pytest.mark.parametrize(("mapping", "key", "words"), REFUSED, ids=[f"{k}: {w}" for _, k, w in REFUSED])
def test_refuses(mapping: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Section, mapping, "section")
    assert caught.value.key == f"section.{key}"
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    value: Any = mapping
    for part in key.replace("]", "").replace("[", ".").split("."):
        value = value[int(part)] if part.isdigit() else value[part]
    blamed = caught.value.value
    assert blamed is value or (isinstance(value, list) and blamed in value) or blamed == value


def test_what_is_not_a_setting_is_given_by_code_alone() -> None:
    assert build(Strict, {"must": 2}, given="by code").given == "by code"
    with pytest.raises(ConfigError, match="unknown key"):
        build(Strict, {"given": "by the file"})
    with pytest.raises(ConfigError, match="expected a table"):
        build(Strict, [1])  # type: ignore[arg-type]


def test_a_mutable_default_is_everyones_own() -> None:
    a, b = Section(), Section()
    assert a.table == b.table
    assert a.table is not b.table
    assert all(is_setting(f) for f in Section.__dataclass_fields__.values())


def test_errors_cross_process_boundaries() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("a.b", 3, "must be 4")))
    assert (error.key, error.value, error.allowed, str(error)) == ("a.b", 3, "must be 4", "a.b = 3: must be 4")


@dataclass(frozen=True)
class Conditional:
    rule: Literal["sgd", "adam"] = setting("sgd", "a rule")
    decay: float = setting(0.9, "of the rule", ge=0, used_if=("rule", "adam"))
    rate: float = setting(0.0, "of failures", ge=0)
    speeds: Mapping[str, float] = setting({}, "where they fail", used_if=("rate",))
    widths: tuple[int, ...] = setting((1,), "of layers", longest=3)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"decay": 0.5}, "s.decay = 0.5: has no effect with s.rule = 'sgd'; it must be 'adam'"),
        ({"speeds": {"a": 1.0}}, "s.speeds = {'a': 1.0}: has no effect with s.rate = 0.0; it must be given"),
        ({"widths": [1] * 4}, "s.widths = [1, 1, 1, 1]: must have at most 3 entries"),
        ({"rate": 1e300}, "s.rate = 1e+300: is beyond the numbers that are computed with, 1e-38 to 1e+38"),
        ({"rate": 5e-324}, "s.rate = 5e-324: is beyond the numbers that are computed with, 1e-38 to 1e+38"),
    ],
)
def test_what_could_have_no_effect_is_refused(mapping: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Conditional, mapping, "s")
    assert str(caught.value) == words


def test_with_its_condition_or_at_its_default_a_setting_is_taken() -> None:
    assert build(Conditional, {"rule": "adam", "decay": 0.5}, "s").decay == 0.5
    assert build(Conditional, plain(Conditional()), "s") == Conditional()


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ConfigError, match=r"x… \(5002 characters\): expected a number"):
        build(Conditional, {"rate": "x" * 5000}, "s")


def test_text_holds_no_null_character() -> None:
    with pytest.raises(ConfigError, match="null character"):
        build(RunSettings, {"name": "a\0b"}, "run")
