"""The page of a person's model: what comes, how sure it is, how it has done, and what it rests on."""

from __future__ import annotations

from typing import Any

import polars as pl

from metapulse.personal.plan import WeeklyPlan, weekly_plan
from metapulse.sim.report.document import Page, document, parts
from metapulse.sim.report.person import figures
from metapulse.sim.report.person.view import PersonView, Seam
from metapulse.sim.report.table import Rows, TableCell, html_table

LEVEL = 0.9
NOTICE = "A forecast is no diagnosis, and nothing here is medical advice. Decide no treatment and no dose by it."


def person_page(view: PersonView) -> str:
    """The whole page as one HTML document."""
    page = Page()
    card, seam = view.model.card, view.seam
    page.add("In words", NOTICE, parts.bullets([(None, line) for line in said(view)], "verdict"))
    page.add(
        "What was forecast, and what came",
        "The last three days, or sixty forecasts. Each stands at the time it is for; the band holds the outcome nine"
        " times in ten. Where the line is missing the model said that it does not know. Times are UTC.",
        page.figure(figures.forecast_figure(view)),
    )
    if seam is not None:
        page.add(
            "The change of device",
            "Readings of both devices around the change (dotted), and, where there is a map, the old device's"
            " as the new one would have shown them, with the band of the map.",
            page.figure(figures.seam_figure(view, seam)),
            _seam_table(view, seam),
        )
    page.add(
        "How far its intervals can be trusted",
        "Of the outcomes that came, the share inside their interval: each day's as bars, all days' so far as a line."
        " The dotted line is what was promised.",
        page.figure(figures.coverage_figure(view, LEVEL), "Inside the interval"),
        page.figure(figures.error_figure(view), "Error, and that of saying that nothing changes"),
        _weeks_table(view),
    )
    page.add(
        "What moved the last forecast",
        "Against a typical window of the population: how much the level now and each change before it raised (blue)"
        " or lowered (orange) the forecast.",
        page.figure(figures.drivers_figure(view)),
        _leaning(view),
    )
    page.add(
        "When it did not know",
        "Forecasts that were withheld, by reason.",
        _withheld(view),
    )
    page.add("Data quality", "Readings of what is forecast, by device, and what of them was set apart.", _quality(view))
    plan = weekly_plan(view.record)
    page.add("Next week", plan.notice, _plan(plan))
    page.add("What it is made of", "The model's card.", _card(card))
    facts = [("", f"{card['metric']} of {view.device}"), ("people behind it", f"{card['people']}")]
    facts += [("forecasts", f"{len(view.forecasts):,}"), ("outcomes", f"{len(view.judged):,}")]
    return document(page, "metapulse: a person's model", view.record.stem, facts)


def said(view: PersonView) -> list[str]:
    """The page in sentences."""
    lines, unit, table = [], view.unit, view.forecasts
    if len(table):
        last = table.row(-1, named=True)
        lines.append(
            f"At {last['time']:%Y-%m-%d %H:%M} UTC there was no forecast: {last['reason']}."
            if last["abstained"]
            else f"For {last['due']:%Y-%m-%d %H:%M} UTC: {last['value']:.0f} {unit}, between {last['lower']:.0f} and "
            f"{last['upper']:.0f} nine times in ten."
        )
    judged = view.judged
    if len(judged):
        inside, error, plain = judged.select(
            pl.col("inside").mean(),
            pl.col("error").pow(2).mean().sqrt(),
            pl.col("unchanged").pow(2).mean().sqrt().alias("plain"),
        ).row(0)
        lines.append(
            f"Of {len(judged):,} outcomes that came {inside:.1%} were inside their 90 % interval. The error was "
            f"{error:.3g} {unit}; saying that nothing changes would have been wrong by {plain:.3g}."
        )
    elif table["came"].is_not_null().any():
        lines.append("Outcomes have come, and every forecast of them was withheld: see below why.")
    else:
        lines.append("No outcome has come yet, so the intervals are the population's.")
    if len(table):
        lines.append(
            f"It said that it does not know at {table.select(pl.col('abstained').mean()).item():.1%} of moments."
        )
    if view.why is not None and not view.why.facts["abstained"]:
        facts = view.why.facts
        lines.append(
            f"Of the last forecast's change {facts['population']:+.1f} {unit} come from what holds for people and "
            f"{facts['own']:+.1f} from this person's own record."
        )
    if (seam := view.seam) is not None:
        old, mapped, new = seam.levels
        between = f", mapped {mapped:.1f}" if seam.mapped is not None else " (not mapped)"
        lines.append(
            f"Before the change {seam.name} showed {old:.1f} {unit} on average{between}; {view.device} shows {new:.1f} "
            "after it."
        )
        if why := view.model.card.get("no_history"):
            lines.append(f"{str(why)[:1].upper()}{str(why)[1:]}.")
    return lines


def _seam_table(view: PersonView, seam: Seam) -> str:
    old, mapped, new = seam.levels
    rows: Rows = [
        ["mean of the old device before the change", f"{old:.1f}"],
        ["the same, mapped", f"{mapped:.1f}" if seam.mapped is not None else "no map"],
        ["mean of the new device after it", f"{new:.1f}"],
    ]
    card = view.model.map.card if view.model.map is not None else None
    if card is not None:
        rows += [["mapped", view.model.card["mapped"]]]
        rows += [["taken as recorded", taken]] if (taken := view.model.card["as_recorded"]) else []
        rows += [["kind of map", card.kind], ["people it was learned on", f"{card.people}"]]
        rows += [["pairs of the person's own", f"{card.overlap} over {card.overlap_hours:.0f} h"]]
        rows += [
            ["error on people held out", _number(card.rmse)],
            ["error of no map there", _number(card.rmse_identity)],
        ]
        rows += [["note", TableCell(note, kind="wide")] for note in (card.chosen, card.refused, *card.notes) if note]
    return html_table((f"readings in {view.unit}", ""), rows)


def _weeks_table(view: PersonView) -> str:
    weeks = view.judged.group_by(pl.col("due").dt.truncate("1w").alias("week"), maintain_order=True).agg(
        pl.len().alias("count"),
        pl.col("inside").mean(),
        (pl.col("upper") - pl.col("lower")).mean().alias("width"),
        *(pl.col(name).pow(2).mean().sqrt() for name in ("error", "unchanged")),
    )
    rows = [
        [f"{w['week']:%Y-%m-%d}", f"{w['count']:,}", f"{w['inside']:.1%}", *(_number(w[k]) for k in NUMBERS)]
        for w in weeks.tail(12).to_dicts()
    ]
    head = ("week from", ">outcomes", ">inside", ">width of the interval", ">error", ">nothing changes")
    return html_table(head, rows) if rows else ""


NUMBERS = ("width", "error", "unchanged")


def _leaning(view: PersonView) -> str:
    if view.why is None or view.why.facts["abstained"]:
        return ""
    facts = view.why.facts
    line = (
        f"The person's own record has removed {facts['known']:.0%} of what was unsure of the model's answer in such a "
        "window; the rest rests on the population."
    )
    made: str = parts.bullets([(None, line)])
    return made


def _withheld(view: PersonView) -> str:
    table = view.forecasts
    counts = table.filter("abstained")["reason"].value_counts(sort=True).rows()
    rows: Rows = [[TableCell(why, kind="wide"), f"{count:,}", f"{count / len(table):.1%}"] for why, count in counts]
    return html_table(("reason", ">forecasts", ">of all"), rows) if rows else ""


def _quality(view: PersonView) -> str:
    from metapulse.record.recipes.base import device_rows

    _, unused = device_rows(view.record, view.model.made)
    rows: Rows = []
    for name, readings in sorted(view.devices.items(), key=lambda one: int(one[1].start[0]) if len(one[1]) else 0):
        if not len(readings):
            continue
        span = f"{figures.stamp(readings.start[0])[:10]} to {figures.stamp(readings.start[-1])[:10]}"
        apart = "; ".join(f"{count:,} {why}" for why, count in sorted(unused[name].items())) or "nothing"
        rows.append([TableCell(name, kind="named"), span, f"{len(readings):,}", TableCell(apart, kind="wide")])
    return html_table(("device", "from, to", ">readings", "set apart"), rows) if rows else ""


def _plan(plan: WeeklyPlan) -> str:
    rows: Rows = []
    for one in plan.targets:
        goal = "no target" if one.target is None else f"{one.target:.4g} {one.unit}"
        own = (
            "" if one.median is None else f"own median {one.median:.4g}, 90 % interval {one.low:.4g} to {one.high:.4g}"
        )
        why = TableCell(one.why, f"changed by: {one.changed_by}\n{one.source}", kind="wide")
        rows.append([one.name, TableCell(goal, own), why])
    return html_table(("", "next week", "why"), rows) if any(t.median is not None for t in plan.targets) else ""


def _card(card: Any) -> str:
    told = {key: value for key, value in sorted(card.items()) if value not in ("", None)}
    if "adapted_until" in told:
        told["adapted_until"] = f"{figures.stamp(told['adapted_until'])} UTC"
    rows: Rows = [[key.replace("_", " "), TableCell(_shown(value), kind="wide")] for key, value in told.items()]
    return html_table(("", "value"), rows)


def _shown(value: Any) -> str:
    return _number(value) if isinstance(value, float) else "none" if value is None else str(value)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
