"""The page about a person's record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metapulse.record.clock import moment
from metapulse.sim.report.document import Page, document
from metapulse.sim.report.record import figures, tables, words
from metapulse.sim.report.record.view import RecordView

OPEN = 24  # figures of metrics that are in sight; the rest is folded, and so are naps


def record_page(path: Path, clock_checks: Sequence[str] = ()) -> str:
    """The whole page, as record.html has it.

    Args:
        path: the record.
        clock_checks: sentences on what a check of the devices' clocks found, as plain text.

    Raises:
        DataError: no record, or one of another schema version.
    """
    view = RecordView(path)
    places = sorted({int(place) for one in view.courses for place in one.points["place"].unique()})
    main = [one for one in view.courses if one.part != "nap"]
    return document(
        Page(),
        "metapulse record",
        path.name,
        _facts(view),
        script="record.js",
        template="record.html",
        view=view,
        buttons=[(place, view.name(place), True) for place in places] if len(places) > 1 else [],
        answers=[
            (title, [(None, line) for line in told(view)])
            for title, told in (
                ("What is in it", words.what_is_in_it),
                ("What can be trusted", words.what_can_be_trusted),
                ("What is missing", words.what_is_missing),
            )
        ],
        checks=[(None, line) for line in clock_checks],
        shown=main[:OPEN],
        folded=[one for one in view.courses if one not in main[:OPEN]],
        figures=figures,
        tables=tables,
    )


def _facts(view: RecordView) -> list[tuple[str, str]]:
    record = view.record
    facts = [("rows", f"{record.rows:,}"), ("metrics", f"{record.contents['metric'].n_unique():,}")]
    facts += [("devices", f"{record.different:,}"), ("files", f"{len(record.tally.files):,}")]
    if record.span:
        facts.insert(0, ("", f"{moment(record.span[0], False)} to {moment(record.span[1], False)}"))
    return facts
