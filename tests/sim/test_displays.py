"""What a comparison says while it runs: how many are done, what failed, how long the rest will take."""

import io

import pytest
from rich.console import Console

from metapulse.sim import estimate
from metapulse.sim.lab.cells import comparison_cells
from metapulse.sim.progress import display
from tests.lab import spec


@pytest.fixture
def cells(tmp_path):
    """few and many, fedavg_ft and maml, seeds 0 and 1: eight."""
    return comparison_cells(spec(tmp_path))


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr(estimate.time, "monotonic", lambda: now[0])
    return now


def test_the_rest_takes_what_its_like_took(cells):
    """A cell of the same method and data 10 s, of the same data (10 + 30) / 2, of others the mean of all."""
    rest = estimate.Estimate(cells, 2)
    assert rest.seconds() is None
    rest.end(cells[0], 10.0)
    rest.end(cells[2], 30.0)  # few/maml
    assert rest.seconds() == pytest.approx((10 + 30 + 4 * 20) / 2)
    rest.end(cells[4], 100.0)  # many/fedavg_ft
    assert rest.seconds() == pytest.approx((10 + 30 + 3 * 100) / 2)
    rest.move(cells[1], 0.5)
    rest.end(cells[6], None)  # a failure tells nothing
    assert rest.seconds() == pytest.approx((5 + 30 + 2 * 100) / 2)


def test_the_last_cell_is_not_shared_among_workers(cells):
    rest = estimate.Estimate(cells[:2], 4)
    rest.end(cells[0], 10.0)
    assert rest.seconds() == 10.0
    rest.end(cells[1], 10.0)
    assert rest.seconds() == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5940, "99 min"), (6000, "1 h 40 min"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations_in_words(seconds, words):
    assert estimate.duration(seconds) == words


def test_lines_say_what_ended_and_what_is_left(cells, clock):
    stream = io.StringIO()
    view = display("tuning, rung 1", cells[:3], 2, 1, Console(file=stream))
    for cell, error, now in zip(cells, ("", "no room\\[x]", ""), (12.0, 13.0, 25.0), strict=False):
        view.begin(cell)
        clock[0] = now
        view.end(cell, error)
    view.close()
    assert stream.getvalue().splitlines() == [
        "few/fedavg_ft/0: 12 s; tuning, rung 1: 3 of 5 done, 24 s left",
        "few/fedavg_ft/1: no room\\[x]; tuning, rung 1: 3 of 5 done, 1 failed, 12 s left",
        "few/maml/0: 12 s; tuning, rung 1: 4 of 5 done, 1 failed",
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_runs_done_as_one_share_their_time(cells, clock, workers):
    """Four take 40 s together, so four more of their like do as well: not 40 s each."""
    tally = estimate.BatchTally("", cells, 0, workers)
    for cell in cells[:4]:
        tally.begin(cell)
    clock[0] = 40.0
    assert [tally.end(cell, "") for cell in cells[:4]] == [40.0] * 4
    assert str(tally) == "4 of 8 done, 40 s left"


def test_a_terminal_shows_what_runs(cells, clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=100, record=True)
    view = display("", cells, 1, 2, console)
    view.begin(cells[0])
    view.begin(cells[2])
    view.round(cells[2], 3)
    clock[0] = 8.0
    view.end(cells[0], "[red]: no room")
    view.end(cells[2], "")
    view.begin(cells[3])
    view.round(cells[3], 2)
    view.bars.refresh()
    view.close()
    said = console.export_text()
    assert "few/fedavg_ft/0: [red]: no room" in said
    last = said.split("few/fedavg_ft/0: [red]")[1]
    assert "2 of 9 done, 1 failed" in last
    assert [word in last for word in ("few/maml/1", "3/9", "2/4")] == [True] * 3
