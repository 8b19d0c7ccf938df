"""Open mHealth: data points, a line each or in an array, some of them uploaded twice."""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.exported import METRICS, exported_text, says


def write(rows: Sequence[Row], making: Making) -> None:
    """With traps: points that came twice, at the end."""
    if not rows:
        return
    if not making.traps:
        (making.folder / "points.json").write_text(exported_text(rows, "openmhealth", "a.json"), encoding="utf-8")
        return
    lines = exported_text(rows, "openmhealth", "a.jsonl").splitlines()
    again = [line for line in lines if making.rng.random() < 0.1]
    (making.folder / "points.jsonl").write_text("\r\n".join([*lines, *again]) + "\n\n", encoding="utf-8", newline="")


FORMAT = Format("openmhealth", "Open mHealth: data points", METRICS, says, write)
