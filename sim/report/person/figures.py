"""Figures of a person's model: the seam, forecasts with their band, calibration, what moved a forecast."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import polars as pl

from metapulse.personal.explain import driver_name
from metapulse.record.clock import DAY, MINUTE
from metapulse.sim.report.person.view import PersonView, Seam
from metapulse.sim.report.plots import INK, Figure, clear, colour, dash, layout, rule

POINTS = 1200  # of a line: more would not be seen
SHOWN = 3 * DAY  # of forecasts, the last ones
FEWEST = 60  # of forecasts that are shown, where there are so many
DRIVERS = 12
TIME: dict[str, Any] = {"type": "date", "tickangle": 0, "nticks": 5}
LEGEND = {"orientation": "h", "traceorder": "normal", "y": 1.02, "yanchor": "bottom", "x": 0}


def seam_figure(view: PersonView, seam: Seam) -> Figure:
    """Readings of both devices around the change, and the old one's as the new one would have shown them."""
    place, later = _thin(len(seam.old)), _thin(len(seam.new))
    stamps, data = seam.old.start[place], []
    if seam.mapped is not None:
        lower, upper, value = (getattr(seam.mapped, name)[place] for name in ("lower", "upper", "value"))
        data += [*_band(stamps, lower, upper, 2), _line(stamps, value, 2, f"{seam.name}, mapped")]
    data += [
        _line(stamps, seam.old.value[place], 0, seam.name),
        _line(seam.new.start[later], seam.new.value[later], 1, view.device),
    ]
    shapes = [rule(stamp(seam.begins), dash="dot")]
    return {"data": data, "layout": _over_time(view.unit, 320, shapes=shapes)}


def forecast_figure(view: PersonView) -> Figure | None:
    """The last days of forecasts, each at the time it is for, and what came."""
    table = view.forecasts
    if not len(table):
        return None
    last = table["due"].max()
    near = table.filter(pl.col("due") > last - pl.duration(microseconds=SHOWN))
    near = near if len(near) >= FEWEST else table.tail(FEWEST)  # of forecasts of days, the last weeks
    near = near.gather_every(max(1, len(near) // POINTS))
    when = near["due"].cast(pl.Int64).to_numpy()
    lower, upper, value, came = (
        near[c].fill_null(float("nan")).to_numpy() for c in ("lower", "upper", "value", "came")
    )
    data = [
        *_band(when, lower, upper, 0),
        _line(when, came, 1, "what came", points=True),
        _line(when, value, 0, "forecast"),
    ]
    return {"data": data, "layout": _over_time(view.unit, 340)}


def coverage_figure(view: PersonView, level: float) -> Figure | None:
    """Share of outcomes inside their interval, by day, and since the beginning."""
    judged = view.judged
    if not len(judged):
        return None
    days = judged.group_by(pl.col("due").dt.truncate("1d").alias("day"), maintain_order=True).agg(
        pl.col("inside").mean(), count=pl.len(), hits=pl.col("inside").sum()
    )
    when = days["day"].cast(pl.Int64).to_numpy()
    so_far = (days["hits"].cum_sum() / days["count"].cum_sum()).to_numpy()
    bars = {
        "type": "bar",
        "name": "of a day",
        "x": [stamp(at) for at in when],
        "y": _short(100 * days["inside"].to_numpy()),
        "customdata": days["count"].to_list(),
        "marker": {"color": clear(colour(0), 0.35)},
        "hovertemplate": "%{x|%d %b %Y}: %{y:.1f} % of %{customdata}<extra></extra>",
    }
    line = _line(when, 100 * so_far, 0, "since the first day")
    across = rule(0, color=INK, dash="dot") | {"x0": 0, "x1": 1, "xref": "paper", "yref": "y"}
    shapes = [across | {"y0": 100 * level, "y1": 100 * level}]
    made = _over_time("% inside", 260, shapes=shapes, yaxis={"range": [0, 101]})
    return {"data": [bars, line], "layout": made}


def error_figure(view: PersonView) -> Figure | None:
    """Root mean squared error by day, beside that of saying that nothing changes."""
    judged = view.judged
    if not len(judged):
        return None
    days = judged.group_by(pl.col("due").dt.truncate("1d").alias("day"), maintain_order=True).agg(
        *(pl.col(name).pow(2).mean().sqrt() for name in ("error", "unchanged"))
    )
    when = days["day"].cast(pl.Int64).to_numpy()
    data = [
        _line(when, days["error"].to_numpy(), 0, "forecast", points=True),
        _line(when, days["unchanged"].to_numpy(), 1, "nothing changes", points=True),
    ]
    return {"data": data, "layout": _over_time(f"error, {view.unit}", 260, yaxis={"rangemode": "tozero"})}


def drivers_figure(view: PersonView) -> Figure | None:
    """What of the last window moved the last forecast, by input and how many steps back."""
    if view.why is None or view.why.facts["abstained"]:
        return None
    table = view.why.drivers.head(DRIVERS).reverse()
    names = [driver_name(row) for row in table.to_dicts()]
    values = table["contribution"].to_numpy()
    data = {
        "type": "bar",
        "orientation": "h",
        "x": _short(values),
        "y": list(range(len(names))),
        "marker": {"color": [colour(0) if value > 0 else colour(1) for value in values]},
        "hovertemplate": "%{x:+.3g}<extra></extra>",
    }
    axis = {
        "tickvals": list(range(len(names))),
        "ticktext": [html.escape(name) for name in names],
        "ticks": "",
        "showgrid": False,
    }
    made = layout(f"moves the forecast by, {view.unit}", "", 60 + 22 * len(names), yaxis=axis)
    return {"data": [data], "layout": made}


def stamp(at: int | np.integer) -> str:
    """A moment, µs in UTC, as Plotly takes it."""
    return str(np.datetime64(int(at) // MINUTE, "m")).replace("T", " ")


def _over_time(y: str, height: int, **more: Any) -> dict[str, Any]:
    made = layout("", y, height, xaxis=TIME, **more)
    return made | {"showlegend": True, "legend": LEGEND, "margin": {"l": 52, "r": 10, "t": 30, "b": 34}}


def _line(when: np.ndarray, value: np.ndarray, place: int, name: str, points: bool = False) -> Figure:
    """A line that is broken where there is no value, and over silences."""
    x, y = _broken(when, value)
    return {
        "type": "scatter",
        "mode": "lines+markers" if points else "lines",
        "name": html.escape(name),
        "x": x,
        "y": y,
        "line": {"color": colour(place), "width": 1.6, "dash": dash(place)},
        "marker": {"color": colour(place), "size": 3},
        "hovertemplate": f"%{{x}}: %{{y:.4~g}}<extra>{html.escape(name)}</extra>",
    }


def _band(when: np.ndarray, lower: np.ndarray, upper: np.ndarray, place: int) -> list[Figure]:
    """What lies between two lines: an area for each stretch without a silence or a missing limit."""
    there = np.flatnonzero(np.isfinite(lower) & np.isfinite(upper))
    if not len(there):
        return []
    parts = np.split(there, np.flatnonzero((np.diff(there) > 1) | (np.diff(when[there]) > _bridged(when))) + 1)
    look = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    fill = {"fill": "toself", "fillcolor": clear(colour(place), 0.18)}
    return [
        {
            **look,
            **fill,
            "x": [stamp(at) for at in (*when[rows], *when[rows][::-1])],
            "y": _short(np.concatenate([lower[rows], upper[rows][::-1]])),
        }
        for rows in parts
    ]


def _bridged(when: np.ndarray) -> float:
    """The longest step that a line bridges: four times the usual one."""
    return 4 * float(np.median(np.diff(when))) if len(when) > 1 else 0.0


def _broken(when: np.ndarray, value: np.ndarray) -> tuple[list[str | None], list[float | None]]:
    edge = np.flatnonzero(np.diff(when) > _bridged(when)) + 1
    x: list[str | None] = [stamp(at) for at in when]
    y = _short(value)
    for at in edge[::-1].tolist():
        x.insert(at, x[at - 1])
        y.insert(at, None)
    return x, y


def _short(values: np.ndarray) -> list[float | None]:
    """Five digits, what a figure can show; None for what is missing."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in np.asarray(values, np.float64).tolist()]


def _thin(count: int) -> np.ndarray:
    return np.arange(0, count, max(1, -(-count // (2 * POINTS))))
