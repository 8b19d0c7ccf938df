"""What ``import metapulse as mp`` offers of the command line: the same folders, and results that show themselves.

>>> result = mp.run("configs/main.toml", out="runs/mine", run={"rounds": 50})
>>> result  # the table of final scores
>>> result["maml"].model(person="17").predict(x)
>>> result.report()  # runs/mine/report.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metapulse.errors import ConfigError, MetapulseError, RunError
from metapulse.sim.process import set_process_defaults

if TYPE_CHECKING:
    from metapulse.sim.cells import Cell
    from metapulse.sim.results import ComparisonResult, Result


def run(
    config: str | Path,
    out: str | Path | None = None,
    *,
    sets: Sequence[str] = (),
    seed: int | None = None,
    workers: int | None = None,
    quiet: bool = False,
    track: Sequence[str] = (),
    **settings: Mapping[str, Any],
) -> Result:
    """Run a configuration, or every method of it, into a new folder.

    The process computes with one thread while it runs, as the command line does: the numbers are the same.

    Args:
        config: TOML file.
        out: the folder; None: runs/NAME-SEED, with a number appended where that is taken.
        sets: ``section.key=value`` each, as after ``--set``.
        seed: of the run; None: as configured.
        workers: Ray actors; None: as configured.
        quiet: show no progress.
        track: trackers, by name: tensorboard, wandb, mlflow.
        settings: sections laid over the file's: ``run={"rounds": 50}, learner={"name": "reptile"}``.

    Raises:
        ConfigError: names the setting, its value and what is allowed.
        RunError: the folder is taken.
        MetapulseError: every run failed.
    """
    set_process_defaults()
    from metapulse.server.lock import alone
    from metapulse.sim.suite import new_cells, new_folder, read_suite
    from metapulse.sim.tracking import chosen

    chosen(track)  # refused before anything is made
    suite = read_suite(Path(config), sets, laid_over(settings, {"run": {"seed": seed}, "engine": {"workers": workers}}))
    folder = new_folder(suite) if out is None else Path(out)
    with one_thread(), alone(folder):
        return _collect(new_cells(suite, folder), folder, quiet, track)


def laid_over(settings: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Sections to lay over a configuration, and over these what has an argument of its own and was given."""
    for section, keys in settings.items():
        if not isinstance(keys, Mapping):
            raise ConfigError(section, keys, 'expected a section of the configuration, as in run={"rounds": 50}')
    found = {section: dict(keys) for section, keys in settings.items()}
    for section, keys in named.items():
        if given := {key: value for key, value in keys.items() if value is not None}:
            found.setdefault(section, {}).update(given)
    return found


def resume(path: str | Path, *, quiet: bool = False, track: Sequence[str] = ()) -> Result:
    """Finish what was interrupted in a folder; finished runs are only read. A tracker goes on in its own run.

    Args:
        path: folder of a run or of a suite.
        quiet: show no progress.
        track: trackers, by name.

    Raises:
        RunError: the folder holds no run, or one of another configuration, data or code.
        MetapulseError: every run failed.
    """
    set_process_defaults()
    from metapulse.server.lock import alone
    from metapulse.sim.suite import saved_cells
    from metapulse.sim.tracking import chosen

    chosen(track)  # refused before anything is done
    folder = Path(path)
    cells = saved_cells(folder)
    with one_thread(), alone(folder):
        return _collect(cells, folder, quiet, track)


def compare(
    spec: str | Path,
    out: str | Path | None = None,
    *,
    workers: int = 0,
    only: Sequence[str] = (),
    quiet: bool = False,
    track: Sequence[str] = (),
) -> ComparisonResult:
    """Compare methods × data sets × seeds: run what has not been run yet, then tables, verdict and page.

    Args:
        spec: TOML file (docs/lab.md).
        out: folder of the comparison, new or begun; None: compare/NAME.
        workers: runs at once, one core each; 0 and 1: this process.
        only: patterns of DATASET/METHOD/SEED, with * for any.
        quiet: show no progress.
        track: trackers, by name.

    Raises:
        ConfigError: names the key, its value and what is allowed.
        RunError: the folder holds something else, or no run has come to its end.
    """
    set_process_defaults()
    from rich.console import Console

    from metapulse.sim.comparison_runner import ComparisonRunner
    from metapulse.sim.lab.spec import read_spec
    from metapulse.sim.progress import display
    from metapulse.sim.results import ComparisonResult
    from metapulse.sim.tracking import chosen

    chosen(track)  # refused before anything runs
    console = Console(stderr=True, quiet=quiet)
    asked = read_spec(Path(spec))
    folder = Path("compare") / asked.name if out is None else Path(out)
    with one_thread():
        runner = ComparisonRunner(asked, folder, workers, lambda *batch: display(*batch, console=console), track)
        said, failures = runner.run(only)
    failed = {f"{f.cell.dataset}/{f.cell.method}/{f.cell.seed}": f.error for f in failures}
    if said is None:
        raise RunError(f"{folder}: no run has come to its end" + "".join(f"; {k}: {v}" for k, v in failed.items()))
    return ComparisonResult(folder, said, failed)


def report(*folders: str | Path, out: str | Path | None = None) -> Path:
    """Write one self-contained page about one or several runs; where it is.

    Args:
        folders: of runs or suites, one at least.
        out: the page; None: report.html in the folder, or in the current one for several.

    Raises:
        RunError: a folder holds no run, or a file in it is damaged.
    """
    set_process_defaults()
    from metapulse.sim.report import write_report
    from metapulse.sim.suite import saved_cells

    paths = [cell.path for folder in folders for cell in saved_cells(Path(folder))]
    page = Path(out) if out is not None else Path(folders[0] if len(folders) == 1 else "") / "report.html"
    write_report(paths, page)
    return page


def load(path: str | Path, *, data: str | Path | None = None) -> Result:
    """The result in the folder of a run or a suite; runs that are unfinished, or came to nothing, are in ``failed``.

    Args:
        path: the folder.
        data: where ``source.path`` lies now; None: where it lay. It is read when a person is asked for.

    Raises:
        RunError: the folder holds no run, or none that is finished.
    """
    set_process_defaults()
    from metapulse.server.result import failure
    from metapulse.sim.results import Result
    from metapulse.sim.suite import saved_cells

    moved = {} if data is None else {"source": {"path": str(Path(data).expanduser().absolute())}}
    found = saved_cells(Path(path), moved)
    done = {cell.name: (cell.config, cell.path) for cell in found if cell.finished}
    if not done:
        raise RunError(f"{path} holds no finished run; finish it: metapulse resume {path}")
    result = Result(Path(path), done)
    failed = {name: failure(summary) for name, summary in result.summaries.items()}
    failed |= {cell.name: "not finished" for cell in found if cell.name not in done}
    return Result(Path(path), done, {name: why for name, why in failed.items() if why})


def _collect(cells: Sequence[Cell], folder: Path, quiet: bool, track: Sequence[str]) -> Result:
    from rich.console import Console

    from metapulse.sim.progress import display
    from metapulse.sim.results import Result
    from metapulse.sim.runner import run_cells

    console = Console(stderr=True, quiet=quiet)
    ended = list(run_cells(cells, lambda *batch: display("", *batch, console=console, rounds=True), track=track))
    failed = {one.cell.name: one.error for one in ended if one.error}
    if len(failed) == len(ended):
        raise MetapulseError("; ".join(f"{name}: {error}" for name, error in failed.items()))
    done = {one.cell.name: (one.cell.config, one.cell.path) for one in ended if one.summary is not None}
    return Result(folder, done, failed)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes with one thread inside, so that sums do not depend on the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
