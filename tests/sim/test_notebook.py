"""A notebook's way in: the same folders as the command line's, and results that show themselves."""

import re
from pathlib import Path

import pytest

from metapulse.errors import ConfigError, MetapulseError, RunError
from metapulse.sim.cli import main
from metapulse.sim.notebook import launch, resume
from tests.commands import PAIR, TINY

ROOT = Path(__file__).resolve().parents[2]


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
    several = launch(pair / "pair.toml", pair / "two", quiet=True)
    with pytest.raises(RunError, match="no run 'slower'; there are: slow, fast"):
        several.metrics("slower")
    rows = several.metrics()
    assert rows.column_names[0] == "method"
    assert rows["method"].unique().to_pylist() == ["slow", "fast"]
    assert rows.num_rows == several.metrics("slow").num_rows + several.metrics("fast").num_rows


def test_what_the_readme_and_the_pages_show_runs_as_it_stands(pair):
    """Every line about a notebook, over a small configuration in the place of the large one."""
    for page in (ROOT / "README.md", ROOT / "docs" / "cli.md"):
        (block,) = re.findall(r"^( *)from sim\.notebook import launch\n((?:\1.*\n|\n)*)", page.read_text(), re.M)
        lines = [line.removeprefix(block[0]) for line in block[1].split("```")[0].splitlines()]
        text = "\n".join(["from metapulse.sim.notebook import launch", *lines])
        for shown in ("configs/main.toml", "mine.toml"):
            text = text.replace(shown, str(pair / "pair.toml"))
        text = text.replace("runs/", f"{pair / page.stem}/").replace("maml", "slow").replace("rounds=50", "rounds=1")
        exec(compile(text, str(page), "exec"), {})


def test_mistakes_are_raised_and_single_failures_kept(pair):
    with pytest.raises(ConfigError, match=r"run\.seed = -1"):
        launch(pair / "pair.toml", pair / "a", seed=-1)
    with pytest.raises(MetapulseError, match=r"slow: split\.train_devices = \['moon'\]"):
        launch(pair / "pair.toml", pair / "b", sets=["split.train_devices=['moon']"], quiet=True)
    result = launch(pair / "pair.toml", pair / "c", sets=["methods.slow.split.train_devices=['moon']"], quiet=True)
    assert list(result.failed) == ["slow"]
    assert list(result.summaries) == ["fast"]
