"""The answer in words: what is in a record, what can be trusted, what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from metapulse.record.clock import DAY, HOUR, MINUTE, moment
from metapulse.record.metrics import metrics
from metapulse.record.readers import readers
from metapulse.sim.report.record.rows import extent
from metapulse.sim.report.record.view import RecordView, length_words

NAMED = 6  # of a list, before "and n more"
#: Marks that are no doubt about the value: how it came to be, or that it counts once.
PLAIN = ("date_only", "duplicate_of", "manual", "mapped", "outdated", "superseded", "interpolated")


def metric_words(name: str) -> str:
    """A metric's title."""
    known = metrics().get(name)
    return known.title if known else name


def several(items: Sequence[str], limit: int = NAMED) -> str:
    """A list in words; a long one ends with how many more there are."""
    if len(items) > limit + 1:
        return f"{', '.join(items[:limit])} and {len(items) - limit} more"
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with what it counts: 1 night, 1,204 nights."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def hours_words(hours: float) -> str:
    """Hours of a day in words: 24 h, 7 h 40 min, 20 min."""
    return "24 h" if hours > 23.95 else length_words(round(hours * HOUR))


def part_of(share: float) -> str:
    """A share in per cent that says neither 0 nor 100 where it is not."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{share:.1%}".replace(".0%", " %").replace("%", " %").replace("  ", " ")


def what_is_in_it(view: RecordView) -> Iterator[str]:
    """What is in it."""
    record = view.record
    if not record.rows:
        yield "Nothing: the record has no rows."
        return
    kept = record.rows - record.total("repeat")
    kinds = list(dict.fromkeys(record.contents.sort("rows", descending=True)["metric"]))
    if record.span:
        first, last = record.span
        yield f"{counted(view.days, 'day')}, from {moment(first, False)} to {moment(max(last - 1, first), False)}."
    yield f"{counted(kept, 'value')} of {counted(len(kinds), 'kind')}: {several([metric_words(k) for k in kinds])}."
    rest = f" and {record.different - NAMED} more" if record.different > NAMED + 1 else ""
    named = several(record.devices, NAMED + 1) if not rest else ", ".join(record.devices[:NAMED]) + rest
    yield f"From {counted(record.different, 'device')}: {named}."
    titles = {reader.name: reader.title.partition(":")[0] for reader in readers()}
    formats = Counter(
        titles.get(t.format, t.format) for t in record.tally.files.values() if t.used and t.format != "map"
    )
    read = several([f"{title} ({counted(n, 'file')})" for title, n in formats.most_common()])
    if read:
        yield f"Read from {read}."
    if view.nights and len(asleep := view.nights.asleep):
        typical = float(np.median(asleep["minutes"].to_numpy()))
        naps = view.nights.naps
        also = f", and {counted(naps, 'nap')} by day" if naps else ""
        slept = length_words(round(typical * MINUTE))
        yield f"{counted(len(asleep), 'night')} of sleep, typically {slept} asleep{also}."


def what_can_be_trusted(view: RecordView) -> Iterator[str]:
    """What can be trusted."""
    record, rows = view.record, view.record.rows
    if not rows:
        return
    bad = record.total("doubtful")
    if not bad:
        yield "No value is marked as doubtful: none is out of its plausible range, none from a failing sensor."
    else:
        share = part_of(1 - bad / rows)
        yield (
            f"{share[0].upper()}{share[1:]} of the rows carry no mark of doubt. Left out of the curves:"
            f" {counted(bad, 'row')} out of range, not worn, without a known unit or from a failing sensor."
        )
    if record.timeless:
        yield "No stamp can be right: they lie before 1995 or after 2100. The figures show them all the same."
    elif late := record.total("late"):
        yield (
            f"{counted(late, 'row')} in no figure: the stamp is before 1995 or after 2100, ends before it starts, or is"
            " with few others over a year from all the rest, as when a clock began anew."
        )
    if repeats := record.total("repeat"):
        yield f"{counted(repeats, 'row')} repeat others: each value counts once."
    if record.mapped:
        yield (
            f"{counted(record.mapped, 'row')} mapped from another device's beside these: they are no measurements, and"
            " in no figure."
        )
    noted = [one for one in view.marks if one.mark not in PLAIN]
    if others := [f"{one.rows:,} {one.mark.replace('_', ' ')}" for one in noted]:
        yield f"Marks to know of: {several(others)}; what they mean is below."
    unknown = record.total("unknown")
    if unknown == rows:
        yield "No file says where your clock stood: hours are read as they were written, or as UTC."
    elif unknown:
        yield f"For {part_of(unknown / rows)} of the rows no file says where your clock stood: they are shown in UTC."
    else:
        yield "For every row it is known where your clock stood: hours are those of your clock."
    found = [(one, seam, levels) for one in view.courses for seam, levels in zip(one.seams, one.levels, strict=True)]
    if found:
        names = several([one.title[0].lower() + one.title[1:] for one in view.courses if one.seams])
        yield (
            f"The device changes {counted(len(found), 'time')} within a metric ({names}). A step there may"
            " be the device's and not yours: see the seams."
        )


def what_is_missing(view: RecordView) -> Iterator[str]:
    """What is missing."""
    for title, found in view.wear.items():
        days, worn = len(found.worn), found.worn[found.worn > 0]
        yield (
            f"{title}: signs of wear on {len(worn):,} of {counted(days, 'day')}"
            f" ({part_of(len(worn) / days)}), on such a day typically {hours_words(float(np.median(worn)))}."
        )
    if view.record.rows and not view.wear:
        yield (
            "Nothing in it tells when a device was worn: no heart rate, no steps over time, no times of sleep, no"
            " sensor's glucose."
        )
    if view.nights and len(asleep := view.nights.asleep):
        first, last = extent(asleep["night"]) or (0, 0)
        nights = last - first + 1
        if gone := nights - len(asleep):
            yield f"{counted(gone, 'night')} of {nights:,} without sleep between the first and the last."
    long = [one for one in view.silences if one.length >= 2 * DAY]
    if long:
        worst = long[0]
        yield (
            f"{counted(len(long), 'silence')} of two days or more; the longest is {length_words(worst.length)} of"
            f" {view.name(worst.place)}, from {moment(worst.start)}."
        )
    yield from _ended(view)
    tallies = view.record.tally.files.values()
    away = sum(t.skipped.total() + t.unexplained + t.away.total() for t in tallies)
    if away:
        seen = sum(t.seen for t in tallies)
        yield f"{away:,} of {seen:,} rows of the files gave no record; every reason is counted below."
    if strange := sum(not t.format for t in tallies):
        yield f"{counted(strange, 'file')} not read: no reader knows the format, or it is broken."
    if broken := sum(bool(t.error) and bool(t.format) for t in tallies):
        yield f"{counted(broken, 'file')} could not be read to the end."


def _ended(view: RecordView) -> Iterator[str]:
    """Devices that were in use for long, and stopped a month or more before the record ends."""
    if view.record.span is None:
        return
    end = view.record.span[1]
    stopped = [
        f"{view.name(d.place)} ({moment(d.span[1], False)})"
        for d in view.devices
        if d.span and d.span[1] - d.span[0] > 14 * DAY and end - d.span[1] > 30 * DAY
    ]
    if stopped:
        yield f"No more since: {several(stopped)}."
