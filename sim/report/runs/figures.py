"""Figures of a report about runs: curves, clients as dots, differences with whiskers, where the time went."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from metapulse.metrics.table import larger_is_better
from metapulse.server.progress import STAGES
from metapulse.sim.report.plots import (
    INK,
    Figure,
    clear,
    colour,
    curve,
    dash,
    layout,
    metric_title,
    name_axis,
    rule,
    step_axis,
    whisker,
)
from metapulse.sim.report.runs.paired import leader, paired_difference
from metapulse.sim.report.runs.run_data import Facet, PlotLine, RunData


def adaptation(facet: Facet, metric: str) -> Figure:
    """Metric against adaptation steps at the last meta-test."""
    found = [line.course(metric) for line in facet.lines]
    places, axis = step_axis(step for points in found for step, _ in points)
    data: list[Figure] = []
    for line, points in zip(facet.lines, found, strict=True):
        data += curve(line.colour, line.label, [(places[step], score) for step, score in points], len(facet.lines))
    return {"data": data, "layout": layout("adaptation steps", metric_title(metric), xaxis=axis)}


def learning(facet: Facet, metric: str) -> Figure:
    """Metric after the last adaptation step against federated rounds."""
    data: list[Figure] = []
    for line in facet.lines:
        wanted = (line.shots, line.last_step(), metric)
        watched = line.run.watched(line.scenario)
        kept = [s for s in watched if (s["shots"], s["step"], s["metric"]) == wanted]
        points = [(int(s["round"]), s) for s in sorted(kept, key=lambda s: int(s["round"]))]
        data += curve(line.colour, line.label, points, len(facet.lines))
    return {"data": data, "layout": layout("federated round", metric_title(metric))}


def distribution(facet: Facet, metric: str) -> Figure:
    """Every client before and after adaptation: boxes, dots, and the worst tenth marked."""
    data: list[Figure] = []
    lines = list(reversed(facet.lines))  # the first on top
    for place, line in enumerate(lines):
        last = line.last_step()
        for step, offset in ((0, 0.2), (last, -0.2)) if last else ((0, 0.0),):
            data += _clients(line, step, place + offset, metric, filled=step == last)
    names = name_axis([line.label for line in lines])
    made = layout(metric_title(metric), "", height=90 + 62 * len(lines), yaxis=names)
    return {"data": data, "layout": made}


def _clients(line: PlotLine, step: int, place: float, metric: str, filled: bool) -> Iterator[Figure]:
    rows = line.clients(step, metric)
    if not rows:
        return
    values = [row["value"] for row in rows]
    shade, group = colour(line.colour), f"run-{line.colour}"
    worst = set(worst_clients(values, larger_is_better(metric))) if filled else set()
    y = [place + 0.24 * ((i * 0.6180339887) % 1 - 0.5) for i in range(len(values))]  # golden-ratio jitter: no two alike
    yield {
        "type": "box",
        "orientation": "h",
        "legendgroup": group,
        "x": values,
        "y": [place] * len(values),
        "width": 0.3,
        "boxpoints": False,
        "hoverinfo": "skip",
        "line": {"color": shade, "width": 1.5},
        "fillcolor": clear(shade, 0.28 if filled else 0.0),
    }
    yield {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": group,
        "x": values,
        "y": y,
        "customdata": [html.escape(f"user {row['user']}, {row['device']}") for row in rows],
        "hovertemplate": f"%{{customdata}}: %{{x:.4~g}}<extra>{html.escape(line.label)}, step {step}</extra>",
        "marker": {
            "color": [INK if i in worst else shade for i in range(len(values))],
            "symbol": [
                "x-thin-open" if i in worst else ("circle" if filled else "circle-open") for i in range(len(values))
            ],
            "size": [8 if i in worst else 4.5 for i in range(len(values))],
            "opacity": 0.75,
        },
    }


def behind_the_best(facet: Facet, metric: str) -> Figure | None:
    """Every run minus the best one, paired by client, with its interval; None where nothing can be paired."""
    top = leader(facet.lines, metric)
    if top is None:
        return None
    pairs = [(line, paired_difference(line, top, metric)) for line in reversed(facet.lines) if line is not top]
    found = [(line, d) for line, d in pairs if d is not None]
    if not found:
        return None
    data = []
    for place, (line, d) in enumerate(found):
        numbers = f"%{{x:+.3~g}} [{d.low:+.3g}, {d.high:+.3g}], {d.clients} clients, better on {d.wins:.0%}"
        hover = f"{numbers}<extra>{html.escape(line.label)}</extra>"
        data.append(whisker(place, d.mean, d.low, d.high, line.colour, d.clear, hover))
    names = name_axis([line.label for line, _ in found])
    made = layout(f"difference in {metric_title(metric)}", "", 100 + 34 * len(found), yaxis=names, shapes=[rule(0)])
    return {"data": data, "layout": made, "title": f"{facet.title}: minus {top.label}"}


def training_loss(runs: Sequence[RunData]) -> Figure | None:
    """What the clients report while training, smoothed; None if no run logged a loss."""
    return _by_round(runs, "loss", "loss of the cohort", "%{y:.4~g}")


def round_time(runs: Sequence[RunData]) -> Figure | None:
    """Seconds of the rounds, smoothed; on a logarithm, for the first round waits for clusters and compilers."""
    return _by_round(runs, "seconds", "time of a round (s)", "%{y:.3~g} s", type="log", dtick=1)


def stages(runs: Sequence[RunData]) -> Figure | None:
    """Milliseconds a round by stage, one bar per run; None if no run logged them."""
    told = [run for run in reversed(runs) if run.stages and run.rounds]  # the first on top
    if not told:
        return None
    data = [_stage(told, stage, place) for place, stage in enumerate(STAGES) if any(stage in r.stages for r in told)]
    made = layout(
        "time of a round (ms)",
        "",
        height=130 + 36 * len(told),
        yaxis=name_axis([run.label for run in told]),
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "traceorder": "normal", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return {"data": data, "layout": made}


def _stage(runs: Sequence[RunData], stage: str, place: int) -> Figure:
    seconds = [run.stages.get(stage, 0.0) for run in runs]
    shares = [s / max(sum(run.stages.values()), 1e-9) for s, run in zip(seconds, runs, strict=True)]
    return {
        "type": "bar",
        "orientation": "h",
        "name": STAGES[stage],
        "x": [1000 * s / len(run.rounds) for s, run in zip(seconds, runs, strict=True)],
        "y": list(range(len(runs))),
        "width": 0.6,
        "customdata": shares,
        "marker": {"color": colour(place), "line": {"width": 0}},
        "hovertemplate": "%{x:.3~g} ms, %{customdata:.1%}<extra>" + STAGES[stage] + "</extra>",
    }


def _by_round(runs: Sequence[RunData], key: str, title: str, hover: str, **axis: Any) -> Figure | None:
    """What the log says of every round: mean over windows of a fortieth of the run, and faint the rounds themselves."""
    data: list[Figure] = []
    for place, run in enumerate(runs):
        points = [(e["round"], float(e[key])) for e in run.rounds if isinstance(e.get(key), (int, float))]
        if not points:
            continue
        x, y = [round for round, _ in points], [value for _, value in points]
        # A single run's colours stand for shots; its rounds are no button's.
        shared = {"type": "scatter", "mode": "lines", "x": x, "legendgroup": f"run-{place}" if len(runs) > 1 else ""}
        tint = {"color": clear(colour(place), 0.18), "width": 1}
        data.append({**shared, "y": y, "hoverinfo": "skip", "line": tint})
        name = f"round %{{x}}: {hover}<extra>{html.escape(run.label)}</extra>"
        line = {"color": colour(place), "dash": dash(place), "width": 2}
        data.append({**shared, "y": smooth(y, max(1, len(y) // 40)), "hovertemplate": name, "line": line})
    return {"data": data, "layout": layout("federated round", title, yaxis=axis)} if data else None


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Mean of each value and the ``width`` − 1 before it (fewer at the start)."""
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i + 1 - width) : i + 1])]


def worst_clients(values: Sequence[float], higher_is_better: bool) -> list[int]:
    """Places of the worst tenth of the values, at least one."""
    order = np.argsort(np.array(values), kind="stable")
    if not higher_is_better:
        order = order[::-1]
    return [int(i) for i in order[: max(1, len(values) // 10)]]
