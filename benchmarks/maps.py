"""Maps between devices beside the trivial ones: two glucose sensors worn at once, and the nights of one person.

python benchmarks/maps.py glucose   # 45 people with two simulated sensors; their true glucose is that of cgm_open
python benchmarks/maps.py nights    # 285 nights of a Garmin and a Whoop, from their exports

Both read the folder of the environment variable METAPULSE_DATA. Glucose: a third of the people at a time is left out,
and each one's first hours are the overlap and the rest is judged. Nights: the first N nights from a start are the
overlap, those after the 28th day are judged, and the start moves in steps of 20.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from metapulse.migration import learn, published
from metapulse.migration.pairs import Paired, read_pairs
from metapulse.record import Options, import_files, zone
from metapulse.record.frame import load_record
from metapulse.rng import generator
from metapulse.sim.paired_sensors import DAY, STEP_MIN, PairedSensors

SEEDS, FOLDS, PEOPLE = range(5), 3, 45
OVERLAP_HOURS = (0, 24, 48, 96)
STUDIES = ("BIGIDEAs", "ShanghaiT2DM", "Hall_2018")  # people without type 1 diabetes, seen for about a week or more
STARTS, NIGHTS, AFTER_DAYS = range(0, 160, 20), (3, 7, 14), 28


def truths(folder: Path, days: int = 10) -> list[np.ndarray]:
    """Glucose every 5 minutes of everyone seen for about a week without a silence of 90 minutes, from midnight on."""
    with np.load(folder / "cgm_open" / "cgm_open.npz", allow_pickle=False) as data:
        of = {name: data[name] for name in ("dataset", "dataset_names", "user", "t_min", "mg_dl")}
    found = []
    for study in STUDIES:
        rows = of["dataset"] == list(of["dataset_names"]).index(study)
        for person in np.unique(of["user"][rows]):
            own = np.flatnonzero(rows & (of["user"] == person))
            own = own[np.argsort(of["t_min"][own], kind="stable")]
            parts = np.split(own, np.flatnonzero(np.diff(of["t_min"][own]) > 90) + 1)
            longest = max(parts, key=lambda part: of["t_min"][part[-1]] - of["t_min"][part[0]])
            t, value = of["t_min"][longest], of["mg_dl"][longest].astype(np.float64)
            first = t[0] + (-t[0]) % 1440
            grid = np.arange(first, min(t[-1], first + days * 1440), STEP_MIN)
            if len(grid) >= 6 * DAY:
                found.append(np.interp(grid, t, value))
    return found


def rmse(error: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(error))))


def trivial(train: list[Paired], one: Paired, seen: np.ndarray) -> dict[str, float]:
    """Errors of maps that need no learner, on what is not seen of a person."""
    lines = np.array([np.polyfit(p.old - 120.0, p.new, 1) for p in train])
    noise = np.mean([rmse(p.new - np.polyval(w, p.old - 120.0)) ** 2 for p, w in zip(train, lines, strict=True)])
    old, new = np.concatenate([p.old for p in train]), np.concatenate([p.new for p in train])
    population = np.polyfit(old - 120.0, new, 1)
    x, y, rest = one.old[seen] - 120.0, one.new[seen], one.where(~seen)
    both = np.stack((x, np.ones_like(x)), 1)
    precision = np.linalg.inv(np.cov(lines.T)) + both.T @ both / noise
    shrunk = population + np.linalg.solve(precision, both.T @ (y - both @ population) / noise)
    offset = np.mean(y - both[:, 0] - 120.0) if len(y) else np.mean(new - old)
    errors = {"as it is": rest.new - rest.old, "offset": rest.new - rest.old - offset}
    if len(y):
        errors["own line"] = rest.new - np.polyval(np.polyfit(x, y, 1), rest.old - 120.0)
    errors["population line"] = rest.new - np.polyval(population, rest.old - 120.0)
    errors["population line shrunk to own"] = rest.new - np.polyval(shrunk, rest.old - 120.0)
    errors["own line, fitted on all of it"] = one.new - np.polyval(
        np.polyfit(one.old - 120.0, one.new, 1), one.old - 120.0
    )
    return {name: rmse(error) for name, error in errors.items()}


def table_of(one: Paired) -> pl.DataFrame:
    """A person's pairs as a table."""
    time = pl.Series(np.round(one.hours * 3.6e9).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"time": time, "old": one.old, "new": one.new})


def sensors(pairs: pl.DataFrame) -> dict[tuple[str, int], list[float]]:
    """Errors and coverage of each person, by map and hours of overlap."""
    names, found = pairs["person"].unique(maintain_order=True).to_list(), defaultdict(list)
    people = read_pairs(pairs).people
    for fold in range(FOLDS):
        train = [name for place, name in enumerate(names) if place % FOLDS != fold]
        prior = learn(pairs.filter(pl.col("person").is_in(train)), "glucose")
        for name in (name for name in names if name not in train):
            one = people[name]
            for hours in OVERLAP_HOURS:
                seen = one.hours < one.hours[0] + hours
                for kind, error in trivial([people[n] for n in train], one, seen).items():
                    found[kind, hours].append(error)
                told = prior.personal(table_of(one.where(seen)) if hours else None).apply(table_of(one.where(~seen)))
                new, inside = told["new"], (told["new"] >= told["lower"]) & (told["new"] <= told["upper"])
                found["this map", hours].append(rmse((new - told["value"]).to_numpy()))
                found["coverage of its band, %", hours].append(100.0 * float(inside.mean()))
    return found


def glucose(folder: Path) -> None:
    """Mean over people of the error, in mg/dL: mean and standard deviation over seeds."""
    everyone = truths(folder)
    for forward in (True, False):
        by_seed: dict[tuple[str, int], list[float]] = defaultdict(list)
        for seed in SEEDS:
            chosen = generator(seed, "who wears two sensors").permutation(len(everyone))[:PEOPLE]
            for key, errors in sensors(PairedSensors().pairs(seed, [everyone[i] for i in chosen], forward)).items():
                by_seed[key].append(float(np.mean(errors)))
        print(
            f"\n{'first to second sensor' if forward else 'second to first sensor'}, hours of overlap {OVERLAP_HOURS}"
        )
        for kind in dict.fromkeys(kind for kind, _ in by_seed):
            cells = [by_seed.get((kind, hours)) for hours in OVERLAP_HOURS]
            shown = " | ".join(f"{np.mean(c):.1f} ± {np.std(c, ddof=1):.1f}" if c else "–" for c in cells)
            print(f"| {kind} | {shown} |", flush=True)


def two_watches(folder: Path, record: Path) -> Path:
    """The record of one person's nights with a Garmin and a Whoop, made of their exports."""
    source = folder / "exports" / "garmin_whoop_paired"
    import_files([source / "Garmin", source / "Whoop"], record, Options(zone("Europe/Rome")))
    return record


def nights_of(folder: Path) -> dict[str, pl.DataFrame]:
    """Pairs of nights by metric, with the day that each ends on; total sleep is that of the stages."""
    with tempfile.TemporaryDirectory() as out:
        rows = load_record(two_watches(folder, Path(out) / "person.parquet"))
    stages = ["sleep_deep", "sleep_light", "sleep_rem"]
    end = pl.col("end") + pl.duration(minutes=pl.col("offset_min").cast(pl.Int64))
    rows = rows.filter(pl.col("metric").is_in(stages)).with_columns(
        garmin=pl.col("device").struct.field("manufacturer") == "Garmin",
        night=end.dt.date(),
        long=pl.col("end") - pl.col("start"),
    )
    longest = rows.filter(pl.col("long") == pl.col("long").max().over("garmin", "night"))
    wide = longest.pivot("metric", index=["garmin", "night"], values="value", aggregate_function="first")
    wide = wide.with_columns(sleep_duration=pl.sum_horizontal(stages)).sort("night")
    both = wide.filter(pl.col("garmin")).join(wide.filter(~pl.col("garmin")), on="night", suffix="_new")
    return {
        metric: both.select("night", time=pl.col("night").cast(pl.Datetime("us")), old=metric, new=f"{metric}_new")
        for metric in ("sleep_duration", "sleep_deep", "sleep_rem")
    }


def nights(folder: Path) -> None:
    """Mean over starts of the error on the nights judged, in minutes."""
    for metric, pairs in nights_of(folder).items():
        pairs = pairs.drop_nulls()
        print(f"\n{metric}, {len(pairs)} nights; overlap of {NIGHTS} nights")
        found: dict[tuple[str, int], list[float]] = defaultdict(list)
        day = (pairs["night"] - pairs["night"][0]).dt.total_days().to_numpy()
        usual = float(np.ptp(np.quantile(pairs["new"], (0.05, 0.95))))
        for start in STARTS:
            judged = pairs.filter(pl.Series(day > day[start] + AFTER_DAYS))
            old, new = judged["old"].to_numpy(), judged["new"].to_numpy()
            for count in NIGHTS:
                overlap = pairs[start : start + count]
                x, y = overlap["old"].to_numpy(), overlap["new"].to_numpy()
                apart = x - x.mean()
                slope = 1.0 + apart @ (y - y.mean() - apart) / (apart @ apart + 7000.0)
                own = published(metric).personal(overlap)
                told = replace(own, card=replace(own.card, refused="")).apply(judged)
                inside = (told["new"] >= told["lower"]) & (told["new"] <= told["upper"])
                for kind, value in {
                    "as it is": rmse(new - old),
                    "offset": rmse(new - old - np.mean(y - x)),
                    "line with its slope shrunk to one": rmse(new - y.mean() - slope * (old - x.mean())),
                    "the overlap's mean": rmse(new - y.mean()),
                    "this map": rmse(new - told["value"].to_numpy()),
                    "coverage of its band, %": 100.0 * float(inside.mean()),
                    f"width of its band (of nine in ten nights: {usual:.0f})": float(
                        (told["upper"] - told["lower"]).mean()
                    ),
                    "starts of 8 at which it refuses": 8.0 * bool(own.card.refused),
                }.items():
                    found[kind, count].append(value)
        for kind in dict.fromkeys(kind for kind, _ in found):
            print(f"| {kind} | " + " | ".join(f"{np.mean(found[kind, count]):.1f}" for count in NIGHTS) + " |")
        line = np.polyfit(pairs["old"], pairs["new"], 1)
        print(
            f"| one line, fitted on all nights | {rmse(pairs['new'].to_numpy() - np.polyval(line, pairs['old'])):.1f} |"
        )


if __name__ == "__main__":
    {"glucose": glucose, "nights": nights}[sys.argv[1]](Path(os.environ["METAPULSE_DATA"]))
