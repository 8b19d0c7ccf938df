"""Lines of a growing file or a pipe → readings: CSV with a header or NDJSON, one reading a line.

    time,metric,value,unit,device                          {"time": "2024-04-03T08:00:00Z", "metric": "glucose",
    2024-04-03T08:00:00+02:00,glucose,6.1,mmol/L,Acme 2      "value": 110, "unit": "mg/dL"}

``device`` and ``firmware`` may be missing. The CSV is what ``metapulse record export --to csv`` writes.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from metapulse.personal.stream_state import Reading
from metapulse.record.clock import Clock, epoch
from metapulse.record.columns import EARLIEST, LATEST
from metapulse.record.readers.own import NEEDED
from metapulse.record.readers.text import number
from metapulse.record.recipes.base import UNUSED
from metapulse.record.units import conversion

LONGEST = 2**16  # bytes of a line; a longer one is no reading
CODED = "readings with a code, such as scans, or a mark of doubt"
SEPARATORS = (",", ";", "\t")


@dataclass
class LineCutter:
    """Cuts bytes into lines as they come; what has no end yet waits, in bounded memory."""

    rest: bytes = b""
    dropped: int = 0  # bytes of a line that is too long, so far

    def cut(self, chunk: bytes) -> Iterator[tuple[bytes | None, int]]:
        """Lines that have come to their end, and how many bytes each was; None: it was too long."""
        *lines, rest = (self.rest + chunk).split(b"\n")
        self.rest = b""
        for line in lines:
            size = self.dropped + len(line) + 1
            yield (line if size <= LONGEST else None), size
            self.dropped = 0
        self.rest = rest
        if len(self.rest) > LONGEST:
            self.dropped, self.rest = self.dropped + len(self.rest), b""


@dataclass
class LineReader:
    """Reads lines.

    Args:
        metric: what readings are of.
        columns: of a CSV, in lower case, as its header had them; (): none has come.
        separator: between its cells.
    """

    metric: str
    columns: tuple[str, ...] = ()
    separator: str = ","
    clock: Clock = field(default_factory=Clock)

    def read(self, line: bytes) -> Reading | str:
        """The reading of a line, or why it is none; "": the line is empty or a header."""
        text = line.decode("utf-8", "replace").strip().lstrip("\ufeff")
        if not text:
            return ""
        if text.startswith("{"):
            return self._of_json(text)
        if found := _header(text):
            self.separator, self.columns = found
            return ""
        if not self.columns:
            return "lines before a header that are no JSON object"
        try:
            cells = next(csv.reader([text], delimiter=self.separator))
        except (csv.Error, StopIteration):
            return "lines that are no CSV"
        if len(cells) < len(NEEDED):
            return "lines with too few cells"
        return self._of_cells({name: cell.strip() for name, cell in zip(self.columns, cells, strict=False)})

    def _of_json(self, text: str) -> Reading | str:
        try:
            given = json.loads(text)
        except (ValueError, RecursionError):
            return "lines that are no JSON"
        cells = {str(k).lower(): "" if v is None else str(v) for k, v in given.items() if not isinstance(v, bool)}
        return self._of_cells(cells)

    def _of_cells(self, cells: dict[str, str]) -> Reading | str:
        if cells.get("metric") != self.metric:
            return "readings of other metrics"
        if cells.get("code") or set(cells.get("quality", "").split()) & set(UNUSED):
            return CODED
        time = self._time(cells.get("time", ""))
        if isinstance(time, str):
            return time
        how = conversion(self.metric, cells.get("unit") or None)
        if not how.known:
            return "units that are not known, or of something else"
        value = number(cells.get("value", ""))
        value = math.nan if value is None else value * how.scale + how.shift
        return Reading(time, value, cells.get("device", ""), cells.get("firmware", ""))

    def _time(self, text: str) -> int | str:
        instant = epoch(text) if len(text) > 8 else None
        if instant is None:
            stamp = self.clock.read(text) if text[:4].isdigit() else None
            if stamp is None or stamp.end is not None:
                return "times that are neither ISO 8601 nor a number since 1970"
            if "zone_assumed" in stamp.marks:
                return "times without a zone"
            instant = stamp.start
        return instant if EARLIEST <= instant < LATEST else "times before 1995 or after 2100"


def _header(text: str) -> tuple[str, tuple[str, ...]] | None:
    """Separator and columns of a line that names the four that are needed."""
    for separator in SEPARATORS:
        cells = tuple(cell.strip().strip('"').lower() for cell in text.split(separator))
        if set(cells) >= NEEDED:
            return separator, cells
    return None
