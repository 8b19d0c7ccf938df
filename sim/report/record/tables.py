"""Tables of a record: devices, seams, marks with examples, silences, the clock, the account of every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from metapulse.record.clock import DAY, moment
from metapulse.record.tally import FileTally
from metapulse.sim.report.document import joined_markup, parts
from metapulse.sim.report.record.courses import UNITS, Course
from metapulse.sim.report.record.marks import CHANGES, Marked
from metapulse.sim.report.record.view import RecordView, length_words
from metapulse.sim.report.record.words import counted, hours_words, metric_words, several
from metapulse.sim.report.table import Rows, TableCell, html_table

FILES = 300  # listed one by one, those with most rows first
REASONS = 200  # listed
SEAMS = 12  # in sight
QUIET = 3  # silences of a device
TEXT = 120  # characters of what a file said


def devices_table(view: RecordView) -> str:
    """Every device: how long, how much, how often worn."""
    rows: Rows = []
    for line in view.devices:
        worn = line.worn.worn[line.worn.worn > 0] if line.worn else np.empty(0)
        kinds = several([metric_words(name) for name in line.metrics], 4)
        rows.append(
            [
                TableCell(view.name(line.place), place=line.place, kind="named"),
                f"{line.rows:,}",
                *([moment(at, False) for at in line.span] if line.span else ["–", "–"]),
                f"{len(worn):,}" if len(worn) else "–",
                hours_words(float(np.median(worn))) if len(worn) else "–",
                TableCell(kinds, kind="wide"),
            ]
        )
    head = ("device", ">rows", "first", "last", ">days worn", ">on such a day", "what it gave")
    return html_table(head, rows) if rows else ""


def seams_table(view: RecordView) -> str:
    """Where one device takes over from another, and what that does to the level."""
    rows: Rows = []
    for course in view.courses:
        for seam, (before, after) in zip(course.seams, course.levels, strict=True):
            apart = seam.begins - seam.ends
            how = f"both for {length_words(-apart)}" if apart < 0 else f"{length_words(apart)} between"
            rows.append(
                [
                    course.title,
                    TableCell(view.name(seam.before), moment(seam.ends), place=seam.before, kind="named"),
                    TableCell(view.name(seam.after), moment(seam.begins), place=seam.after, kind="named"),
                    how,
                    TableCell(*_step(course, before, after)),
                ]
            )
    head = ("metric", "ends", "begins", "overlap or gap", ">level before → after\nmeans over two weeks")
    if not rows:
        return ""
    more = (
        parts.fold(f"{len(rows) - SEAMS:,} more", html_table(head, rows[SEAMS:]), kind="fold") if rows[SEAMS:] else ""
    )
    return joined_markup(html_table(head, rows[:SEAMS]), more)


def _step(course: Course, before: float | None, after: float | None) -> tuple[str, str]:
    if before is None or after is None or course.metric.startswith("workout"):  # no two workouts are alike
        return "–", ""
    unit = f" {course.unit}" if course.unit else ""
    change = f"{(after - before) / abs(before):+.0%}".replace("%", " %") if before else ""
    return f"{_number(before)} → {_number(after)}{unit}", change


def _number(value: float) -> str:
    """Four digits, of large numbers all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def marks_table(view: RecordView) -> str:
    """Every mark: what it means, how many, and examples folded under it."""
    made = []
    for one in view.marks:
        kinds = several([f"{metric_words(name)} ({rows:,})" for name, rows in one.metrics], 5)
        title = f"{one.mark.replace('_', ' ').capitalize()}: {counted(one.rows, 'row')}"
        made.append(parts.marked(title, one.meaning, kinds, _examples(view, one)))
    return joined_markup(*made)


def _examples(view: RecordView, one: Marked) -> str:
    rows: Rows = [
        [
            moment(row["local"]),
            metric_words(row["metric"]) + (f", {_clipped(row['code'])}" if row["code"] else ""),
            "–"
            if row["value"] is None
            else f"{row['value']:,.10g} {UNITS.get(row['unit'], _clipped(row['unit']))}".strip(),
            _clipped(row["raw"] or "–"),
            TableCell(view.name(row["place"]), place=row["place"]),
            TableCell(_clipped(row["source"]["file"]), f"row {row['source']['row']:,}", kind="wide"),
        ]
        for row in one.examples
    ]
    return html_table(("time", "metric", ">value", "the file said", "device", "file"), rows)


def _clipped(text: str) -> str:
    half = TEXT // 2
    return text if len(text) <= TEXT else f"{text[:half]}…{text[-half:]}"


def silences_table(view: RecordView) -> str:
    """The longest silences of every device."""
    rows: Rows = []
    for line in view.devices:
        own = [one for one in view.silences if one.place == line.place]
        for one in own[:QUIET]:
            rows.append(
                [
                    TableCell(view.name(line.place), place=line.place, kind="named"),
                    length_words(one.length),
                    moment(one.start),
                    moment(one.end),
                    f"{len(own):,}",
                ]
            )
    head = ("device", ">silent for", "from", "to", ">such silences\nof this device")
    return html_table(head, rows) if rows else ""


def clock_table(view: RecordView) -> str:
    """Where the person's clock stood, from when to when."""
    spells = view.clock
    rows: Rows = [
        [_offset(one.offset_min), moment(one.first * DAY, False), moment(one.last * DAY, False), f"{one.rows:,}"]
        for one in spells[:CHANGES]
    ]
    more = [(None, f"And {len(spells) - CHANGES:,} changes more.")] if len(spells) > CHANGES else []
    made = html_table(("clock", "from", "to", ">rows"), rows) if rows else ""
    return joined_markup(made, parts.lines(more))


def _offset(minutes: int | None) -> str:
    if minutes is None:
        return "not known: shown in UTC"
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'−' if minutes < 0 else '+'}{hours}" + (f":{rest:02d}" if rest else "")


def account_table(view: RecordView) -> str:
    """What became of every row of every file: by format, why rows gave nothing, and file by file."""
    tallies = sorted(view.record.tally.files.values(), key=lambda t: (-t.seen, t.file))
    if not tallies:
        return ""
    groups: dict[str, list[FileTally]] = {}
    for tally in tallies:
        groups.setdefault(tally.format or "not recognised", []).append(tally)
    head = (">files", ">rows", ">gave records", ">counted away", ">records", ">marks")
    by_format: Rows = [[name, f"{len(own):,}", *_sums(own)] for name, own in groups.items()]
    every: Rows = [
        [TableCell(_clipped(t.file), _clipped(t.error or t.why), kind="wide"), *_sums([t])] for t in tallies[:FILES]
    ]
    if len(tallies) > FILES:
        every.append([f"{len(tallies) - FILES:,} files more", *_sums(tallies[FILES:])])
    return joined_markup(
        html_table(("format", *head), by_format),
        parts.fold("Why rows gave no record, and what else the files say", _reasons(view), kind="fold"),
        parts.fold("File by file", html_table(("file", *head[1:]), every), kind="fold"),
    )


def _sums(tallies: Iterable[FileTally]) -> list[TableCell | str]:
    sums: Counter[str] = Counter()
    for t in tallies:
        away = t.skipped.total() + t.unexplained
        sums += Counter(rows=t.seen, used=t.used, away=away, kept=t.kept, flagged=t.flagged.total())
    return [f"{sums[name]:,}" for name in ("rows", "used", "away", "kept", "flagged")]


def _reasons(view: RecordView) -> str:
    found = view.record.tally.reasons()
    rows: Rows = [
        [f"{row['times']:,}", str(row["what"]), str(row["format"]), TableCell(_clipped(str(row["why"])), kind="wide")]
        for row in found[:REASONS]
    ]
    if len(found) > REASONS:
        rows.append(
            [f"{sum(row['times'] for row in found[REASONS:]):,}", "", "", f"{len(found) - REASONS:,} reasons more"]
        )
    return html_table((">times", "what", "format", "why"), rows) if rows else ""
