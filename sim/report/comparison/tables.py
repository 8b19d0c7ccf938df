"""Tables of the report; each with its numbers unrounded for the files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from metapulse.sim.lab.comparison import Score
from metapulse.sim.report.comparison.ablation import Ablation, ablations, effect
from metapulse.sim.report.comparison.budgets import BUDGETS, at_equal_cost
from metapulse.sim.report.comparison.matrix import effect_matrix
from metapulse.sim.report.comparison.others import other_metrics
from metapulse.sim.report.comparison.tunings import tuning_summary, tuning_table
from metapulse.sim.report.comparison.view import ComparisonView, p_words, plain_mean
from metapulse.sim.report.table import ReportTable, TableCell, best_value, file_name
from metapulse.sim.scores import gain, number_text, scenario_title, shots_name

PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def every_table(view: ComparisonView) -> dict[str, list[ReportTable]]:
    """All tables by what they are about; a list may be empty."""
    return {
        "matrix": [effect_matrix(view, dataset) for dataset in view.datasets if view.comparison.pairs],
        "glance": [glance(view)] if view.comparison.pairs else [],
        "scores": [scores_table(view, dataset) for dataset in view.datasets],
        "others": [table for dataset in view.datasets if (table := other_metrics(view, dataset))],
        "verdicts": [verdicts(view, dataset) for dataset in view.datasets if view.comparison.pairs],
        "fairness": [fairness_table(view, dataset) for dataset in view.datasets],
        "ablation": list(ablation(view)),
        "costs": [costs_table(view, dataset) for dataset in view.datasets if len(_spent(view, dataset))],
        "budgets": [budgets(view, kind) for kind in BUDGETS] if view.validated else [],
        "tuned": [tuning_summary(view, view.folder.tuning)] if view.folder.tuning else [],
        "tuning": [tuning_table(record) for record in view.folder.tuning],
        "failures": failures(view),
    }


def scores_table(view: ComparisonView, dataset: str) -> ReportTable:
    """Method × (scenario, shots): the mean after the last round, its interval, and the best validation round's."""
    asked = list(view.questions(dataset))
    columns = [{s.method: s for s in view.at(dataset, *question)} for question in asked]
    higher = view.measure(dataset)[1]
    tops = [best_value([s.last.value for s in column.values()], higher) for column in columns]
    rows = [
        (_name(view, method), *(_score(column.get(method), top) for column, top in zip(columns, tops, strict=True)))
        for method in view.methods
        if any(method in column for column in columns)
    ]
    head = tuple(f">{scenario_title(scenario)}, {shots_name(shots)}" for scenario, shots in asked)
    frame = _frame(s for column in columns for s in column.values())
    return ReportTable(file_name("scores", dataset), dataset, ("method", *head), tuple(rows), frame)


def _name(view: ComparisonView, method: str) -> TableCell:
    return TableCell(method, view.role(method), place=view.place(method))


def _score(score: Score | None, top: float) -> TableCell | str:
    if score is None:
        return "–"
    last, low, high = (number_text(v, score.metric) for v in (score.last.value, score.last.low, score.last.high))
    beside = f"\nbest {number_text(score.best.value, score.metric)}" if score.best else ""
    return TableCell(last, f"[{low}, {high}]{beside}", strong=last == number_text(top, score.metric))


def _frame(records: Iterator[Any] | Sequence[Any]) -> pl.DataFrame:
    """Dataclasses as a table, a column for each number of an interval."""
    return pl.DataFrame([dict(_columns(record)) for record in records], infer_schema_length=None)


def _columns(record: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((field.name if k == "value" else f"{field.name}_{k}", v) for k, v in _columns(value))
        else:
            yield field.name, value


def verdicts(view: ComparisonView, dataset: str) -> ReportTable:
    """Method against the reference, question by question: difference, probability of improvement, corrected p."""
    found = [p for s in view.scores.values() if s.dataset == dataset and (p := view.pair(s))]
    order = {method: i for i, method in enumerate(view.methods)}
    found.sort(key=lambda p: (view.scenarios.index(p.scenario), view.shots.index(p.shots), order[p.method]))
    metric = view.measure(dataset)[0]
    rows = []
    for pair in found:
        won, chance = pair.difference, pair.improvement
        between = f"[{gain(won.low, metric, '+')}, {gain(won.high, metric, '+')}]"
        rows.append(
            (
                f"{scenario_title(pair.scenario)}, {shots_name(pair.shots)}",
                _name(view, pair.method),
                TableCell(gain(won.value, metric, "+"), between),
                TableCell(f"{chance.value:.2f}", f"[{chance.low:.2f}, {chance.high:.2f}]"),
                p_words(pair.p_holm),
                TableCell(pair.verdict, strong=pair.verdict != "no difference shown"),
                gain(pair.detectable, metric) if pair.seeds > 1 and pair.users > 1 else "–",
            )
        )
    head = (
        "question",
        "method",
        ">gain over the reference",
        ">probability of improvement",
        ">corrected",
        "verdict",
        ">found with probability .8 from",
    )
    return ReportTable(file_name("verdicts", dataset), dataset, head, tuple(rows), _frame(found))


def glance(view: ComparisonView) -> ReportTable:
    """Method × data set: on how many questions it is better and worse than the reference."""
    rows: list[tuple[TableCell | str, ...]] = []
    records: list[dict[str, Any]] = []
    for method in view.methods:
        if method == view.comparison.reference:
            continue
        cells = []
        for dataset in view.datasets:
            told = [p.verdict for p in view.comparison.pairs if (p.method, p.dataset) == (method, dataset)]
            better, worse = told.count("better"), told.count("worse")
            words = [f"{word} on {count}" for word, count in (("better", better), ("worse", worse)) if count]
            text = f"{', '.join(words)} of {len(told)}" if words else "no difference shown"
            cells.append(TableCell(text, strong=bool(words)) if told else TableCell("–"))
            record = {"dataset": dataset, "method": method, "better": better, "worse": worse}
            records.append(record | {"questions": len(told)})
        rows.append((_name(view, method), *cells))
    title = f"Questions (scenario, shots) on which a method differs from {view.comparison.reference}"
    return ReportTable("verdicts", title, ("method", *view.datasets), tuple(rows), pl.DataFrame(records))


def fairness_table(view: ComparisonView, dataset: str) -> ReportTable:
    """Mean over questions of how evenly a method serves its clients."""
    rows: list[tuple[TableCell | str, ...]] = []
    records: list[dict[str, Any]] = []
    for method in view.methods:
        mine = [s for q in view.questions(dataset) if (s := view.scores.get((dataset, *q, method)))]
        if mine:
            metric = mine[0].metric
            numbers = [plain_mean([getattr(s, key) for s in mine]) for key in ("worst_decile", "spread", "gini")]
            middle = plain_mean([s.iqm.value for s in mine])
            rows.append(
                (_name(view, method), *(number_text(v, metric) for v in (middle, *numbers[:2])), f"{numbers[2]:.3f}")
            )
            keys = ("iqm", "worst_decile", "spread", "gini")
            records.append({"dataset": dataset, "method": method} | dict(zip(keys, (middle, *numbers), strict=True)))
    head = ("method", ">interquartile mean", ">worst tenth", ">sd between clients", ">Gini")
    return ReportTable(file_name("fairness", dataset), dataset, head, tuple(rows), pl.DataFrame(records))


def ablation(view: ComparisonView) -> Iterator[ReportTable]:
    """A table for every setting in which methods differ alone; a column for each data set on which they do."""
    found: dict[str, tuple[Ablation, list[str]]] = {}
    for dataset in view.datasets:
        for one in ablations(view.folder.configs(dataset)):
            found.setdefault(repr(one), (one, []))[1].append(dataset)
    for one, datasets in found.values():
        first, *_ = one.values
        effects = {dataset: effect(view, dataset, one.values, first) for dataset in datasets}
        rows = [
            (str(value), _name(view, m), *(_effect(view, d, effects[d].get(m), m == first) for d in datasets))
            for m, value in one.values.items()
        ]
        records = [
            {"dataset": dataset, "setting": one.setting, "setting_value": str(one.values[m]), "method": m, **numbers}
            for dataset in datasets
            for m, numbers in effects[dataset].items()
        ]
        head = (one.setting, "method", *(f">{dataset}" for dataset in datasets))
        name = file_name("ablation", f"{one.setting}-{first}")
        yield ReportTable(name, one.setting, head, tuple(rows), pl.DataFrame(records))


def _effect(view: ComparisonView, dataset: str, numbers: Mapping[str, float] | None, first: bool) -> TableCell | str:
    if numbers is None:
        return "–"
    metric = view.measure(dataset)[0]
    won, low, high = (number_text(numbers[key], metric, "+") for key in ("gain", "gain_low", "gain_high"))
    return TableCell(number_text(numbers["value"], metric), "" if first else f"{won} [{low}, {high}]")


def costs_table(view: ComparisonView, dataset: str) -> ReportTable:
    """What a run costs, mean over seeds."""
    spent = _spent(view, dataset)
    numbers = {row["method"]: row for row in spent.iter_rows(named=True)}
    rows: tuple[tuple[TableCell | str, ...], ...] = tuple(
        (
            _name(view, method),
            str(int(row["rounds"])),
            *(si(row[key]) for key in ("gradient_steps", "flops", "bytes_down", "bytes_up")),
            f"{row['seconds']:.1f}",
        )
        for method in view.methods
        if (row := numbers.get(method))
    )
    head = ("method", ">rounds", ">gradient steps", ">FLOPs", ">bytes down", ">bytes up", ">seconds")
    return ReportTable(file_name("costs", dataset), dataset, head, rows, spent)


def _spent(view: ComparisonView, dataset: str) -> pl.DataFrame:
    mine = view.folder.costs.filter(pl.col("dataset") == dataset)
    keys = ("rounds", "gradient_steps", "flops", "bytes_down", "bytes_up", "seconds")
    return mine.group_by("dataset", "method").agg(*(pl.col(key).mean() for key in keys)).sort("method")


def si(value: float, unit: str = "") -> str:
    """Three digits and a prefix: 1 230 000 bytes as "1.23 MB"."""
    power = 0
    while abs(value) >= 999.5 and power < len(PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {PREFIXES[power]}{unit}".rstrip()


def budgets(view: ComparisonView, kind: str) -> ReportTable:
    """Method × data set: the score on validation people that a budget, equal for all, had bought."""
    datasets = [dataset for dataset in view.datasets if dataset in view.validated]
    found = {dataset: at_equal_cost(view, dataset, kind) for dataset in datasets}
    measures = {dataset: view.measure(dataset) for dataset in datasets}
    tops = {d: best_value([score for _, score in scores.values()], measures[d][1]) for d, (_, scores) in found.items()}
    rows: list[tuple[TableCell | str, ...]] = []
    records: list[dict[str, Any]] = []
    for method in view.methods:
        cells: list[TableCell | str] = []
        for dataset, (budget, scores) in found.items():
            if method not in scores:
                cells.append("–")
                continue
            round, score = scores[method]
            shown = number_text(score, measures[dataset][0])
            cells.append(
                TableCell(shown, f"round {round}", strong=shown == number_text(tops[dataset], measures[dataset][0]))
            )
            names = {"dataset": dataset, "method": method, "equal": kind, "budget": budget}
            records.append(names | {"round": round, "value": score})
        rows.append((_name(view, method), *cells))
    unit = "B" if kind == "bytes" else "FLOPs"
    head = (f">{dataset}, {si(budget, unit)}" for dataset, (budget, _) in found.items())
    return ReportTable(file_name("budget", kind), BUDGETS[kind], ("method", *head), tuple(rows), pl.DataFrame(records))


def failures(view: ComparisonView) -> list[ReportTable]:
    """Runs that the comparison lacks."""
    failed = [cell for cell in view.folder.cells if not cell.finished]
    if not failed:
        return []
    keys = ("dataset", "method", "seed", "key", "failure")
    rows = tuple((c.dataset, _name(view, c.method), str(c.seed), c.key, c.failure or "not run yet") for c in failed)
    frame = pl.DataFrame([{key: getattr(cell, key) for key in keys} for cell in failed])
    return [
        ReportTable("failures", "Runs without a result", ("data set", "method", ">seed", "cell", "why"), rows, frame)
    ]
