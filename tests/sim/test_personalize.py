"""From a run and a record to forecasts, by command and from Python; and what a clumsy user is told."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import metapulse as mp
from metapulse.errors import DataError, RunError
from metapulse.migration.published import PUBLISHED
from metapulse.personal.person import Abstention
from metapulse.personal.start import FILE, PopulationStart
from metapulse.record.clock import MINUTE
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.sim.cli import main
from metapulse.sim.paired_sensors import invented_truths
from metapulse.sim.report import write_person_page
from tests.pages import Tags, drawn, text_of

OLD, NEW = Device("Abbott", "Libre 2"), Device("Dexcom", "G6")
FIRST = 19_800 * 1440  # minutes
BEGINS = 336  # the first reading of the new sensor; the old one ends with the 432nd
RUN = """
[run]
rounds = {rounds}
[source]
name = "records"
path = "people"
recipe = "{recipe}"
[split]
validation = {validation}
test = 0.2
[transform]
name = "none"
[model]
name = "mlp"
hidden = [8]
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


def write(path, *readings):
    """A record of (device, minutes, values)."""
    rows = [
        Row("glucose", int(m * MINUTE), float(v), device=device)
        for device, minutes, values in readings
        for m, v in zip(minutes, values, strict=True)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows([row._replace(row=i) for i, row in enumerate(rows)], path, FileTally("test", "test"))
    return path


def paired_people():
    """Four people's readings of both sensors, every quarter of an hour."""
    parts = []
    for i, truth in enumerate(invented_truths(8, 4, 2)):
        noise = np.random.default_rng(i).normal(size=(2, len(truth)))
        old = (0.7 + 0.03 * i) * truth + 20.0 + 4.0 * noise[0]
        time = pl.Series((FIRST + 5 * np.arange(len(truth))) * MINUTE).cast(pl.Datetime("us", "UTC"))
        parts.append(pl.DataFrame({"person": str(i), "time": time, "old": old, "new": truth + 4.0 * noise[1]})[::3])
    return pl.concat([part.with_columns(person=pl.lit(str(i))) for i, part in enumerate(parts)])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten people's records, a run on them, and a person of two sensors."""
    folder = tmp_path_factory.mktemp("world")
    truths = invented_truths(3, 10, 2)
    grid = FIRST + 5.0 * np.arange(len(truths[0]))
    for i, truth in enumerate(truths):
        write(folder / "people" / f"{i:02}.parquet", (NEW, grid, np.round(truth, 1)))
    (folder / "run.toml").write_text(RUN.format(rounds=1, recipe="glucose_30min", validation=0.2))
    (curve,) = invented_truths(4, 1, 2)
    old = np.clip(0.75 * curve + 20.0, 40, 400)
    minutes = FIRST + 5.0 * np.arange(len(curve))
    write(
        folder / "me.parquet",
        (OLD, minutes[:432], np.round(old[:432], 1)),
        (NEW, minutes[BEGINS:], np.round(curve[BEGINS:], 1)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("METAPULSE_CACHE", str(folder / "cache"))
        assert main(["run", "run.toml", "--out", "run"]) == 0
        assert main(["personalize", "run", "me.parquet", "--out", "me"]) == 0
    return folder


@pytest.fixture
def at(world, monkeypatch):
    monkeypatch.chdir(world)
    monkeypatch.setenv("METAPULSE_CACHE", str(world / "cache"))
    return world


def test_forecasts_explanation_and_files_by_command(at, call, monkeypatch):
    monkeypatch.chdir(at)
    code, out, err = call("predict", "me", "me.parquet", "--out", "f.csv")
    assert (code, err) == (0, "")
    assert "forecasts" in out.splitlines()[-1]
    table = pl.read_csv("f.csv", try_parse_dates=True)
    assert table.columns == ["time", "due", "value", "lower", "upper", "abstained", "reason", "came"]
    given = table.filter(~pl.col("abstained"))
    assert (given["lower"] <= given["value"]).all()
    assert (given["value"] <= given["upper"]).all()
    assert table.filter("abstained")["value"].null_count() == table["abstained"].sum() > 0
    assert (table.filter("abstained")["reason"] != "").all()
    assert table.tail(6)["came"].null_count() == 6  # times still to come
    code, out, _ = call("explain", "me", "me.parquet")
    assert code == 0
    assert "glucose now" in out
    assert "from what holds for people" in out
    code, out, _ = call("plan", "me.parquet", "--out", "plan.json")
    assert code == 0
    assert "no medical advice" in out
    assert [one["target"] for one in json.loads(Path("plan.json").read_text())["targets"]] == [None] * 3


def test_python_and_commands_agree_and_the_people_are_needed_once(at):
    model = mp.personalize("run", "me.parquet")
    loaded = mp.PersonModel.load("me")
    assert model.predict("me.parquet").equals(loaded.predict("me.parquet"))
    assert model.card["device"] == "G6"
    away = at / "elsewhere"
    shutil.move(at / "people", away)
    try:
        again = mp.personalize("run", "me.parquet")
    finally:
        shutil.move(away, at / "people")
    assert again.predict("me.parquet").equals(model.predict("me.parquet"))


def test_the_start_holds_no_person_s_rows(at):
    start = PopulationStart.load(Path("run"))
    assert start.facts["people"] == 6  # of 10; 2 judged, 2 for the meta-test
    assert start.facts["judged"] == 2
    assert sum(t.numel() for t in start.tensors().values()) < 4000
    assert start.tensors()["scores"].shape == (200,)


def test_without_a_map_the_old_device_is_left_out_aloud(at, monkeypatch):
    monkeypatch.delitem(PUBLISHED, "glucose")
    model = mp.personalize("run", "me.parquet")
    assert model.map is None
    assert model.card["no_history"].startswith("history of Libre 2 is not used: no prior over maps of glucose")


def test_the_old_device_s_history_comes_along_by_its_map(at):
    prior = mp.migration.learn(paired_people())
    model = mp.personalize("run", "me.parquet", maps=prior)
    assert model.card["old_device"] == "Libre 2"
    assert model.card["history"] > 250
    assert model.map.card.overlap == 432 - BEGINS  # moments at which both were worn
    model.save("moved")
    again = mp.PersonModel.load("moved")
    assert again.predict("me.parquet").equals(model.predict("me.parquet"))
    assert again.map.card == model.map.card
    alone = mp.personalize("run", "me.parquet", False, maps=prior)
    assert alone.map.card.overlap == 0


T = BEGINS + 60  # a reading five hours into the time when both are worn; the last 36 of the old sensor come after it
(CURVE,) = invented_truths(4, 1, 2)
MINUTES = FIRST + 5.0 * np.arange(len(CURVE))
LATER = np.arange(len(CURVE)) > T
WORN = np.arange(len(CURVE)) < 432
OTHER_LATER = {
    "the new sensor shows something else": (WORN, CURVE, np.where(LATER, CURVE + 30.0, CURVE)),
    "the old one shows something else": (WORN, np.where(LATER, CURVE + 200.0, CURVE), CURVE),
    "the old one ends": (WORN & ~LATER, CURVE, CURVE),
    "the old one goes on": (WORN | LATER, CURVE, CURVE),
    "the old one is worn again": (WORN | (np.arange(len(CURVE)) > 500), CURVE, CURVE),
    "the record ends": (WORN & ~LATER, CURVE, CURVE[: T + 1]),
}


@pytest.mark.parametrize("overlap", [None, False])
@pytest.mark.parametrize("name", OTHER_LATER)
def test_no_forecast_moves_with_what_came_later(at, name, overlap):
    prior, paths = mp.migration.learn(paired_people()), []
    for label, (worn, old, new) in {"same": (WORN, CURVE, CURVE), "other": OTHER_LATER[name]}.items():
        told = (OLD, MINUTES[worn], np.round(np.clip(0.75 * old[worn] + 20.0, 40.0, 400.0), 1))
        paths.append(write(at / f"{label}.parquet", told, (NEW, MINUTES[BEGINS : len(new)], np.round(new[BEGINS:], 1))))
    models = [mp.personalize("run", path, overlap, maps=prior) for path in paths]
    assert all(model.card["history"] > 0 for model in models)
    tables = [
        model.predict(path).filter(pl.col("time").dt.timestamp("us") <= int(MINUTES[T] * MINUTE))
        for model, path in zip(models, paths, strict=True)
    ]
    columns = ("time", "value", "lower", "upper", "reason")
    assert len(tables[0]) > 30
    assert tables[0].select(columns).equals(tables[1].select(columns))
    for row in (-1, -20):
        found = models[0].explain(paths[0], at=str(tables[0]["time"][row]))
        assert found.facts["value"] == tables[0]["value"][row]


def test_a_table_of_times_to_come_is_not_used(at):
    prior, instant = mp.migration.learn(paired_people()), pl.Datetime("us", "UTC")
    time = pl.Series(((MINUTES[-1] + 60.0 + 5.0 * np.arange(200)) * MINUTE).astype(np.int64)).cast(instant)
    table = pl.DataFrame({"time": time, "old": 100.0 + np.arange(200) % 50, "new": 200.0 + np.arange(200) % 50})
    model, none = (mp.personalize("run", "me.parquet", given, maps=prior) for given in (table, False))
    assert model.map.card.overlap == 0
    assert torch.equal(model.belief.mean, none.belief.mean)


def test_a_model_goes_on_with_a_record_that_has_grown(at):
    loaded = mp.PersonModel.load("me")
    (curve,) = invented_truths(4, 1, 2)
    minutes = FIRST + 5.0 * np.arange(len(curve) + 24)
    longer = np.append(curve, curve[-1] + np.arange(24.0))
    write(at / "later.parquet", (NEW, minutes[BEGINS:], np.round(longer[BEGINS:], 1)))
    before, after = loaded.predict("me.parquet"), loaded.predict("later.parquet")
    same = ("time", "value", "lower", "upper", "reason")
    assert after.head(len(before) - 6).select(same).equals(before.head(len(before) - 6).select(same))
    assert len(after) == len(before) + 24


def test_the_clumsy_user(at, refused, monkeypatch):
    monkeypatch.chdir(at)
    write_rows([Row("steps", FIRST * MINUTE, 10.0, device=NEW)], at / "steps.parquet", FileTally("test", "test"))
    write(at / "short.parquet", (NEW, FIRST + 5.0 * np.arange(5), np.full(5, 100.0)))
    (at / "no.parquet").write_text("hello")
    assert "no glucose that can be used" in refused("personalize", "run", "steps.parquet", "--out", "x")
    assert "too little to forecast from (G6: 5 readings" in refused("personalize", "run", "short.parquet", "--out", "x")
    assert "no Parquet file" in refused("personalize", "run", "no.parquet", "--out", "x")
    assert "no such file" in refused("personalize", "run", "nowhere.parquet", "--out", "x")
    assert "holds no" in refused("personalize", "people", "me.parquet", "--out", "x")
    assert "no person's model" in refused("personalize", "run", "me.parquet", "--out", "people")
    assert "it has G6, Libre 2" in refused("personalize", "run", "me.parquet", "--device", "G7", "--out", "x")
    assert "must be one of Libre 2" in refused("personalize", "run", "me.parquet", "--old", "G5", "--out", "x")
    assert "no person's model" in refused("predict", "run", "me.parquet")
    assert "must end with .csv or .parquet" in refused("predict", "me", "me.parquet", "--out", "f.txt")
    assert "another file than the record" in refused("predict", "me", "me.parquet", "--out", "me.parquet")
    assert "no 'G6' with glucose" in refused("predict", "me", "steps.parquet")
    assert "must be a time" in refused("explain", "me", "me.parquet", "--at", "noon")
    assert "must end with .json" in refused("plan", "me.parquet", "--out", "plan.txt")
    assert not (at / "x").exists()


def test_runs_that_cannot_be_personalized(at, call, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(at)
    (at / "other.toml").write_text(RUN.format(rounds=0, recipe="glucose_30min", validation=0.0))
    assert call("run", "other.toml", "--out", "other")[0] == 0
    assert "validation" in refused("personalize", "other", "me.parquet", "--out", "x")
    shutil.rmtree(at / "other")
    assert call("run", tmp_path / "tiny.toml", "--out", "sine")[0] == 0
    assert "takes a run on records" in refused("personalize", "sine", "me.parquet", "--out", "x")
    (at / "run" / "summary.json").rename(at / "kept.json")
    try:
        assert "no finished run" in refused("personalize", "run", "me.parquet", "--out", "x")
    finally:
        (at / "kept.json").rename(at / "run" / "summary.json")


def test_a_start_of_another_run_is_refused(at, tmp_path):
    shutil.copytree("run", tmp_path / "copy")
    start = PopulationStart.load(tmp_path / "copy")
    data = (tmp_path / "copy" / FILE).read_bytes()
    replace(start, facts={**start.facts, "run": "0" * 32}).save(tmp_path / "copy")
    with pytest.raises(RunError, match="of another run"):
        mp.personalize(tmp_path / "copy", "me.parquet")
    (tmp_path / "copy" / FILE).write_bytes(data[:100])
    with pytest.raises(DataError, match="damaged"):
        mp.personalize(tmp_path / "copy", "me.parquet")


def test_the_page_shows_the_seam_and_reaches_nothing(at):
    page = Path("me/report.html").read_text(encoding="utf-8")
    assert Tags(page).reaching == []
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[:3] == ["In words", "What was forecast, and what came", "The change of device"]
    assert "What moved the last forecast" in titles
    names = [trace.get("name") for figure in drawn(page).values() for trace in figure["data"]]
    assert {"Libre 2", "Libre 2, mapped", "G6", "forecast", "what came"} <= set(names)
    assert "&lt;" not in text_of(page)
    assert "no diagnosis" in page


def test_without_a_map_the_page_shows_the_seam_and_says_why(at, monkeypatch):
    monkeypatch.delitem(PUBLISHED, "glucose")
    page = write_person_page(mp.personalize("run", "me.parquet"), "me.parquet", at).read_text(encoding="utf-8")
    names = [trace.get("name") for figure in drawn(page).values() for trace in figure["data"]]
    assert "Libre 2" in names
    assert "Libre 2, mapped" not in names
    assert "is not used: no prior over maps of glucose" in text_of(page)


def test_a_page_of_a_model_that_never_knows(at):
    model = mp.PersonModel.load("me")
    never = replace(model, abstention=Abstention(outcomes=10**6))
    text = text_of(write_person_page(never, "me.parquet", at).read_text(encoding="utf-8"))
    assert "every forecast of them was withheld" in text
    assert "What moved the last forecast" not in text
