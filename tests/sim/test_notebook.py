"""A notebook's way in: the same folders as the command line's, and results that show themselves."""

import pytest

from client.errors import ConfigError, MetapulseError, RunError
from sim.cli import main
from sim.notebook import launch, resume
from tests.commands import PAIR, TINY


@pytest.fixture
def pair(tmp_path):
    (tmp_path / "pair.toml").write_text(PAIR)
    return tmp_path


def test_results_show_themselves(pair, capsys):
    result = launch(pair / "pair.toml", pair / "out", sets=["run.rounds=2"], seed=3, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert "slow" in repr(result)
    assert "<table" in result._repr_html_()
    assert result.metrics("fast").column_names[0] == "round"
    assert result.report().read_text().startswith("<!doctype html>")
    assert {s["seed"] for s in result.summaries.values()} == {3}


def test_it_is_the_command_lines_run(pair, capsys):
    result = launch(str(pair / "pair.toml"), pair / "a", quiet=True)
    assert main(["run", str(pair / "pair.toml"), "--out", str(pair / "b")]) == 0
    for name, path in result.paths.items():
        assert (path / "summary.json").read_bytes() == (pair / "b" / name / "summary.json").read_bytes()


def test_going_on_reads_what_is_finished(pair):
    first = launch(pair / "pair.toml", pair / "out", quiet=True)
    (pair / "out" / "fast" / "summary.json").unlink()
    assert resume(pair / "out", quiet=True).summaries == first.summaries


def test_one_run_needs_no_name_and_several_do(pair):
    (pair / "tiny.toml").write_text(TINY)
    assert launch(pair / "tiny.toml", pair / "one", quiet=True).metrics().num_rows > 0
    with pytest.raises(RunError, match="there are: slow, fast"):
        launch(pair / "pair.toml", pair / "two", quiet=True).metrics()


def test_mistakes_are_raised_and_single_failures_kept(pair):
    with pytest.raises(ConfigError, match=r"run\.seed = -1"):
        launch(pair / "pair.toml", pair / "a", seed=-1)
    with pytest.raises(MetapulseError, match=r"slow: strategy\.cohort = 99"):
        launch(pair / "pair.toml", pair / "b", sets=["strategy.cohort=99"], quiet=True)
    result = launch(pair / "pair.toml", pair / "c", sets=["methods.slow.strategy.cohort=99"], quiet=True)
    assert list(result.failed) == ["slow"]
    assert list(result.summaries) == ["fast"]
