"""What figures are made of, as plain Plotly objects: colours, axes, curves with bands, dots with whiskers.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; dashes and marks differ too.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

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
    "macro_f1": "macro-F1",
    "auroc": "area under the ROC curve",
    "ece": "expected calibration error",
    "rmse": "root mean squared error (target unit)",
    "mard": "mean absolute relative difference (%)",
    "clarke_a": "share in zone A of Clarke's grid",
    "clarke_ab": "share in zones A and B of Clarke's grid",
    "parkes_a": "share in zone A of Parkes' grid",
    "parkes_ab": "share in zones A and B of Parkes' grid",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
GRID, INK, SHADE, CARD = "#e6e8eb", "#1d2733", "#9aa3ad", "#ffffff"
#: What these are at night.
NIGHT = {GRID: "#2b333d", INK: "#e4e8ec", SHADE: "#66707b", CARD: "#181f27"}


def metric_title(metric: str) -> str:
    """A metric in words, with its unit, as plain text."""
    return TITLES.get(metric, metric.rpartition(":")[2].replace("_", " "))


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
        # Each axis widens its own side alone: with both at both, Plotly can go round in circles and give up halfway.
        "xaxis": {**axis, "title": {"text": html.escape(x), "standoff": 8}, "automargin": "height"},
        "yaxis": {**axis, "title": {"text": html.escape(y), "standoff": 8}, "automargin": "width"},
    }
    for key, value in more.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    return base


def curve(place: int, label: str, points: Sequence[tuple[float, Any]], crowd: int) -> Iterator[Figure]:
    """A line with marks, and its interval as a band behind it; bands are fainter in a crowd.

    Args:
        place: in the palette.
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


def step_axis(steps: Iterable[int]) -> tuple[dict[int, int], dict[str, Any]]:
    """Adaptation steps at places of equal width: the first few matter most, and 0 has no logarithm.

    Returns:
        Step → place; and the axis.
    """
    places = {step: i for i, step in enumerate(sorted(set(steps)))}
    return places, {"tickvals": list(places.values()), "ticktext": [str(step) for step in places]}


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


def whisker(place: float, x: float, low: float, high: float, look: int, filled: bool, hover: str) -> Figure:
    """A dot with its interval, in a row.

    Args:
        place: of the row.
        x: where the dot is.
        low: end of the interval.
        high: other end.
        look: place in the palette.
        filled: whether the dot is; open otherwise.
        hover: template of the words over it.
    """
    shade = colour(look)
    ends = {"array": [high - x], "arrayminus": [x - low], "color": shade, "thickness": 1.8, "width": 4}
    line = {"color": shade, "width": 1.8}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [place],
        "error_x": {"type": "data", "symmetric": False, **ends},
        "marker": {"color": shade if filled else CARD, "symbol": mark(look), "size": 9, "line": line},
        "hovertemplate": hover,
        "legendgroup": f"run-{look}",
    }


def rule(x: float | str, **line: Any) -> dict[str, Any]:
    """A line from top to bottom; its colour is ink unless ``line`` says otherwise."""
    look = {"color": INK, "width": 1, **line}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": look}
