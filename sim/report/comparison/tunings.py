"""Tables of tuning: what every method's search came to, and each trial of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

import polars as pl

from metapulse.sim.report.comparison.view import ComparisonView
from metapulse.sim.report.table import ReportTable, TableCell, file_name
from metapulse.sim.scores import minus, scenario_title, shots_name

HEAD = (
    *("data set", "method", ">trials", ">seeds of each", ">as specified", ">best", ">sd between its seeds"),
    *(">sd between trials", "chosen"),
)


def tuning_summary(view: ComparisonView, studies: Sequence[Mapping[str, Any]]) -> ReportTable:
    """A row for every data set and method that was tuned: effort, the best score, how sure it is, what was chosen.

    Args:
        studies: records as in tuning.json.
    """
    rows: list[tuple[TableCell | str, ...]] = []
    records: list[dict[str, Any]] = []
    for record in studies:
        facts = _facts(record)
        failed = f"{facts['failed']} failed" if facts["failed"] else ""
        steps = ", ".join(f"{_question(q)}: {step}" for q, step in record["steps"].items())
        told = [f"adaptation steps {steps}"] if steps else []
        if record["untouched"]:
            told.append(f"left alone, while others tune it: {', '.join(record['untouched'])}")
        method = record["method"]
        rows.append(
            (
                record["dataset"],
                TableCell(method, view.role(method), place=view.place(method)),
                TableCell(str(facts["trials"]), failed),
                str(len(record["seeds"])),
                *(_number(facts[key]) for key in ("own", "best", "seeds_sd", "trials_sd")),
                TableCell(_settings(record["chosen"]), "\n".join(told), kind="wide"),
            )
        )
        records.append({"dataset": record["dataset"], "method": method, **facts, "chosen": _settings(record["chosen"])})
    frame = pl.DataFrame(records, infer_schema_length=None)
    return ReportTable("tuned", "What tuning came to", HEAD, tuple(rows), frame)


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of a study: of the last rung its best and, if it came so far, the method's own; of the first the spread.

    Trials of the last rung alone are comparable with the best: they ran as many rounds.
    """
    trials, rungs = record["trials"], len(record["rounds"])
    last = [trial for trial in trials if len(trial["scores"]) == rungs]
    best = next(trial for trial in last if trial["settings"] == record["chosen"])
    first = [score for trial in trials if (score := trial["scores"][0]) is not None]
    return {
        "trials": len(trials),
        "failed": sum(None in trial["scores"] for trial in trials),
        "seeds": len(record["seeds"]),
        "own": trials[0]["scores"][-1] if trials[0] in last else None,
        "best": best["scores"][-1],
        "seeds_sd": _sd(best["by_seed"][-1]),
        "trials_sd": _sd(first),
    }


def _sd(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def tuning_table(record: Mapping[str, Any]) -> ReportTable:
    """What was tried for one method on one data set; a row per trial, the chosen one bold.

    Args:
        record: of the study, as in tuning.json.
    """
    dataset, method, rungs = record["dataset"], record["method"], record["rounds"]
    rows: list[tuple[TableCell | str, ...]] = []
    records: list[dict[str, Any]] = []
    for trial in record["trials"]:
        words, behind = _settings(trial["settings"]), len(rungs) - len(trial["scores"])
        values = [*trial["scores"], *[None] * behind]
        each = [*trial["by_seed"], *[[]] * behind]
        cells = [_score(value, seeds) for value, seeds in zip(values, each, strict=True)]
        rows.append((str(trial["number"]), TableCell(words, strong=trial["settings"] == record["chosen"]), *cells))
        named: dict[str, Any] = {f"score_round_{rung}": value for rung, value in zip(rungs, values, strict=True)}
        for rung, seeds in zip(rungs, each, strict=True):
            named |= {
                f"score_round_{rung}_seed_{seed}": seeds[i] if seeds else None for i, seed in enumerate(record["seeds"])
            }
        records.append({"dataset": dataset, "method": method, "trial": trial["number"], "settings": words, **named})
    head = ("trial", "settings", *(f">score after round {rung}" for rung in rungs))
    frame = pl.DataFrame(records, infer_schema_length=None)
    return ReportTable(file_name("tuning", f"{dataset}-{method}"), f"{dataset}: {method}", head, tuple(rows), frame)


def _score(value: float | None, by_seed: Sequence[float]) -> TableCell | str:
    return _number(value) if len(by_seed) < 2 else TableCell(_number(value), ", ".join(map(_number, by_seed)))


def _number(value: float | None) -> str:
    return "–" if value is None else minus(f"{value:.4g}")


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_short(value)}" for key, value in settings.items()) or "as specified"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _question(name: str) -> str:
    """A question of a record, as "new_user/5", in words."""
    scenario, _, shots = name.rpartition("/")
    return f"{scenario_title(scenario).lower()} at {shots_name(int(shots))}"
