"""The record's order among rows of one start, and the repeats in it.

A row is the row that it was by what it says, not by where it stands: by its time, metric, value, code and device, by
how often the same input has said so before, and by the account that its file is of (``Lineage``). So a later export of
an account, whose rows have moved, adds only what is new; a copy adds nothing; and repeats within one file stay. Rows
with two ids of their vendor's are two, and so are two states of one id of which one was deleted: ``outdated.py`` tells
which of them is in force. Of equal rows the one stays that was changed last, as far as the files tell. Of rows without
an id one that is superseded in one export of an account is so in the others too: what was in force may be replaced,
never back.

Of rows that say the same the one that is doubted least stays, and none repeats a row that is superseded or outdated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from metapulse.record.columns import NO_OFFSET, metric_names, taken
from metapulse.record.firsts import Firsts, lasting
from metapulse.record.identity import told_ids
from metapulse.record.lineage import Lineage, later_file
from metapulse.record.metrics import metrics
from metapulse.record.outdated import MARK, outdated
from metapulse.record.schema import MAPPED, Device, known_first
from metapulse.record.texts import CODED, Block

UNKNOWN, OLD = "unit_unknown", "superseded"
#: Marks by which a row is less than another that says the same without them.
WEAKER = (
    *("censored_high", "censored_low", "implausible", "interpolated", "low_confidence", "not_worn_suspected"),
    *("sensor_error", "time_implausible"),
)
ALIKE = ("metric", "end", "value", "code")  # in which a row of the same start repeats another
ORDERED = (*ALIKE, "device", "file", "row", "quality", "offset_min", "unit", "raw")


@dataclass
class Carried:
    """What is kept of the rows of one instant that are in blocks before, to know their repeats again.

    Args:
        alike: metric, end, value, code and kind of the last row.
        device: of the last row, whether it is a weaker one, its vendor's id, and whether what has that was deleted.
        said: of the rows that say the same from that device: of each account and input how many there were, and of the
            last when it was changed, whether it is in force, its file and its row.
        most: the highest of these numbers of each account.
        firsts: devices of the rows before that repeat none, among those that are alike.
    """

    alike: tuple[object, ...] = ()
    device: tuple[Device, bool, str, bool] | None = None
    said: dict[tuple[str, object], tuple[int, int, bool, str, int]] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    firsts: Firsts = field(default_factory=Firsts)


def ordered_block(block: Block) -> Block:
    """A block in the record's order, without marks that are found anew."""
    tables = block.tables
    tables.mark(block, tables.having(block, "duplicate_of"), without="duplicate_of")
    keys = [block["start"], *_keys(block)]
    order = np.lexsort(keys[::-1])
    tied = np.ones(block.rows, bool)
    for key in keys:  # one by one, for the same reason as below
        tied &= ~_differs(key[order])
    if tied.any():  # of equal rows what the files said decides
        tied |= np.append(tied[1:], False)
        ranks = np.zeros(block.rows, np.int64)
        ranks[order[tied]] = _raw_ranks(taken(block, order[tied])["raw"].to_pylist())
        order = np.lexsort([*keys, ranks][::-1])
    for name in block:  # column by column, so that no row is in memory twice
        column = block[name]
        block[name] = column[order] if isinstance(column, np.ndarray) else column.take(order)
    return block


def _keys(block: Block) -> Iterator[Any]:
    """By what rows of one ``start`` are ordered, where they differ in it; but for ``raw``."""
    told = told_ids(block["raw"])
    for name in ORDERED[:-1]:
        column, table = block[name], getattr(block.tables, name) if name in CODED else None
        if name == "device" and (standing := 2 * _kinds(block) + _weaker(block)).any():
            yield standing
        if name == "device" and told:
            yield told[0] == ""  # it may be any of those that have an id, but only one of them
        if name == "file" and told:
            yield from (np.unique(told[0], return_inverse=True)[1], (told[0] != "") & ~_in_force(block), -told[1])
        if name == "file" and not (in_force := _in_force(block)).all():
            yield in_force
        if (column != column[:1]).any():
            if name == "offset_min":
                yield column == NO_OFFSET  # of equal rows the one stays that knows more
            yield column if table is None else table.ranks(_RANKED.get(name, lambda key: key))[column]


def _raw_ranks(texts: list[str | None]) -> list[int]:
    """Rank of each of these texts; one that is missing comes first."""
    ranks = {text: rank for rank, text in enumerate(sorted(set(texts), key=_raw_first))}
    return [ranks[text] for text in texts]


def _raw_first(text: str | None) -> tuple[bool, str]:
    return text is not None, text or ""


def _coded_first(code: str | None) -> tuple[str, bool]:
    return code or "", code is not None


_RANKED: dict[str, Callable[[Any], Any]] = {"code": _coded_first, "device": known_first, "file": later_file}


def place(block: Block, at: int) -> tuple[Any, ...]:
    """Where a row belongs among those of its start: what ``ordered_block`` sorts by, of one row."""
    keys: list[Any] = []
    marks = list(block.tables.quality)[block["quality"][at]]
    for name in ORDERED[:-1]:
        key, table = block[name][at].item(), getattr(block.tables, name) if name in CODED else None
        if name == "device":
            keys += [(MAPPED in marks) + 2 * (UNKNOWN in marks), not set(marks).isdisjoint(WEAKER)]
            keys += [not _id_of(block, at)[0]]
        if name == "file":
            id, changed = _id_of(block, at)
            keys += [id, bool(id) and OLD in marks, -changed, OLD not in marks]
        if name == "offset_min":
            keys.append(key == NO_OFFSET)
        if table is not None:
            key = _RANKED.get(name, lambda key: key)(list(table)[key])
        keys.append((key != key, 0.0 if key != key else key) if name == "value" else key)
    return (*keys, _raw_first(block["raw"][at].as_py()))


def _id_of(block: Block, at: int) -> tuple[str, int]:
    """The id that a row's vendor gave it, and when it was changed last; ("", 0) where it has none."""
    ids, changed = told_ids(block["raw"][at : at + 1 or None]) or (("",), (0,))
    return ids[0], int(changed[0])


def known_again(block: Block, lineage: Lineage, carried: Carried | None = None) -> Block:
    """A block in order, with every row once and repeats marked.

    Args:
        block: in the record's order; all rows of each of its starts, where nothing is carried.
        lineage: which files are of one account, with all that is known of copies.
        carried: of the rows of the same start before the block; takes what is to be kept of the block's.
    """
    kinds, weaker = _kinds(block), _weaker(block)
    same = _same_as_before(block, "start", *ALIKE)
    same[1:] &= kinds[1:] == kinds[:-1]
    again = same & _same_as_before(block, "device")
    again[1:] &= weaker[1:] == weaker[:-1]
    if told := told_ids(block["raw"]):
        deleted = ~_in_force(block) & (told[0] != "")
        again[1:] &= (told[0][1:] == told[0][:-1]) & (deleted[1:] == deleted[:-1])
    if carried is not None and block.rows:
        (first, device), last = _alike(block, 0), _alike(block, -1)
        same[0], again[0] = first == carried.alike, (first, device) == (carried.alike, carried.device)
        carried.alike, carried.device = last
    gone = _again(block, again, lineage, carried, told[1] if told else np.zeros(block.rows, np.int8))
    if gone.any():
        block, same = taken(block, ~gone), same[~gone]
    if carried is None:  # rows of one instant that do not fit into memory are no nights or treatments
        block.tables.mark(block, outdated(block), MARK)
    if same.any() or carried is not None:
        block.tables.mark(block, _repeats(block, same, carried), "duplicate_of")
    return block


def _alike(block: Block, at: int) -> tuple[tuple[object, ...], tuple[Device, bool, str, bool]]:
    row = taken(block, slice(at, at + 1 or None))
    value = float(row["value"][0])
    code, device = list(block.tables.code)[row["code"][0]], list(block.tables.device)[row["device"][0]]
    alike = int(row["metric"][0]), int(row["end"][0]), None if value != value else value, code, int(_kinds(row)[0])
    id = _id_of(row, 0)[0]
    return alike, (device, bool(_weaker(row)[0]), id, bool(id) and not _in_force(row)[0])


def _kinds(block: Block) -> Any:
    """Rows repeat those of their kind alone: measured ones, mapped ones, ones in a unit that is not known."""
    return block.tables.having(block, MAPPED) + 2 * block.tables.having(block, UNKNOWN)


def _weaker(block: Block) -> Any:
    return block.tables.having(block, *WEAKER)


def _in_force(block: Block) -> Any:
    return ~block.tables.having(block, OLD)


def _again(block: Block, same: Any, lineage: Lineage, carried: Carried | None, changed: Any) -> Any:
    """Rows that are there already: the n-th of an input is the n-th of every other that says the same.

    Of each n-th the first in the record's order stays, in which those that were changed later are before others, and
    of one time of change those that are superseded. So what an account says is a list, and reading more of it takes the
    lesser of two lists, place by place: in any order and grouping, and however often. Of copies the rows are those of
    the earliest name (``later_file``). A record is as many inputs as it knows accounts, each of them one such list, so
    that a copy which links two of them makes one list of both.
    """
    again = np.zeros(len(same), bool)
    among = same | np.append(same[1:], False) if carried is None else np.ones(len(same), bool)
    at = np.flatnonzero(among).astype(np.int32)  # as all numbers here, which are many
    if not len(at):
        return again
    files = list(block.tables.file)
    numbers: dict[str, int] = {}
    account = np.array([numbers.setdefault(lineage.of(file), len(numbers)) for file in files], np.int32)
    group, series = np.cumsum(~same, dtype=np.int32)[at], account[block["file"][at]]
    input, file, row = (block[name][at] for name in ("input", "file", "row"))
    in_force, changed = _in_force(block)[at], changed[at]
    ranks = block.tables.file.ranks(later_file).astype(np.int32)
    order = np.lexsort([at, row, ranks[file], in_force, -changed, input, series, group]).astype(np.int32)
    lists = _Lists(block, list(numbers), group, series, input, changed, in_force, file, row)
    same_row = ~_differs(*(column[order] for column in (changed, in_force, file, row)))
    twice = same_row & ~lists.begins(order)  # of one input
    if carried is not None:
        twice |= lists.carried_twice(order, carried)
    order = order[~twice]
    again[at] = True
    number = lists.numbers(order, carried)
    by = np.lexsort([at[order], number, series[order], group[order]])
    order, number = order[by], number[by]
    stays = _differs(group[order], series[order], number)
    if carried is not None:
        stays &= lists.new(order, number, carried)
        lists.carry(order, number, carried)
    again[at[order[stays]]] = False
    return again


class _Lists:
    """What inputs say, each group of equal rows of an input a list.

    Args:
        block: the rows.
        accounts: names of the series.
        columns: of the rows in question: group, series, input, time of change, whether in force, file, row.
    """

    def __init__(self, block: Block, accounts: list[str], *columns: Any) -> None:
        self.accounts = accounts
        self.group, self.series, self.input, self.changed, self.in_force, self.file, self.row = columns
        self.files, self.inputs = list(block.tables.file), list(block.tables.input)

    def begins(self, order: Any) -> Any:
        """Where a list begins."""
        return _differs(self.group[order], self.series[order], self.input[order])

    def list_of(self, at: Any) -> tuple[str, object]:
        return self.accounts[self.series[at]], self.inputs[self.input[at]]

    def going_on(self, order: Any) -> Iterator[Any]:
        """Places in ``order`` of the first row of each list that may have begun before the block."""
        yield from np.flatnonzero(self.begins(order) & (self.group[order] == 0))

    def carried_twice(self, order: Any, carried: Carried) -> Any:
        """Rows that are the last of the blocks before."""
        twice, ends = np.zeros(len(order), bool), np.append(np.flatnonzero(self.begins(order))[1:], len(order))
        for first in self.going_on(order):
            _, when, in_force, file, row = carried.said.get(self.list_of(order[first]), (0, 0, False, "", 0))
            own = order[first : ends[np.searchsorted(ends, first, "right")]]
            known = np.array([name == file for name in self.files])[self.file[own]]
            known &= (self.row[own] == row) & (self.in_force[own] == in_force) & (self.changed[own] == when)
            twice[first : first + len(own)] = known
        return twice

    def numbers(self, order: Any, carried: Carried | None) -> Any:
        """The place of each row in its list."""
        first = np.flatnonzero(self.begins(order))
        number = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
        if carried is not None and len(order):
            before = {at: carried.said.get(self.list_of(order[at]), (0,))[0] for at in self.going_on(order)}
            number += np.repeat([before.get(at, 0) for at in first], np.diff(first, append=len(order)))
        return number

    def new(self, order: Any, number: Any, carried: Carried) -> Any:
        """Rows whose number no row of the account in the blocks before had."""
        most = np.array([carried.most.get(name, -1) for name in self.accounts])
        return (self.group[order] > 0) | (number > most[self.series[order]])

    def carry(self, order: Any, number: Any, carried: Carried) -> None:
        """Keep what is needed of the last group."""
        last = self.group[-1]
        if last > 0:
            carried.said, carried.most = {}, {}
        own = np.flatnonzero(self.group[order] == last)
        own = own[np.lexsort([number[own], self.input[order[own]], self.series[order[own]]])]
        ends = np.append(self.begins(order[own])[1:], True) if len(own) else np.empty(0, bool)
        for at in own[ends]:
            name, _ = key = self.list_of(order[at])
            row = order[at]
            said = int(self.changed[row]), bool(self.in_force[row]), self.files[self.file[row]], int(self.row[row])
            carried.said[key] = int(number[at]) + 1, *said
            carried.most[name] = max(carried.most.get(name, -1), int(number[at]))


def _repeats(block: Block, same: Any, carried: Carried | None) -> Any:
    """Rows that repeat one before them: same time, metric, value and code, from a device that may be the same.

    Amounts add up, so a vendor's two ids tell of two, as of two boluses; an amount without an id may be either. Other
    values of one moment say the same, whatever their ids are.
    """
    repeats = np.zeros(len(same), bool)
    firsts = carried.firsts if carried is not None else Firsts()
    devices = list(block.tables.device)
    in_force, last = ~block.tables.having(block, OLD, MARK), dict[int, Device]()
    ids, adds_up = told[0] if (told := told_ids(block["raw"])) else None, _adding_up()
    for at in np.flatnonzero(same | np.append(same[1:], carried is not None)):
        number = block["device"][at]
        if number not in last:
            last[number] = lasting(devices[number])
        if not same[at]:
            firsts = Firsts()
        id = (ids[at] or None) if ids is not None and block["metric"][at] in adds_up else None
        repeats[at] = in_force[at] and not firsts.add((*last[number], id))
    if carried is not None:
        carried.firsts = firsts
    return repeats


@cache
def _adding_up() -> frozenset[int]:
    """Numbers of the metrics whose values are amounts."""
    return frozenset(number for number, name in enumerate(metric_names()) if metrics()[name].merge == "sum")


def _same_as_before(block: Block, *names: str) -> Any:
    """Rows equal to the one before them in these columns; two missing values are equal."""
    same = np.ones(block.rows, bool)
    same[:1] = False
    for name in names:
        now, before = block[name][1:], block[name][:-1]
        same[1:] &= (now == before) | ((now != now) & (before != before))
    return same


def _differs(*columns: Any) -> Any:
    """Where a row is not as the one before it; two missing values are equal."""
    apart = np.zeros(len(columns[0]), bool)
    apart[:1] = True
    for column in columns:
        now, before = column[1:], column[:-1]
        apart[1:] |= (now != before) & ((now == now) | (before == before))
    return apart
