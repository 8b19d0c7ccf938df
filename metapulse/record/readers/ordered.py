"""Local stamps of rows that are in order of time: in the night when clocks go back, which 02:30 each of them is."""

from __future__ import annotations

from metapulse.record.clock import HOUR, MINUTE, Clock, Stamp

NEAR = 20 * MINUTE  # from the row before: as near no second reading can be
FAR = 3 * HOUR  # from what a counter tells: it has started anew


class Ordered:
    """Reads stamps one after another, oldest or newest first; which, shows itself.

    Args:
        clock: of the file.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.last: int | None = None
        self.trend = 0  # rows that came later than the one before, less those that came earlier

    def read(self, text: str, expected: int | None = None) -> Stamp | None:
        """A stamp; None if it is none. ``clock_ambiguous`` stays where neither order nor device tells.

        Args:
            text: local time.
            expected: the instant in µs, if a counter of the device tells it.
        """
        stamp = self.clock.read(text)
        if stamp is None or stamp.end is not None:
            return stamp
        if "clock_ambiguous" in stamp.marks:
            stamp = self._chosen(text, stamp, expected)
        if self.last is not None:
            self.trend += (stamp.start > self.last) - (stamp.start < self.last)
        self.last = stamp.start
        return stamp

    def _chosen(self, text: str, marked: Stamp, expected: int | None) -> Stamp:
        """The first or the second reading of a local time that exists twice."""
        both = [self.clock.read(text, after=marked.start + late) or marked for late in (0, 1)]
        if expected is not None and abs(marked.start - expected) < FAR:
            return min(both, key=lambda stamp: abs(stamp.start - expected))
        if self.last is None:
            return marked
        last, sign = self.last, (self.trend > 0) - (self.trend < 0)
        ahead = [stamp for stamp in both if sign * (stamp.start - last) >= -NEAR // 2] or both
        nearest = min(ahead, key=lambda stamp: abs(stamp.start - last))
        if abs(nearest.start - last) <= NEAR:
            return nearest
        return nearest._replace(marks=marked.marks)
