"""The page about runs: its sections, in order."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from metapulse.sim.levelling import levelling
from metapulse.sim.report import figures, tables
from metapulse.sim.report.data import data
from metapulse.sim.report.document import Page, document
from metapulse.sim.report.privacy import privacy
from metapulse.sim.report.runs import Panel, RunData, metric_of, panels
from metapulse.sim.report.style import HIDING
from metapulse.sim.scores import beside


def render(runs: Sequence[RunData]) -> str:
    """The whole page."""
    page, metric, shown = Page(), metric_of(runs), panels(runs)
    about = "Learner and strategy of every run, its model and its data."
    page.add("What was run", about, tables.provenance(runs))
    if facts := data(runs):
        page.add("Data", "Who the data are of, what a sample is, and what was left out.", facts)
    if metric:
        _results(page, runs, shown, metric)
    else:
        page.add("No meta-test yet", "Scores and curves appear once a meta-test has been written.", " ")
    _course(page, runs)
    page.add(
        "Privacy",
        "What the people of the training risk by the release of θ, and of all that is written here: (ε, δ) after the"
        " rounds that have begun, noise multiplier σ, norm C to which updates are clipped (the last one where it"
        " adapts), share q of N people expected in a round. Held-out people, whose scores these are, are not covered.",
        privacy(runs),
    )
    page.add("Settings", "The resolved configuration of every run, as TOML.", tables.settings(runs))
    return _document(page, runs, shown)


def _results(page: Page, runs: Sequence[RunData], shown: Sequence[Panel], metric: str) -> None:
    title = figures.metric_title(metric)
    page.add(
        "Final scores",
        f"Last meta-test, {title}: mean over held-out clients, its 95 % bootstrap interval with people resampled, and"
        " the mean of the worst tenth of clients, with the number of clients. The best mean of a column is bold.",
        tables.scores(runs, metric),
        _beside(runs),
    )
    page.add(
        "Adaptation",
        f"{title.capitalize()} after each number of steps (0: zero-shot); bands are 95 % bootstrap intervals.",
        page.grid(shown, lambda panel: figures.adaptation(panel, metric)),
    )
    if len(runs) > 1:
        _comparison(page, shown, metric)
    page.add(
        "Client by client",
        "Every dot is a held-out client, averaged over its episodes: open before adaptation, filled after the last"
        " step. A box spans the quartiles. Crosses are the worst tenth after adaptation.",
        page.grid(shown, lambda panel: figures.distribution(panel, metric)),
    )
    if len({score["round"] for run in runs for score in run.scores}) > 1:
        page.add(
            "Learning",
            f"{title.capitalize()} after the last adaptation step, meta-test by meta-test; bands are 95 % intervals.",
            page.grid(shown, lambda panel: figures.learning(panel, metric)),
        )


def _levels(runs: Sequence[RunData]) -> str:
    """Whether training had levelled off, run by run."""
    lines = [f"{run.label} {levelling(run.events, run.scores)}" for run in runs if run.rounds]
    return "".join(f"<p>{tables.swatch(place)}{escape(line)}</p>" for place, line in enumerate(lines))


def _beside(runs: Sequence[RunData]) -> str:
    """Who is in no mean and why, and which replies did not count, run by run."""
    lines = [(place, run.label, line) for place, run in enumerate(runs) for line in beside(run.told)]
    items = "".join(f"<li>{tables.swatch(place)}{escape(f'{name}: {line}')}</li>" for place, name, line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _comparison(page: Page, shown: Sequence[Panel], metric: str) -> None:
    matrices = "".join(tables.paired(panel, metric) for panel in shown)
    page.add(
        "Who is really better",
        "Each run minus the best one after the last step, paired: same clients, same episodes. Whiskers are 95 %"
        " bootstrap intervals over people; a filled mark means that the interval leaves out zero."
        if matrices
        else "These runs were not asked the same episodes of the same clients, so their differences cannot be paired.",
        page.grid(shown, lambda panel: figures.behind_the_best(panel, metric)) or " ",
        f"<details><summary>Every two runs</summary>{matrices}</details>" if matrices else "",
    )


def _course(page: Page, runs: Sequence[RunData]) -> None:
    page.add(
        "Training",
        "Loss that the cohort reports, round by round. What it is measured on differs between learners: FedAvg and"
        " Reptile report the loss of their own training, meta-learners that of the query after adaptation. Lines are"
        " means over a fortieth of the run, the rounds themselves are faint.",
        page.figure(figures.training_loss(runs)),
        _levels(runs),
    )
    page.add(
        "Who was dropped", "Replies that were refused, and why; a round goes on without them.", tables.dropped(runs)
    )
    page.add(
        "Time",
        "Wall clock of a round: instructions, clients' work, checks and the outer update, without meta-tests. Smoothed"
        " as above.",
        page.figure(figures.round_time(runs)),
        tables.times(runs),
    )
    page.add(
        "Where the time went",
        "Mean over rounds. Data and inner loop are those of the busiest worker; what it does not account for is"
        " transfer: instructions and replies on their way, and waiting. Meta-tests and checkpoints are spread over all"
        " rounds.",
        page.figure(figures.stages(runs)),
        tables.stages(runs),
    )


def _document(page: Page, runs: Sequence[RunData], shown: Sequence[Panel]) -> str:
    names = ", ".join(run.label for run in runs)
    sources = ", ".join(sorted({str(run.config.get("source", {}).get("name")) for run in runs}))
    title = names if len(runs) == 1 else f"{len(runs)} runs on {sources}"
    return document(page, "metapulse report", title, _facts(runs, sources), _legend(runs, shown), HIDING)


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


def _legend(runs: Sequence[RunData], shown: Sequence[Panel]) -> str:
    """Buttons that show and hide a run (or, of a single run, a number of shots) in every figure."""
    names = {line.colour: line.label for panel in shown for line in panel.lines} or dict(
        enumerate(r.label for r in runs)
    )
    if len(names) < 2:
        return ""
    buttons = "".join(
        f'<button aria-pressed="true" data-run="run-{place}">{tables.swatch(place)}{escape(name)}</button>'
        for place, name in sorted(names.items())
    )
    return f'<div class="legend">{buttons}</div>'
