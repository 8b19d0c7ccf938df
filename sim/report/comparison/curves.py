"""Curves of the report: against steps, shots, rounds and what they cost; and one method's clients against another's."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from metapulse.sim.report.comparison.points import points
from metapulse.sim.report.comparison.view import ComparisonView, key
from metapulse.sim.report.plots import Figure, curve, layout, step_axis

#: What a learning curve can be drawn against: column of the costs → title of the axis.
COSTS = {
    "rounds": "federated rounds",
    "gradient_steps": "gradient steps of all clients",
    "flops": "floating-point operations of all clients",
    "bytes": "bytes up and down, all clients",
}

HEIGHT = 330


def by_step(view: ComparisonView, dataset: str) -> dict[str, Figure]:
    """By (scenario, shots): metric against adaptation steps after the last round."""
    rows = view.tested.get(dataset)
    if rows is None:
        return {}
    means = points(rows, ["scenario", "shots", "method", "step"], view.comparison.pilot)
    places, axis = step_axis(means["step"])
    made = layout("adaptation steps", "", HEIGHT, xaxis=axis)
    return {
        question: {"data": list(_curves(view, part, "step", places)), "layout": made}
        for question, part in _by_question(means)
    }


def by_round(view: ComparisonView, dataset: str) -> dict[str, Figure]:
    """By (scenario, shots): metric on validation people at the judged step, against rounds."""
    rows = view.validated.get(dataset)
    if rows is None:
        return {}
    means = points(rows, ["scenario", "shots", "method", "round"], view.comparison.pilot)
    made = layout(COSTS["rounds"], "", HEIGHT)
    rates = cost_of_a_round(view, dataset)
    drawn = {}
    for question, part in _by_question(means):
        data = list(_curves(view, part, "round", {}))
        for trace in data:
            trace["meta"] = rates.get(trace["name"], {})  # for the reader who chooses another axis
        drawn[question] = {"data": data, "layout": made}
    return drawn


def by_shots(view: ComparisonView, dataset: str) -> dict[str, Figure]:
    """By scenario: metric at the judged step against shots, after the last round."""
    places = {shots: i for i, shots in enumerate(view.shots)}
    names = [str(shots) if shots else "all" for shots in places]
    made = layout("shots", "", HEIGHT, xaxis={"tickvals": list(places.values()), "ticktext": names})
    drawn: dict[str, Figure] = {}
    for scenario in dict.fromkeys(scenario for scenario, _ in view.questions(dataset)):
        data: list[Figure] = []
        for method in reversed(view.methods):
            found = [(k, view.scores.get((dataset, scenario, k, method))) for k in view.shots]
            line = [(places[k], {"mean": s.last.value, "low": s.last.low, "high": s.last.high}) for k, s in found if s]
            data += curve(view.place(method), method, line, len(view.methods))
        drawn[key(scenario)] = {"data": data, "layout": made}
    return drawn


def _by_question(means: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    for (scenario, shots), part in means.partition_by("scenario", "shots", as_dict=True).items():
        yield key(scenario, shots), part


def _curves(view: ComparisonView, means: pl.DataFrame, x: str, places: Mapping[int, int]) -> Iterator[Figure]:
    """A curve with its band for every method, the best last and so on top."""
    for method in reversed(view.methods):
        mine = means.filter(pl.col("method") == method).sort(x)
        line = [(places.get(row[x], row[x]), row) for row in mine.iter_rows(named=True)]
        yield from curve(view.place(method), method, line, len(view.methods))


def cost_of_a_round(view: ComparisonView, dataset: str) -> dict[str, dict[str, float]]:
    """Method → column of ``COSTS`` → mean over seeds of a run's total divided by its rounds."""
    mine = view.folder.costs.filter((pl.col("dataset") == dataset) & (pl.col("rounds") > 0))
    total = {"gradient_steps": "gradient_steps", "flops": "flops"}
    columns = {name: (pl.col(column) / pl.col("rounds")).mean() for name, column in total.items()}
    columns["bytes"] = ((pl.col("bytes_up") + pl.col("bytes_down")) / pl.col("rounds")).mean()
    rows = mine.group_by("method").agg(rounds=pl.lit(1.0), **columns)
    return {row.pop("method"): row for row in rows.iter_rows(named=True)}


def clients(view: ComparisonView, dataset: str) -> dict[str, Figure]:
    """By (scenario, shots): every client under every method, seeds averaged; the reader chooses which two are drawn."""
    rows = view.tested.get(dataset)
    if rows is None:
        return {}
    judged = rows.filter(pl.col("step") == pl.col("judged"))
    by = ["scenario", "shots", "client", "user", "device", "method"]
    means = judged.group_by(by).agg(pl.col("value").mean()).sort(by)
    higher = view.measure(dataset)[1]
    drawn = {}
    for question, part in _by_question(means):
        wide = part.pivot(on="method", index=["client", "user", "device"], values="value").sort("client")
        there = [method for method in view.methods if method in wide.columns]
        drawn[question] = {
            "data": [],
            "layout": layout("", "", HEIGHT, margin={"t": 26}),
            "values": {f"run-{view.place(m)}": _short(wide[m].to_list()) for m in there},
            "names": [
                html.escape(f"user {user}, {device}") for user, device in wide.select("user", "device").iter_rows()
            ],
            "higher": higher,
        }
    return drawn


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Five digits: more than a screen can show."""
    return [None if value is None else float(f"{value:.5g}") for value in values]
