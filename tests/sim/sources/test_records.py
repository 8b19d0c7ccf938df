"""People's records as a source: who is a client, what is left out aloud, and the numbers of the set they came from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from metapulse.data import Source
from metapulse.errors import ConfigError, DataError
from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.schema import KEY, Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.registry import SOURCES
from metapulse.server.config import build_config
from metapulse.sim.as_records import write_records
from metapulse.sim.cli import main
from metapulse.sim.data_facts import data_facts
from metapulse.sim.experiment import run_experiment
from metapulse.sim.importers.compact import read_npz, write_npz
from tests.runs import read

SHORT = {"name": "glucose_30min", "history_min": 20}
LIBRE, DEXCOM = Device("Abbott", "Libre 2"), Device("Dexcom", "G6")


def person(path: Path, readings: int = 40, device: Device = LIBRE, *more: Row) -> Path:
    """A record of one morning."""
    start = 19_800 * DAY + 8 * HOUR
    rows = [Row("glucose", start + 5 * i * MINUTE, 100.0 + i, row=i, device=device) for i in range(readings)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows([*rows, *more], path, FileTally("test", "test"))
    return path


def records(path: Path, recipe: Any = SHORT, **more: Any) -> Source:
    source: Source = SOURCES.make({"name": "records", "path": str(path), "recipe": recipe, **more})
    return source


def test_a_person_with_a_device_is_a_client_in_the_order_of_names(tmp_path: Path) -> None:
    person(tmp_path / "b.parquet")
    person(tmp_path / "a" / "person.parquet", 40, DEXCOM)
    second = [Row("glucose", 19_801 * DAY + 5 * i * MINUTE, 90.0, row=i, device=LIBRE) for i in range(30)]
    person(tmp_path / "study" / "a.parquet", 40, DEXCOM, *second)
    source = records(tmp_path)
    found = [(one.user, one.label, one.device) for one in map(source.client, range(len(source)))]
    assert found == [(0, "a", "G6"), (1, "b", "Libre 2"), (2, "study/a", "G6"), (2, "study/a", "Libre 2")]
    assert source.devices == ("G6", "Libre 2")
    one = records(tmp_path, device="G6")
    assert [one.client(i).label for i in range(len(one))] == ["a", "study/a"]
    assert np.array_equal(one.samples(1).x, source.samples(2).x)


def test_a_single_file_is_one_person(tmp_path: Path) -> None:
    alone = records(person(tmp_path / "anna" / "person.parquet"))
    assert (alone.users, len(alone), alone.client(0).label) == (1, 1, "anna")
    assert records(person(tmp_path / "ben.parquet")).client(0).label == "ben"


def test_it_travels_without_its_data_and_sees_a_record_that_has_changed(tmp_path: Path) -> None:
    path = person(tmp_path / "a.parquet")
    source = records(tmp_path)
    before = len(source.samples(0))
    assert len(pickle.dumps(source)) < 2000
    assert len(pickle.loads(pickle.dumps(source)).samples(0)) == before
    person(path, 60)
    assert len(source.samples(0)) == before  # a run keeps what it began with
    assert len(records(tmp_path).samples(0)) == before + 20


def test_what_was_left_out_is_counted_aloud(tmp_path: Path) -> None:
    person(tmp_path / "a.parquet", 40, LIBRE, Row("glucose", 19_801 * DAY, 900.0, row=99, device=LIBRE))
    person(tmp_path / "b.parquet", 5)
    write_rows([Row("weight", 19_800 * DAY, 70.0)], tmp_path / "c.parquet", FileTally("test", "test"))
    config = build_config(
        {
            "source": {"name": "records", "path": str(tmp_path), "recipe": {**SHORT, "max_windows": 20}},
            "split": {"test": 0.0, "validation": 0.0},
            "model": {"name": "mlp"},
        }
    )
    assert data_facts(config)["remarks"] == [
        "left out: 1 rows marked implausible",
        "left out: 11 windows beyond 20 a device",
        "left out: 2 people with a device that have no sample (b, Libre 2: 5 readings, never 45 min unbroken within one"
        " day; c, no device: no glucose that can be used)",
    ]


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    person(tmp_path / "short" / "a.parquet", 5)
    person(tmp_path / "good" / "a.parquet")
    person(tmp_path / "twice" / "a.parquet")
    person(tmp_path / "twice" / "a" / "person.parquet")
    table = pq.read_table(tmp_path / "good" / "a.parquet")
    (tmp_path / "old").mkdir()
    pq.write_table(table.replace_schema_metadata({KEY: b'{"version": 99}'}), tmp_path / "old" / "a.parquet")
    (tmp_path / "other").mkdir()
    pl.DataFrame({"start": [1]}).write_parquet(tmp_path / "other" / "a.parquet")
    for settings, needle in (
        ({"path": "empty"}, "holds no record; expected PERSON.parquet or PERSON/person.parquet"),
        ({"path": "absent"}, "no such file or folder"),
        ({"path": "short"}, "no record has enough to learn from (a, Libre 2: 5 readings, never 45 min unbroken"),
        ({"path": "old"}, "schema version 99; this metapulse reads versions 1 and 2"),
        ({"path": "other"}, "a Parquet file, but no record of metapulse"),
        ({"path": "twice"}, "are records of one person"),
        ({"path": "good", "device": "G7"}, "source.device = 'G7': no record has it; there are Libre 2"),
        ({"path": "good", "recipe": "sugar"}, "recipe.name = 'sugar': must be one of activity, glucose_30min, "),
        ({"path": "good", "recipe": {"name": "activity", "classes": ["a"]}}, "recipe.classes = ['a']"),
    ):
        path = str(tmp_path / settings["path"])  # type: ignore[operator]
        with pytest.raises((ConfigError, DataError)) as caught:
            records(**{"path": Path(path), **{k: v for k, v in settings.items() if k != "path"}}).samples(0)  # type: ignore[arg-type]
        assert needle in str(caught.value)
        assert "\n" not in str(caught.value)
    config = tmp_path / "run.toml"
    config.write_text(f'[source]\nname = "records"\npath = "{tmp_path / "empty"}"\n')
    assert main(["data", "show", str(config)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_names_of_people_are_the_text_of_the_files(tmp_path: Path) -> None:
    for name in ("001", "1", "J\u00f6rg", "\u5c71\u7530", "study \u00fc/01"):
        person(tmp_path / f"{name}.parquet")
    source = records(tmp_path)
    assert [source.client(i).label for i in range(len(source))] == [
        "001",
        "1",
        "J\u00f6rg",
        "study \u00fc/01",
        "\u5c71\u7530",
    ]


def test_a_broken_file_costs_itself_and_is_told(tmp_path: Path) -> None:
    """Whatever lies in the folder, the other people stay."""
    for name in ("a", "d"):
        person(tmp_path / f"{name}.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.replace_schema_metadata({KEY: b'{"version": 99}'}), tmp_path / "c.parquet")
    pq.write_table(table.replace_schema_metadata({KEY: b"\xff{"}), tmp_path / "e.parquet")
    pq.write_table(table.replace_schema_metadata({KEY: b"[1]"}), tmp_path / "f.parquet")
    pl.DataFrame({"start": [1]}).write_parquet(tmp_path / "g.parquet")
    (tmp_path / "h.parquet").mkdir()
    person(tmp_path / ".unfinished.parquet")
    person(tmp_path / ".trash" / "i.parquet")
    source = records(tmp_path)
    assert [(source.client(i).user, source.client(i).label) for i in range(len(source))] == [(0, "a"), (1, "d")]
    (told,) = source.remarks()  # type: ignore[attr-defined]
    assert told.startswith("left out: 5 files that cannot be read (")
    for needle in (
        "b.parquet: no Parquet file",
        "schema version 99",
        "e.parquet: a damaged record",
        "g.parquet: a Parquet",
    ):
        assert needle in told
    assert "\n" not in told


@pytest.fixture(scope="module")
def pair(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sixty people of the published set in its compact file, and the same as a folder of records."""
    folder = tmp_path_factory.mktemp("pair")
    whole = read_npz(data_dir / "cgm_open/cgm_open.npz")
    key = whole["dataset"].astype(np.int64) * 1000 + whole["user"]
    names, counts = np.unique(key, return_counts=True)
    few = np.isin(key, names[counts < 2000][::5][:60])
    low = key == key[whole["mg_dl"] < 35]  # the one person with a value that is marked as implausible
    rows = np.flatnonzero(few | low)
    small = {name: column[rows] if len(column) == len(key) else column for name, column in whole.items()}
    path = write_npz(folder / "data" / "cgm_open" / "cgm_open.npz", small)
    (path.parent / "participants.csv").write_bytes((data_dir / "cgm_open/participants.csv").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAPULSE_CACHE", str(folder / "cache"))
        patch.setenv("METAPULSE_DATA", str(folder / "data"))
        assert write_records("cgm_open", folder / "people") == len(np.unique(key[rows]))
        with pytest.raises(DataError, match="is there already"):
            write_records("cgm_open", folder / "people")
    return path, folder / "people"


def test_a_published_set_made_into_records_has_the_same_clients_and_windows(pair: tuple[Path, Path]) -> None:
    """But for the person with a value that no person has, which is learned from only where it is asked for."""
    old: Source = SOURCES.make({"name": "cgm_open", "path": str(pair[0])})
    kept = records(pair[1], {"name": "glucose_30min", "keep": ["implausible"]})
    new = records(pair[1], "glucose_30min")
    assert old.task == new.task
    assert len(old) == len(new) == len(kept) > 50
    differ = []
    for i in range(len(old)):
        assert old.client(i) == new.client(i)
        a, b, c = (source.samples(i) for source in (old, new, kept))
        for name in ("x", "y", "group", "held_out"):
            assert np.array_equal(getattr(a, name), getattr(c, name))
        differ += [] if np.array_equal(a.x, b.x) else [old.client(i).label]
    assert differ == ["PhysioCGM/c2s04"]


METHODS = {
    "fedavg_ft": "fedavg",
    "reptile": "fedreptile",
    "maml": "fedmaml",
    "anil": "fedmaml",
    "r2d2": "fedmaml",
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_has_the_same_scores_to_the_digit_on_both(
    method: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    common = {
        "run": {"rounds": 3},
        "split": {"test": 0.3, "validation": 0.1},
        "transform": {"name": "none"},
        "model": {"name": "mlp", "hidden": [16]},
        "learner": {"name": method},
        "strategy": {"name": METHODS[method], "cohort": 6},
        "episodes": {"split": "forward", "shots": 20},
        "evaluation": {"split": "forward", "shots": [5, 20], "steps": [0, 1], "episodes": 2, "scenarios": ["new_user"]},
    }
    sources = {
        "old": {"name": "cgm_open", "path": str(pair[0])},
        "new": {
            "name": "records",
            "path": str(pair[1]),
            "recipe": {"name": "glucose_30min", "keep": ["implausible"]},
        },
    }
    found = {
        name: read(tmp_path / name, run_experiment(build_config({**common, "source": source}), tmp_path / name))
        for name, source in sources.items()
    }
    assert len(found["old"].rows) > 50
    assert found["old"].rows == found["new"].rows
    assert found["old"].digests == found["new"].digests


def test_minutes_and_days_of_fitbits_become_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's sum is a day without a time; minutes without a heart rate give none."""
    day = 16_903 * 1440  # 2016-04-12
    minutes = {"user": [7, 7, 7], "t_min": [day, day + 1, day + 2], "steps": [0, 9, np.nan], "hr": [np.nan, 71, 72]}
    days = {"user": [7], "date_min": [day], "TotalSteps": [9], "TotalMinutesAsleep": [400], "TotalTimeInBed": [np.nan]}
    for name, table in (("minute", minutes), ("daily", days)):
        write_npz(tmp_path / "fitbit_33" / f"{name}.npz", {key: np.array(column) for key, column in table.items()})
    monkeypatch.setenv("METAPULSE_DATA", str(tmp_path))
    assert main(["data", "records", "fitbit_33", str(tmp_path / "out")]) == 0
    found = pl.read_parquet(tmp_path / "out" / "7.parquet").sort("metric", "start")
    assert found.select("metric", "value").rows() == [
        ("heart_rate", 71.0),
        ("heart_rate", 72.0),
        ("sleep_duration", 400.0),
        ("steps", 0.0),
        ("steps", 9.0),
        ("steps_daily", 9.0),
    ]
    assert [("date_only" in marks) for marks in found["quality"]] == [False, False, True, False, False, True]
    assert main(["data", "records", "fitbit_33", str(tmp_path / "out")]) == 2
    assert main(["data", "records", "mnist", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()
