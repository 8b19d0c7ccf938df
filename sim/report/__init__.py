"""Reports, one self-contained page each: about runs, a comparison with its tables, a record, a person's model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metapulse.errors import RunError
from metapulse.files import write_atomic

if TYPE_CHECKING:
    from metapulse.personal.person import PersonModel


def write_report(paths: Sequence[Path], page: Path) -> None:
    """Write ``page`` about the runs in the given folders.

    Args:
        paths: folders of runs, finished or not.
        page: the HTML file, replaced in one step.

    Raises:
        RunError: no folder, one of them holds no run, a file in it is damaged, or the page cannot be written.
    """
    from metapulse.sim.report.runs.page import runs_page
    from metapulse.sim.report.runs.run_data import read_runs

    if not paths:
        raise RunError("a report needs at least one run")
    write_atomic(page, runs_page(read_runs(paths)).encode())


def write_comparison_report(folder: Path) -> Path:
    """Write ``report.html`` and ``tables/`` from what a comparison's folder holds.

    Args:
        folder: of ``metapulse compare``, with comparison.json, results.parquet and costs.parquet.

    Returns:
        The page.

    Raises:
        RunError: one of the files is missing or damaged, or the folder cannot be written.
    """
    from metapulse.sim.report.comparison.folder import read_comparison_folder
    from metapulse.sim.report.comparison.page import comparison_page
    from metapulse.sim.report.comparison.tables import every_table
    from metapulse.sim.report.comparison.view import ComparisonView

    view = ComparisonView(read_comparison_folder(folder))
    made = every_table(view)
    (folder / "tables").mkdir(exist_ok=True)
    for table in (table for group in made.values() for table in group):
        write_atomic(folder / "tables" / f"{table.name}.csv", table.csv.encode())
        write_atomic(folder / "tables" / f"{table.name}.tex", table.tex.encode())
    write_atomic(folder / "report.html", comparison_page(view, made).encode())
    return folder / "report.html"


def write_record_page(record: Path, page: Path) -> None:
    """Write ``page`` about a person's record.

    Args:
        record: "person.parquet".
        page: the HTML file, replaced in one step.

    Raises:
        ConfigError: at ``page`` is the record, an export, a file that the record was read from, or a page of an earlier
            version or that was changed since it was written.
        DataError: no record, or one of another schema version.
        RunError: the page cannot be written.
    """
    from metapulse.record.frame import check_pages, undamaged
    from metapulse.record.overwrite import check_not_an_input
    from metapulse.record.store import metadata
    from metapulse.record.written import ended
    from metapulse.sim.report.record.clocks import clock_sentences
    from metapulse.sim.report.record.page import record_page

    check_not_an_input(page, record)
    with undamaged(record):
        facts = metadata(record)
        check_pages(record)
        made = record_page(record, clock_sentences(record, facts["tally"]["records"]))
    write_atomic(page, ended(made.encode()))


def write_person_page(model: PersonModel, record: str | Path, folder: str | Path) -> Path:
    """Write the page of a person's model into its folder, as ``report.html``.

    Args:
        model: the person's.
        record: "person.parquet".
        folder: of the model.

    Returns:
        The page.

    Raises:
        DataError: the record cannot be read, or lacks what the model forecasts.
        RunError: the page cannot be written.
    """
    from metapulse.sim.report.person.page import person_page
    from metapulse.sim.report.person.view import PersonView

    page = Path(folder) / "report.html"
    write_atomic(page, person_page(PersonView(model, Path(record))).encode())
    return page
