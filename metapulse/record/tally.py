"""What was read, and what became of it: every row of a file gave records, or is counted under a reason.

Two accounts, per file:

    rows     seen = used + Σ skipped[reason]            (a reader's: lines, elements, items)
    records  given = kept + Σ away[reason]              (the store's)

``seen`` is counted where rows are handed out and ``used`` where records arrive, so a row that a reader forgets shows:
it is ``unexplained``, which the tests hold at 0.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metapulse.errors import DataError
from metapulse.record.lineage import Lineage, later_file
from metapulse.rows import Rows

REASONS = 200  # kept apart per file; what comes after is counted together
OTHER = "other reasons"
SHOWN = 500  # files, or reasons, in a table; the record's metadata have all
AGAIN = "the same content also came under another name"
PLAIN = ("file", "mark", "size", "format", "why", "by_name", "seen", "used", "given", "kept", "error")
COUNTERS = ("skipped", "away", "flagged", "notes")
#: What a person may have told of a file, as ``FileTally`` has it, and its option.
TOLD = {"zones": "timezone", "orders": "date-order"}
ANEW = "begin another record (--out), and read every file in it once"


class _Nothing(Counter[str]):
    """What is counted where nothing can be."""

    def __setitem__(self, key: str, value: int) -> None:
        raise TypeError(f"{key}: rows of a file without a reader")


NOTHING = _Nothing()


@dataclass(slots=True)
class FileTally:
    """The account of one file.

    Args:
        file: its name within what was given.
        format: name of the reader; "" if no reader knows it.
        why: how it was recognised, or why it was not read.
        mark: tells this content from another of the same name.
        size: bytes, unpacked; 0: not known.
        by_name: whether what rows mean rests on the file's name.
        also: other names under which the same content came; ``file`` is the earliest of all (``later_file``).
        zones: in which its local times were read; "": in UTC, since none was told. (): it did not matter.
        orders: of its dates, in the same way; "": the vendor's usual one.
        error: why it could not be read to its end.
        failed: whether that was its reader's own fault, in this reading.
    """

    file: str
    format: str = ""
    why: str = ""
    mark: str = ""
    size: int = 0
    by_name: bool = False
    seen: int = 0
    used: int = 0
    given: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    away: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    also: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    orders: tuple[str, ...] = ()
    error: str = ""
    failed: bool = False

    @classmethod
    def unread(cls, file: str, mark: str, why: str, error: str) -> FileTally:
        """Of a file without a reader: of its rows nothing is counted."""
        return cls(file, "", why, mark, skipped=NOTHING, away=NOTHING, flagged=NOTHING, notes=NOTHING, error=error)

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
    def content(self) -> tuple[str, str, int]:
        """What it is: its bytes, and its name where they say too little, or are not known."""
        return (self.file if self.by_name or not self.size else "", self.mark, self.size)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of this content, in order."""
        return (self.file, *self.also)

    def joined(self, other: FileTally) -> FileTally:
        """Of two accounts of one content the one that tells more, with all the names; whichever came first.

        Raises:
            DataError: two zones or orders of dates were told.
        """
        best = max(self, other, key=FileTally._worth)
        names = sorted({*self.names, *other.names}, key=later_file)
        zones, orders = sorted({*self.zones, *other.zones}), sorted({*self.orders, *other.orders})
        for option, words in zip(TOLD.values(), (zones, orders), strict=True):
            if len(told := list(filter(None, words))) > 1:
                raise DataError(f"{names[0]}: read with --{option} {told[0]} and with {told[1]}: {ANEW}")
        notes = best.notes + Counter({AGAIN: len(names) - 1 - best.notes[AGAIN]})  # once for each name
        named = replace(best, file=names[0], also=tuple(names[1:]), notes=notes)
        return replace(named, zones=tuple(zones), orders=tuple(orders))

    def _worth(self) -> tuple[bool, bool, bool, int, str]:
        """A total order of accounts of one content: recognised, whole, told more of, more records."""
        facts = self.facts() | {"file": "", "also": ()}
        facts["notes"] = {why: times for why, times in facts.get("notes", {}).items() if why != AGAIN}
        return bool(self.format), not self.error, any(self.zones), self.kept, json.dumps(facts)

    @property
    def unexplained(self) -> int:
        """Rows that neither gave a record nor were counted away."""
        return self.seen - self.used - self.skipped.total()

    def facts(self) -> dict[str, Any]:
        """What goes into the record's metadata."""
        facts: dict[str, Any] = {"file": self.file, "mark": self.mark, "size": self.size}
        facts |= {"format": self.format, "why": self.why, "seen": self.seen}
        counted = {name: dict(sorted(getattr(self, name).items())) for name in COUNTERS}
        if self.format or self.seen or self.given:
            facts |= {"used": self.used, "given": self.given, "kept": self.kept} | counted
        else:  # of which there may be very many
            facts |= {"flagged": {}} | {name: times for name, times in counted.items() if times}
        facts |= {name: list(given) for name in ("also", *TOLD) if (given := getattr(self, name))}
        return facts | {name: given for name in ("by_name", "error") if (given := getattr(self, name))}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> FileTally:
        """What ``facts`` told."""
        told: dict[str, Any] = {name: facts[name] for name in PLAIN if name in facts}
        told |= {name: Counter(facts.get(name, {})) for name in COUNTERS}
        return cls(**told | {name: tuple(facts.get(name, ())) for name in ("also", *TOLD)})


def row_counts(tally: FileTally) -> dict[str, int]:
    """The numbers of one file, for people."""
    return {
        "rows": tally.seen,
        "gave records": tally.used,
        "counted away": tally.skipped.total() + tally.unexplained,
        "records": tally.kept,
        "flagged": tally.flagged.total(),
    }


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
        files: by content (``FileTally.content``).
        failures: files whose reader failed in this reading, and how.
        unread: files that could not be read to their end, or at all, in this reading, and why.
    """

    files: dict[tuple[str, str, int], FileTally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    records: int = 0
    duplicates: int = 0

    def add(self, tallies: Iterable[FileTally]) -> None:
        """Accounts of more files, in any order.

        Raises:
            DataError: a content was read in two zones or orders of dates.
        """
        for tally in tallies:
            if tally.failed:
                self.failures.append(f"{tally.file}: {tally.error}")
            there = self.files.get(tally.content)
            self.files[tally.content] = tally if there is None and not tally.also else tally.joined(there or tally)
        known = {(name, tally.mark) for tally in self.files.values() if tally.size for name in tally.names}
        for key, tally in list(self.files.items()):
            if not tally.size and (tally.file, tally.mark) in known:  # no reader knew it, before
                del self.files[key]

    def lineage(self) -> Lineage:
        """Which files are of one account: a copy without a record links nothing."""
        return Lineage(tally.names for tally in self.files.values() if tally.also and tally.kept)

    def read_twice(self, name: str) -> list[str]:
        """Files that were read once without a word of the person and once with it, whose rows are there twice.

        Args:
            name: of ``TOLD``: "zones" or "orders".
        """
        return sorted(tally.file for tally in self.files.values() if len(getattr(tally, name)) > 1)

    @property
    def in_two_zones(self) -> list[str]:
        """Files whose local times are there as UTC, and in a zone as well."""
        return self.read_twice("zones")

    def accounts_in_zones(self) -> dict[str, list[str]]:
        """First file of each account whose exports were read in several zones → these; "": as UTC, none being told."""
        return self._accounts_in("zones")

    def accounts_in_orders(self) -> dict[str, list[str]]:
        """The same of orders of dates; "": in the vendor's usual one."""
        return self._accounts_in("orders")

    def _accounts_in(self, name: str) -> dict[str, list[str]]:
        """By a name of ``TOLD``; of a file that was read with a word and without one the word counts."""
        lineage, found = self.lineage(), dict[tuple[str, str], dict[str, str]]()
        for tally in self.in_order() if any(getattr(one, name) for one in self.files.values()) else ():
            words: tuple[str, ...] = getattr(tally, name) if tally.kept else ()
            for word in [each for each in words if each] or words:
                found.setdefault((tally.format, lineage.of(tally.file)), {}).setdefault(word, tally.file)
        return {min(each.values()): sorted(each) for each in found.values() if len(each) > 1}

    @property
    def again(self) -> int:
        """Records that another file had given already, as an earlier export of the account."""
        return max(0, sum(tally.kept for tally in self.files.values()) - self.records)

    def flagged(self, mark: str) -> int:
        """Records with this mark, when they were read."""
        return sum(tally.flagged[mark] for tally in self.files.values())

    def facts(self) -> dict[str, Any]:
        """What goes into the record's metadata; in an order that does not depend on the order of reading."""
        files = [tally.facts() for tally in self.in_order()]
        return self.sums() | {"files": files}

    def sums(self) -> dict[str, int]:
        """What was found among all files together."""
        return {"records": self.records, "duplicates": self.duplicates}

    def in_order(self) -> list[FileTally]:
        """The files' accounts, by name."""
        return sorted(self.files.values(), key=lambda tally: (tally.file, tally.mark, tally.size))

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Tally:
        """What ``facts`` told."""
        tally = cls(records=facts["records"], duplicates=facts["duplicates"])
        tally.add(map(FileTally.of, facts["files"]))
        return tally

    def table(self) -> Rows:
        """One row per file, for people; of very many some, those that were recognised first."""
        many = len(self.files) > SHOWN
        order = sorted(self.in_order(), key=lambda t: many and not t.format)
        rows = [{"file": t.file, "format": t.format or "not recognised"} | row_counts(t) for t in order[:SHOWN]]
        if more := order[SHOWN:]:
            sums = Counter[str]()
            for t in more:
                sums.update(row_counts(t))
            numbers = {name: sums[name] for name in tuple(rows[0])[2:]}
            rows.append({"file": f"and {len(more)} files more", "format": "", **numbers})
        return Rows(rows, tuple(rows[0]) if rows else ("file",))

    def by_format(self) -> Rows:
        """The table of many files: one row per format, with the sums of its files."""
        groups: dict[str, list[FileTally]] = {}
        for tally in self.in_order():
            groups.setdefault(tally.format or "not recognised", []).append(tally)
        rows = [
            {"format": name, "files": len(own)}
            | {key: sum(row_counts(t)[key] for t in own) for key in row_counts(own[0])}
            for name, own in sorted(groups.items())
        ]
        return Rows(rows)

    def remarks(self, most: int) -> Rows:
        """Files that were not read, or not to the end, and why; at most so many, and how many more there are."""
        odd = [t for t in self.in_order() if t.error or not t.format]
        found = [{"file": t.file, "remark": t.error or t.why} for t in odd[:most]]
        more = [{"file": f"{len(odd) - most} files more", "remark": ""}] if len(odd) > most else []
        return Rows(found + more)

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
        rows = [dict(zip(keys, (*key, n), strict=True)) for key, n in ordered[:SHOWN]]
        if more := ordered[SHOWN:]:
            times = sum(n for _, n in more)
            rows.append({"format": "", "what": "", "why": f"and {len(more)} reasons more", "times": times})
        return Rows(rows, keys)
