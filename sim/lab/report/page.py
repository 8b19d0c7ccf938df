"""The page about a comparison: its sections, in order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from metapulse.registry import LEARNERS
from metapulse.server.config_text import to_toml
from metapulse.sim.lab.comparison import Ranking
from metapulse.sim.lab.report import curves, figures, style
from metapulse.sim.lab.report.export import Table
from metapulse.sim.lab.report.folder import Lab
from metapulse.sim.lab.report.view import View, p_words
from metapulse.sim.report.document import Page, document
from metapulse.sim.report.figures import Figure, colour
from metapulse.sim.report.tables import swatch
from metapulse.sim.scores import scenario_title, shots_name

BOTH = "scenario shots"
SENTENCES = 8  # more than that, and the verdict in words is folded under a table


def render(view: View, made: Mapping[str, Sequence[Table]]) -> str:
    """The whole page.

    Args:
        view: the comparison.
        made: its tables, as ``tables.every`` makes them.
    """
    page = Page()
    _verdict(page, view, made)
    _scores(page, view, made)
    _curves(page, view)
    _clients(page, view, made)
    _costs(page, view, made)
    _making(page, view, made)
    axes = f"const AXES = {json.dumps(curves.COSTS)};"
    shades = {f"run-{view.place(method)}": colour(view.place(method)) for method in view.comparison.methods}
    script = f"{axes} const COLOURS = {json.dumps(shades)};{style.SCRIPT}"
    kicker = f"metapulse comparison against {view.comparison.reference}"
    return document(page, kicker, view.comparison.name, _facts(view), _bar(view), script, style.CSS)


def _verdict(page: Page, view: View, made: Mapping[str, Sequence[Table]]) -> None:
    sentences = view.comparison.words
    words = f'<ul class="verdict">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)}</ul>'
    page.add(
        "Verdict",
        f"Against {view.comparison.reference} after the last round, on the people and seeds that both have, corrected"
        " for the number of methods.",
        words if len(sentences) <= SENTENCES else "",
        _html(made["glance"]),
        _fold(f"The verdict in {len(sentences)} sentences", words) if len(sentences) > SENTENCES else "",
        _html(made["failures"]),
    )
    _ranking(page, view)


def _ranking(page: Page, view: View) -> None:
    ranking, each = view.comparison.ranking, "".join(_ranks(page, view, one) for one in view.comparison.rankings)
    if ranking is None or ranking.friedman_p is None:
        page.add("Ranking", "Mean rank over the questions of a data set, 1 being the best.", each)
        return
    page.add(
        "Ranking",
        f"Mean rank over {ranking.blocks} data sets, 1 being the best. A bar joins methods that Nemenyi's test cannot"
        f" tell apart at 5 %; Friedman's test that all are alike: {p_words(ranking.friedman_p)}.",
        _ranks(page, view, ranking),
        _fold("Data set by data set", each),
    )


def _ranks(page: Page, view: View, ranking: Ranking) -> str:
    if not ranking.methods:
        return ""
    return f'<div class="ranks">{page.figure(figures.ranks(view, ranking), ranking.dataset or "")}</div>'


def _scores(page: Page, view: View, made: Mapping[str, Sequence[Table]]) -> None:
    page.add(
        "Scores",
        "Mean over people after the last round and its 95 % interval, methods in order of rank. Filled: better or worse"
        f" than {view.comparison.reference} (dotted line) after Holm's correction; open: no difference shown. Small"
        " diamonds: after the best validation round.",
        _grid(page, view, figures.forest, BOTH),
        _fold("Scores in numbers", _html(made["scores"])),
        _fold("Verdicts in numbers", _html(made["verdicts"])),
    )


def _curves(page: Page, view: View) -> None:
    page.add(
        "Adaptation",
        "Metric after each number of adaptation steps (0: before), after the last round; bands are 95 % intervals.",
        _grid(page, view, curves.by_step, BOTH),
    )
    page.add(
        "Shots",
        "Metric against support samples, each method at the step that validation people chose.",
        _grid(page, view, curves.by_shots, "scenario"),
    )
    axis = _select("axis", "against", [(key, title) for key, title in curves.COSTS.items()])
    drawn = _grid(page, view, curves.by_round, BOTH)
    page.add(
        "Learning",
        "Metric on validation people at the step that they chose; bands are 95 % intervals. Costs are a run's totals"
        " spread evenly over its rounds.",
        f'<p class="choices">{axis}</p>{drawn}' if drawn else "",
    )


def _clients(page: Page, view: View, made: Mapping[str, Sequence[Table]]) -> None:
    runs = [(f"run-{view.place(method)}", method) for method in view.methods]
    reference = f"run-{view.place(view.comparison.reference)}"
    first = next((run for run, _ in runs if run != reference), reference)
    if len(runs) > 1:
        page.add(
            "Client by client",
            "Every dot is a client, its seeds averaged.",
            f'<p class="choices">{_select("a", "A", runs, first)}{_select("b", "B", runs, reference)}</p>',
            _grid(page, view, curves.clients, BOTH),
        )
    heats = "".join(
        page.choices(drawn, "shots", dataset, f"{view.measured(dataset)}; {view.trained_on(dataset)}")
        for dataset, drawn in figures.transfers(view).items()
    )
    page.add(
        "From device to device",
        "New people by the device they are judged on, mean over people and seeds; data sets of one source"
        " share colours.",
        f'<div class="grid">{heats}</div>' if heats else "",
    )
    page.add(
        "Fairness",
        "From the mean of the worst tenth of clients (open) to the mean of all (filled).",
        _grid(page, view, figures.fairness, BOTH),
        _fold("Fairness in numbers: means over scenarios and shots", _html(made["fairness"])),
    )


def _costs(page: Page, view: View, made: Mapping[str, Sequence[Table]]) -> None:
    page.add(
        "Costs",
        "Of a run's training, all clients together, mean over seeds. Under equal budgets: the last look at validation"
        " people within what the cheapest method spends in all, mean over scenarios and shots.",
        _html(made["budgets"]),
        _fold("Costs in numbers", _html(made["costs"])),
    )
    page.add(
        "Ablations",
        "Methods that differ in one setting alone: mean over scenarios and shots, and under it the gain over the first"
        " of them, with its 95 % interval.",
        _html(made["ablation"]),
    )


def _making(page: Page, view: View, made: Mapping[str, Sequence[Table]]) -> None:
    page.add(
        "Tuning",
        "Settings tried on validation people alone, as many for every method; more is better in every score. The chosen"
        " ones are bold.",
        *(_fold(table.title, table.html) for table in made["tuning"]),
    )
    page.add(
        "Configurations",
        "The resolved configuration of every method, as its first seed ran it.",
        *(
            _fold(
                dataset, "".join(_config(view, method, to_toml(c)) for method, c in view.lab.configs(dataset).items())
            )
            for dataset in view.comparison.datasets
        ),
    )
    page.add("References", "Of the learners compared.", f"<pre>{escape(bibliography(view.lab))}</pre>")


def _config(view: View, method: str, text: str) -> str:
    summary = f"<summary>{swatch(view.place(method))}{escape(method)}</summary>"
    return f"<details>{summary}<pre>{escape(text)}</pre></details>"


def bibliography(lab: Lab) -> str:
    """BibTeX entries of the papers whose learners were compared, each once."""
    names = sorted({str(cell.config["learner"]["name"]) for cell in lab.cells})
    papers = {(paper := LEARNERS[name].paper).key: paper.bibtex for name in names}
    return "\n".join(papers.values())


def _grid(page: Page, view: View, draw: Callable[[View, str], dict[str, Figure]], by: str) -> str:
    """A figure for every data set, side by side where there is room; "" where there is none."""
    drawn = "".join(page.choices(draw(view, dataset), by, dataset, view.measured(dataset)) for dataset in view.datasets)
    return f'<div class="grid">{drawn}</div>' if drawn else ""


def _html(made: Iterable[Table]) -> str:
    return "".join(table.html for table in made)


def _fold(title: str, content: str) -> str:
    return f'<details class="fold"><summary>{escape(title)}</summary>{content}</details>' if content else ""


def _select(name: str, title: str, options: Sequence[tuple[str, str]], chosen: str = "") -> str:
    listed = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in options
    )
    return f'<label>{escape(title)} <select name="{name}">{listed}</select></label>'


def _bar(view: View) -> str:
    """What stays in sight: the question that figures answer, and which methods are in colour."""
    scenario = _select("scenario", "scenario", [(name, scenario_title(name)) for name in view.scenarios])
    middle = str(view.shots[len(view.shots) // 2]) if view.shots else ""
    shots = _select("shots", "shots", [(str(k), shots_name(k)) for k in view.shots], middle)
    buttons = "".join(
        f'<button aria-pressed="{str(method in view.shown).lower()}" data-run="run-{view.place(method)}">'
        f"{swatch(view.place(method))}{escape(method)}</button>"
        for method in view.methods
    )
    return (
        f'<div class="bar">{scenario}{shots}<details open><summary>Methods in colour</summary>'
        f'<div class="legend">{buttons}</div></details></div>'
    )


def _facts(view: View) -> list[tuple[str, str]]:
    comparison, cells = view.comparison, view.lab.cells
    done = sum(cell.finished for cell in cells)
    return [
        ("methods", str(len(comparison.methods))),
        ("data sets", ", ".join(comparison.datasets)),
        ("seeds", ", ".join(map(str, comparison.seeds))),
        ("runs", str(done) if done == len(cells) else f"{done} of {len(cells)}"),
    ]
