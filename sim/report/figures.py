"""Figures as plain Plotly objects: curves with interval bands, clients as dots, differences as bars with whiskers.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; dashes and marks differ too.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from metapulse.server.stages import STAGES
from metapulse.server.statistics import HIGHER_IS_BETTER
from metapulse.sim.report.paired import Difference, difference, leader
from metapulse.sim.report.runs import Line, Panel, RunData, worst_decile

Figure: TypeAlias = dict[str, Any]

# Okabe and Ito 2008, without their yellow, too light on white, and with violet and olive for black and grey, which are
# ink and shade of the page itself.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A63C9", "#8C8A1E")
DASHES = ("solid", "dash", "dot", "dashdot")
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "loss": "cross-entropy loss (nats)",
    "mse": "mean squared error (target unit²)",
    "mae": "mean absolute error (target unit)",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
GRID, INK, SHADE, CARD = "#e6e8eb", "#1d2733", "#9aa3ad", "#ffffff"
#: What these are at night.
NIGHT = {GRID: "#2b333d", INK: "#e4e8ec", SHADE: "#66707b", CARD: "#181f27"}


def metric_title(metric: str) -> str:
    """A metric in words, with its unit, as plain text."""
    return TITLES.get(metric, metric.replace("_", " "))


def colour(place: int) -> str:
    """Colour of the n-th run; they repeat after eight, with another dash."""
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str:
    """Dash of the n-th run's line."""
    return DASHES[(place // len(COLOURS)) % len(DASHES)]


def mark(place: int) -> str:
    """Mark of the n-th run's points."""
    return MARKS[place % len(MARKS)]


def clear(hex_colour: str, opacity: float) -> str:
    """A colour with an opacity in [0, 1]."""
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def layout(x: str, y: str, height: int = 340, **more: Any) -> dict[str, Any]:
    """What every figure shares; ``x`` and ``y`` are the axes' titles as plain text, with units."""
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": SHADE, "ticks": "outside", "tickcolor": SHADE}
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 46},
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": CARD,
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "xaxis": {**axis, "title": {"text": html.escape(x), "standoff": 8}, "automargin": True},
        "yaxis": {**axis, "title": {"text": html.escape(y), "standoff": 8}, "automargin": True},
    }
    for key, value in more.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    return base


def curve(place: int, label: str, points: Sequence[tuple[float, Any]], crowd: int) -> Iterator[Figure]:
    """A line with marks, and its interval as a band behind it; bands are fainter in a crowd.

    Args:
        place: in the palette.
        label: as plain text.
        points: (x, score); of a score, "mean", "low" and "high" are read.
        crowd: how many lines there are.
    """
    name, group = html.escape(label), f"run-{place}"
    x = [where for where, _ in points]
    mean, low, high = ([float(score[key]) for _, score in points] for key in ("mean", "low", "high"))
    band = {
        "x": [*x, *reversed(x)],
        "y": [*high, *reversed(low)],
        "fill": "toself",
        "fillcolor": clear(colour(place), 0.14 if crowd < 4 else 0.07),
        "line": {"width": 0},
    }
    yield {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "legendgroup": group, "name": name, **band}
    yield {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "legendgroup": group,
        "x": x,
        "y": mean,
        "customdata": [list(pair) for pair in zip(low, high, strict=True)],
        "hovertemplate": "%{y:.4~g} [%{customdata[0]:.4~g}, %{customdata[1]:.4~g}]<extra>" + name + "</extra>",
        "line": {"color": colour(place), "dash": dash(place), "width": 2},
        "marker": {"color": colour(place), "symbol": mark(place), "size": 7},
    }


def adaptation(panel: Panel, metric: str) -> Figure:
    """Metric against adaptation steps at the last meta-test."""
    data: list[Figure] = []
    steps: set[int] = set()
    for line in panel.lines:
        found = [(s, line.at(s, metric)) for s in sorted({int(s["step"]) for s in line.run.final})]
        points = [(step, score) for step, score in found if score is not None]
        steps |= {step for step, _ in points}
        data += curve(line.colour, line.label, points, len(panel.lines))
    # Places of equal width: what matters is the first few steps, and 0 has no logarithm.
    places = {step: i for i, step in enumerate(sorted(steps))}
    for trace in data:
        trace["x"] = [places[step] for step in trace["x"]]
    ticks = {"tickvals": list(places.values()), "ticktext": [str(step) for step in places]}
    return {"data": data, "layout": layout("adaptation steps", metric_title(metric), xaxis=ticks)}


def learning(panel: Panel, metric: str) -> Figure:
    """Metric after the last adaptation step against federated rounds."""
    data: list[Figure] = []
    for line in panel.lines:
        wanted = (line.shots, line.last_step(), metric)
        watched = line.run.watched(line.scenario)
        kept = [s for s in watched if (s["shots"], s["step"], s["metric"]) == wanted]
        points = [(int(s["round"]), s) for s in sorted(kept, key=lambda s: int(s["round"]))]
        data += curve(line.colour, line.label, points, len(panel.lines))
    return {"data": data, "layout": layout("federated round", metric_title(metric))}


def distribution(panel: Panel, metric: str) -> Figure:
    """Every client before and after adaptation: boxes, dots, and the worst tenth marked."""
    data: list[Figure] = []
    lines = list(reversed(panel.lines))  # the first on top
    for place, line in enumerate(lines):
        last = line.last_step()
        for step, offset in ((0, 0.2), (last, -0.2)) if last else ((0, 0.0),):
            data += _clients(line, step, place + offset, metric, filled=step == last)
    names = name_axis([line.label for line in lines])
    made = layout(metric_title(metric), "", height=90 + 62 * len(lines), yaxis=names)
    return {"data": data, "layout": made}


def _clients(line: Line, step: int, place: float, metric: str, filled: bool) -> Iterator[Figure]:
    rows = line.clients(step, metric)
    if not rows:
        return
    values = [row["value"] for row in rows]
    shade, group = colour(line.colour), f"run-{line.colour}"
    worst = set(worst_decile(values, metric in HIGHER_IS_BETTER)) if filled else set()
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


def behind_the_best(panel: Panel, metric: str) -> Figure | None:
    """Every run minus the best one, paired by client, with its interval; None where nothing can be paired."""
    top = leader(panel.lines, metric)
    if top is None:
        return None
    pairs = [(line, difference(line, top, metric)) for line in reversed(panel.lines) if line is not top]
    found = [(line, d) for line, d in pairs if d is not None]
    if not found:
        return None
    data = [_whisker(line, d, place) for place, (line, d) in enumerate(found)]
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": INK, "width": 1}}
    names = name_axis([line.label for line, _ in found])
    made = layout(f"difference in {metric_title(metric)}", "", 100 + 34 * len(found), yaxis=names, shapes=[zero])
    return {"data": data, "layout": made, "title": f"{panel.title}: minus {top.label}"}


def _whisker(line: Line, d: Difference, place: int) -> Figure:
    shade = colour(line.colour)
    whisker = {"array": [d.high - d.mean], "arrayminus": [d.mean - d.low], "color": shade, "thickness": 2, "width": 5}
    fill = shade if d.clear else CARD
    numbers = f"%{{x:+.3~g}} [{d.low:+.3g}, {d.high:+.3g}], {d.clients} clients, better on {d.wins:.0%}"
    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": f"run-{line.colour}",
        "x": [d.mean],
        "y": [place],
        "error_x": {"type": "data", "symmetric": False, **whisker},
        "marker": {"color": fill, "symbol": mark(line.colour), "size": 10, "line": {"color": shade, "width": 2}},
        "hovertemplate": f"{numbers}<extra>{html.escape(line.label)}</extra>",
    }


def name_axis(names: Sequence[str]) -> dict[str, Any]:
    """A vertical axis of names, the first at the bottom."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [html.escape(name) for name in names],
        "range": [-0.6, len(names) - 0.4],
        "title": {"text": ""},
        "ticks": "",
        "showgrid": False,
    }


def training_loss(runs: Sequence[RunData]) -> Figure | None:
    """What the clients report while training, smoothed; None if nobody logged a loss."""
    return _by_round(runs, "loss", "loss of the cohort", "%{y:.4~g}")


def round_time(runs: Sequence[RunData]) -> Figure | None:
    """Seconds of the rounds, smoothed."""
    return _by_round(runs, "seconds", "time of a round (s)", "%{y:.3f} s", rangemode="tozero")


def stages(runs: Sequence[RunData]) -> Figure | None:
    """Milliseconds a round by stage, one bar per run; None if nobody logged them."""
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
        # A single run's colours stand for shots; its rounds are nobody's in the legend.
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
