"""Forecasts after a change of glucose sensor: what a person's history on the old sensor is worth on the new one.

    python benchmarks/after_change.py              # 45 people with two simulated sensors, true glucose of cgm_open
    python benchmarks/after_change.py PAIRS.parquet  # a table of person, time, old, new; both directions

A third of the people at a time is left out. The others wore the *old* sensor, so the population has never seen the new
one; what both sensors showed on them says how the two differ. A person wears the old sensor for the first half of the
time and the new one after it, and both for the last 24 hours of the first half. The first K windows on the new sensor
are the shots; from the 201st on, all are judged, the same for every row. RMSE of the value in 30 minutes, mg/dL, mean
over people; mean ± standard deviation over seeds.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.maps import PEOPLE, SEEDS, table_of, truths
from metapulse.migration import learn
from metapulse.migration.base import Map
from metapulse.migration.pairs import HOUR_US, Paired, read_pairs
from metapulse.migration.prior import MapPrior
from metapulse.personal.adapt import adapted
from metapulse.personal.features import FeatureMap
from metapulse.personal.learn import learn_start
from metapulse.personal.moved import Moved, map_errors
from metapulse.personal.past import PastDevice, drawn_questions
from metapulse.personal.start import PopulationStart
from metapulse.record.recipes import make_recipe
from metapulse.record.recipes.base import MetricRows, Questions
from metapulse.rng import generator
from metapulse.sim.paired_sensors import PairedSensors

FOLDS, SHOTS, JUDGED, OVERLAP_HOURS = 3, (0, 10, 50, 200), 200, 24.0
RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0)  # λ of the ridge pulled to the population, chosen on people learned from
RECIPE = make_recipe("glucose_30min")
MINUTE_US = 60_000_000


def rows_of(hours: np.ndarray, value: np.ndarray) -> MetricRows:
    """Readings as a recipe gets them."""
    at, n = np.round(hours * HOUR_US).astype(np.int64), len(hours)
    return MetricRows(at, at, np.zeros(n, np.int64), value, np.full(n, "", object), *(np.zeros(n, bool),) * 2)


def windows(hours: np.ndarray, value: np.ndarray) -> Questions:
    """Every forecast that the readings allow, those whose outcome came."""
    asked = RECIPE.questions({"glucose": rows_of(hours, value)})
    return asked.where(~np.isnan(asked.y))


def encoder() -> FeatureMap:
    """The window itself and a constant."""
    width = RECIPE.task.features[-1]
    params = {"layer0.weight": torch.zeros(1, width), "layer0.bias": torch.zeros(1)}
    sections = {"model": {"name": "mlp", "hidden": []}, "transform": {"name": "none"}}
    return FeatureMap(RECIPE.task, sections, params, np.empty((0, 1, width), np.float32))


class Change:
    """One person who changes sensors: what is known by when."""

    def __init__(self, one: Paired) -> None:
        self.at = one.hours[0] + 0.5 * one.span
        before = one.hours < self.at
        self.history = one.where(before)
        self.overlap = one.where(before & (one.hours >= self.at - OVERLAP_HOURS))
        new = windows(one.hours[~before], one.new[~before])
        self.shots, self.judged = new.where(np.arange(len(new)) < JUDGED), new.where(np.arange(len(new)) >= JUDGED)

    def past(self, value: np.ndarray) -> Questions:
        """Windows of the history, with other values in place of the old sensor's."""
        return windows(self.history.hours, value)


def error(features: FeatureMap, head: torch.Tensor, asked: Questions) -> float:
    """Of a head's forecasts, in mg/dL."""
    made = (features.of(asked.x) @ head).numpy()
    return float(asked.unit * np.sqrt(np.square(asked.y - made).mean()))


def ridge(features: FeatureMap, towards: torch.Tensor, parts: Sequence[Questions], strength: float) -> torch.Tensor:
    """argmin Σ (y − wᵀf)² + λ ‖w − w₀‖², windows counting alike."""
    x = torch.cat([features.of(one.x) for one in parts])
    y = torch.cat([torch.from_numpy(one.y) for one in parts])
    eye = torch.eye(len(towards), dtype=torch.float64)
    return towards + torch.linalg.solve(x.T @ x + strength * eye, x.T @ (y - x @ towards))


def pooled(features: FeatureMap, parts: Sequence[Questions]) -> torch.Tensor:
    """The ridge of everyone's windows together."""
    return ridge(features, torch.zeros(features.of(parts[0].x[:1]).shape[1], dtype=torch.float64), parts, 1.0)


def chosen_ridge(features: FeatureMap, head: torch.Tensor, changes: Sequence[Change], shots: int) -> float:
    """λ that does best on people whom the population was learned from, after their own change."""
    known = [one for one in changes if len(one.judged)]

    def mean_error(strength: float) -> float:
        heads = [ridge(features, head, [one.shots.where(np.arange(len(one.shots)) < shots)], strength) for one in known]
        return float(np.mean([error(features, own, one.judged) for own, one in zip(heads, known, strict=True)]))

    return min(RIDGES, key=mean_error)


def model_head(features: FeatureMap, start: PopulationStart, own: Questions, past: PastDevice | None) -> torch.Tensor:
    """The head of the person's model after the shots."""
    pasts = () if past is None else (past,)
    model = adapted("glucose_30min", features, start, own, pasts, {"device": "new"}, known_device=False)
    return model.belief.mean[0, :, 0]


def judge_person(
    features: FeatureMap, start: PopulationStart, prior: MapPrior, heads: dict[str, torch.Tensor],
    strengths: dict[int, float], one: Change
) -> dict[tuple[str, int], float]:  # fmt: skip
    """Errors of one person by row and shots."""
    found = {}
    none = table_of(one.overlap)
    maps: dict[str, tuple[Map, object]] = {
        "no overlap": (prior.personal(None), None),
        "24 h of overlap": (prior.personal(none), none),
    }
    raw = one.past(one.history.old)
    old_self = ridge(features, heads["population"], [raw], 300.0)
    raw_past = PastDevice("old", (raw,), maps["no overlap"][0])
    pasts, levels = {}, {}
    for name, (map, overlap) in maps.items():
        value = map.at(np.round(one.history.hours * HOUR_US).astype(np.int64), one.history.old).value
        rows = rows_of(one.history.hours, value)
        levels[name] = one.past(value)
        mapped = Moved(rows, map, map_errors(map, prior.errors, overlap))
        draws = drawn_questions(RECIPE, {}, {"glucose": mapped})
        pasts[name] = PastDevice("old", draws, map)
    for shots in SHOTS:
        own = one.shots.where(np.arange(len(one.shots)) < shots)
        made = {
            "nothing changes": torch.zeros_like(heads["population"]),
            "population": heads["population"],
            "old sensor's personal ridge, as it is": old_self,
            "population of the new sensor (nobody has it)": heads["new"],
            "pooled ridge and shots": heads["population"],
            "model, no history": model_head(features, start, own, None),
            "model, history as it is": model_head(features, start, own, raw_past),
        }
        if shots:
            made["pooled ridge and shots"] = ridge(features, heads["population"], [own], strengths[shots])
        for name, past in pasts.items():
            level = PastDevice("old", (levels[name],), past.map)
            made[f"model, mean of mapped history, {name}"] = model_head(features, start, own, level)
            made[f"model, mapped history drawn, {name}"] = model_head(features, start, own, past)
        found |= {(name, shots): error(features, head, one.judged) for name, head in made.items()}
    return found


def judge(pairs: pl.DataFrame) -> dict[tuple[str, int], float]:
    """Means over people of one table of pairs."""
    features, people = encoder(), read_pairs(pairs).people
    names, found = list(people), defaultdict(list)
    changes = {name: Change(one) for name, one in people.items()}
    for fold in range(FOLDS):
        taught = [name for place, name in enumerate(names) if place % FOLDS != fold]
        worn = {
            sensor: [windows(people[n].hours, getattr(people[n], sensor)) for n in taught] for sensor in ("old", "new")
        }
        worn = {sensor: [one for one in parts if len(one)] for sensor, parts in worn.items()}
        start = learn_start(features, worn["old"][::2] + worn["old"][1::4], worn["old"][3::4], {})
        heads = {"population": pooled(features, worn["old"]), "new": pooled(features, worn["new"])}
        prior = learn(pairs.filter(pl.col("person").is_in(taught)), "glucose")
        known = [changes[name] for name in taught]
        strengths = {shots: chosen_ridge(features, heads["population"], known, shots) for shots in SHOTS if shots}
        for name in (name for name in names if name not in taught and len(changes[name].judged)):
            for key, value in judge_person(features, start, prior, heads, strengths, changes[name]).items():
                found[key].append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def show(title: str, tables: Sequence[dict[tuple[str, int], float]]) -> None:
    """Mean over seeds, and their deviation."""
    print(f"\n{title}; K = {SHOTS}")
    for row in dict.fromkeys(row for row, _ in tables[0]):
        cells = [[table[row, shots] for table in tables] for shots in SHOTS]
        spread = [f" ± {np.std(c, ddof=1):.2f}" if len(c) > 1 else "" for c in cells]
        print(f"| {row} | " + " | ".join(f"{np.mean(c):.2f}{s}" for c, s in zip(cells, spread, strict=True)) + " |")


def main(given: Sequence[str]) -> None:
    """Both directions."""
    turned = {"old": "new", "new": "old"}
    if given:
        pairs = pl.read_parquet(given[0])
        for title, table in (("old to new", pairs), ("new to old", pairs.rename(turned))):
            show(title, [judge(table)])
        return
    everyone = truths(Path(os.environ["METAPULSE_DATA"]))
    for title, forward in (("first to second sensor", True), ("second to first sensor", False)):
        tables = []
        for seed in SEEDS:
            chosen = generator(seed, "who wears two sensors").permutation(len(everyone))[:PEOPLE]
            tables.append(judge(PairedSensors(filled=True).pairs(seed, [everyone[i] for i in chosen], forward)))
            print(f"{title}, seed {seed}", file=sys.stderr, flush=True)
        show(title, tables)


if __name__ == "__main__":
    main(sys.argv[1:])
