"""Progress: a bar on a terminal, a few lines off it, nothing where it is to be quiet."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metapulse.server.config import build_config
from metapulse.sim.cells import Cell
from metapulse.sim.progress import Display, ProgressBars, ProgressLines, Speed, display


def spent(seconds):
    return {"sampling": 0.05 * seconds, "inner": 0.6 * seconds, "transfer": 0.25 * seconds, "aggregate": 0.1 * seconds}


def cell(rounds, name="fedavg"):
    return Cell(name, build_config({"run": {"rounds": rounds}}), Path(name))


def alone(run, console):
    """The display of one run."""
    return display("", [run], 0, 1, console, rounds=True)


def lines(rounds, score=None, clients=5, seconds=0.01):
    stream, run = io.StringIO(), cell(rounds)
    shown = alone(run, Console(file=stream))
    shown.begin(run)
    for round in range(1, rounds + 1):
        shown.round(run, round, clients, spent(seconds))
        if score is not None:
            shown.score(run, round, score)
    shown.end(run, "")
    shown.close()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("rounds", [1, 3, 9, 10, 11, 99, 100, 101, 1000, 1009])
def test_lines_come_at_most_every_tenth_and_the_last_always(rounds):
    shown = [int(line.split("round ")[1].split("/")[0]) for line in lines(rounds)]
    assert shown[-1] == rounds
    assert len(shown) <= min(rounds, 11)
    assert shown == sorted(set(shown))


def test_a_line_says_speed_where_the_time_goes_and_the_last_score():
    where = "inner loop 60%, sending and waiting 25%"
    assert lines(1)[0] == f"fedavg: round 1/1, 100.0 rounds/s, 500 clients/s, {where}"
    assert lines(20, score=0.81234)[-1] == (
        f"fedavg: round 20/20, 100.0 rounds/s, 500 clients/s, {where}, meta-test 0.8123 (round 19)"
    )


def test_speed_is_that_of_the_last_rounds():
    speed = Speed()
    assert str(speed) == ""
    for seconds in [10.0] * 50 + [0.5] * 20:
        speed.add(4, {"sampling": seconds} if seconds > 1 else spent(seconds))
    assert str(speed) == "2.0 rounds/s, 8 clients/s"
    assert speed.largest() == "inner loop 60%, sending and waiting 25%"


def test_no_time_at_all_is_no_speed():
    assert lines(1, seconds=0.0) == ["fedavg: round 1/1"]


def terminal(width=80):
    stream = io.StringIO()
    return stream, Console(file=stream, force_terminal=True, width=width, color_system=None)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_bar_shows_rounds_speed_and_score_on_one_line(width):
    stream, console = terminal(width)
    run = cell(40)
    shown = alone(run, console)
    shown.begin(run)
    shown.round(run, 7, 10, spent(0.1))  # resumed: the first six were done before
    shown.score(run, 7, 0.75)
    shown.round(run, 8, 10, spent(0.1))
    shown.close()
    last = stream.getvalue().replace("\r", "\n").split("\n")
    text = next(line for line in reversed(last) if "fedavg" in line)
    assert len(text.replace("\x1b[2K", "")) <= width
    assert "10.0 rounds/s" in text
    if width >= 80:
        assert "8/40" in text
        assert "meta-test 0.75 (round 7)" in text
    assert ("inner loop 60%" in text) == (width >= 100)


def test_a_name_that_looks_like_markup_is_only_a_name():
    stream, console = terminal()
    run = cell(1, "[red]a[/]")
    shown = alone(run, console)
    shown.begin(run)
    shown.round(run, 1, 1, spent(0.1))
    shown.close()
    assert "[red]a[/]" in stream.getvalue()


def test_a_note_is_told_once_however_many_runs_have_it():
    stream, runs = io.StringIO(), [cell(2, "a"), replace(cell(2, "b :warning: [x]"), notes=["of its table"])]
    shown = display("", runs, 0, 1, Console(file=stream, width=40), rounds=True)
    for run in runs:
        shown.note(run, "person 3 is left out, and this line is longer than the console is wide")
        shown.note(run, "of " + run.name)
    for run in (*runs, *runs):
        shown.note(run, "of its table")
    assert stream.getvalue().splitlines() == [
        "a: person 3 is left out, and this line is longer than the console is wide",
        "a: of a",
        "b :warning: [x]: of b :warning: [x]",
        "a: of its table",
        "b :warning: [x]: of its table",
    ]


def test_a_run_that_begins_again_has_one_bar():
    """As where the process dies in which several were done as one, and each is then done by itself."""
    _, console = terminal()
    runs = [cell(2, "a"), cell(2, "b")]
    shown = display("", runs, 0, 2, console, rounds=True)
    for run in (*runs, *runs):
        shown.begin(run)
    for run in runs:
        shown.end(run, "")
    assert len(shown.bars.tasks) == 1  # that of the batch
    shown.close()


def test_the_console_decides():
    assert type(alone(cell(1), Console(quiet=True))) is Display
    assert isinstance(alone(cell(1), Console(file=io.StringIO())), ProgressLines)
    shown = alone(cell(1), terminal()[1])
    shown.close()
    assert isinstance(shown, ProgressBars)
