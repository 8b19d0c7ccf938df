"""Every method's tuning on every data set, rung by rung: all studies' trials of a rung are one batch of cells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from metapulse.server.folder import RunFolder
from metapulse.server.metatest import Row
from metapulse.sim.cells import Cell
from metapulse.sim.lab.cells import RunInputs, addressed
from metapulse.sim.lab.space import nested_table
from metapulse.sim.lab.spec import ComparisonSpec
from metapulse.sim.lab.tuning import Study, TrialScore, judge, plain_scores

#: A data set and a method.
Pair: TypeAlias = tuple[str, str]


def studies(spec: ComparisonSpec) -> dict[Pair, Study]:
    """One for each method with a search space on each data set; none where the specification asks for no trials.

    The runs of trials have seeds that the comparison does not use. The reference has more trials than the others.
    """
    if not spec.tuning.trials:
        return {}
    made = {}
    for dataset, method in spec.pairs:
        if space := spec.space(dataset, method):
            rounds, tuning = spec.config(dataset, method, spec.seeds[0]).run.rounds, spec.tuning
            if method == spec.reference:
                tuning = replace(tuning, trials=tuning.trials * tuning.reference_trials)
            left = spec.untouched(dataset, method)
            made[dataset, method] = Study(dataset, method, space, rounds, spec.tuning_seeds, tuning, left)
    return made


def tune(
    spec: ComparisonSpec,
    wanted: Collection[Pair],
    folder: Path,
    run: Callable[[str, Sequence[Cell]], object],
    inputs: RunInputs | None = None,
) -> tuple[dict[Pair, dict[str, Any]], list[dict[str, Any]]]:
    """Run all studies to their end.

    Args:
        wanted: whose trials may be run; the other studies are told of trials that are finished, and end with the first
            one that is not.
        run: does a batch of cells, which has a name.
        inputs: gives data and code of a configuration; left out: looked at anew.

    Returns:
        (data set, method) → change that was chosen, of the studies that came to an end; and what was tried, for
        tuning.json.
    """
    open_, found, known = studies(spec), dict[Pair, list[Mapping[int, TrialScore]]](), inputs or RunInputs()
    for rung in range(max((len(study.rungs) for study in open_.values()), default=0)):
        batch = {pair: _trials(spec, folder, study, found.get(pair, []), known) for pair, study in open_.items()}
        asked = {pair: [cell for runs in trials.values() for cell in runs] for pair, trials in batch.items()}
        run(f"tuning, rung {rung + 1}", [cell for pair in asked if pair in wanted for cell in asked[pair]])
        for pair, trials in batch.items():
            if pair not in wanted and not all(cell.finished for cell in asked[pair]):
                del open_[pair]
            elif trials:
                (main,) = {cell.config.evaluation.main_metric for cell in asked[pair]}
                rows = {n: [_rows(cell) for cell in runs] for n, runs in trials.items()}
                found.setdefault(pair, []).append(judge(rows, main))
    scores = {pair: [plain_scores(one) for one in found[pair]] for pair in open_}
    chosen = {pair: nested_table(study.chosen(scores[pair])) for pair, study in open_.items()}
    return chosen, [study.record(found[pair]) for pair, study in open_.items()]


def _trials(
    spec: ComparisonSpec,
    folder: Path,
    study: Study,
    found: Sequence[Mapping[int, TrialScore]],
    inputs: RunInputs,
) -> dict[int, list[Cell]]:
    """A study's next cells by number of the trial, one for each seed; each looks at validation people at its end."""
    cells: dict[int, list[Cell]] = {}
    for trial in study.trials([plain_scores(rung) for rung in found]):
        once = {"validation_every": max(1, trial.change["run"]["rounds"])}
        change = {**trial.change, "evaluation": trial.change["evaluation"] | once}
        for seed in study.seeds:
            config = spec.config(study.dataset, study.method, seed, change)
            cell = addressed(folder, study.dataset, study.method, config, inputs(config), trial.number)
            cells.setdefault(trial.number, []).append(cell)
    return cells


def _rows(cell: Cell) -> list[Row] | None:
    return RunFolder(cell.path).metrics() if cell.finished else None
