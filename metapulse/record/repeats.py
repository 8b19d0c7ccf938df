"""The record's order among rows of one start, and the repeats in it.

A row is the row that it was by what it says, not by where it stands: by its time, metric, value, code and device, by
how often the same input has said so before, and by the account that its file is of (``Lineage``). So a later export of
an account, whose rows have moved, adds only what is new; a copy adds nothing; and repeats within one file stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metapulse.record.columns import NO_OFFSET, taken
from metapulse.record.lineage import Lineage
from metapulse.record.schema import MAPPED, Device
from metapulse.record.texts import CODED, Block

UNKNOWN = "unit_unknown"
ALIKE = ("metric", "end", "value", "code")  # in which a row of the same start repeats another
ORDERED = (*ALIKE, "device", "file", "row", "quality", "offset_min", "unit")


@dataclass
class Carried:
    """What is kept of the rows of one instant that are in blocks before, to know their repeats again.

    Args:
        alike: metric, end, value, code and kind of the last row.
        device: of the last row.
        said: of the rows that say the same from that device: of each account and input how many there were, and file
            and row of the last.
        most: the highest of these numbers of each account.
        firsts: devices of the rows before that repeat none, among those that are alike.
    """

    alike: tuple[object, ...] = ()
    device: Device | None = None
    said: dict[tuple[str, object], tuple[int, str, int]] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    firsts: Firsts = field(default_factory=lambda: Firsts())


def ordered_block(block: Block) -> Block:
    """A block in the record's order, without marks that are found anew."""
    tables = block.tables
    tables.mark(block, tables.having(block, "duplicate_of"), without="duplicate_of")
    order = np.lexsort([block["start"], *_keys(block)][::-1])
    for name in block:  # column by column, so that no row is in memory twice
        column = block[name]
        block[name] = column[order] if isinstance(column, np.ndarray) else column.take(order)
    return block


def _keys(block: Block) -> Iterator[Any]:
    """By what rows of one ``start`` are ordered, where they differ in it."""
    for name in ORDERED:
        column, table = block[name], getattr(block.tables, name) if name in CODED else None
        if name == "device" and (kinds := _kinds(block)).any():
            yield kinds
        if (column != column[:1]).any():
            if name == "offset_min":
                yield column == NO_OFFSET  # of equal rows the one stays that knows more
            yield column if table is None else table.ranks(_RANKED.get(name, lambda key: key))[column]


def known_first(device: Device) -> tuple[int, tuple[str, ...]]:
    """Devices are in order of how much is known of them, then of the parts."""
    return device.count(None), tuple(part or "" for part in device)


def _coded_first(code: str | None) -> tuple[str, bool]:
    return code or "", code is not None


_RANKED: dict[str, Callable[[Any], Any]] = {"code": _coded_first, "device": known_first}


def place(block: Block, at: int) -> tuple[Any, ...]:
    """Where a row belongs among those of its start: what ``ordered_block`` sorts by, of one row."""
    keys: list[Any] = []
    for name in ORDERED:
        key, table = block[name][at].item(), getattr(block.tables, name) if name in CODED else None
        if name == "device":
            marks = list(block.tables.quality)[block["quality"][at]]
            keys.append((MAPPED in marks) + 2 * (UNKNOWN in marks))
        if name == "offset_min":
            keys.append(key == NO_OFFSET)
        if table is not None:
            key = _RANKED.get(name, lambda key: key)(list(table)[key])
        keys.append((key != key, 0.0 if key != key else key) if name == "value" else key)
    return tuple(keys)


def known_again(block: Block, lineage: Lineage, carried: Carried | None = None) -> Block:
    """A block in order, with every row once and repeats marked.

    Args:
        block: in the record's order; all rows of each of its starts, where nothing is carried.
        lineage: which files are of one account, with all that is known of copies.
        carried: of the rows of the same start before the block; takes what is to be kept of the block's.
    """
    tables = block.tables
    kinds = _kinds(block)
    same = _same_as_before(block, "start", *ALIKE)
    same[1:] &= kinds[1:] == kinds[:-1]
    again = same & _same_as_before(block, "device")
    if carried is not None and block.rows:
        alike, device = _alike(block, 0), list(tables.device)[block["device"][0]]
        same[0], again[0] = alike == carried.alike, (alike, device) == (carried.alike, carried.device)
        carried.alike, carried.device = _alike(block, -1), list(tables.device)[block["device"][-1]]
    gone = _again(block, again, lineage, carried)
    if gone.any():
        block, same = taken(block, ~gone), same[~gone]
    if same.any() or carried is not None:
        tables.mark(block, _repeats(block, same, carried), "duplicate_of")
    return block


def _alike(block: Block, at: int) -> tuple[object, ...]:
    row = taken(block, slice(at, at + 1 or None))
    value = float(row["value"][0])
    code = list(block.tables.code)[row["code"][0]]
    return int(row["metric"][0]), int(row["end"][0]), None if value != value else value, code, int(_kinds(row)[0])


def _kinds(block: Block) -> Any:
    """Rows repeat those of their kind alone: measured ones, mapped ones, ones in a unit that is not known."""
    return block.tables.having(block, MAPPED) + 2 * block.tables.having(block, UNKNOWN)


def _again(block: Block, same: Any, lineage: Lineage, carried: Carried | None) -> Any:
    """Rows that are there already: the n-th of an input is the n-th of every other that says the same.

    Of each n-th the first in the record's order stays. So what an account says is a list, and reading more of it
    takes the lesser of two lists, place by place: in any order and grouping, and however often. Of copies the rows
    are those of the first name. A record is as many inputs as it knows accounts, each of them one such list, so
    that a copy which links two of them makes one list of both.
    """
    again = np.zeros(len(same), bool)
    at = np.arange(len(same)) if carried is not None else np.flatnonzero(same | np.append(same[1:], False))
    if not len(at):
        return again
    files = list(block.tables.file)
    numbers: dict[str, int] = {}
    account = np.array([numbers.setdefault(lineage.of(file), len(numbers)) for file in files], np.int64)
    group, series = np.cumsum(~same)[at], account[block["file"][at]]
    input, file, row = (block[name][at] for name in ("input", "file", "row"))
    order = np.lexsort([at, row, block.tables.file.ranks()[file], input, series, group])
    lists = _Lists(block, list(numbers), group, series, input, file, row)
    twice = ~(lists.begins(order) | _differs(file[order], row[order]))  # the same row of one input
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
        columns: of the rows in question: group, series, input, file, row.
    """

    def __init__(self, block: Block, accounts: list[str], *columns: Any) -> None:
        self.accounts, (self.group, self.series, self.input, self.file, self.row) = accounts, columns
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
            _, file, row = carried.said.get(self.list_of(order[first]), (0, "", 0))
            own = order[first : ends[np.searchsorted(ends, first, "right")]]
            known = np.array([name == file for name in self.files])[self.file[own]]
            twice[first : first + len(own)] = known & (self.row[own] == row)
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
            carried.said[key] = int(number[at]) + 1, self.files[self.file[order[at]]], int(self.row[order[at]])
            carried.most[name] = max(carried.most.get(name, -1), int(number[at]))


def _repeats(block: Block, same: Any, carried: Carried | None) -> Any:
    """Rows that repeat one before them: same time, metric, value and code, from a device that may be the same."""
    repeats = np.zeros(len(same), bool)
    firsts = carried.firsts if carried is not None else Firsts()
    devices = list(block.tables.device)
    lasting: dict[int, Device] = {}
    for at in np.flatnonzero(same | np.append(same[1:], carried is not None)):
        number = block["device"][at]
        if number not in lasting:
            lasting[number] = _lasting(devices[number])
        if not same[at]:
            firsts = Firsts()
        repeats[at] = not firsts.add(lasting[number])
    if carried is not None:
        carried.firsts = firsts
    return repeats


class Firsts:
    """Devices of which no two may be one. A part that is not known may be any."""

    def __init__(self) -> None:
        self._by_parts: dict[tuple[int, ...], dict[tuple[int, ...], set[bytes]]] = {}

    def add(self, device: Device) -> bool:
        """Take a device, unless it may be one of those that are there: False then."""
        known = tuple(at for at, part in enumerate(device) if part is not None)
        for parts, told in self._by_parts.items():
            both = tuple(at for at in parts if at in known)
            if both not in told:  # of those there, what they say of these parts
                places = [parts.index(at) for at in both]
                told[both] = {b"\0".join(text.split(b"\0")[n] for n in places) for text in told[parts]}
            if _said(device, both) in told[both]:
                return False
        own = self._by_parts.setdefault(known, {known: set()})
        for parts, texts in own.items():
            texts.add(_said(device, parts))
        return True


def _said(device: Device, parts: Iterable[int]) -> bytes:
    return "\0".join(device[at] or "" for at in parts).encode()  # less than a text; there may be very many


def _same_as_before(block: Block, *names: str) -> Any:
    """Rows equal to the one before them in these columns; two missing values are equal."""
    same = np.ones(block.rows, bool)
    same[:1] = False
    for name in names:
        now, before = block[name][1:], block[name][:-1]
        same[1:] &= (now == before) | ((now != now) & (before != before))
    return same


def _differs(*columns: Any) -> Any:
    """Where a row is not as the one before it."""
    apart = np.zeros(len(columns[0]), bool)
    apart[:1] = True
    for column in columns:
        apart[1:] |= column[1:] != column[:-1]
    return apart


def _lasting(device: Device) -> Device:
    """A device without what an update changes: firmware, and the version in the name of its app."""
    app = device.app and (re.sub(r"[\s(v]*\d+(\.\d+)+\)?$", "", device.app) or device.app)
    return device._replace(firmware=None, app=app)
