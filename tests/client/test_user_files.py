"""Files of one's own: whatever they do while they are imported is one line with the key, the file and the line."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from metapulse.data import Samples, read_samples
from metapulse.errors import ConfigError, DataError
from metapulse.registry import LEARNERS, SOURCES, resolve
from metapulse.server.config import parse
from metapulse.server.split import SplitSettings
from metapulse.settings import build
from metapulse.sim.sources.sine import Sine


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        sys.modules.pop(name, None)
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}:Thing"

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nlimits = {}\nwidth = limits['width']\n", ("KeyError", "line 3")),
        ("1 / 0\n", ("ZeroDivisionError", "line 1")),
        ("assert False, 'never'\n", ("AssertionError: never", "line 1")),
        ("import sys\nsys.exit('no data here')\n", ("SystemExit: no data here", "line 2")),
        ("import sys\nsys.exit()\n", ("SystemExit", "line 2")),
        ("def f(:\n    pass\n", ("invalid syntax", "line 1")),
        ("width = nowhere\n", ("NameError", "nowhere", "line 1")),
        ("import no_such_package\n", ("No module named 'no_such_package'", "line 1")),
        ("raise BaseException('odd')\n", ("BaseException: odd", "line 1")),
        ("x = 1\n", ("has no attribute 'Thing'",)),
    ],
)
def test_what_a_file_does_while_it_is_imported(own, text, words):
    reference = own("mine_own", text)
    for ask in (lambda: resolve(reference, "model.factory"), lambda: LEARNERS[reference], lambda: SOURCES[reference]):
        sys.modules.pop("mine_own", None)
        with pytest.raises(ConfigError) as caught:
            ask()
        assert "mine_own" in str(caught.value)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)


def test_a_file_that_is_not_there_is_told_where_it_is_looked_for():
    with pytest.raises(ConfigError, match=r"No module named 'no_such_file'.*current folder.*PYTHONPATH"):
        resolve("no_such_file:Thing", "model.factory")


@dataclass(frozen=True)
class Failing(Sine):
    """A source that fails for one person, in a way of its own."""

    how: Callable[[], Any] = list

    def samples(self, index):
        return self.how() if index == 1 else super().samples(index)


def fail(error):
    def raising():
        raise error

    return raising


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (fail(ValueError("recording 4 is cut short")), "its source raises ValueError: recording 4 is cut short"),
        (fail(KeyError("hr")), "its source raises KeyError: 'hr'"),
        (fail(FileNotFoundError(2, "No such file", "c4.csv")), "its source raises FileNotFoundError"),
        (lambda: None, "its source returns NoneType; must be metapulse.data.Samples"),
        (lambda: [1, 2], "its source returns list"),
    ],
)
def test_whatever_a_source_does_for_one_person_is_that_persons_failure(how, words):
    source = Failing(how=how)
    assert isinstance(read_samples(source, 0), Samples)
    with pytest.raises(DataError) as caught:
        read_samples(source, 1)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("attack.name=nan", "nan"), ("run.name=2024", "2024"), ("run.name=true", "true"), ("run.name='x y'", "x y")],
)
def test_a_name_that_is_a_word_of_toml_is_a_name(text, value):
    section = text.partition(".")[0]
    assert parse("", [text])[0][section]["name"] == value


def test_people_may_be_named_by_numbers():
    assert build(SplitSettings, {"test_users": [1, "002"]}, "split").test_users == ("1", "002")
