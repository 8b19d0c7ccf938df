"""From the table of results to scores, paired differences and verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import polars as pl

from metapulse.metrics.table import is_own, is_share, larger_is_better
from metapulse.server.statistics import sd, worst_decile
from metapulse.sim.lab.comparison import Comparison, Pair, Score, Verdict
from metapulse.sim.lab.panel import Panel, paired, panel
from metapulse.sim.lab.ranking import over_datasets, within
from metapulse.sim.lab.select import KEYS, judged_rows, main_rows
from metapulse.sim.lab.statistics.bootstrap import grand_mean, improvement, interquartile_mean
from metapulse.sim.lab.statistics.crossed import Values, crossed_p_value, detectable
from metapulse.sim.lab.statistics.fairness import gini
from metapulse.sim.lab.statistics.families import nested_corrections
from metapulse.sim.lab.words import MIN_PEOPLE, MIN_SEEDS, verdict_words
from metapulse.sim.scores import scenarios

ALPHA = 0.05

#: (data set, scenario, shots)
Question = tuple[str, str, int]
Key = tuple[Question, str]


def judge_methods(
    results: pl.DataFrame,
    name: str,
    reference: str,
    methods: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int],
    failed: Collection[tuple[str, str]] = (),
    main: Mapping[str, str] | None = None,
) -> Comparison:
    """Judge methods on the same seeds, clients and episodes.

    Args:
        results: tidy: dataset, method, seed, phase, scenario, shots, step, round, client, user, metric, value.
        reference: one of ``methods``, which the others are held against.
        methods: in the order in which they are shown.
        datasets: likewise.
        seeds: of training that were asked for; what is missing of them is said.
        failed: data set and method of what had no result after a seed at least: without a mean, and last in rank.
        main: data set → the metric that methods are judged by; "" and left out: balanced accuracy, accuracy or mse.
    """
    rows = main_rows(results, main)
    metrics = dict(rows.select("dataset", "metric").unique().iter_rows())
    (last, steps), (best, _) = (_panels(table) for table in judged_rows(rows))
    questions = _questions(last, datasets)
    keys = [key for key in product(questions, methods) if key in last]
    scores = tuple(_score(key, metrics[key[0][0]], steps[key], last[key], best.get(key)) for key in keys)
    pairs = _pairs(keys, last, metrics, reference)
    rankings = tuple(
        within(dataset, scores, [m for d, m in failed if d == dataset]) for dataset in datasets if dataset in metrics
    )
    ranking = over_datasets(rankings)
    return Comparison(
        name=name,
        reference=reference,
        methods=tuple(methods),
        datasets=tuple(datasets),
        seeds=tuple(seeds),
        scores=scores,
        pairs=pairs,
        ranking=ranking,
        rankings=rankings,
        words=(
            *_failed(methods, failed),
            *verdict_words(reference, methods, seeds, scores, pairs, ranking),
            *_undefined(results, {d: metrics.get(d) or (main or {}).get(d, "") for d in datasets}),
        ),
    )


def _undefined(results: pl.DataFrame, metrics: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each data set whose metric is not defined for some test clients."""
    for dataset, metric in metrics.items():
        rows = results.filter(pl.col("phase") == "test", pl.col("dataset") == dataset, pl.col("metric") == metric)
        if aside := rows.filter(pl.col("value").is_null())["client"].n_unique():
            told = f"{dataset}: {metric} is not defined for {aside} of {rows['client'].n_unique()} clients"
            yield f"{told} (on some questions at least), who are not in its means."


def _failed(methods: Sequence[str], failed: Collection[tuple[str, str]]) -> Iterator[str]:
    for method in methods:
        if where := sorted(dataset for dataset, name in failed if name == method):
            told = f"{method} failed on {', '.join(where)}"
            yield f"{told}: its training diverged or had no result, so it has no mean there and ranks last."


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


def _score(key: Key, metric: str, step: int, last: Panel, best: Panel | None) -> Score:
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
        last=grand_mean(last.people, *ends),
        best=None if best is None else grand_mean(best.people, *ends),
        iqm=interquartile_mean(last.people, *ends),
        worst_decile=worst_decile(clients, higher),
        spread=sd(clients),
        gini=gini(clients) if (clients >= 0).all() else float("nan"),
        users=last.people.shape[1],
        clients=len(clients),
        seeds=len(last.seeds),
    )


def _differences(
    keys: Sequence[Key], panels: Mapping[Key, Panel], metrics: Mapping[str, str], reference: str
) -> dict[Key, Values]:
    """By how much every method is better than the reference, per seed and person."""
    differences: dict[Key, Values] = {}
    for question, method in keys:
        if method != reference and (question, reference) in panels:
            a, b = paired(panels[question, method], panels[question, reference])
            if a.seeds and a.clients:
                errors = not larger_is_better(metrics[question[0]])
                differences[question, method] = log_ratios(b.people, a.people) if errors else a.people - b.people
    return differences


def reference_differences(
    results: pl.DataFrame,
    reference: str,
    methods: Sequence[str],
    datasets: Sequence[str],
    main: Mapping[str, str] | None = None,
) -> tuple[dict[Key, Values], dict[Key, float]]:
    """What verdicts rest on: differences per seed and person after the last round, and the level each is tested at.

    Args:
        results: as for ``judge_methods``.
        reference: which the others are held against.
        methods: in the order in which they are shown.
        datasets: likewise.
        main: as for ``judge_methods``.
    """
    rows = main_rows(results, main)
    metrics = dict(rows.select("dataset", "metric").unique().iter_rows())
    (last, _), _ = (_panels(table) for table in judged_rows(rows))
    keys = [key for key in product(_questions(last, datasets), methods) if key in last]
    differences = _differences(keys, last, metrics, reference)
    asked = [question for question, _ in differences]
    return differences, {
        key: ALPHA / _most(key[0], asked, [method for _, method in differences]) for key in differences
    }


def _pairs(
    keys: Sequence[Key], panels: Mapping[Key, Panel], metrics: Mapping[str, str], reference: str
) -> tuple[Pair, ...]:
    differences = _differences(keys, panels, metrics, reference)
    if not differences:
        return ()
    p = np.array([crossed_p_value(values) for values in differences.values()])
    asked = [question for question, _ in differences]
    corrected = nested_corrections(
        p, [method for _, method in differences], [asked, [q[0] for q in asked], [None] * len(asked)]
    )
    facts = zip(differences.items(), p.tolist(), corrected.tolist(), strict=True)
    return tuple(
        Pair(
            dataset=question[0],
            scenario=question[1],
            shots=question[2],
            method=method,
            reference=reference,
            difference=grand_mean(values),
            improvement=improvement(values),
            p=one,
            p_holm=holm,
            verdict=_verdict(values, holm),
            detectable=detectable(values, ALPHA / _most(question, asked, [m for _, m in differences])),
            users=values.shape[1],
            seeds=values.shape[0],
        )
        for ((question, method), values), one, holm in facts
    )


def _most(question: Question, asked: Sequence[Question], methods: Sequence[str]) -> int:
    """Methods of the largest family that a test of the question is in: Holm's first step divides by as many."""
    families = (
        {m for q, m in zip(asked, methods, strict=True) if q == question},
        {m for q, m in zip(asked, methods, strict=True) if q[0] == question[0]},
        set(methods),
    )
    return max(map(len, families))


def log_ratios(reference: Values, method: Values) -> Values:
    """log(reference / method) of errors, person by person: halving an error counts the same for each of them.

    On the scale of the errors themselves one person with large ones would own the mean. An error of zero counts as
    float32's rounding of the median one.

    Args:
        reference: errors ≥ 0, one per seed and person.
        method: likewise.
    """
    floor = float(np.finfo(np.float32).eps) * float(np.median(reference)) or float(np.finfo(np.float32).tiny)
    ratios: Values = np.log(np.maximum(reference, floor) / np.maximum(method, floor))
    return ratios


def _verdict(differences: Values, p: float) -> Verdict:
    seeds, people = differences.shape
    if p > ALPHA or seeds < MIN_SEEDS or people < MIN_PEOPLE:
        return "no difference shown"
    return "better" if differences.mean() > 0 else "worse"
