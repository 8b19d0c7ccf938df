"""FHIR R4: a bundle of Observations and Devices; as bulk data, a resource a line, after a byte order mark."""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.exported import METRICS, exported_text, says


def write(rows: Sequence[Row], making: Making) -> None:
    """With traps: resources that are no values between the others, and a line that is torn off."""
    if not rows:
        return
    if not making.traps:
        (making.folder / "bundle.json").write_text(exported_text(rows, "fhir", "bundle.json"), encoding="utf-8")
        return
    lines = exported_text(rows, "fhir", "bulk.ndjson").splitlines()
    lines.insert(int(making.rng.integers(1, len(lines) + 1)), '{"resourceType": "Condition", "id": "c"}')
    text = "\ufeff" + "\r\n".join([*lines, '{"resourceType": "Observation", "id": "torn", "st'])
    (making.folder / "bulk.ndjson").write_text(text, encoding="utf-8", newline="")


FORMAT = Format("fhir", "FHIR R4: Observations", METRICS, says, write)
