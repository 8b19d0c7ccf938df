"""The text of a JSON file, of which so much is there as is needed."""

from __future__ import annotations

import io
import re

from metapulse.record.readers.json_doubt import AHEAD

CHUNK = 2**18  # characters read at a time
ITEM = 2**24  # characters of one JSON item
SOLID = re.compile(r"[^\s,\x00-\x1f]")


class Text:
    """What has been read of a stream and not been left behind, and a place in it."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.stream = stream
        self.text, self.at, self.begun, self.ended = "", 0, 0, False  # ``begun``: the last value
        self.held: list[tuple[str, int]] = []  # what has been read and is not in ``text`` now, from a place on
        self.commas, self.zeroed = (
            0,
            False,
        )  # where blanks were skipped last: of them, and whether it had characters of 0
        self.before = 0  # characters of what was read before ``text``

    def more(self) -> bool:
        """Read on; False at the end. As much again as there is, so that a long item is not looked at too often."""
        there = len(self.text) - self.at
        wanted = max(CHUNK, min(there, ITEM + CHUNK - there))
        block = self._taken_back(wanted) or ("" if self.ended else self.stream.read(wanted))
        self.ended = not block
        self.before += self.at
        self.text, self.at = self.text[self.at :] + block.replace("\ufeff", ""), 0
        return bool(block)

    def _taken_back(self, wanted: int) -> str:
        if not self.held:
            return ""
        text, at = self.held.pop()
        if at + wanted < len(text):
            self.held.append((text, at + wanted))
        return text[at : at + wanted]

    def hold(self) -> None:
        """Have little in ``text`` when an item begins, so that a long one is weighed before it is built."""
        if len(self.text) - self.at > 4 * CHUNK:
            self.held.append((self.text, self.at + CHUNK))
            self.text, self.at, self.ended = self.text[self.at : self.at + CHUNK], 0, False

    def blank(self, pattern: re.Pattern[str] = SOLID) -> str:
        """Skip blanks and commas, or all but the pattern; the character that follows, "" at the end."""
        self.commas, self.zeroed = 0, False
        while True:
            found = pattern.search(self.text, self.at)
            end = found.start() if found else len(self.text)
            if end > self.at:
                self.commas += self.text.count(",", self.at, end)
                if end > self.at + 1 and self.text.find("\0", self.at, end) >= 0:
                    self.zeroed = True
                    self.on_zeros()
                self.at = end
            if found:
                return found[0]
            if not self.more():
                return ""

    def on_zeros(self) -> None:
        """Characters of 0 were skipped, as of a lost block."""

    def look_ahead(self) -> str:
        """The text, with enough in it behind the value that was read last to tell whether it ended there."""
        while True:
            found = SOLID.search(self.text, self.at)
            if self.ended or (found and len(self.text) - found.start() > AHEAD):
                return self.text
            length, self.at = self.at - self.begun, self.begun  # which is kept
            self.more()
            self.begun, self.at = 0, length
