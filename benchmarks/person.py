"""Coverage, width, error and abstention of a person's model, on people whom the run never saw.

    metapulse data records cgm_open people
    metapulse run benchmarks/person.toml --out runs/person --seed 0          # and 1, 2, 3, 4
    python benchmarks/person.py runs/person-0 runs/person-1 …

Every test person's record is forecast from its first reading on, each moment from what was known then. Numbers are
means over people, each counting alike; ± is the standard error over people of the mean over runs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from metapulse.errors import DataError
from metapulse.personal.conformal import Conformal, conformal, judge, radius
from metapulse.personal.person import Abstention, questions_of
from metapulse.personal.start import PopulationStart
from metapulse.personal.walk import Forecasts, PersonState, inside, walk
from metapulse.record.recipes.base import Questions, Recipe
from metapulse.server.client_sampler import ClientSampler
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.personalize import features_of, population_start, recipe_of, trained_run
from metapulse.sim.sources.records import Records, find_records

REFRESHES = 500  # of the head along one record
KEPT = (1.0, 0.9, 0.75, 0.5, 0.25)  # shares of the forecasts that are kept, those with the narrowest intervals
DAY = 86_400_000_000


def interval_kinds(start: PopulationStart) -> dict[str, Conformal]:
    """Ways to make an interval: the Gaussian one, the population's scores, the person's added, and adaptive."""
    levels = 2**0.5 * torch.erfinv((torch.arange(2000).double() + 0.5) / 2000).numpy()  # of |N(0, 1)|
    return {
        "Gaussian": conformal(levels, step=0.0, weight=1e9),
        "population's scores": conformal(start.scores, step=0.0, weight=1e9),
        "and the person's own": conformal(start.scores, step=0.0),
        "and adaptive (the model's)": conformal(start.scores),
    }


def with_intervals(asked: Questions, made: Forecasts, state: Conformal) -> Forecasts:
    """The same forecasts with other intervals, as ``walk`` would make them."""
    promised = np.full(len(asked), radius(state))
    if state.weight > 1e8:  # the population's scores for ever
        return replace(made, promised=promised)
    known = np.flatnonzero(~np.isnan(asked.y))
    order = known[np.argsort(asked.due[known], kind="stable")]
    due, scores = asked.due[order], np.abs(asked.y - made.mean) / made.scale
    chunk, taken = max(1, -(-len(asked) // REFRESHES)), 0
    for first in range(0, len(asked), chunk):
        upto = int(np.searchsorted(due, asked.time[first], side="right"))
        for row in order[taken:upto].tolist():
            state = judge(state, float(scores[row]), float(promised[row]))
        promised[first : first + chunk], taken = radius(state), upto
    return replace(made, promised=promised)


def numbers(asked: Questions, made: Forecasts, unlike: float) -> dict[str, float]:
    """Of one person and one kind of interval."""
    withheld = Abstention().reasons(asked, made, unlike) != ""
    judged = ~np.isnan(asked.y) & ~withheld
    error, came = (asked.unit * one[judged] for one in (asked.y - made.mean, asked.y))
    width = 2.0 * asked.unit * (made.promised * made.scale)[judged]
    hit, early = inside(asked, made)[judged], asked.time[judged] < asked.time[0] + DAY
    found = {
        "coverage": hit.mean(),
        "first_day": hit[early].mean() if early.any() else np.nan,
        "width": width.mean(),
        "withheld": withheld.mean(),
        "rmse": np.sqrt(np.square(error).mean()),
        "unchanged": np.sqrt(np.square(came).mean()),
    }
    order = np.argsort(width, kind="stable")
    for share in KEPT:
        kept = order[: max(1, round(share * len(order)))]
        found[f"rmse_{share:g}"] = np.sqrt(np.square(error[kept]).mean())
        found[f"coverage_{share:g}"] = hit[kept].mean()
    return {name: float(value) for name, value in found.items()}


@lru_cache(maxsize=1000)
def asked_of(path: Path, recipe: Recipe) -> Questions | None:
    """A person's questions; None: the record has nothing to forecast from."""
    try:
        return questions_of(path, recipe)[1]
    except DataError:
        return None


def judge_run(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Kind of interval → person → numbers."""
    trained = trained_run(folder, None)
    features, recipe, source = features_of(trained), recipe_of(trained), trained.work.source
    start = population_start(trained, features)
    split = ClientSampler(SourceDirectory(source), trained.config).split
    assert isinstance(source, Records)  # as recipe_of has checked
    paths = dict(find_records(source.files()["path"]))
    found: dict[str, dict[str, dict[str, float]]] = {}
    for person in np.flatnonzero(split.phases(np.arange(source.users)) == "test").tolist():
        label = source.client(source.clients_of(person)[0]).label
        if (asked := asked_of(paths[label], recipe)) is not None:
            state = PersonState(start.prior, conformal(start.scores))
            made, _ = walk(start, features.fitted_on(asked.x), state, asked, REFRESHES)
            for kind, interval in interval_kinds(start).items():
                told = with_intervals(asked, made, interval)
                found.setdefault(kind, {})[label] = numbers(asked, told, start.unlike)
    return found


def main(folders: list[Path]) -> None:
    """Print a line a kind of interval, then the abstention curve of the model's own."""
    runs = [judge_run(folder) for folder in folders]
    for kind in runs[0]:
        each = {person: [run[kind][person] for run in runs] for person in runs[0][kind]}
        table = {name: np.array([np.mean([one[name] for one in each[p]]) for p in each]) for name in numbers_of(each)}
        mean = {name: float(np.nanmean(values)) for name, values in table.items()}
        error = {name: float(np.nanstd(values, ddof=1) / len(values) ** 0.5) for name, values in table.items()}
        within = float(((table["coverage"] >= 0.88) & (table["coverage"] <= 0.92)).mean())
        print(
            f"{kind}: {len(each)} people, coverage {mean['coverage']:.3f} ± {error['coverage']:.3f}, "
            f"{within:.0%} of people within 0.88-0.92, first day {mean['first_day']:.3f}, width {mean['width']:.1f}, "
            f"rmse {mean['rmse']:.2f} ± {error['rmse']:.2f}, unchanged {mean['unchanged']:.2f}, "
            f"withheld {mean['withheld']:.2%}"
        )
    for share in KEPT:
        print(f"kept {share:.0%}: rmse {mean[f'rmse_{share:g}']:.2f}, coverage {mean[f'coverage_{share:g}']:.3f}")


def numbers_of(each: dict[str, list[dict[str, float]]]) -> list[str]:
    """Names of what was counted."""
    return list(next(iter(each.values()))[0])


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
