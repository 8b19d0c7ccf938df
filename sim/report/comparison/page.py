"""The page about a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metapulse.registry import LEARNERS
from metapulse.server.config_text import to_toml
from metapulse.sim.lab.words import brief_words, pair_words
from metapulse.sim.report.comparison import curves, figures
from metapulse.sim.report.comparison.folder import ComparisonFolder
from metapulse.sim.report.comparison.view import ComparisonView, p_words
from metapulse.sim.report.document import Page, document, joined_markup, parts
from metapulse.sim.report.plots import colour
from metapulse.sim.report.table import ReportTable
from metapulse.sim.scores import scenario_title, shots_name

SENTENCES = 8  # more than that about what the verdict rests on, and they are folded


def comparison_page(view: ComparisonView, made: Mapping[str, Sequence[ReportTable]]) -> str:
    """The whole page, as comparison.html has it.

    Args:
        made: its tables, as ``tables.every_table`` makes them.
    """
    reference = view.comparison.reference
    shades = {f"run-{view.place(method)}": colour(view.place(method)) for method in view.comparison.methods}
    rivals = [method for method in view.methods if method != reference]
    told = view.comparison
    metrics = {score.dataset: score.metric for score in told.scores}
    brief = (*told.failures, *brief_words(reference, told.methods, told.pairs, told.baselines))
    by_method = pair_words(reference, told.methods, told.pairs, metrics, told.baselines)
    return document(
        Page(),
        f"metapulse comparison against {reference}",
        view.comparison.name,
        _facts(view),
        _bar(view),
        "choose.js",
        {"AXES": curves.COSTS, "COLOURS": shades},
        "comparison.html",
        view=view,
        made=made,
        both="scenario shots",
        few=SENTENCES,
        brief=brief,
        by_method=by_method,
        others=[word for word in view.comparison.words if word not in (*told.failures, *by_method)],
        named=[(f"run-{view.place(method)}", method) for method in view.methods],
        rival=f"run-{view.place(rivals[0] if rivals else reference)}",
        plain=lambda texts: [(None, text) for text in texts],
        figures=figures,
        curves=curves,
        p_words=p_words,
        to_toml=to_toml,
        bibliography=bibliography,
    )


def bibliography(folder: ComparisonFolder) -> str:
    """BibTeX entries of the papers whose learners were compared, each once."""
    names = sorted({str(cell.config["learner"]["name"]) for cell in folder.cells})
    papers = {(paper := LEARNERS[name].paper).key: paper.bibtex for name in names}
    return "\n".join(papers.values())


def _bar(view: ComparisonView) -> str:
    """What stays in sight: the question that figures answer, and which methods are in colour."""
    middle = str(view.shots[len(view.shots) // 2]) if view.shots else ""
    scenarios = [(name, scenario_title(name)) for name in view.scenarios]
    shots = [(str(k), shots_name(k)) for k in view.shots]
    selects = joined_markup(
        parts.select("scenario", "scenario", scenarios), parts.select("shots", "shots", shots, middle)
    )
    buttons = [(view.place(method), method, method in view.shown) for method in view.methods]
    return joined_markup(parts.bar(selects, parts.legend(buttons)))


def _facts(view: ComparisonView) -> list[tuple[str, str]]:
    comparison, cells = view.comparison, view.folder.cells
    done = sum(cell.finished for cell in cells)
    return [
        ("methods", str(len(comparison.methods))),
        ("data sets", ", ".join(comparison.datasets)),
        ("seeds", ", ".join(map(str, comparison.seeds))),
        ("runs", str(done) if done == len(cells) else f"{done} of {len(cells)}"),
    ]
