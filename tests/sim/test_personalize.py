"""From a run and a record to forecasts, by command and from Python; and what a clumsy user is told."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import metapulse as mp
from metapulse.errors import DataError, RunError
from metapulse.personal.start import FILE, PopulationStart
from metapulse.record.clock import MINUTE
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.sim.cli import main
from metapulse.sim.paired_sensors import PairedSensors, invented_truths

OLD, NEW = Device("Abbott", "Libre 2"), Device("Dexcom", "G6")
FIRST = 19_800 * 1440  # minutes
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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten people's records, a run on them, and a person of two sensors."""
    folder = tmp_path_factory.mktemp("world")
    truths = invented_truths(3, 10, 2)
    grid = FIRST + 5.0 * np.arange(len(truths[0]))
    for i, truth in enumerate(truths):
        write(folder / "people" / f"{i:02}.parquet", (NEW, grid[:288], np.round(truth[:288], 1)))
    (folder / "run.toml").write_text(RUN.format(rounds=1, recipe="glucose_30min", validation=0.2))
    (curve,) = invented_truths(4, 1, 4)
    old = np.clip(0.75 * curve + 20.0, 40, 400)
    minutes = FIRST + 5.0 * np.arange(len(curve))
    write(
        folder / "me.parquet",
        (OLD, minutes[: 288 * 3], np.round(old[: 288 * 3], 1)),
        (NEW, minutes[288 * 2 :], np.round(curve[288 * 2 :], 1)),
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
    assert start.facts["people"] == 6
    assert start.facts["judged"] == 2
    assert sum(t.numel() for t in start.tensors().values()) < 2000
    assert start.tensors()["scores"].shape == (200,)


def test_without_a_map_the_old_device_is_left_out_aloud(at):
    model = mp.personalize("run", "me.parquet")
    assert model.map is None
    assert model.card["no_history"].startswith("history of Libre 2 is not used: no prior over maps of glucose")


def test_the_old_device_s_history_comes_along_by_its_map(at):
    prior = mp.migration.learn(PairedSensors(days=2).pairs(0, invented_truths(8, 6, 2)))
    model = mp.personalize("run", "me.parquet", maps=prior)
    assert model.card["old_device"] == "Libre 2"
    assert model.card["history"] > 300
    assert model.map.card.overlap > 200  # the day on which both were worn
    model.save("moved")
    again = mp.PersonModel.load("moved")
    assert again.predict("me.parquet").equals(model.predict("me.parquet"))
    assert again.map.card == model.map.card
    table = pl.DataFrame({"time": [], "old": [], "new": []}, schema={"time": pl.Datetime("us", "UTC")})
    table = table.with_columns(pl.col("old").cast(pl.Float64), pl.col("new").cast(pl.Float64))
    alone = mp.personalize("run", "me.parquet", table, maps=prior)
    assert alone.map is None or alone.map.card.overlap == 0


def test_a_model_goes_on_with_a_record_that_has_grown(at):
    loaded = mp.PersonModel.load("me")
    (curve,) = invented_truths(4, 1, 4)
    minutes = FIRST + 5.0 * np.arange(len(curve) + 24)
    longer = np.append(curve, curve[-1] + np.arange(24.0))
    write(at / "later.parquet", (NEW, minutes[288 * 2 :], np.round(longer[288 * 2 :], 1)))
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
    assert "it has Libre 2, G6" in refused("personalize", "run", "me.parquet", "--device", "G7", "--out", "x")
    assert "must be one of Libre 2" in refused("personalize", "run", "me.parquet", "--old", "G5", "--out", "x")
    assert "no person's model" in refused("predict", "run", "me.parquet")
    assert "must end with .csv or .parquet" in refused("predict", "me", "me.parquet", "--out", "f.txt")
    assert "another file than the record" in refused("predict", "me", "me.parquet", "--out", "me.parquet")
    assert "no 'G6' with glucose" in refused("predict", "me", "steps.parquet")
    assert "must be a time" in refused("explain", "me", "me.parquet", "--at", "noon")
    assert "must end with .json" in refused("plan", "me.parquet", "--out", "plan.txt")
    assert not (at / "x").exists()


def test_runs_that_cannot_be_personalized(at, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(at)
    (at / "other.toml").write_text(RUN.format(rounds=0, recipe="glucose_30min", validation=0.0))
    assert main(["run", "other.toml", "--out", "other"]) == 0
    assert "validation" in refused("personalize", "other", "me.parquet", "--out", "x")
    shutil.rmtree(at / "other")
    assert main(["run", str(tmp_path / "tiny.toml"), "--out", "sine"]) == 0
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
    (tmp_path / "copy" / FILE).write_bytes(data.replace(start.facts["run"].encode(), b"0" * len(start.facts["run"])))
    with pytest.raises(RunError, match="of another run"):
        mp.personalize(tmp_path / "copy", "me.parquet")
    (tmp_path / "copy" / FILE).write_bytes(data[:100])
    with pytest.raises(DataError, match="damaged"):
        mp.personalize(tmp_path / "copy", "me.parquet")
