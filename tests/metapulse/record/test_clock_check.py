"""Clocks: a planted shift, jump or drift is found, strangers are told apart, and a correction can be taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import ConfigError, DataError
from metapulse.record.align import DAY_S, TimeSeries
from metapulse.record.clock_check import KINDS, ClockPiece, check_clocks, clock_pieces, clock_table
from metapulse.record.clock_correct import correct_clock, right_time, undo_correction
from metapulse.record.frame import load_record
from metapulse.record.merge import merge_records
from metapulse.record.store import import_files
from metapulse.sim.cli import main

START = datetime(2024, 3, 4, tzinfo=UTC).timestamp()
PULSE = KINDS["heart_rate"]


def pulse(days: int, seed: int) -> TimeSeries:
    """Heart rate by the minute: rest, the day's rhythm, slow variation, and bouts of activity at the person's hours."""
    draw = np.random.default_rng(seed)
    time = START + 60.0 * np.arange(days * 1440)
    rate = 62 + 8 * np.sin(2 * np.pi * (time / DAY_S - 0.3))
    noise = draw.normal(0, 1.5, len(time))
    for i in range(1, len(noise)):
        noise[i] += 0.9 * noise[i - 1]
    for day in range(days):
        for hour in draw.normal((8, 13, 18), 0.5):
            at = int((day + hour / 24) * 1440)
            rate[at : at + 25] += draw.uniform(15, 45)
    return TimeSeries(time, rate + noise)


def other(of: TimeSeries, seed: int = 9, every: float = 60.0, noise: float = 4.0) -> TimeSeries:
    """The same heart, seen by another device at moments of its own, without a tenth of them."""
    draw = np.random.default_rng(seed)
    time = np.arange(of.time[0] + 23, of.time[-1], every)
    time = time[draw.random(len(time)) > 0.1]
    return TimeSeries(time, np.interp(time, of.time, of.value) + draw.normal(0, noise, len(time)))


def late(series: TimeSeries, by: np.ndarray | float) -> TimeSeries:
    order = np.argsort(series.time + by, kind="stable")
    return TimeSeries((series.time + by)[order], series.value[order])


@pytest.fixture(scope="module")
def month() -> TimeSeries:
    return pulse(30, 1)


@pytest.mark.parametrize(("shift", "every"), [(240 * 60, 60), (90, 60), (-90, 300), (0, 60)])
def test_a_constant_shift_is_found_to_some_seconds(month: TimeSeries, shift: float, every: float) -> None:
    (piece,) = clock_pieces(month, late(other(month, every=every), shift), PULSE)
    assert piece.shift_s == pytest.approx(shift, abs=max(10, 3 * piece.error_s))
    assert piece.error_s < 10
    assert (piece.drift_s, piece.agrees) == (0, shift == 0)
    assert piece.p < 1e-9
    assert (piece.first, piece.last) == pytest.approx((START, START + 30 * DAY_S), abs=DAY_S)


def test_a_wrong_hour_in_a_part_of_the_time_is_found_with_its_ends(month: TimeSeries) -> None:
    seen = other(month)
    begin, end = START + 10.3 * DAY_S, START + 19.7 * DAY_S
    wrong = (seen.time >= begin) & (seen.time < end)
    pieces = clock_pieces(month, late(seen, 3600.0 * wrong), PULSE)
    assert [round(piece.shift_s / 60) for piece in pieces] == [0, 60, 0]
    assert [piece.agrees for piece in pieces] == [True, False, True]
    assert (pieces[1].first, pieces[1].last) == pytest.approx((begin, end), abs=2 * 3600)


def test_a_drift_of_two_seconds_a_day_is_found() -> None:
    days = 90
    season = pulse(days, 2)
    seen = other(season)
    (piece,) = clock_pieces(season, late(seen, 2.0 * (seen.time - START) / DAY_S), PULSE)
    assert piece.drift_s == pytest.approx(2, abs=0.1)
    assert piece.shift_s == pytest.approx(0, abs=15)
    assert not piece.agrees


def test_strangers_and_little_in_common_cannot_be_told(month: TimeSeries) -> None:
    assert clock_pieces(month, other(pulse(30, 3)), PULSE) == ()
    few = TimeSeries(month.time[:100], month.value[:100])
    assert clock_pieces(month, few, PULSE) == ()
    assert clock_pieces(pulse(6, 4), other(pulse(6, 4)), PULSE) == ()  # no other days to compare with


def test_nights_tell_of_an_hour() -> None:
    draw = np.random.default_rng(5)
    rows = []
    for night in range(120):
        begin = START + night * DAY_S + 3600 * draw.normal(23, 0.9)
        length = 3600 * draw.normal(7.3, 0.9)
        for model, shift in (("Ring", 0), ("Watch", 3600)):
            moved = begin + shift + draw.normal(0, 240), begin + shift + length + draw.normal(0, 240)
            start, end = (datetime.fromtimestamp(round(t), UTC) for t in moved)
            rows.append({"start": start, "end": end, "device": {"model": model}})
    parts = dict.fromkeys(("manufacturer", "hardware", "unit", "app"), pl.lit(None, pl.String))
    table = pl.DataFrame(rows).with_columns(
        pl.struct(pl.col("device").struct.field("model"), **parts).alias("device"),
        pl.lit("sleep_stage").alias("metric"), pl.lit("asleep").alias("code"), pl.lit(None, pl.Float64).alias("value"),
        pl.lit(0).alias("offset_min"), pl.struct(file=pl.lit("x")).alias("source"),
        pl.lit([], pl.List(pl.String)).alias("quality"),
        pl.col("start", "end").cast(pl.Datetime("us", "UTC")),
    )  # fmt: skip
    (found,) = check_clocks(table)
    assert found.metric == "sleep"
    (piece,) = found.pieces
    sign = 1 if found.other == "Watch" else -1
    assert piece.shift_s == pytest.approx(sign * 3600, abs=180)
    assert clock_table([found])[0]["verdict"] == "off"


PIECES = st.builds(
    lambda shift, drift: ClockPiece(START, START + 90 * DAY_S, shift, drift, 1.0, 0.0, 9, 45.0),
    st.floats(-50_000, 50_000),
    st.floats(-5, 5),
)


@given(PIECES, st.floats(0, 90))
def test_the_right_time_is_the_inverse_of_being_late(piece: ClockPiece, day: float) -> None:
    time = START + day * DAY_S
    stamp = time + piece.shift_s + piece.drift_s * (time - piece.first) / DAY_S
    assert right_time(np.array([stamp]), [piece])[0] == pytest.approx(time, abs=1e-4)


def saved(path: Path, series: dict[str, TimeSeries]) -> Path:
    lines = ["time,metric,value,unit,device"]
    for name, one in series.items():
        stamps = (datetime.fromtimestamp(round(t), UTC).isoformat() for t in one.time)
        lines += [f"{t},heart_rate,{v:.0f},bpm,{name}" for t, v in zip(stamps, one.value, strict=True)]
    path.with_suffix(".csv").write_text("\n".join(lines))
    import_files([path.with_suffix(".csv")], path)
    return path


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record in which the watch is four hours late."""
    heart = pulse(14, 6)
    series = {"Strap": heart, "Watch": late(other(heart, every=120), 4 * 3600.0)}
    return saved(tmp_path_factory.mktemp("clocks") / "p.parquet", series)


def test_a_clock_is_corrected_and_the_correction_taken_back_to_the_byte(wrong: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "right.parquet", tmp_path / "back.parquet"
    found, count = correct_clock(wrong, out, "watch")
    assert (found.reference, found.other) == ("Strap", "Watch")
    before, after = load_record(wrong), load_record(out)
    moved = after.filter(pl.col("quality").list.contains("clock_corrected"))
    watch = before.filter(pl.col("device").struct.field("model") == "Watch")
    assert count == len(moved) == len(watch) < len(after) == len(before)
    assert moved["start"].min() - watch["start"].min() == pytest.approx(-timedelta(hours=4), abs=timedelta(seconds=15))
    assert moved["raw"][0].startswith("clock -144")
    assert check_clocks(after)[0].pieces[0].agrees
    assert undo_correction(out, back) == len(moved)
    assert back.read_bytes() == wrong.read_bytes()
    with pytest.raises(ConfigError, match="agrees with Strap"):
        correct_clock(out, tmp_path / "twice.parquet", "Watch")


def test_a_merged_record_is_merged_again(wrong: Path, tmp_path: Path) -> None:
    both, out, back = (tmp_path / f"{name}.parquet" for name in ("merged", "right", "back"))
    merge_records([wrong], both, ["Watch"])
    correct_clock(both, out, "Watch")
    covered = load_record(out)["quality"].list.contains("covered").sum()
    assert covered > load_record(both)["quality"].list.contains("covered").sum()
    undo_correction(out, back)
    assert back.read_bytes() == both.read_bytes()


def test_a_source_that_is_not_one_or_tells_nothing_is_refused(wrong: Path, tmp_path: Path) -> None:
    for name in ("Ring", "a"):
        with pytest.raises(ConfigError, match="one source alone: Strap, Watch"):
            correct_clock(wrong, tmp_path / "x.parquet", name)
    short = saved(tmp_path / "short.parquet", {"Strap": pulse(2, 7), "Watch": pulse(2, 8)})
    with pytest.raises(DataError, match="nothing in the record tells"):
        correct_clock(short, tmp_path / "x.parquet", "Watch")
    assert not (tmp_path / "x.parquet").exists()


def test_the_command_shows_corrects_and_undoes(wrong: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, back = str(tmp_path / "r.parquet"), str(tmp_path / "b.parquet")
    assert main(["record", "clocks", str(wrong)]) == 0
    assert "off" in capsys.readouterr().out
    assert main(["record", "clocks", str(wrong), "--correct", "Watch", "--out", out]) == 0
    assert main(["record", "clocks", out, "--undo", "--out", back]) == 0
    assert Path(back).read_bytes() == wrong.read_bytes()
    for words in (["--undo"], ["--out", out], ["--undo", "--correct", "Watch", "--out", out]):
        assert main(["record", "clocks", str(wrong), *words]) == 2
