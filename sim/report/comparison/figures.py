"""Static figures: ranks, scores with intervals, fairness, transfer between devices."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from metapulse.sim.lab.comparison import Ranking, Score
from metapulse.sim.report.comparison.view import ComparisonView, key, p_words
from metapulse.sim.report.plots import CARD, INK, SHADE, Figure, colour, layout, name_axis, rule, whisker
from metapulse.sim.scores import number_text

ROW = 23  # pixels that a method's row is high
LETTER = 7.2  # pixels that a letter of a label is wide, about


def ranks(view: ComparisonView, ranking: Ranking) -> Figure:
    """Critical-difference diagram: methods on an axis of mean ranks, bars join those that cannot be told apart.

    Source: Demšar 2006, "Statistical comparisons of classifiers over multiple data sets", figure 1.
    """
    count, rank = len(ranking.methods), dict(zip(ranking.methods, ranking.ranks, strict=True))
    half, top = (count + 1) // 2, 0.7 + 0.4 * len(ranking.cliques)
    ends, low, high = (0.8, count + 0.2), -(top + half), 0.9 if ranking.cd is None else 1.6
    data, notes = [], []
    if ranking.cd is not None:
        data.append(_bar(1, 1 + ranking.cd, 1.0, 2))
        notes.append(_note(f"critical difference {ranking.cd:.2f}", 1, 1.0, "top"))
    data += [_bar(rank[c[0]] - 0.06, rank[c[-1]] + 0.06, -0.5 - 0.4 * i, 5) for i, c in enumerate(ranking.cliques)]
    for i, method in enumerate(ranking.methods):
        first = i < half  # the better half is named on the left
        depth, shade = -(top + (i if first else count - 1 - i)), colour(view.place(method))
        x, text = [rank[method]] * 2 + [ends[0] if first else ends[1]], f"{rank[method]:.2f}"
        line = {"color": shade, "width": 1.5}
        data.append({"type": "scatter", "mode": "lines", "x": x, "y": [0, depth, depth], "line": line})
        text = f"{method}  {text}" if first else f"{text}  {method}"
        notes.append(_note(text, x[-1], depth, "right" if first else "left"))
    for trace in data:
        trace["hoverinfo"] = "skip"
    side = int(LETTER * (max(map(len, ranking.methods)) + 6))
    made = layout("", "", int(30 + 26 * (high - low)), margin={"l": side, "r": side, "t": 4, "b": 4}, annotations=notes)
    made["xaxis"] |= {"range": list(ends), "side": "top", "anchor": "free", "position": -low / (high - low)}
    made["xaxis"] |= {"showgrid": False, "title": {"text": ""}, "automargin": False, "dtick": 1 if count <= 8 else 2}
    made["yaxis"] |= {"range": [low, high], "visible": False, "automargin": False}
    return {"data": data, "layout": made}


def _bar(x0: float, x1: float, y: float, width: int) -> Figure:
    return {"type": "scatter", "mode": "lines", "x": [x0, x1], "y": [y, y], "line": {"color": INK, "width": width}}


def _note(text: str, x: float, y: float, where: str) -> dict[str, Any]:
    """Words beside a point: over its right ("top"), at its left ("right": their own right end is there) or right."""
    anchor = {"top": ("left", "bottom", 0), "right": ("right", "middle", -5), "left": ("left", "middle", 5)}[where]
    place = {"xanchor": anchor[0], "yanchor": anchor[1], "xshift": anchor[2], "x": x, "y": y}
    return {"text": html.escape(text), "showarrow": False, "font": {"size": 12}, **place}


def forest(view: ComparisonView, dataset: str) -> dict[str, Figure]:
    """By (scenario, shots): every method after the last round with its interval, and after the best validation one."""
    return {key(*question): _forest(view, view.at(dataset, *question)) for question in view.questions(dataset)}


def _forest(view: ComparisonView, scores: Sequence[Score]) -> Figure:
    rows = list(reversed(scores))  # the best on top
    data = [_interval(view, score, place) for place, score in enumerate(rows)]
    best = [(score, place) for place, score in enumerate(rows) if score.best]
    if best:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [score.best.value for score, _ in best if score.best],
                "y": [place - 0.3 for _, place in best],
                "marker": {"color": SHADE, "symbol": "diamond-open", "size": 5},
                "hovertemplate": "%{x:.4~g} after the best validation round<extra></extra>",
            }
        )
    made = _rows(view, [score.method for score in rows])
    reference = next((score.last.value for score in rows if score.method == view.comparison.reference), None)
    if reference is not None:
        made["shapes"] = [rule(reference, color=SHADE, dash="dot")]
    return {"data": data, "layout": made}


def _interval(view: ComparisonView, score: Score, place: int) -> Figure:
    """A dot with its whisker; filled where the method differs from the reference."""
    last, pair = score.last, view.pair(score)
    clear = pair is None or pair.verdict != "no difference shown"
    told = f"%{{x:.4~g}} [{number_text(last.low, score.metric)}, {number_text(last.high, score.metric)}]"
    against = f"<br>{pair.verdict} ({p_words(pair.p_holm)}, corrected)" if pair else ""
    hover = f"{told}{against}<extra>{html.escape(score.method)}</extra>"
    return whisker(place, last.value, last.low, last.high, view.place(score.method), clear, hover)


def _rows(view: ComparisonView, methods: Sequence[str]) -> dict[str, Any]:
    """The layout of a figure with a method in each row, the first at the bottom."""
    return layout("", "", 44 + ROW * len(methods), yaxis=name_axis([view.named(m) for m in methods]))


def fairness(view: ComparisonView, dataset: str) -> dict[str, Figure]:
    """By (scenario, shots): from the mean of the worst tenth of clients to the mean of all, method by method."""
    return {key(*question): _fairness(view, view.at(dataset, *question)) for question in view.questions(dataset)}


def _fairness(view: ComparisonView, scores: Sequence[Score]) -> Figure:
    rows = list(reversed(scores))
    return {"data": list(_worst(view, rows)), "layout": _rows(view, [score.method for score in rows])}


def _worst(view: ComparisonView, rows: Sequence[Score]) -> Iterator[Figure]:
    for place, score in enumerate(rows):
        shade = colour(view.place(score.method))
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [score.worst_decile, score.last.value],
            "y": [place, place],
            "line": {"color": shade, "width": 1.5},
            "marker": {"color": [CARD, shade], "size": [8, 8], "line": {"color": shade, "width": 1.8}},
            "hovertemplate": "%{text} %{x:.4~g}<extra>" + html.escape(score.method) + "</extra>",
            "text": ["worst tenth", "mean"],
        }


def transfers(view: ComparisonView) -> dict[str, dict[str, Figure]]:
    """By data set, by shots: methods × devices that new people wear; a data set with one device is left out.

    Data sets of one source, which may differ in the devices of training, share their colours.
    """
    means = {dataset: _by_device(rows) for dataset, rows in view.tested.items()}
    told = [d for d in view.datasets if d in means and means[d]["device"].n_unique() > 1]
    return {dataset: _transfer(view, dataset, means[dataset], _range(view, means, dataset)) for dataset in told}


def _by_device(rows: pl.DataFrame) -> pl.DataFrame:
    """Means over people on a device, whichever scenario asked them; those whose history was used left out."""
    new = (pl.col("step") == pl.col("judged")) & pl.col("scenario").is_in(["new_user", "new_device"])
    return rows.filter(new).group_by("shots", "device", "method").agg(pl.col("value").mean()).sort("shots")


def _range(view: ComparisonView, means: Mapping[str, pl.DataFrame], dataset: str) -> dict[str, float]:
    """From the least to the most of all data sets of a source."""
    source = view.source(dataset)
    values = pl.concat(part["value"] for name, part in means.items() if view.source(name) == source)
    return {"zmin": float(values.min()), "zmax": float(values.max())}  # type: ignore[arg-type]


def _transfer(view: ComparisonView, dataset: str, means: pl.DataFrame, ends: dict[str, float]) -> dict[str, Figure]:
    devices = sorted(means["device"].unique())
    methods = [method for method in reversed(view.methods) if method in set(means["method"])]
    made = layout("judged on", "", 90 + ROW * len(methods), yaxis=name_axis([view.named(m) for m in methods]))
    made["xaxis"] |= {"showgrid": False, "type": "category"}
    drawn = {}
    for (shots,), part in means.partition_by("shots", as_dict=True).items():
        value = {(method, device): v for method, device, v in part.select("method", "device", "value").iter_rows()}
        heat = {
            "type": "heatmap",
            "x": [html.escape(device) for device in devices],
            "y": list(range(len(methods))),
            "z": [[value.get((method, device)) for device in devices] for method in methods],
            "text": [[html.escape(method)] * len(devices) for method in methods],
            "texttemplate": "%{z:.2f}",
            "colorscale": [[0, "#f3f6f9"], [1, "#5ba3d9"]],
            "reversescale": not view.measure(dataset)[1],  # better is darker
            "textfont": {"color": "#10151b"},  # at night too
            "xgap": 1,
            "ygap": 1,
            "showscale": False,
            "hovertemplate": "%{x}: %{z:.4~g}<extra>%{text}</extra>",
            **ends,
        }
        drawn[key(shots)] = {"data": [heat], "layout": made}
    return drawn
