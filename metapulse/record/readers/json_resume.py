"""Where broken JSON goes on behind a bracket that may be one too many: what follows it tells."""

from __future__ import annotations

import re

BLANKS = " \t\r\n"  # of JSON; what else languages have for blanks is none
CLOSER = {"{": "}", "[": "]"}
NEAR = 8  # brackets around a place at which something may go on
LONG = 2000  # characters of an object in which a member's name is sought
BEGINNING = re.compile(r'\{\s*+("[^"\\]{1,200}+")')
#: Of what follows a bracket: a bracket, the name of a member, another value, or the end of what is around.
_FOLLOWS = re.compile(r'[ \t\r\n]*+(?:(,)?[ \t\r\n]*+(?:([{\[])|("[^"\\]{0,200}+"[ \t\r\n]*+:)|([:"\w.-]))|([}\]]))')
_ENDS = re.compile(r"[^{}\[\]]{0,2000}+\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")
_NO_OPENER = re.compile(r"\{[ \t\r\n]*+[\d.,:\[{-]")
_NO_MEMBER = re.compile(r"\[[ \t\r\n]*+[^ \t\r\n\[{]")
_IN_NUMBER = re.compile(r"[}\]]*+[\d.]")  # a bracket too many stands in one
_NO_STRAY = re.compile(r"[\w\"'.+-]")


class Open:
    """A bracket that is open. ``wants`` is what may follow: a key, a colon, a value, or a separator."""

    __slots__ = ("at", "before", "begins", "broken", "comma", "flat", "key", "kind", "last", "moved", "objects", "part",
                 "sample", "sound", "uneven", "wants")  # fmt: skip

    def __init__(self, kind: str, at: int, part: bool) -> None:
        self.kind, self.at, self.part = kind, at, part
        self.wants = "key" if kind == "{" else "value"
        self.key = ""  # the last one; of an array the text that is its last element
        self.comma = -1
        self.sound, self.broken = True, False  # up to the last comma; anywhere
        self.objects = self.moved = False  # whether a member is an object; whether one behind it may have been its
        # Of an array:
        self.flat: bool | None = None  # whether it has numbers and texts alone; None: nothing yet
        self.last = self.before = -1  # where its last element begins, and the one before
        self.uneven = False  # whether a comma is missing, or too many
        self.begins = ""  # the first member of its objects
        self.sample: tuple[int, int] | None = None  # the first element that is whole: from, to

    def element(self, place: int, key: str = "") -> None:
        """An array's next element begins."""
        self.before, self.last, self.key = self.last, place, key


def is_stray(token: str) -> bool:
    """Whether it is a character by itself that hides nothing, as no member and no value has only that one."""
    return len(token) == 1 and not _NO_STRAY.match(token)


def opening(text: str, place: int, open_ones: list[Open]) -> str:
    """What an opening bracket shows of the one that it stands in: "torn", that it has ended before; "" nothing.

    "stray": it is one too many, as what follows cannot be in it, or is a member. "broken": before it something is none.
    """
    inner, is_list = open_ones[-1], text[place] == "["
    within = len(open_ones) > 1
    if within and (_NO_MEMBER if is_list and inner.wants in ("key", "colon") else _NO_OPENER).match(text, place):
        return "stray"
    torn = inner.flat if inner.kind == "[" else inner.wants != "value"
    return "broken" if torn and within and is_list and inner.kind == "{" else "torn" if torn else ""


def first_member(text: str, at: int) -> str:
    """The name, with its quotes, of the first member of the object that is here; "" if there is none."""
    found = BEGINNING.match(text, at)
    return found[1] if found else ""


def continues(text: str, behind: int, open_ones: list[Open], token: str, listed: bool) -> Open | None:
    """What goes on behind a bracket which closes it, or what it is in, too early; None: the bracket is right.

    Args:
        text: JSON, or what should be.
        behind: the bracket.
        open_ones: brackets that are open, outermost first; ``token`` has not closed any yet.
        token: the bracket.
        listed: whether the outermost is an item of a list.
    """
    inner, outer = open_ones[-1], open_ones[-2] if len(open_ones) > 1 else None
    right = CLOSER[inner.kind] == token
    if (found := _FOLLOWS.match(text, behind)) is None:
        return None
    comma, bracket, key, scalar, closer = found.groups()
    if inner.kind == "{" and (outer or listed) and _IN_NUMBER.match(text, behind):
        return inner
    if outer is None:
        early = key and (listed or not right)
        return inner if inner.kind == "{" and early else None
    name = key[: key.rindex('"') + 1] if key else ""
    empty = inner.last < 0 if inner.kind == "[" else inner.wants == "key" and inner.comma < 0
    if not comma and (scalar or (bracket and empty) or (key and not right and (empty or name == inner.begins))):
        return inner  # nothing ends before these
    if right and (inner.kind == "{" or outer.kind == "["):
        return None
    array = inner if inner.kind == "[" else outer if outer.kind == "[" else None
    if bracket == "{":
        return _of_objects(first_member(text, found.start(2)), text, open_ones)
    if array is None:  # where no list is open none can end, and the object goes on
        none = len(open_ones) <= NEAR and all(each.kind == "{" for each in open_ones)
        return inner if none and not right and (key or closer == "}") else None
    if closer == "}" and inner.kind == "{":  # what is behind the object's own end tells
        after = _FOLLOWS.match(text, found.end())
        if after and after[5] == "]" and len(open_ones) > 3 and open_ones[-4].kind == "{":
            return inner  # which has its own end behind this, and the array too
        if after and after[3]:  # two brackets too many
            name = after[3][: after[3].rindex('"') + 1]
            return inner if _has_member(text, after.end(), array, name) else None
        return _of_objects(first_member(text, after.start(2)), text, open_ones) if after and after[2] == "{" else None
    if bracket == "[":
        return array if array.sample is not None and text.startswith("[", array.sample[0]) else None
    if key:
        return inner if inner.kind == "{" and _has_member(text, found.end(), array, name) else None
    if scalar:
        return inner if inner.kind == "[" and inner.flat else None
    return array if closer == "]" and not right and inner is array and _has_more(text, found.end(), open_ones) else None


def _of_objects(begins: str, text: str, open_ones: list[Open]) -> Open | None:
    """The innermost array whose objects begin so, if none of the objects around it does."""
    for at in range(len(open_ones) - 1, max(0, len(open_ones) - NEAR), -1):
        each, around = open_ones[at], open_ones[at - 1]
        if each.kind == "[" and begins and each.begins == begins:
            outer = first_member(text, around.at) if around.kind == "{" else ""
            return each if begins not in (outer, first_member(text, open_ones[0].at)) else None
    return None


def _has_more(text: str, behind: int, open_ones: list[Open]) -> bool:
    """Whether the bracket that follows closes the array, as the object around it goes on, or ends."""
    if len(open_ones) > 2:
        return open_ones[-3].kind == "{"
    after = _FOLLOWS.match(text, behind)
    return after is not None and (after[5] == "}" or after[3] is not None)


def begins_anew(text: str, place: int, array: Open) -> bool:
    """Whether a bracket that opens a list is one too many before another element of an array."""
    if array.sample is None:
        return False
    at = place + 1
    while at < len(text) and text[at] in BLANKS:
        at += 1
    sample = array.sample[0]
    if text.startswith("{", at):
        return array.begins != "" and text.startswith("{", sample) and first_member(text, at) == array.begins
    return text.startswith("[", at) and text.startswith("[", sample) and not text.startswith("[[", sample)


def element_of(text: str, behind: int, array: Open) -> int:
    """Where the element of an array begins whose member was found outside of any object; -1: it is none of its members.

    An object may have lost its bracket, or been closed too early.
    """
    key = f'"{array.key}"'
    if not array.key or not array.begins:
        return -1
    if key == array.begins:
        return array.last
    if not _has_member(text, behind, array, key):
        return -1
    return array.last if text[array.last] in "{[" else array.before


def _has_member(text: str, behind: int, array: Open, key: str) -> bool:
    """Whether objects of an array have such a member: its first whole element, or this, before the next."""
    start, end = array.sample or (0, 0)
    if text.find(key, start, min(end, start + LONG)) >= 0:
        return True
    ends = _ENDS.match(text, behind)
    return ends is not None and array.begins != "" and first_member(text, ends.end()) == array.begins


def edited(text: str, at: int, end: int, edits: list[tuple[int, int, str]]) -> str:
    """The text from a place to another, with other words from some places to others; in order."""
    pieces, before = list[str](), at
    for start, behind, instead in edits:
        pieces += [text[before:start], instead]
        before = behind
    return "".join([*pieces, text[before:end]])
