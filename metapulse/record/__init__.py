"""A person's record: every export in, one canonical record out.

    from metapulse.record import Options, import_files, zone

    tally = import_files([Path("export.zip")], Path("person.parquet"), Options(zone("Europe/Berlin")))
    tally.table()  # every file: rows in, records out, what was counted away

The rows are described in schema.py, the metrics in metrics.csv; how to write a reader in readers/base.py.
"""

from __future__ import annotations

from metapulse.record.clock import zone
from metapulse.record.look import look
from metapulse.record.merge import merge_records
from metapulse.record.readers.base import Options
from metapulse.record.schema import MARKS, Device, Row
from metapulse.record.store import import_files, metadata

__all__ = ["MARKS", "Device", "Options", "Row", "import_files", "look", "merge_records", "metadata", "zone"]
