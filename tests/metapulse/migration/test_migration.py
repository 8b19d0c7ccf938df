"""From a table of pairs to a person's map, with what users bring."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import metapulse as mp
from metapulse.errors import DataError
from metapulse.migration.prior import MapPrior
from metapulse.rng import generator
from metapulse.sim.paired_sensors import PairedSensors, invented_truths


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return PairedSensors(days=5).pairs(0, invented_truths(0, 16, 5))


@pytest.fixture(scope="module")
def prior(pairs: pl.DataFrame) -> MapPrior:
    return mp.migration.learn(pairs.filter(pl.col("person") < "p012"), "glucose")


def person(pairs: pl.DataFrame, name: str, hours: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    one = pairs.filter(pl.col("person") == name).drop("person")
    seen = pl.col("time") < pl.col("time").first() + timedelta(hours=hours)
    return one.filter(seen), one.filter(~seen)


def test_new_people_are_mapped_better_than_by_a_line_and_the_band_holds(pairs: pl.DataFrame, prior: MapPrior) -> None:
    errors, lines, inside = [], [], []
    for name in ("p012", "p013", "p014", "p015"):
        overlap, rest = person(pairs, name, 24.0)
        told = prior.personal(overlap).apply(rest)
        line = np.polyval(np.polyfit(overlap["old"], overlap["new"], 1), rest["old"])
        errors.append(float(((told["value"] - told["new"]) ** 2).mean()))
        lines.append(float(np.mean((line - rest["new"].to_numpy()) ** 2)))
        inside.append(float(told["new"].is_between(told["lower"], told["upper"]).mean()))
    assert np.mean(errors) < np.mean(lines)
    assert 0.75 < np.mean(inside) <= 1.0


def test_a_card_says_what_a_map_rests_on(pairs: pl.DataFrame, prior: MapPrior) -> None:
    overlap, _ = person(pairs, "p012", 24.0)
    card = prior.personal(overlap).card
    assert (card.metric, card.people, card.overlap, card.refused) == ("glucose", 12, len(overlap), "")
    assert card.overlap_hours == pytest.approx(23.75)
    assert card.rmse is not None
    assert card.rmse_identity is not None
    assert card.rmse < card.rmse_identity
    assert "line" in card.chosen
    assert "whitened" in card.chosen
    assert prior.personal().card.overlap == 0


def test_the_same_pairs_in_any_order_give_the_same_map() -> None:
    few = walk(5, 25, 0.9)
    shuffled = few.sample(fraction=1.0, shuffle=True, seed=1)
    repeated = pl.concat([shuffled, shuffled[:50], few[:3].with_columns(new=pl.lit(None, pl.Float64))])
    history = few.filter(pl.col("person") == "01").select("time", "old")
    maps = [mp.migration.learn(table).personal() for table in (few, shuffled, repeated)]
    assert maps[0].apply(history).equals(maps[1].apply(history))
    assert maps[0].apply(history).equals(maps[2].apply(history))
    assert maps[2].card.notes == ("3 rows without both readings", "50 rows of a moment that is there already")


def test_what_is_saved_is_what_is_loaded(pairs: pl.DataFrame, prior: MapPrior, tmp_path: Path) -> None:
    overlap, rest = person(pairs, "p013", 30.0)
    own = prior.personal(overlap)
    prior.save(tmp_path / "prior")
    own.save(tmp_path / "map")
    again = mp.migration.load_prior(tmp_path / "prior")
    assert again.card == prior.card
    assert again.personal(overlap).card == own.card
    assert again.personal(overlap).apply(rest).equals(own.apply(rest))
    loaded = mp.migration.load_map(tmp_path / "map")
    assert loaded.card == own.card
    assert loaded.apply(rest).equals(own.apply(rest))
    for damage in (b"", b"{}", b'{"version": 1, "kind": "os:system"}', b"[1]"):
        (tmp_path / "map/map.json").write_bytes(damage)
        with pytest.raises(mp.DataError, match="no map can be read"):
            mp.migration.load_map(tmp_path / "map")
        (tmp_path / "prior/prior.json").write_bytes(damage)
        with pytest.raises(mp.DataError, match="no prior can be read"):
            mp.migration.load_prior(tmp_path / "prior")


def test_a_history_in_any_order_with_gaps_is_mapped_row_by_row(pairs: pl.DataFrame, prior: MapPrior) -> None:
    overlap, rest = person(pairs, "p012", 24.0)
    own = prior.personal(overlap)
    mixed = rest.sample(fraction=1.0, shuffle=True, seed=2)
    assert own.apply(mixed).sort("time").equals(own.apply(rest))
    holes = rest.with_columns(old=pl.when(pl.int_range(pl.len()) % 5 > 0).then("old"))
    told = own.apply(holes)
    assert told["value"].is_nan().to_list() == holes["old"].is_null().to_list()
    assert own.apply(rest[:0]).columns == ["time", "old", "new", "value", "lower", "upper"]


def test_tables_of_other_kinds_and_clocks_give_the_same(pairs: pl.DataFrame, prior: MapPrior) -> None:
    overlap, rest = person(pairs, "p012", 12.0)
    naive = overlap.with_columns(pl.col("time").dt.replace_time_zone(None))
    paris = overlap.with_columns(pl.col("time").dt.convert_time_zone("Europe/Paris").dt.cast_time_unit("ms"))
    whole = overlap.with_columns(pl.col("old").cast(pl.Int16), pl.col("new").cast(pl.Float32))
    expected = prior.personal(overlap).apply(rest)
    for table in (naive, paris, whole, overlap.to_arrow(), overlap.lazy(), overlap.with_columns(person=pl.lit(7))):
        assert prior.personal(table).apply(rest).equals(expected)
    arrow = prior.personal(overlap).apply(rest.to_arrow())
    assert arrow.column("upper").to_pylist() == expected["upper"].to_list()


def test_odd_overlaps_give_a_map(pairs: pl.DataFrame, prior: MapPrior) -> None:
    overlap, rest = person(pairs, "p014", 24.0)
    population = prior.personal().apply(rest)
    nothing = overlap.with_columns(new=pl.lit(float("nan")))
    assert prior.personal(nothing).apply(rest).equals(population)
    assert prior.personal(overlap[:0]).apply(rest).equals(population)
    later = overlap.with_columns(pl.col("time") + timedelta(days=4000))
    flat = overlap.with_columns(old=pl.lit(120.0), new=pl.lit(95.0))
    for odd in (overlap[:1], pl.concat([overlap[:1]] * 9), later, flat):
        told = prior.personal(odd).apply(rest)
        assert told["value"].is_finite().all()
        assert (told["upper"] > told["lower"]).all()


def time(n: int) -> list[datetime]:
    return [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=i) for i in range(n)]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pl.DataFrame({"time": time(3), "old": [1.0, 2, 3]}), "the pairs lacks the column 'new'"),
        ({"time": []}, "the pairs is a dict"),
        (pl.DataFrame({"time": ["x"], "old": [1.0], "new": [1.0]}), "'time' is String"),
        (pl.DataFrame({"time": time(1), "old": ["x"], "new": [1.0]}), "'old' is String"),
        (pl.DataFrame({"time": [None, *time(1)], "old": [1.0, 2], "new": [1.0, 2]}), "'time' lacks 1 of 2"),
        (pl.DataFrame({"person": ["a", None], "time": time(2), "old": [1.0, 2], "new": [1.0, 2]}), "'person' lacks 1"),
        (pl.DataFrame({"time": time(2), "old": [1.0, None], "new": [None, 2.0]}), "0 rows with both readings"),
        (pl.DataFrame({"time": time(2), "old": [1.0, 1.0], "new": [1.0, 2.0]}), "of different old readings"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused_in_a_line(table: object, said: str) -> None:
    with pytest.raises(mp.DataError, match=said) as refused:
        mp.migration.learn(table)
    assert "\n" not in str(refused.value)


def test_an_overlap_of_several_people_is_refused(pairs: pl.DataFrame, prior: MapPrior) -> None:
    with pytest.raises(mp.DataError, match="the overlap is of 16 people"):
        prior.personal(pairs)


def walk(people: int, n: int, slope: float) -> pl.DataFrame:
    """Daily readings that share ``slope`` of their variation."""
    parts = []
    for index in range(people):
        rng = generator(4, "test walk", client=index)
        old = rng.normal(60.0, 10.0, n)
        new = 60.0 + rng.normal(0.0, 2.0) + slope * (old - 60.0) + rng.normal(0.0, 5.0, n)
        days = [datetime(2024, 1, 1) + timedelta(days=i) for i in range(n)]
        parts.append(pl.DataFrame({"person": [f"{index:02d}"] * n, "time": days, "old": old, "new": new}))
    return pl.concat(parts)


def test_what_does_not_map_is_refused_and_says_so() -> None:
    unrelated, related = (mp.migration.learn(walk(8, 40, slope)) for slope in (0.05, 0.9))
    own = unrelated.personal(walk(1, 10, 0.05))
    assert "of the variance of the new" in own.card.refused
    assert own.apply(walk(1, 5, 0.05))["value"].is_nan().all()
    assert related.personal(walk(1, 10, 0.9)).card.refused == ""


@pytest.mark.parametrize("people", [1, 2, 3])
def test_from_few_people_comes_a_line_that_says_so(people: int) -> None:
    prior = mp.migration.learn(walk(people, 30, 0.9))
    card = prior.personal().card
    assert "a line" in card.chosen
    assert card.rmse is None
    assert card.people == people
    told = prior.personal(walk(1, 5, 0.9)).apply(walk(1, 30, 0.9))
    assert float((told["value"] - told["new"]).abs().mean()) < 8.0


def test_published_agreement_stands_in_for_a_population_of_few() -> None:
    one = walk(1, 7, 1.0).with_columns(pl.col("old", "new") * 7.0)
    few, known = mp.migration.learn(one, "sleep_duration"), mp.migration.published("sleep_duration")
    assert few.personal(one).apply(one).equals(known.personal(one).apply(one))
    assert any("there were 1" in note for note in few.card.notes)
    with pytest.raises(mp.ConfigError, match=r"metric = 'mood'"):
        mp.migration.published("mood")


@pytest.mark.usefixtures("data_dir")
def test_nights_of_two_devices() -> None:
    folder = Path(os.environ["METAPULSE_DATA"])
    if not (folder / "exports/garmin_whoop_paired").is_dir():
        pytest.skip("METAPULSE_DATA has no exports/garmin_whoop_paired")
    nights = paired_nights(folder / "exports/garmin_whoop_paired")
    inside, limits = [], {3: 30.5, 7: 27.0, 14: 25.5}
    for count, limit in limits.items():
        errors = []
        for start in range(0, 160, 20):
            after = nights.filter(pl.col("time") > nights["time"][start] + timedelta(days=28))
            told = mp.migration.published("sleep_duration").personal(nights[start : start + count]).apply(after)
            errors.append(float(((told["value"] - told["new"]) ** 2).mean()) ** 0.5)
            inside.append(float(told["new"].is_between(told["lower"], told["upper"]).mean()))
        assert np.mean(errors) <= limit
    assert 0.87 <= np.mean(inside) <= 0.93


def paired_nights(folder: Path) -> pl.DataFrame:
    """Total sleep by both, read without the project's readers."""
    garmin = pl.read_csv(folder / "Garmin/sleep_summaries.csv")
    stages = pl.sum_horizontal(f"{name}SleepDurationInMs" for name in ("deep", "light", "rem")) / 60_000
    old = garmin.select(night="calendarDate", old=stages)
    whoop = pl.read_csv(folder / "Whoop/sonno.csv").filter(~pl.col("Riposo breve"))
    new = whoop.select(night=pl.col("Inizio del risveglio").str.slice(0, 10), new="Durata del sonno (min)")
    both = old.join(new.unique("night", keep="last", maintain_order=True), on="night").sort("night")
    return both.with_columns(time=pl.col("night").str.to_datetime("%Y-%m-%d")).drop_nulls()


def test_a_map_that_refuses_can_be_looked_at(prior: MapPrior, pairs: pl.DataFrame) -> None:
    _, rest = person(pairs, "p012", 12.0)
    own = prior.personal()
    assert replace(own, card=replace(own.card, refused="a reason")).apply(rest)["upper"].is_nan().all()


def test_an_overlap_in_another_unit_is_refused():
    time = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 2), "15m", time_zone="UTC", eager=True)
    mg = 120.0 + 30.0 * np.sin(np.arange(len(time)) / 9.0)
    for old, new, column in ((mg, mg / 18.0, "new"), (mg / 18.0, mg, "old")):
        table = pl.DataFrame({"time": time, "old": old, "new": new})
        with pytest.raises(DataError, match=f"'{column}' has a median of .* is it, or a part of it, in another unit"):
            mp.migration.published("glucose").personal(table)
        with pytest.raises(DataError, match="another unit"):
            mp.migration.learn(table, "glucose")
