"""Stamps of every form → an instant in UTC, and where the person's clock stood then.

A file may give an instant (an offset, Z, seconds since 1970), a local time, or a day. A local time is read in the
zone that was told (``--timezone``); if none was, it is read as if it were UTC and marked ``zone_assumed``. Whether
04/05 is in April or May is decided from the whole column (``date_order``), not from one stamp.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metapulse.errors import ConfigError

US = 1_000_000
MINUTE, HOUR, DAY = 60 * US, 3600 * US, 86_400 * US
EPOCH = date(1970, 1, 1).toordinal()
ORDERS = ("dmy", "mdy", "ymd")
MANY = 10  # stamps that show an order, for each that is damaged and shows another
MONTHS = range(1, 13)
AT_ONCE = MINUTE  # after the row before: no second reading of a local time follows it so soon

_ZONE = r"(?:\s*(?P<zone>Z|z|UTC|GMT|(?:UTC|GMT)?[+\-−]\d{1,2}(?::?\d{2})?))?"
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,:](?P<part>\d{1,12}))?)?"
_HALF = r"(?:\s*(?P<half>(?![Zz]|UTC|GMT)[^\d\s+\-−][^\d+\-−]{0,11}?))?"
_ISO = re.compile(rf"\s*(?P<a>\d{{4}})[-/.](?P<b>\d{{1,2}})[-/.](?P<c>\d{{1,2}})(?:[T ,]\s*{_TIME}{_HALF}{_ZONE})?\s*")
_LOCAL = re.compile(
    rf"\s*(?P<a>\d{{1,4}})[-/. ](?P<b>\d{{1,2}})[-/. ](?P<c>\d{{2,4}})\.?(?:[T ,]+{_TIME}{_HALF}{_ZONE})?\s*"
)
_COMPACT = re.compile(
    r"\s*(?P<a>\d{4})(?P<b>\d{2})(?P<c>\d{2})"
    r"(?:T?(?P<hour>\d{2})(?:(?P<minute>\d{2})(?:(?P<second>\d{2})(?:\.(?P<part>\d{1,12}))?)?)?"
    rf"{_ZONE})?\s*"
)
_DATES = re.compile(r"\s*(\d{1,4})[-/. ](\d{1,2})[-/. ](\d{2,4})")
#: The two halves of a 12-hour clock, in lower case without blanks and dots.
HALVES = {
    **dict.fromkeys(
        ("am", "a", "vorm", "vm", "πμ", "上午", "午前", "오전", "ص", "fm", "de", "dop", "matin", "bd", "öö", "ap"), 0
    ),
    **dict.fromkeys(
        ("pm", "p", "nachm", "nm", "μμ", "下午", "午後", "오후", "م", "em", "du", "odp", "soir", "ös", "ip"), 12
    ),
}


class Stamp(NamedTuple):
    """An instant, or a day.

    Args:
        start: µs since 1970 in UTC.
        offset_min: minutes of the person's clock before UTC; None if not known.
        marks: what has to be said of it.
        end: of a day its other midnight; None for an instant.
    """

    start: int
    offset_min: int | None
    marks: tuple[str, ...] = ()
    end: int | None = None


def zone(name: str) -> ZoneInfo:
    """The zone of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError("timezone", name, "a name as Europe/Berlin (IANA time zone database)") from None


def epoch(number: float | int | str) -> int | None:
    """Seconds, milli-, micro- or nanoseconds since 1970, as a number or as text → µs; None if it is no such number.

    The size tells which: seconds stay below 10^11 until the year 5138, and milliseconds above it from March 1973 on.
    Whole numbers stay whole: nanoseconds exceed what a double holds.
    """
    if isinstance(number, str):
        number = number.strip()
        if not re.fullmatch(r"-?\d{1,20}(\.\d{1,12})?", number):
            return None
        number = float(number) if "." in number else int(number)
    if isinstance(number, bool) or number != number or abs(number) >= 1e20:
        return None
    for limit, per_second in ((1e11, 1), (1e14, 1000), (1e17, US)):
        if abs(number) < limit:
            return number * (US // per_second) if isinstance(number, int) else round(number * (US // per_second))
    return int(number) // 1000


def moment(instant: int, clock: bool = True) -> str:
    """Day and minute of µs since 1970, or the day alone; on which side of all calendars where there is no such date."""
    try:
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)
    except OverflowError:
        return "before year 1" if instant < 0 else "after year 9999"
    return when.isoformat(" ", "minutes")[: 16 if clock else 10]


def date_order(texts: Iterable[str]) -> str:
    """The order that a whole column shows: "dmy", "mdy" or "ymd"; "" where it allows several, or stamps contradict."""
    allowed = date_orders(texts)
    return allowed[0] if len(allowed) == 1 else ""


def date_orders(texts: Iterable[str]) -> tuple[str, ...]:
    """The orders that a whole column allows, of "dmy", "mdy" and "ymd"; none where its stamps contradict each other.

    A number over 12 is no month. 24/04/03 may be of 2024 or of 2003: such a column tells where the year stands if most
    numbers there are over 31, or if it takes a quarter as many values as the days, at most. Stamps may be damaged: what
    is no date in any order tells nothing, and one against ten does not count. Those that begin with a year of four
    digits need no order.
    """
    years = dates = day_first = month_first = short = over = late = 0
    firsts, lasts = set[int](), set[int]()  # where the year has two digits
    for text in texts:
        if not (found := _DATES.match(text)):
            continue
        a, b, c = map(int, found.groups())
        years += len(found[1]) == 4
        two = len(found[3]) == 2
        if len(found[1]) > 2 or len(found[3]) == 3 or not _is_some_date(a, b, c, two):
            continue
        dates += 1
        short += two
        over += a > 31
        if a <= 31:
            day_first += a > 12 >= b
            month_first += b > 12 >= a
            if two:
                late += c > 31
                firsts.add(a)
                lasts |= {c} if c <= 31 else set()
    if 2 * over >= max(1, short) or (years and not dates):
        return ("ymd",)
    if min(day_first, month_first) * MANY > max(day_first, month_first):
        return ()
    if month_first > day_first:
        return ("mdy",)
    if 2 * late >= short or len(firsts) >= 4 * len(lasts):
        return ("dmy",) if day_first else ("dmy", "mdy")
    if not day_first:
        return ORDERS
    return ("ymd",) if len(lasts) >= max(8, 4 * len(firsts)) else ("dmy", "ymd")


def _is_some_date(a: int, b: int, c: int, short: bool) -> bool:
    """Whether three numbers are a day in any order; ``short``: the last may be a day, since a year has two digits."""
    return (1 <= a <= 31 and b in MONTHS) or (a in MONTHS and 1 <= b <= 31) or (short and b in MONTHS and 1 <= c <= 31)


@lru_cache(100_000)
def _fixed(text: str) -> int | None:
    """µs at the full hour of "2018-09-10 02" + "-0700"; None if it is not of that form."""
    try:
        day = date.fromisoformat(text[:10]).toordinal() - EPOCH
        minutes = offset_minutes(text[13:])
        if minutes is None or not text[11:13].isdecimal() or text[11:13] > "23":
            return None
        return day * DAY + int(text[11:13]) * HOUR - minutes * MINUTE
    except ValueError:
        return None


class Clock:
    """Reads the stamps of one file.

    Args:
        told: the zone that was told; None: none was.
        order: how local dates are written where the year does not come first: "dmy" or "mdy".
        marks: put on every stamp that depends on ``order``.
        asked: takes "zone" and "order" as soon as a stamp depends on them.
    """

    def __init__(
        self, told: tzinfo | None = None, order: str = "", marks: tuple[str, ...] = (), asked: set[str] | None = None
    ) -> None:
        self.zone, self.order, self.marks = told, order, marks
        self.asked = set[str]() if asked is None else asked
        self._hours: dict[int, tuple[int, int]] = {}

    def read(self, text: str, after: int | None = None) -> Stamp | None:
        """A stamp as text, of any form but a bare number; None if it is none.

        Args:
            text: "2024-04-03T08:00:00+02:00", "03-04-2024 08:00", "4/13/2016 1:00:00 AM", "20240403".
            after: an instant that it is not before, where rows are in order of time: which of two 02:30 is meant. If
                both can be, and the first does not follow it at once, it is marked as without it.
        """
        if len(text) == 25 and text[10] == text[19] == " " and text[13] == text[16] == ":":  # Apple's, by the million
            hour, minute, second = _fixed(text[:13] + text[20:]), text[14:16], text[17:19]
            if hour is not None and minute.isdecimal() and second.isdecimal() and minute < "60" and second < "60":
                sign = -1 if text[20] == "-" else 1
                start = hour + int(minute) * MINUTE + int(second) * US
                return Stamp(start, sign * (int(text[21:23]) * 60 + int(text[23:25])))
        found = _ISO.fullmatch(text) or _COMPACT.fullmatch(text) or _LOCAL.fullmatch(text)
        return self._read(found.groupdict(), after) if found else None

    def _read(self, parts: dict[str, str | None], after: int | None) -> Stamp | None:
        year, month, day, marks = self._date(parts["a"] or "", parts["b"] or "", parts["c"] or "")
        try:
            days = date(year, month, day).toordinal() - EPOCH
        except ValueError:
            return None
        if parts["hour"] is None:
            return self.day(days, marks)
        time = _time(parts)
        if time is None:
            return None
        if parts["zone"] is None:
            return self.local(days * DAY + time, after, marks)
        if parts["zone"].strip() == "-00:00":  # RFC 3339: an instant, on a clock that is not known
            return Stamp(days * DAY + time, None)
        offset = offset_minutes(parts["zone"])
        return None if offset is None else Stamp(days * DAY + time - offset * MINUTE, offset, marks)

    def _date(self, a: str, b: str, c: str) -> tuple[int, int, int, tuple[str, ...]]:
        if len(a) == 4:
            return int(a), int(b), int(c), ()
        self.asked.add("order")
        if self.order == "ymd":
            return _year(a), int(b), int(c), self.marks
        year = int(c) if len(c) == 4 else _year(c)
        return (year, int(a), int(b), self.marks) if self.order == "mdy" else (year, int(b), int(a), self.marks)

    def local(self, wall: int, after: int | None = None, marks: tuple[str, ...] = ()) -> Stamp:
        """A local time → an instant.

        Args:
            wall: µs from 1970-01-01T00:00 to that time on the person's clock.
            after: an instant that it is not before.
            marks: to be put on it.
        """
        self._ask()
        if self.zone is None:
            return Stamp(wall, None, (*marks, "zone_assumed"))
        first, second = self._offsets(wall)
        if first > second and after is not None and wall - first * MINUTE - after <= AT_ONCE:  # it exists twice
            first = second if wall - first * MINUTE < after else first
        elif first != second:
            marks = (*marks, "clock_ambiguous" if first > second else "clock_missing")
        return Stamp(wall - first * MINUTE, first, marks)

    def day(self, days: int, marks: tuple[str, ...] = ()) -> Stamp:
        """A day of the person.

        Args:
            days: from 1970-01-01.
            marks: to be put on it besides ``date_only``.
        """
        self._ask()
        midnight, next_midnight = days * DAY, (days + 1) * DAY
        if self.zone is None:
            return Stamp(midnight, None, (*marks, "date_only"), next_midnight)
        first, last = self._offsets(midnight)[0], self._offsets(next_midnight)[0]
        return Stamp(midnight - first * MINUTE, first, (*marks, "date_only"), next_midnight - last * MINUTE)

    def offset(self, instant: int) -> int | None:
        """Minutes of the told zone before UTC at an instant; None where no zone was told."""
        if self.zone is None:
            return None
        self._ask()
        if not -62_000_000_000 * US < instant < 250_000_000_000 * US:
            return None
        moved = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)).astimezone(self.zone)
        return _minutes(moved.utcoffset())

    def _ask(self) -> None:
        if self.zone is not UTC:  # which readers take where the file tells the offset; a person tells ZoneInfo's
            self.asked.add("zone")

    def _offsets(self, wall: int) -> tuple[int, int]:
        """Offsets in minutes of the first and second reading of a local time; kept by quarter of an hour."""
        quarter = wall // (15 * MINUTE)
        if quarter not in self._hours:
            try:
                naive = datetime(1970, 1, 1) + timedelta(minutes=15 * quarter)
                both = [_minutes(naive.replace(tzinfo=self.zone, fold=fold).utcoffset()) for fold in (0, 1)]
            except OverflowError:
                both = [0, 0]
            self._hours[quarter] = (both[0], both[1])
        return self._hours[quarter]


def _year(digits: str) -> int:
    """Two digits: of this century, since no wearable is older; from 70 on that is not clear, and there is none."""
    return 2000 + int(digits) if int(digits) < 70 else 0


def offset_minutes(text: str) -> int | None:
    """Minutes before UTC of "+02:00", "UTC+0900", "-0430", "Z" or "UTC"; None if it is no such text."""
    text = text.strip().upper().replace("−", "-")
    text = text[3:] if text.startswith(("UTC", "GMT")) else text
    if text in ("", "Z"):
        return 0
    found = re.fullmatch(r"([+-])(\d{1,2})(?::?(\d{2}))?", text)
    if not found:
        return None
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return None if minutes > 18 * 60 else (-minutes if found[1] == "-" else minutes)


def _time(parts: dict[str, str | None]) -> int | None:
    """µs since midnight; None if there is no such time of day."""
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    half = parts.get("half")
    if half:
        later = HALVES.get("".join(half.lower().replace(".", " ").split()))
        if later is None or not 1 <= hour <= 12:
            return None
        hour = hour % 12 + later
    part = int((parts.get("part") or "0")[:6].ljust(6, "0"))
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second or part)):
        return None
    return hour * HOUR + minute * MINUTE + second * US + part


def _minutes(offset: timedelta | None) -> int:
    return 0 if offset is None else round(offset.total_seconds() / 60)
