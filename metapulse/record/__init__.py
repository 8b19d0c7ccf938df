"""A person's record: every export in, one canonical record out.

    from metapulse.record import import_files

    tally = import_files(["export.zip", "LibreView.csv"], "person.parquet")
    tally.table()  # every file: rows in, records out, what was counted away

The rows are described in schema.py, the metrics in metrics.csv; how to write a reader in readers/base.py.
"""

from __future__ import annotations
