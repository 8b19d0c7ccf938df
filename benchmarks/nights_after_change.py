"""Nights after a change of watch: what one person's nights with a Garmin are worth for forecasts of a Whoop.

    METAPULSE_DATA=… metapulse data records fitbit_33 people
    METAPULSE_DATA=… python -m benchmarks.nights_after_change people OUT

One person wore both for 285 nights. The Garmin is taken to end, and the Whoop to begin, at nine days, 20 apart, so that
the starts share nights and are not independent. The population is of 33 Fitbits (``random_effects`` of
``tomorrow_heads.toml``), in five parts. The first K nights of the Whoop are known, and nights from the 29th on are
judged, the same for every row. RMSE of minutes asleep: mean over starts and parts ± standard deviation over starts, and
at how many starts it is less than that of the mean of 7 days; last the weight of the history with the most nights.
Once with all that the Whoop tells, breathing included, which nobody of the population and no Garmin told; once with
sleep alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.maps import two_watches
from benchmarks.shared import finished
from metapulse.migration import published
from metapulse.personal.adapt import adapted
from metapulse.personal.features import FeatureMap
from metapulse.personal.moved import moved
from metapulse.personal.past import PastDevice, drawn_questions, past_device
from metapulse.personal.shared import shared
from metapulse.personal.start import PopulationStart
from metapulse.record.clock import DAY
from metapulse.record.recipes import make_recipe
from metapulse.record.recipes.base import NO_ROWS, MetricRows, Questions, device_rows
from metapulse.record.recipes.days import date_of
from metapulse.sim.personalize import features_of, population_start, trained_run
from metapulse.sim.suite import read_suite

CONFIG, METHOD = Path(__file__).with_name("tomorrow_heads.toml"), "random_effects_1"
RECIPE, METRIC, PLAIN = make_recipe("sleep_tonight"), "sleep_duration", "mean of 7 days"
PARTS, STARTS, NIGHTS, JUDGED_FROM = range(5), range(20, 200, 20), (0, 7, 14, 28), 28
OVERLAPS = (0, 7, 14)
Rows = dict[str, MetricRows]


def between(rows: Rows, first: int, last: int) -> Rows:
    """Rows of dates from the first on, before the last."""
    return {name: one.where((date_of(one) >= first) & (date_of(one) < last)) for name, one in rows.items()}


class Change:
    """What is known when the watch is changed.

    Args:
        old, new: rows of the Garmin and the Whoop.
        date: from which on the Whoop is worn.
    """

    def __init__(self, old: Rows, new: Rows, date: int) -> None:
        self.date = date
        self.devices = {"Garmin": between(old, 0, date), "Whoop": between(new, date, sys.maxsize)}
        asked = RECIPE.questions(self.devices["Whoop"])
        self.own = asked.where(~np.isnan(asked.y))
        self.day = (self.own.time // DAY) + 1  # that is forecast
        self.judged = self.own.where(self.day >= date + JUDGED_FROM)
        self.pasts: dict[str, tuple[PastDevice, ...]] = {"model, no history": ()}
        garmin = self.devices["Garmin"]
        alone = moved(RECIPE.series(garmin)[METRIC], published(METRIC), None)
        raw, draws = RECIPE.questions(garmin), drawn_questions(RECIPE, garmin, {METRIC: alone})
        self.pasts["model, history as it is"] = (PastDevice("Garmin", (raw,), alone.map),)
        self.pasts["model, mapped history, no overlap, refused or not"] = (PastDevice("Garmin", draws, alone.map),)
        for count in OVERLAPS:
            self.pasts[f"model, mapped history, overlap of {count} nights"] = self.past(old, new, count)
        self.refused = not self.pasts["model, mapped history, overlap of 0 nights"]

    def past(self, old: Rows, new: Rows, count: int) -> tuple[PastDevice, ...]:
        """The Garmin's history by the map of so many nights with both, the last before the change."""
        a, b = (RECIPE.series(between(one, self.date - count, self.date)).get(METRIC, NO_ROWS) for one in (old, new))
        table = shared(a, b, METRIC).table
        given = False if table is None else table
        pasts, why = past_device(
            self.devices, RECIPE, "Whoop", (int(self.own.time[0]), int(self.own.time[-1])), overlap=given
        )
        assert not why or not count, why
        return pasts

    def known(self, nights: int) -> Questions:
        """What has come after so many nights."""
        return self.own.where(self.day < self.date + nights)


def rmse(y: np.ndarray) -> float:
    """Root mean square, in minutes."""
    return float(np.sqrt(np.square(y).mean()) * 60.0)


def judge(change: Change, features: FeatureMap, start: PopulationStart) -> dict[tuple[str, int], list[float]]:
    """Error and weight of the history, by row and nights known."""
    asked, found = change.judged, {}
    seen = features.of(asked.x)
    yesterday = np.where(asked.x[:, 1, -1] > 0, asked.x[:, 0, -1], 0.0)
    for nights in NIGHTS:
        found[PLAIN, nights] = [rmse(asked.y), 0.0]
        found["yesterday", nights] = [rmse(asked.y - yesterday), 0.0]
        population = (seen @ start.prior.mean[0, :, 0]).numpy()
        found["population", nights] = [rmse(asked.y - population), 0.0]
        for name, pasts in change.pasts.items():
            card = {"device": "Whoop"}
            own = change.known(nights)
            model = adapted("sleep_tonight", features, start, own, pasts, card, known_device=False)
            told = (seen @ model.belief.mean[0, :, 0]).numpy()
            found[name, nights] = [rmse(asked.y - told), float(model.card["power"])]
    return found


def measure(devices: dict[str, Rows], starts: Sequence[tuple[FeatureMap, PopulationStart]]) -> None:
    """Print a row a way to forecast, a column a number of nights that are known."""
    first = int(date_of(devices["Whoop"][METRIC]).min())
    changes = [Change(devices["Garmin"], devices["Whoop"], first + days) for days in STARTS]
    parts = [[judge(change, *start) for change in changes] for start in starts]
    print(f"K = {NIGHTS}; {len(changes)} starts, {[len(one.judged) for one in changes]} nights judged")
    print(f"without overlap refused at {sum(one.refused for one in changes)} starts, with some at none")
    found = {key: np.array([[one[key] for one in part] for part in parts]).mean(0) for key in parts[0][0]}
    for row in dict.fromkeys(row for row, _ in found):
        cells = []
        for nights in NIGHTS:
            error, plain = found[row, nights][:, 0], found[PLAIN, nights][:, 0]
            cells.append(f"{error.mean():.1f} ± {error.std(ddof=1):.1f} ({(error < plain - 1e-9).sum()})")
        print(f"| {row} | " + " | ".join(cells) + f" | {found[row, NIGHTS[-1]][:, 1].mean():.2f} |", flush=True)


def main(people: Path, out: Path) -> None:
    """Learn the populations, print both tables."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        record = two_watches(Path(os.environ["METAPULSE_DATA"]), Path(folder) / "person.parquet")
        devices, _ = device_rows(record, RECIPE)
    starts = []
    for part in PARTS:
        sets = [f'source.path="{people.resolve()}"', f"split.fold={part}"]
        trained = trained_run(finished(read_suite(CONFIG, sets).configs[METHOD], out / str(part)), None)
        features = features_of(trained)
        starts.append((features, population_start(trained, features)))
    measure(devices, starts)
    measure({name: {METRIC: rows[METRIC]} for name, rows in devices.items()}, starts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
