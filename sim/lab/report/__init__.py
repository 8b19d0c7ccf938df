"""The report of a comparison: one self-contained page, and every table as CSV and LaTeX."""

from __future__ import annotations

from pathlib import Path

from metapulse.files import write_atomic


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and ``tables/`` from what a comparison's folder holds.

    Args:
        folder: of ``metapulse compare``, with comparison.json, results.parquet and costs.parquet.

    Returns:
        The page.

    Raises:
        RunError: one of the files is missing or damaged, or the folder cannot be written.
    """
    from metapulse.sim.lab.report.folder import read_lab
    from metapulse.sim.lab.report.page import render
    from metapulse.sim.lab.report.tables import every
    from metapulse.sim.lab.report.view import View

    view = View(read_lab(folder))
    made = every(view)
    (folder / "tables").mkdir(exist_ok=True)
    for table in (table for group in made.values() for table in group):
        write_atomic(folder / "tables" / f"{table.name}.csv", table.csv.encode())
        write_atomic(folder / "tables" / f"{table.name}.tex", table.tex.encode())
    write_atomic(folder / "report.html", render(view, made).encode())
    return folder / "report.html"
