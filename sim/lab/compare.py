"""From the table of results to scores, paired differences and verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import polars as pl

from metapulse.metrics.table import is_own, is_share, larger_is_better
from metapulse.server.statistics import sd, worst_decile
from metapulse.sim.lab.comparison import Comparison, Score
from metapulse.sim.lab.pairs import Key, Question, differences, families, judged_pairs, levels
from metapulse.sim.lab.panel import Panel, panel
from metapulse.sim.lab.ranking import over_datasets, within
from metapulse.sim.lab.select import KEYS, judged_rows, main_rows
from metapulse.sim.lab.statistics.bootstrap import grand_mean, interquartile_mean
from metapulse.sim.lab.statistics.crossed import Values
from metapulse.sim.lab.statistics.fairness import gini
from metapulse.sim.lab.words import verdict_words
from metapulse.sim.scores import scenarios


def judge_methods(
    results: pl.DataFrame | pl.LazyFrame,
    name: str,
    reference: str,
    methods: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int],
    failed: Collection[tuple[str, str]] = (),
    main: Mapping[str, str] | None = None,
    baselines: Collection[str] = (),
    pilot: int = 0,
) -> Comparison:
    """Judge methods on the same seeds, clients and episodes.

    Args:
        results: tidy: dataset, method, seed, phase, scenario, shots, step, round, client, user, metric, value; of a
            file too (``pl.scan_parquet``), of which only what verdicts rest on is held.
        reference: one of ``methods``, which the others are held against.
        methods: in the order in which they are shown.
        datasets: likewise.
        seeds: of training that were asked for; what is missing of them is said.
        failed: data set and method of what had no result after a seed at least: without a mean, and last in rank. So
            is, where errors are measured, what has no number of clients that others have one of.
        main: data set → the metric that methods are judged by; "" and left out: balanced accuracy, accuracy or mse.
        baselines: of ``methods``, those that are tested as a family of their own and not ranked over data sets.
        pilot: first seeds that decided how many there are; 0: the number was settled before.
    """
    apart = [method for method in methods if method in baselines and method != reference]
    rows = main_rows(results, main)
    metrics = dict(rows.select("dataset", "metric").unique().iter_rows())
    (last, steps), (best, _) = (_panels(table) for table in judged_rows(rows))
    lost = _lost(last, metrics)
    last, best = ({key: p for key, p in found.items() if (key[0][0], key[1]) not in lost} for found in (last, best))
    failed = {*failed, *lost}
    questions = _questions(last, datasets)
    keys = [key for key in product(questions, methods) if key in last]
    scores = tuple(_score(key, metrics[key[0][0]], steps[key], last[key], best.get(key), pilot) for key in keys)
    pairs = judged_pairs(differences(keys, last, metrics, reference), reference, apart, pilot)
    rankings = tuple(
        within(dataset, scores, [m for d, m in failed if d == dataset]) for dataset in datasets if dataset in metrics
    )
    ranking = over_datasets(rankings, apart)
    failures = tuple(_failed(methods, failed, lost))
    return Comparison(
        name=name,
        reference=reference,
        methods=tuple(methods),
        baselines=tuple(apart),
        pilot=pilot,
        failures=failures,
        datasets=tuple(datasets),
        seeds=tuple(seeds),
        scores=scores,
        pairs=pairs,
        ranking=ranking,
        rankings=rankings,
        words=(
            *failures,
            *verdict_words(reference, methods, seeds, scores, pairs, ranking, apart),
            *_undefined(results.lazy(), {d: metrics.get(d) or (main or {}).get(d, "") for d in datasets}),
        ),
    )


def _undefined(results: pl.LazyFrame, metrics: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each data set whose metric is not defined for some test clients."""
    clients = pl.col("client")
    for dataset, metric in metrics.items():
        rows = results.filter(pl.col("phase") == "test", pl.col("dataset") == dataset, pl.col("metric") == metric)
        aside = clients.filter(pl.col("value").is_null()).n_unique()
        ((aside, asked),) = rows.select(aside=aside, asked=clients.n_unique()).collect(engine="streaming").rows()
        if aside:
            told = f"{dataset}: {metric} is not defined for {aside} of {asked} clients"
            yield f"{told} (on some questions at least), who are not in its means."


def _lost(panels: Mapping[Key, Panel], metrics: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(data set, method) → for how many clients its errors overflowed after a seed at least.

    An error that overflowed has no row, and the mean of the others would speak for all; shares have a worst value.
    """
    most: dict[Question, int] = {}
    for (question, _), found in panels.items():
        most[question] = max(most.get(question, 0), len(found.clients))
    lost: dict[tuple[str, str], tuple[int, int]] = {}
    for (question, method), found in panels.items():
        missing, asked = most[question] - len(found.clients), most[question]
        if missing and not is_share(metrics[question[0]]):
            pair = question[0], method
            lost[pair] = max(lost.get(pair, (0, asked)), (missing, asked))
    return {pair: f"{missing} of {asked}" for pair, (missing, asked) in lost.items()}


def _failed(
    methods: Sequence[str], failed: Collection[tuple[str, str]], lost: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    last = "so it has no mean there and ranks last."
    for method in methods:
        if where := sorted(dataset for dataset, name in failed if name == method and (dataset, name) not in lost):
            yield f"{method} failed on {', '.join(where)}: its training diverged or had no result, {last}"
        for dataset, count in ((d, n) for (d, name), n in lost.items() if name == method):
            told = f"{method} failed on {dataset}: its errors overflowed for {count} clients after a seed at least"
            yield f"{told}, {last}"


def _panels(rows: pl.DataFrame) -> tuple[dict[Key, Panel], dict[Key, int]]:
    """The panel and the judged step of every question and method with an answer."""
    panels, steps = {}, {}
    for (dataset, scenario, shots, method), group in rows.partition_by(KEYS, as_dict=True).items():
        found = panel(group)
        if found.clients:
            key = ((dataset, scenario, shots), method)
            panels[key], steps[key] = found, min(group["step"].mode().to_list())  # folds may differ
    return panels, steps


def _questions(keys: Iterable[Key], datasets: Sequence[str]) -> list[Question]:
    """In the order of the specification; all samples are more shots than any number."""
    found = {question for question, _ in keys}
    order = scenarios([{"scenario": scenario} for _, scenario, _ in found])
    return sorted(found, key=lambda q: (datasets.index(q[0]), order.index(q[1]), q[2] or 1 << 62))


def _score(key: Key, metric: str, step: int, last: Panel, best: Panel | None, pilot: int) -> Score:
    (dataset, scenario, shots), method = key
    higher = larger_is_better(metric)
    ends = -np.inf if is_own(metric) else 0.0, 1.0 if is_share(metric) else np.inf
    clients = last.values.mean(0)
    return Score(
        dataset=dataset,
        method=method,
        scenario=scenario,
        shots=shots,
        step=step,
        metric=metric,
        higher=higher,
        last=grand_mean(last.people, *ends, pilot),
        best=None if best is None else grand_mean(best.people, *ends, pilot),
        iqm=interquartile_mean(last.people, *ends, pilot),
        worst_decile=worst_decile(clients, higher),
        spread=sd(clients),
        gini=gini(clients) if (clients >= 0).all() else float("nan"),
        users=last.people.shape[1],
        clients=len(clients),
        seeds=len(last.seeds),
    )


def reference_differences(
    results: pl.DataFrame,
    reference: str,
    methods: Sequence[str],
    datasets: Sequence[str],
    main: Mapping[str, str] | None = None,
    baselines: Collection[str] = (),
) -> tuple[dict[Key, Values], dict[Key, float]]:
    """What verdicts rest on: differences per seed and person after the last round, and the level each is tested at.

    Args:
        results: as for ``judge_methods``.
        reference: which the others are held against.
        methods: in the order in which they are shown.
        datasets: likewise.
        main: as for ``judge_methods``.
        baselines: as for ``judge_methods``.

    Returns:
        Those of the competitors; of the baselines where there is nothing else.
    """
    rows = main_rows(results, main)
    metrics = dict(rows.select("dataset", "metric").unique().iter_rows())
    (last, _), _ = (_panels(table) for table in judged_rows(rows))
    keys = [key for key in product(_questions(last, datasets), methods) if key in last]
    first = next(families(differences(keys, last, metrics, reference), baselines), {})
    return first, levels(first)
