"""From a run on people's nights and a record of two watches to forecasts: the old watch's history comes along."""

import numpy as np
import pytest

import metapulse as mp
from metapulse.migration import published
from metapulse.record.clock import DAY, HOUR
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.sim.cli import main
from metapulse.sim.report import write_person_page
from tests.pages import drawn, text_of

OLD, NEW = Device("Acme", "Watch 3"), Device("Other", "Band 4")
FIRST = 19_800  # a day
OLD_DAYS, NEW_DAYS = range(60), range(50, 95)  # ten nights with both, seven of them within the forecasts
RUN = """
[run]
rounds = 1
[source]
name = "records"
path = "people"
recipe = "sleep_tonight"
[split]
validation = 0.2
test = 0.2
[transform]
name = "none"
[model]
name = "mlp"
hidden = []
[learner]
name = "fedavg_ft"
[strategy]
name = "fedavg"
cohort = 4
[evaluation]
steps = [0]
shots = [5]
episodes = 1
"""


def slept(seed, days):
    """Minutes asleep: after a short night a long one, more or less."""
    rng, found = np.random.default_rng(seed), [420.0]
    for _ in range(days):
        found.append(420.0 - 0.6 * (found[-1] - 420.0) + 60.0 * rng.normal())
    return np.round(found[1:], 1)


def days_of(device, days, minutes):
    """A night and a total of steps of each day, and a pulse at noon."""
    for day in days:
        at, steps = (FIRST + day) * DAY, max(500.0, 60.0 * minutes[day] - 17_000.0)
        yield Row("sleep_duration", at - HOUR, float(minutes[day]), end=at + 7 * HOUR, device=device)
        yield Row("steps_daily", at, steps, end=at + DAY, device=device, quality=("date_only",))
        yield Row("heart_rate", at + 12 * HOUR, 70.0, device=device)


def write(path, *parts):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row for part in parts for row in part]
    write_rows([row._replace(row=i) for i, row in enumerate(rows)], path, FileTally("test", "test"))
    return path


def both(path, minutes, seen=None):
    """A record of two watches: the old one tells of half an hour less."""
    seen = minutes if seen is None else seen
    return write(path, days_of(OLD, OLD_DAYS, minutes - 30.0), days_of(NEW, NEW_DAYS, seen))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten people's records, a run on them, and a person of two watches."""
    folder = tmp_path_factory.mktemp("world")
    for i in range(10):
        write(folder / "people" / f"{i:02}.parquet", days_of(NEW, range(40), slept(i, 40)))
    (folder / "run.toml").write_text(RUN)
    both(folder / "me.parquet", slept(77, 95))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("METAPULSE_CACHE", str(folder / "cache"))
        assert main(["run", "run.toml", "--out", "run"]) == 0
    return folder


@pytest.fixture
def at(world, monkeypatch):
    monkeypatch.chdir(world)
    monkeypatch.setenv("METAPULSE_CACHE", str(world / "cache"))
    return world


def test_the_old_watch_s_nights_come_along_and_the_card_says_what_was_mapped(at, call, monkeypatch):
    monkeypatch.chdir(at)
    code, out, err = call("personalize", "run", "me.parquet", "--out", "me")
    assert (code, err) == (0, "")
    # Of days 3 to 51: what was over before the first forecast, after three nights for a window.
    assert "history of Watch 3: 49 outcomes" in out
    assert "of it mapped to Band 4: sleep_duration, steps_daily; taken as recorded: heart_rate" in out
    model = mp.PersonModel.load("me")
    assert "no_history" not in model.card or not model.card["no_history"]
    assert model.map.card.metric == "sleep_duration"
    assert model.map.card.overlap == 10
    expected = model.map.at(np.array([FIRST * DAY]), np.array([390.0])).value[0]
    assert 400.0 < expected < 425.0  # the new watch tells of half an hour more
    table = model.predict("me.parquet")
    assert len(table.drop_nulls("value")) > 20
    alone = mp.personalize("run", "me.parquet", False)
    assert alone.map.card.overlap == 0
    given = mp.personalize("run", "me.parquet", maps=published("sleep_duration"))
    assert given.predict("me.parquet").equals(table)


def test_no_forecast_of_a_night_moves_with_what_the_new_watch_showed_later(at):
    minutes, day = slept(77, 95), 56  # within the nights with both
    other = np.where(np.arange(95) > day, minutes + 40.0, minutes)
    same, moved = (mp.personalize("run", both(at / f"{name}.parquet", minutes, seen)) for name, seen in (
        ("same", minutes), ("other", other)
    ))  # fmt: skip
    before, after = same.predict("same.parquet"), moved.predict("other.parquet")
    known = before["time"].dt.timestamp("us") <= (FIRST + day + 1) * DAY
    columns = ("time", "value", "lower", "upper", "reason")
    assert known.sum() == 5  # at 20:00 of days 52 to 56
    assert before.filter(known).select(columns).equals(after.filter(known).select(columns))
    assert not before.filter(~known).select(columns).equals(after.filter(~known).select(columns))
    assert same.origins[-1].belief.mean.ne(moved.origins[-1].belief.mean).any()


def test_the_page_shows_nights_of_both_watches(at):
    model = mp.personalize("run", "me.parquet")
    page = write_person_page(model, "me.parquet", at).read_text(encoding="utf-8")
    names = [trace.get("name") for figure in drawn(page).values() for trace in figure["data"]]
    assert {"Watch 3", "Watch 3, mapped", "Band 4"} <= set(names)
    assert "sleep_duration, steps_daily" in text_of(page)


def test_a_watch_without_nights_is_left_out_aloud(at):
    pulse = write(
        at / "pulse.parquet",
        [Row("heart_rate", FIRST * DAY + hour * HOUR, 70.0, device=OLD) for hour in range(100)],
        days_of(NEW, NEW_DAYS, slept(77, 95)),
    )
    model = mp.personalize("run", pulse)
    assert model.card["no_history"] == "history of Watch 3 is not used: it tells nothing from before Band 4"
    assert model.map is None
