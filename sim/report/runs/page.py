"""The page about runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metapulse.server.config_text import to_toml
from metapulse.sim.levelling import levelling
from metapulse.sim.report.document import Page, document, joined_markup, parts
from metapulse.sim.report.plots import metric_title
from metapulse.sim.report.runs import figures, tables
from metapulse.sim.report.runs.privacy import privacy_table
from metapulse.sim.report.runs.run_data import Facet, RunData, facets, metric_of
from metapulse.sim.scores import beside


def runs_page(runs: Sequence[RunData]) -> str:
    """The whole page, as runs.html has it."""
    shown = facets(runs)
    sources = ", ".join(sorted({str(run.config.get("source", {}).get("name")) for run in runs}))
    return document(
        Page(),
        "metapulse report",
        runs[0].label if len(runs) == 1 else f"{len(runs)} runs on {sources}",
        _facts(runs, sources),
        _legend(runs, shown),
        template="runs.html",
        runs=runs,
        facets=shown,
        metric=metric_of(runs),
        metric_title=metric_title,
        several_rounds=len({score["round"] for run in runs for score in run.scores}) > 1,
        remarks=list(_remarks(runs)),
        levels=[
            (i, f"{run.label} {levelling(run.events, run.scores, run.chosen[1])}")
            for i, run in enumerate(runs)
            if run.rounds
        ],
        figures=figures,
        tables=tables,
        privacy_table=privacy_table,
        to_toml=to_toml,
    )


def _remarks(runs: Sequence[RunData]) -> Iterator[tuple[int, str]]:
    """Who is in no mean and why, and which replies did not count, run by run."""
    for place, run in enumerate(runs):
        yield from ((place, f"{run.label}: {line}") for line in beside(run.told))


def _facts(runs: Sequence[RunData], sources: str) -> list[tuple[str, str]]:
    def several(key: str) -> str:
        return ", ".join(sorted({str(run.config["run"].get(key)) for run in runs}))

    evaluation = runs[0].config["evaluation"]
    shots = ", ".join(map(str, evaluation.get("shots", [])))
    return [
        ("data", sources),
        ("rounds", several("rounds")),
        ("seed", several("seed")),
        ("held-out people", str(evaluation.get("phase"))),
        ("shots", shots),
        ("episodes per client", str(evaluation.get("episodes"))),
        *_software(runs),
    ]


def _software(runs: Sequence[RunData]) -> list[tuple[str, str]]:
    """Versions and commit; several where the runs differ."""
    found: dict[str, set[str]] = {}
    for run in runs:
        versions = run.environment.get("versions", {})
        for name in ("metapulse", "flwr", "torch"):
            if name in versions:
                found.setdefault(name, set()).add(str(versions[name]))
        if run.environment.get("git"):
            found.setdefault("commit", set()).add(str(run.environment["git"]))
    return [(name, ", ".join(sorted(values))) for name, values in found.items()]


def _legend(runs: Sequence[RunData], shown: Sequence[Facet]) -> str:
    """Buttons that show and hide a run (or, of a single run, a number of shots) in every figure."""
    names = {line.colour: line.label for facet in shown for line in facet.lines} or dict(
        enumerate(r.label for r in runs)
    )
    buttons = [(place, name, True) for place, name in sorted(names.items())]
    return joined_markup(parts.legend(buttons if len(buttons) > 1 else []))
