"""Our own CSV: time, metric, value, unit, and all that a row can say beside them."""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.exported import METRICS, exported_text, says


def write(rows: Sequence[Row], making: Making) -> None:
    """With traps: a byte order mark, other line ends, and a line that is torn off."""
    if not rows:
        return
    text = exported_text(rows, "csv", "a.csv")
    if making.traps:
        text = "\ufeff" + text.replace("\r\n", "\n").replace("\n", "\r\n") + "2024-04-03T08:0"
    (making.folder / "own.csv").write_text(text, encoding="utf-8", newline="")


FORMAT = Format("own", "Our own CSV: time, metric, value, unit", METRICS, says, write)
