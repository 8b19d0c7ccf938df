"""A prior over maps that was learned federated, beside the one that sees all pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import metapulse as mp
from metapulse.migration.linear import take_rows
from metapulse.migration.pairs import read_pairs
from metapulse.sim.paired_sensors import PairedSensors, invented_truths
from metapulse.sim.sources.pairs import PairsSource

CONFIG = Path(__file__).parents[2] / "configs/maps.toml"


@pytest.fixture(scope="module")
def pairs() -> pl.DataFrame:
    return PairedSensors(days=3).pairs(0, invented_truths(0, 10, 3))


def run(path: Path, pairs: pl.DataFrame, **learner: object) -> Path:
    pairs.write_parquet(path / "pairs.parquet")
    source = {"path": str(path / "pairs.parquet"), "terms": (), "rows": 60}
    few = {"shots": [5]}
    out = path / "run"
    return mp.run(CONFIG, out, quiet=True, source=source, learner=learner, run={"rounds": 12}, evaluation=few).path


def test_a_run_learns_the_line_that_people_have_in_common(pairs: pl.DataFrame, tmp_path: Path) -> None:
    prior = mp.map_prior(run(tmp_path, pairs, centre="heads"), "glucose")
    head = prior.choices[0].head
    lines = []
    for one in read_pairs(pairs).people.values():
        rows = take_rows(prior.choices[0].terms, [one], 60)
        lines.append(np.linalg.lstsq(rows.terms[0].numpy(), rows.new[0].numpy(), rcond=None)[0])
    apart = np.abs(head.mean[0, :, 0].numpy() - np.mean(lines, 0))
    assert (apart < np.std(lines, 0)).all()  # some are tested on, and EM weighs people
    overlap = pairs.filter(pl.col("person") == "p000").drop("person")
    card = prior.personal(overlap).card
    assert (card.metric, card.overlap, card.refused) == ("glucose", len(overlap), "")
    assert prior.personal(overlap).apply(overlap)["value"].is_finite().all()


def test_samples_are_the_terms_of_each_person(pairs: pl.DataFrame, tmp_path: Path) -> None:
    pairs.sample(fraction=1.0, shuffle=True, seed=0).write_parquet(tmp_path / "pairs.parquet")
    source = PairsSource(str(tmp_path / "pairs.parquet"), ("window",), rows=40)
    assert (len(source), source.task.features) == (10, (5,))
    samples = source.samples(3)
    one = pairs.filter(pl.col("person") == "p003")
    assert samples.time is not None
    assert np.all(np.diff(samples.time) > 0)
    found = one.filter(((pl.col("time").dt.epoch("us") / 3.6e9) - samples.time[5]).abs() < 1e-6)
    assert samples.x[5, 0] == pytest.approx((found["old"].item() - 120.0) / 40.0)
    assert samples.y[5, 0] == pytest.approx((found["new"].item() - 120.0) / 40.0)


def test_what_is_no_run_on_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mp.ConfigError, match="must be of bends, slow, window, hour"):
        PairsSource("x.parquet", ("moon",))
    with pytest.raises(mp.DataError, match="no such file"):
        PairsSource(str(tmp_path / "x.parquet")).samples(0)
    with pytest.raises(mp.RunError):
        mp.map_prior(tmp_path)
