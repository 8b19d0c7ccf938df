"""Local stamps of rows that are in order of time: in the night when clocks go back, which 02:30 each of them is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from metapulse.record.clock import HOUR, MINUTE, Clock, Stamp

TWICE = "clock_ambiguous"
NEAR = 20 * MINUTE  # from the row before: as near no second reading can be
FAR = 3 * HOUR  # from what a counter tells: it has started anew
SOON = 15 * MINUTE  # before the first row that exists once, or one that is told by it: as any sensor's next reading
AHEAD = 1000  # rows of a beginning that are looked at


class Ordered:
    """Reads stamps one after another, oldest or newest first; which, shows itself.

    Args:
        clock: of the file.
        again: makes the stamps from the first one on, for rows that begin in the hour that exists twice.
    """

    def __init__(self, clock: Clock, again: Callable[[], Iterable[str]] = tuple) -> None:
        self.clock, self._again = clock, again
        self.last: int | None = None
        self.trend = 0  # rows that came later than the one before, less those that came earlier
        self.doubt = False  # whether the last one is marked: what is told by it is no surer
        self._begun: deque[tuple[str, Stamp | None]] = deque()

    def read(self, text: str, expected: int | None = None) -> Stamp | None:
        """A stamp; None if it is none. ``clock_ambiguous`` stays where neither order nor device tells.

        Args:
            text: local time.
            expected: the instant in µs, if a counter of the device tells it.
        """
        stamp = self.clock.read(text)
        if stamp is None or stamp.end is not None:
            return stamp
        if TWICE in stamp.marks:
            if self.last is None:
                self._begun = deque(_beginning(self.clock, self._again()))
            stamp = self._chosen(text, stamp, expected)
        if self.last is not None:
            self.trend += (stamp.start > self.last) - (stamp.start < self.last)
        self.last, self.doubt = stamp.start, TWICE in stamp.marks
        return stamp

    def _chosen(self, text: str, marked: Stamp, expected: int | None) -> Stamp:
        """The first or the second reading of a local time that exists twice."""
        of, begun = self._begun.popleft() if self._begun else ("", None)
        both = _both(self.clock, text, marked)
        if expected is not None and abs(marked.start - expected) < FAR:
            return self._as_sure(min(both, key=lambda stamp: abs(stamp.start - expected)), marked)
        if of == text and begun is not None:
            return begun
        if self.last is None:
            return marked
        last, sign = self.last, (self.trend > 0) - (self.trend < 0)
        ahead = [stamp for stamp in both if sign * (stamp.start - last) >= -NEAR // 2] or both
        nearest = min(ahead, key=lambda stamp: abs(stamp.start - last))
        if len(ahead) == 1 and sign > 0:
            return nearest  # whichever the last one was, the other reading is before it
        told = len(ahead) == 1 or abs(nearest.start - last) <= NEAR
        return self._as_sure(nearest, marked) if told else _marked(nearest, marked)

    def _as_sure(self, stamp: Stamp, marked: Stamp) -> Stamp:
        return _marked(stamp, marked) if self.doubt else stamp


class Following:
    """Reads when intervals begin of which none begins before the one before it has ended, as stages of sleep.

    Args:
        clock: of the file.
        start: of them all.
    """

    def __init__(self, clock: Clock, start: Stamp) -> None:
        self._clock, self.last, self._doubt = clock, start.start, TWICE in start.marks

    def read(self, text: str) -> Stamp | None:
        """A stamp; None if it is none. What follows a doubtful one at once is as doubtful."""
        stamp = self._clock.read(text, after=self.last)
        alone = self._clock.read(text) if self._doubt else stamp
        if stamp is not None and alone is not None:
            stamp = alone if alone.start == stamp.start else stamp
            self._doubt = TWICE in stamp.marks
        return stamp


def _beginning(clock: Clock, texts: Iterable[str]) -> list[tuple[str, Stamp | None]]:
    """The stamps that exist twice before the first that does not, as what follows tells; None where nothing does.

    A row that soon follows, with an hour more between them if it were the other reading, tells which one it was. After
    less than an hour it is the likelier one, and marked.
    """
    waiting = list[tuple[str, Stamp]]()
    for text in texts:
        stamp = clock.read(text)
        if stamp is None or stamp.end is not None:
            continue
        if TWICE not in stamp.marks:
            return [*_backwards(clock, waiting, stamp.start)][::-1]
        if len(waiting) >= AHEAD:
            break
        waiting.append((text, stamp))
    return []


def _backwards(clock: Clock, waiting: list[tuple[str, Stamp]], later: int) -> Iterator[tuple[str, Stamp | None]]:
    """Stamps that exist twice, the last one first, by an instant that follows them."""
    sure = told = True
    for text, marked in reversed(waiting):
        nearest = min(_both(clock, text, marked), key=lambda stamp: abs(stamp.start - later))
        gap, later = abs(nearest.start - later), nearest.start
        sure, told = sure and gap <= SOON, told and gap < HOUR
        yield text, (nearest if sure else _marked(nearest, marked)) if told else None


def _both(clock: Clock, text: str, marked: Stamp) -> list[Stamp]:
    """The two readings of a local time that exists twice, without a mark."""
    return [clock.read(text, after=marked.start + late) or marked for late in (0, 1)]


def _marked(stamp: Stamp, marked: Stamp) -> Stamp:
    return stamp._replace(marks=marked.marks)
