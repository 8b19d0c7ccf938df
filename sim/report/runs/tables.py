"""Tables of a report about runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metapulse.server.files import read_sealed
from metapulse.server.progress import STAGES
from metapulse.server.reasons import bare
from metapulse.server.reasons import kind as kind_of
from metapulse.sim.data_facts import FILE, fact_lines
from metapulse.sim.report.document import joined_markup, parts
from metapulse.sim.report.plots import metric_title
from metapulse.sim.report.runs.paired import Difference, paired_difference
from metapulse.sim.report.runs.run_data import Facet, RunData, metrics_of
from metapulse.sim.report.table import Rows, TableCell, html_table
from metapulse.sim.scores import NUMBERS, Score, number_text, scenario_title, score_grid


def run_name(place: int, run: RunData) -> TableCell:
    """A run's name with its colour."""
    return TableCell(run.label, place=place)


def final_scores(runs: Sequence[RunData], metric: str) -> str:
    """Scenario by scenario: every run before adaptation and after its last step, with interval and worst tenth."""
    grid = score_grid([run.final for run in runs], metric)
    rows: Rows = []
    for scenario, found in grid.rows.items():
        rows.append([scenario_title(scenario)])
        for place, (run, row) in enumerate(zip(runs, found, strict=True)):
            counts = sorted({int(score["clients"]) for score, _ in row if score})
            cells = [_score(score, best, len(counts) > 1) for score, best in row]
            rows.append([run_name(place, run), *cells, ", ".join(map(str, counts)) or "–"])
    titles = [f">{title}\n{f'{step} steps' if step else 'before adaptation'}" for title, _, step in grid.columns]
    return html_table(["", *titles, ">clients"], rows)


def other_scores(runs: Sequence[RunData]) -> str:
    """The same of every other metric that was chosen; "" where none was."""
    tables = [
        joined_markup(parts.lines([(None, metric_title(metric))], "h3"), final_scores(runs, metric))
        for metric in metrics_of(runs)[1:]
    ]
    return joined_markup(*tables)


def _score(score: Score | None, strong: bool, counted: bool) -> TableCell | str:
    """A mean with its interval and worst tenth; with its clients, where those of the row differ."""
    if score is None:
        return "–"
    mean, low, high, worst = (number_text(score[key], score["metric"]) for key in NUMBERS)
    clients = f"\n{score['clients']} clients" if counted else ""
    return TableCell(mean, f"[{low}, {high}]\nworst tenth {worst}{clients}", strong)


def paired_differences(facet: Facet, metric: str) -> str:
    """Row minus column for every two runs; "" where nothing can be paired."""
    rows: Rows = []
    any_pair = False
    for a in facet.lines:
        found = [None if a is b else paired_difference(a, b, metric) for b in facet.lines]
        any_pair |= any(found)
        rows.append([TableCell(a.label, place=a.colour), *(_difference(d, metric) for d in found)])
    if not any_pair:
        return ""
    head = ["row − column", *(f">{line.label}" for line in facet.lines)]
    return joined_markup(parts.lines([(None, facet.title)], "h4"), html_table(head, rows))


def _difference(d: Difference | None, metric: str) -> TableCell:
    if d is None:
        return TableCell("·", kind="muted")
    mean, low, high = (number_text(value, metric, "+") for value in (d.mean, d.low, d.high))
    return TableCell(mean, f"[{low}, {high}]", kind="clear" if d.clear else "")


def dropped_replies(runs: Sequence[RunData]) -> str:
    """Replies that were refused, by reason, with an example; a sentence where there were none."""
    rows: Rows = []
    for place, run in enumerate(runs):
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for event in run.dropped:
            groups.setdefault(kind_of(str(event.get("reason", ""))), []).append(event)
        for events in sorted(groups.values(), key=len, reverse=True):
            clients = sorted({int(e.get("client", -1)) for e in events})
            rounds = sorted({int(e.get("round", 0)) for e in events})
            reason = bare(str(events[0].get("reason", "")))
            rows.append(
                [
                    run_name(place, run),
                    str(len(events)),
                    str(len(clients)),
                    f"{rounds[0]}–{rounds[-1]}" if len(rounds) > 1 else str(rounds[0]),
                    TableCell(reason, f"client {_some(clients)}", kind="wide"),
                ]
            )
    if not rows:
        return joined_markup(parts.lines([(None, "None: every reply of every round passed its checks.")]))
    return html_table(["run", ">replies", ">clients", "rounds", "why (an example)"], rows)


def _some(clients: Sequence[int]) -> str:
    named = ", ".join(map(str, clients[:6]))
    return named + (f" and {len(clients) - 6} more" if len(clients) > 6 else "")


def round_times(runs: Sequence[RunData]) -> str:
    """Rounds, clients and seconds of every run."""
    rows: Rows = []
    for place, run in enumerate(runs):
        seconds = np.array([float(e.get("seconds") or 0.0) for e in run.rounds])
        asked = sum(int(e.get("asked") or 0) for e in run.rounds)
        if not len(seconds):
            continue
        numbers = (
            f"{len(seconds)}",
            f"{asked}",
            f"{seconds.sum():.1f} s",
            f"{1000 * np.median(seconds):.0f} ms",
            f"{1000 * np.percentile(seconds, 95):.0f} ms",
            f"{asked / max(seconds.sum(), 1e-9):.0f}",
        )
        rows.append([run_name(place, run), *numbers])
    head = ["run", ">rounds", ">client updates", ">training time", ">median round", ">95th percentile", ">clients/s"]
    return html_table(head, rows)


def stage_times(runs: Sequence[RunData]) -> str:
    """Milliseconds a round and shares by stage; "" where no log says."""
    shown = [stage for stage in STAGES if any(stage in run.stages for run in runs)]
    rows: Rows = []
    for place, run in enumerate(runs):
        if run.stages and run.rounds:
            whole = max(sum(run.stages.values()), 1e-9)
            cells = [_milliseconds(run.stages.get(stage), whole, len(run.rounds)) for stage in shown]
            rows.append([run_name(place, run), *cells])
    return html_table(["run", *(f">{STAGES[stage]}" for stage in shown)], rows) if rows else ""


def _milliseconds(seconds: float | None, whole: float, rounds: int) -> TableCell | str:
    return "–" if seconds is None else TableCell(f"{1000 * seconds / rounds:.3g} ms", f"{seconds / whole:.1%}")


def provenance(runs: Sequence[RunData]) -> str:
    """What was run: learner and strategy with the settings that matter most, model, data, rounds, seed."""
    rows: Rows = []
    for place, run in enumerate(runs):
        config = run.config
        model = _named(config, "model", "hidden", "channels")
        size = f"{run.parameters} meta-parameters" if run.parameters else ""
        learner = _named(config, "learner", "inner_lr", "inner_steps")
        free = "a combination of its own (method.free)" if config.get("method", {}).get("free") else ""
        rows.append(
            [
                replace(run_name(place, run), badge="" if run.finished else "unfinished"),
                replace(learner, detail="\n".join(filter(None, [learner.detail, free]))),
                _named(config, "strategy", "outer", "lr", "cohort"),
                replace(model, detail="\n".join(filter(None, [model.detail, size]))),
                _named(config, "source", "users"),
                str(config["run"].get("rounds")),
                str(config["run"].get("seed")),
            ]
        )
    return html_table(["run", "learner", "strategy", "model", "data", ">rounds", ">seed"], rows)


def _named(config: Mapping[str, Any], section: str, *keys: str) -> TableCell:
    """A section's name, and under it some of its settings."""
    chosen = config.get(section, {})
    return TableCell(str(chosen.get("name")), ", ".join(f"{key} {chosen[key]}" for key in keys if key in chosen))


def data_tables(runs: Sequence[RunData]) -> str:
    """One table for each kind of data; "" where no folder says anything.

    Raises:
        RunError: a file of facts is damaged.
    """
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for run in runs:
        if (run.path / FILE).exists():
            facts = tuple((name, text) for name, text in fact_lines(read_sealed(run.path / FILE)))
            found.setdefault(facts, []).append(run.label)
    content = []
    for rows, labels in found.items():
        content += [
            parts.lines([(None, ", ".join(labels))] if len(found) > 1 else []),
            html_table(["", ""], [[name, TableCell(text, kind="wide")] for name, text in rows]),
        ]
    return joined_markup(*content)
