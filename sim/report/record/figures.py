"""Figures of a record: maps of wear, courses with seams, sleep by night."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import Any

import polars as pl

from metapulse.record.clock import DAY, HOUR, MINUTE, US, moment
from metapulse.sim.report.plots import CARD, COLOURS, SHADE, Figure, clear, colour, dash, layout, rule
from metapulse.sim.report.record.courses import Course, Seam
from metapulse.sim.report.record.nights import STAGES, Nights
from metapulse.sim.report.record.rows import extent
from metapulse.sim.report.record.view import RecordView
from metapulse.sim.report.record.wear import Wear

NIGHTS = 1000  # bars; with more nights, each is several
SPELLS = 3000  # of sleep, the last ones
STAGE_COLOURS = dict(
    zip(STAGES, ("#0072B2", "#56B4E9", "#CC79A7", "#8A63C9", "#D55E00", "#E69F00", SHADE, SHADE), strict=True)
)
TIME: dict[str, Any] = {"type": "date", "tickangle": 0, "nticks": 6}
LEGEND = {"orientation": "h", "traceorder": "normal", "y": 1.02, "yanchor": "bottom", "x": 0}


def wear_map(worn: Wear) -> Figure:
    """Days × hours: of every hour, the share of its slots that have a reading."""
    columns = [*worn.share, *[worn.share[0] * 0] * (len(worn.share) == 1)]  # Plotly gives a single one no width
    days = [day_text(worn.first + i * worn.days) for i in range(len(columns))]
    shades = [[0, CARD], [0.005, clear(COLOURS[0], 0.2)], [1, COLOURS[0]]]
    told = {"colorscale": shades, "zmin": 0, "zmax": 100, "showscale": False}
    data = {
        "type": "heatmap",
        "x": days,
        "y": list(range(24)),
        "z": [[ceil(100 * float(share)) for share in hour] for hour in zip(*columns, strict=True)],
        "hovertemplate": "%{x|%a %d %b %Y}, %{y}:00: %{z} %<extra></extra>",
        **told,
    }
    hours = {
        "tickvals": [0, 6, 12, 18],
        "ticktext": ["0:00", "6:00", "12:00", "18:00"],
        "range": [23.5, -0.5],
        "showgrid": False,
    }
    return {
        "data": [data],
        "layout": layout(
            "",
            "",
            230,
            xaxis=TIME | {"showgrid": False} | _padded(worn.first, worn.first + len(worn.worn) - 1),
            yaxis=hours,
        ),
    }


def course_figure(view: RecordView, course: Course) -> Figure:
    """One metric: of each device the middle as a line, from least to greatest as bars behind it, seams upright."""
    data = [
        trace for place in course.points["place"].unique(maintain_order=True) for trace in _device(view, course, place)
    ]
    shapes, notes = [], []
    for seam in course.seams:
        shapes += _seam(seam)
        if len(course.seams) == 1:
            notes.append(_note(view, seam))
    axis: dict[str, Any] = {**TIME, "nticks": 4}
    axis["range"] = _range(view, course)
    made = layout("", course.unit, 210, xaxis=axis, shapes=shapes, annotations=notes, barmode="overlay")
    made["margin"] = {"l": 50, "r": 10, "t": 18 if notes else 8, "b": 34}
    return {"data": data, "layout": made}


def _device(view: RecordView, course: Course, place: int) -> Iterator[Figure]:
    points = course.points.filter(pl.col("place") == place)
    shade, name = colour(place), html.escape(view.name(place))
    middle = course.width // 2 if course.width > 1 else 0
    when, span = points["local"].to_list(), points.filter(pl.col("high") > pl.col("low"))
    if len(span):
        low, high = span["low"].to_list(), span["high"].to_list()
        yield {
            "type": "bar",
            "legendgroup": f"run-{place}",
            "x": [plotly_stamp(at + middle, course.width) for at in span["local"]],
            "base": [_short(value) for value in low],
            "y": [_short(b - a) for a, b in zip(low, high, strict=True)],
            "width": max(course.width, (when[-1] - when[0]) // 200, MINUTE if course.width == 1 else 0) // 1000,
            "marker": {"color": clear(shade, 0.3), "line": {"width": 0}},
            "hoverinfo": "skip",
        }
    x, y, ends = list[Any](), list[Any](), list[Any]()
    most = _break(when, course.width)
    rows = zip(when, *(points[c].to_list() for c in ("middle", "low", "high", "rows")), strict=True)
    for i, (at, value, low, high, count) in enumerate(rows):
        if i and at - when[i - 1] > most:
            for column in (x, y, ends):
                column.append(None)
        x.append(plotly_stamp(at + middle, course.width))
        y.append(_short(value))
        ends.append([_short(low), _short(high), count])
    what = (
        "%{y:,.4~g}"
        if course.width == 1 or course.summed
        else "%{y:,.4~g} (%{customdata[0]:,.4~g} to %{customdata[1]:,.4~g}, %{customdata[2]:,} values)"
    )
    yield {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "legendgroup": f"run-{place}",
        "x": x,
        "y": y,
        "customdata": ends,
        "line": {"color": shade, "width": 1.5, "dash": dash(place)},
        "marker": {"color": shade, "size": 3 if len(when) > 60 else 5},
        "hovertemplate": f"%{{x}}: {what}<extra>{name}</extra>",
    }


def _break(when: list[int], width: int) -> int:
    """The longest step that a line bridges: four times the usual one."""
    steps = sorted(b - a for a, b in pairwise(when))
    return 4 * max(steps[len(steps) // 2], width) if steps else 0


def _range(view: RecordView, course: Course) -> list[str]:
    """The record's own time, so that figures can be compared; the metric's own where that is a small part of it."""
    first, last = extent(course.points["local"]) or (0, 0)
    last += course.width
    whole = view.record.span or (first, last)
    if last - first > (whole[1] - whole[0]) / 5:
        first, last = whole
    edge = max((last - first) // 30, HOUR)
    return [plotly_stamp(first - edge, MINUTE), plotly_stamp(last + edge, MINUTE)]


def _seam(seam: Seam) -> list[dict[str, Any]]:
    """Where one ends and the other begins; a shade where both were worn."""
    shade = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}, "fillcolor": clear(SHADE, 0.25)}
    lines = [
        rule(plotly_stamp(seam.ends, MINUTE), color=colour(seam.before), dash="dot", width=1.5),
        rule(plotly_stamp(seam.begins, MINUTE), color=colour(seam.after), width=1.5),
    ]
    if seam.begins < seam.ends:
        lines.append({**shade, "x0": plotly_stamp(seam.begins, MINUTE), "x1": plotly_stamp(seam.ends, MINUTE)})
    return lines


def _note(view: RecordView, seam: Seam) -> dict[str, Any]:
    """The name of the device that begins, over its line and on the side where there is room."""
    first, last = view.record.span or (0, 1)
    right = (seam.begins - first) > 0.6 * (last - first)
    name = view.name(seam.after)
    name = name if len(name) <= 18 else name[:17] + "…"
    text = f"{html.escape(name)} ↦" if right else f"↦ {html.escape(name)}"
    look = {"showarrow": False, "font": {"size": 11, "color": colour(seam.after)}}
    return {
        "x": plotly_stamp(seam.begins, MINUTE),
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": text,
        "xanchor": "right" if right else "left",
        **look,
    }


def sleep_bars(nights: Nights) -> Figure:
    """Hours of each stage, night by night."""
    first, last = extent(nights.stages["night"]) or (0, 0)
    several = (last - first) // NIGHTS + 1
    there = nights.stages.select(pl.col("night").unique()).group_by(column=pl.col("night") // several).len()
    data = []
    for stage in STAGES:
        own = nights.stages.filter(pl.col("stage") == stage)
        own = own.group_by(column=pl.col("night") // several).agg(pl.col("minutes").sum())
        own = own.join(there, on="column").sort("column")
        if not len(own):
            continue
        data.append(
            {
                "type": "bar",
                "name": stage.replace("_", " "),
                "x": [day_text(column * several) for column in own["column"]],
                "y": [round(m / n / 60, 2) for m, n in own.select("minutes", "len").iter_rows()],
                "marker": {"color": STAGE_COLOURS[stage], "line": {"width": 0}},
                "width": 0.9 * several * DAY // 1000,
                "hovertemplate": f"%{{x|%a %d %b %Y}}: %{{y:.3~g}} h<extra>{stage.replace('_', ' ')}</extra>",
            }
        )
    axis = TIME | _padded(first, last)
    return {
        "data": data,
        "layout": layout("", "hours", 300, barmode="stack", bargap=0.1, showlegend=True, legend=LEGEND, xaxis=axis),
    }


def sleep_times(nights: Nights) -> Figure | None:
    """From falling asleep to getting up, each column from noon to noon; None where only totals are known."""
    if not len(nights.spells):
        return None
    data, spells = [], nights.spells.tail(SPELLS)
    noon = (pl.col("start") - (pl.col("night") * DAY - DAY // 2)) / HOUR
    for nap, name, shade in ((False, "night", COLOURS[0]), (True, "nap", COLOURS[4])):
        own = spells.filter(pl.col("nap") == nap).with_columns(noon=noon)
        if len(own):
            data.append(
                {
                    "type": "bar",
                    "name": name,
                    "x": [day_text(night) for night in own["night"]],
                    "base": [round(at, 2) for at in own["noon"]],
                    "y": [round(minutes / 60, 2) for minutes in own["minutes"]],
                    "marker": {"color": shade, "line": {"width": 0}},
                    "customdata": [
                        f"{moment(a)[11:]} to {moment(a + m * MINUTE)[11:]}"
                        for a, m in own.select("start", "minutes").iter_rows()
                    ],
                    "width": 0.9 * DAY // 1000,
                    "hovertemplate": f"%{{x|%a %d %b %Y}}: %{{customdata}}<extra>{name}</extra>",
                }
            )
    clock = {"tickvals": [0, 6, 12, 18, 24], "ticktext": ["12:00", "18:00", "0:00", "6:00", "12:00"], "range": [24, 0]}
    axis = TIME | _padded(*(extent(spells["night"]) or (0, 0)))
    made = layout("", "", 300, barmode="overlay", xaxis=axis, yaxis=clock, showlegend=len(data) > 1, legend=LEGEND)
    return {"data": data, "layout": made}


def _padded(first: int, last: int) -> dict[str, Any]:
    """Range of an axis of days: of few days so wide that bars stay bars."""
    spare = max(0, 14 - (last - first)) / 2 + 0.7
    return {"range": [plotly_stamp(int((day + far) * DAY), MINUTE) for day, far in ((first, -spare), (last, spare))]}


def day_text(day: int) -> str:
    """A day from 1970-01-01, as Plotly reads it."""
    return moment(day * DAY, False)


def plotly_stamp(local: int, width: int) -> str:
    """µs on the person's clock, as Plotly reads them: as short as the stretch allows."""
    text = moment(local)
    seconds = local % MINUTE // US
    return f"{text}:{seconds:02d}" if seconds and width < MINUTE else text


def _short(value: float | None) -> float | None:
    """Five digits: what a figure can show."""
    return None if value is None else float(f"{value:.5g}")
