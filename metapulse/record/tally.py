"""What was read, and what became of it: every row of a file gave records, or is counted under a reason.

Two accounts, per file:

    rows     seen = used + Σ skipped[reason]            (a reader's: lines, elements, items)
    records  given = kept + Σ away[reason]              (the store's)

``seen`` is counted where rows are handed out and ``used`` where records arrive, so a row that a reader forgets shows:
it is ``unexplained``, which the tests hold at 0.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metapulse.rows import Rows

REASONS = 200  # kept apart per file; what comes after is counted together
OTHER = "other reasons"
SHOWN = 500  # files, or reasons, in a table; the record's metadata have all
AGAIN = "the same content also came under another name"
PLAIN = ("file", "mark", "size", "format", "why", "seen", "used", "given", "kept", "error")


COUNTED = ("skipped", "away", "flagged", "notes")


@dataclass(slots=True)
class FileTally:
    """The account of one file.

    Args:
        file: its name within what was given.
        format: name of the reader; "" if no reader knows it.
        why: how it was recognised, or why it was not read.
        mark: tells this content from another of the same name.
        size: bytes, unpacked; 0: not known, as in records of earlier versions.
        also: other names under which the same content came.
        error: why it could not be read to its end.
        failed: whether that was its reader's own fault, in this reading.
    """

    file: str
    format: str = ""
    why: str = ""
    mark: str = ""
    size: int = 0
    seen: int = 0
    used: int = 0
    given: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    away: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    also: tuple[str, ...] = ()
    error: str = ""
    failed: bool = False

    def fail(self, error: Exception) -> None:
        """Its reader raised: the rest of the file is not read, and the row at which that was is counted away.

        Not so of a record: it may be the one that is written over, and the rest of it would be lost.
        """
        if self.format == "record":
            raise error
        self.failed, self.error = True, f"its reader failed after {self.used} rows ({fault(error)})"
        if (left := self.unexplained) > 0:
            self.skip("its reader failed here", left)

    def skip(self, reason: str, rows: int = 1) -> None:
        """So many rows gave no record."""
        _count(self.skipped, reason, rows)

    def note(self, reason: str, times: int = 1) -> None:
        """Something to know of that cost no row: one cell of a row that was unreadable, an assumption."""
        _count(self.notes, reason, times)

    @property
    def unexplained(self) -> int:
        """Rows that neither gave a record nor were counted away."""
        return self.seen - self.used - self.skipped.total()

    def facts(self) -> dict[str, Any]:
        """What goes into the record's metadata."""
        facts: dict[str, Any] = {"file": self.file, "mark": self.mark, "size": self.size}
        if not (self.format or self.seen or self.given):  # of which there may be very many
            facts |= {"format": "", "why": self.why, "seen": 0, "flagged": {}}
            facts |= {"notes": dict(self.notes), "also": list(self.also)} if self.also else {}
            return facts | ({"error": self.error} if self.error else {})
        facts |= {"format": self.format, "why": self.why}
        facts |= {"seen": self.seen, "used": self.used, "given": self.given, "kept": self.kept}
        for name in COUNTED:
            facts[name] = dict(sorted(getattr(self, name).items()))
        facts |= {"also": list(self.also)} if self.also else {}
        return facts | ({"error": self.error} if self.error else {})

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> FileTally:
        """What ``facts`` told."""
        told: dict[str, Any] = {name: facts[name] for name in PLAIN if name in facts}
        told |= {name: Counter(facts.get(name, {})) for name in COUNTED}
        return cls(**told, also=tuple(facts.get("also", ())))


def fault(error: Exception) -> str:
    """What a reader raised, and in which line of which file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"{said}, {Path(last.filename).name}, line {last.lineno}"


def _count(counter: Counter[str], reason: str, times: int) -> None:
    counter[reason if reason in counter or len(counter) < REASONS else OTHER] += times


@dataclass
class Tally:
    """The account of an import: its files, and what was found among all records together.

    Args:
        files: by name and mark.
        failures: files whose reader failed in this reading, and how.
        in_two_zones: files whose local times are there as UTC, and in a zone as well.
    """

    files: dict[tuple[str, str], FileTally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    in_two_zones: list[str] = field(default_factory=list)
    records: int = 0
    duplicates: int = 0

    def add(self, tallies: Iterable[FileTally]) -> None:
        """Accounts of more files; of two of the same file the later holds, unless it alone has an error."""
        for tally in tallies:
            if tally.failed:
                self.failures.append(f"{tally.file}: {tally.error}")
            before = self.files.get((tally.file, tally.mark))
            kept, other = (before, tally) if before and tally.error and not before.error else (tally, before)
            kept.also = tuple(sorted({*kept.also, *(other.also if other else ())}))
            if kept.also:  # told once for each name, however often it is read
                kept.notes[AGAIN] = len(kept.also)
            self.files[tally.file, tally.mark] = kept

    @property
    def again(self) -> int:
        """Records that another file had given already, as an earlier export of the account."""
        return max(0, sum(tally.kept for tally in self.files.values()) - self.records)

    def flagged(self, mark: str) -> int:
        """Records with this mark, when they were read."""
        return sum(tally.flagged[mark] for tally in self.files.values())

    def damaged(self) -> list[str]:
        """Files that a reader knows and that could not be read to their end, and why."""
        return [f"{t.file}: {t.error}" for _, t in sorted(self.files.items()) if t.format and t.error and not t.failed]

    def facts(self) -> dict[str, Any]:
        """What goes into the record's metadata; in an order that does not depend on the order of reading."""
        files = [self.files[key].facts() for key in sorted(self.files)]
        return {"records": self.records, "duplicates": self.duplicates, "files": files}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Tally:
        """What ``facts`` told."""
        tally = cls(records=facts["records"], duplicates=facts["duplicates"])
        tally.add(map(FileTally.of, facts["files"]))
        return tally

    def table(self) -> Rows:
        """One row per file, for people; of very many some, those that were read first."""
        many = len(self.files) > SHOWN
        rows: list[dict[str, Any]] = [
            {
                "file": t.file,
                "format": t.format or "not recognised",
                "rows": t.seen,
                "gave records": t.used,
                "counted away": t.skipped.total() + t.unexplained,
                "records": t.kept,
                "flagged": t.flagged.total(),
            }
            for t in sorted(self.files.values(), key=lambda t: (many and not t.format, t.file, t.mark))
        ]
        if more := rows[SHOWN:]:
            numbers = {name: sum(row[name] for row in more) for name in tuple(more[0])[2:]}
            rows[SHOWN:] = [{"file": f"and {len(more)} files more", "format": "", **numbers}]
        return Rows(rows, tuple(rows[0]) if rows else ("file",))

    def reasons(self) -> Rows:
        """Why rows and records were counted away, and what else is to be known; most frequent first."""
        found: Counter[tuple[str, str, str]] = Counter()
        for t in self.files.values():
            groups = (("counted away", t.skipped + t.away), ("flagged", t.flagged), ("note", t.notes))
            for what, counter in groups:
                found.update({(t.format or "not recognised", what, reason): n for reason, n in counter.items()})
            if t.unexplained:
                found[t.format, "counted away", "the reader does not say why"] += t.unexplained
            if t.error:
                found[t.format or "not recognised", "error", f"{t.file}: {t.error}"] += 1
            elif not t.format:
                found["not recognised", "file", t.why or "no reader knows it"] += 1
        keys = ("format", "what", "why", "times")
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        rows = [dict(zip(keys, (*key, n), strict=True)) for key, n in ordered]
        if more := rows[SHOWN:]:
            times = sum(row["times"] for row in more)
            rows[SHOWN:] = [{"format": "", "what": "", "why": f"and {len(more)} reasons more", "times": times}]
        return Rows(rows, keys)
