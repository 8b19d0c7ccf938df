"""The page of an audit: what was shown beside what is claimed, each attack beside its control."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.files import write_atomic
from metapulse.server.files import write_json
from metapulse.sim.audit.audit import Audit
from metapulse.sim.audit.inversion import FOUND
from metapulse.sim.audit.probe import DOUBT
from metapulse.sim.report.document import Page, document, joined_markup, parts
from metapulse.sim.report.plots import SHADE, Figure, clear, colour, layout, name_axis, rule
from metapulse.sim.report.table import Rows, TableCell, html_table

LOWER, IN, OUT = 0, 1, 2  # places in the palette


def write_audit(audit: Audit, page: Path) -> None:
    """The page, and its numbers as JSON beside it.

    Args:
        audit: what was found.
        page: the HTML file; the JSON file has its name but for the suffix.
    """
    write_json(page.with_suffix(".json"), asdict(audit) | {"refuted": audit.refuted})
    write_atomic(page, render(audit).encode())


def render(audit: Audit) -> str:
    """The whole page."""
    page = Page()
    page.add("Verdict", "What speaks against the claim, if anything does, and what does not.", _verdict(audit))
    _canaries(page, audit)
    _assertions(page, audit)
    _presence(page, audit)
    page.add(
        "Membership inference",
        "AUC: probability that a person who was in it looks more like it than one who was not; 0.5 is guessing."
        " The control asks the same about two groups of which neither was in it. Intervals of 95 %: of people's losses"
        " under θ by Hanley and McNeil, of personal models over people, who are resampled. On personal models the"
        " members are the samples that one was adapted on; θ's privacy says nothing about them.",
        _membership(audit),
    )
    _shadows(page, audit)
    page.add(
        "Gradient inversion",
        "Inputs rebuilt from updates, alone or added up: error of the nearest reconstruction over the variance of"
        f" inputs (1: no better than their mean), and share of samples with less than {FOUND:g}. The control holds the"
        " same reconstructions against another person's samples. Private: clipped, with the noise of a round in which"
        " these people would be alone. A central server sees bare updates; under secure aggregation, sums.",
        _inversion(audit),
    )
    facts = [("canaries", str(audit.canaries.canaries)), ("parameters", str(audit.parameters))]
    if audit.spent:
        claim = f"({audit.claimed}, {audit.spent['delta']:g})"
        facts += [("claimed (ε, δ)", claim), ("mechanism", audit.mechanism), ("neighbours", audit.relation)]
    return document(page, "Attacks that a run makes on itself", audit.name, facts)


def _verdict(audit: Audit) -> str:
    if audit.refuted:
        rows = [[TableCell(one, badge="refuted")] for one in audit.refuted]
        return html_table(["The claim of privacy is not true"], rows)
    if audit.canaries.epsilon is None:
        why = "its noise has a seed, ε = ∞" if audit.spent else "the run has no privacy"
        return _sentence(f"Nothing is claimed: {why}. What follows shows what that means.")
    ceiling = max(bound.ceiling for bound in audit.canaries.bounds)
    blind = audit.canaries.epsilon > ceiling
    note = f" The canaries could not have refuted it: more than ε = {ceiling:.3g} they cannot show." if blind else ""
    return _sentence(
        "Nothing speaks against the claim. That proves nothing by itself: a lower bound far below the claim says"
        f" that this attack is weak, or that the claim is loose.{note}"
    )


def _sentence(text: str) -> str:
    return joined_markup(parts.lines([(None, text)]))


def _canaries(page: Page, audit: Audit) -> None:
    c = audit.canaries
    page.add(
        "Canaries",
        f"The run was done again with its own settings: {c.rounds} rounds with {c.people} of its people and"
        f" {c.canaries} canaries, each there by a fair coin, {c.cohort} expected in a round, each person in it as"
        " likely as in the run. The attacker knows every canary's direction and both ends of training, guesses"
        " the coins of the most telling ones, and abstains from the rest."
        " Lower bounds hold together with 95 % confidence.",
        page.figure(_bounds(audit), "Lower bounds, their ceilings, and the claim"),
        _bound_table(audit),
        page.figure(_scores(audit), "How far θ went the way of each canary, in standard deviations of those out"),
    )


def _bound_table(audit: Audit) -> str:
    rows: Rows = [
        [str(b.guesses), str(b.correct), f"{b.epsilon:.4g}", f"{b.ceiling:.4g}", audit.claimed]
        for b in audit.canaries.bounds
    ]
    head = [">guesses", ">correct", ">ε is at least", ">ceiling: ε ≥, were all correct", ">ε claimed, at most"]
    return html_table(head, rows)


def _bounds(audit: Audit) -> Figure:
    """A bar for every number of guesses, its ceiling behind it, the claim as a line."""
    bounds = list(reversed(audit.canaries.bounds))
    places = list(range(len(bounds)))
    data: list[Figure] = []
    for name, values, shade in (
        ("ceiling", [b.ceiling for b in bounds], clear(SHADE, 0.3)),
        ("lower bound", [b.epsilon for b in bounds], colour(LOWER)),
    ):
        bar = {"type": "bar", "orientation": "h", "name": name, "x": values, "y": places, "width": 0.6}
        data.append({**bar, "marker": {"color": shade}, "hovertemplate": f"{name} %{{x:.4~g}}<extra></extra>"})
    more: dict[str, Any] = {}
    if (claimed := audit.canaries.epsilon) is not None:
        more["shapes"] = [rule(claimed, width=2, dash="dot")]
        note = {"text": f"claimed {audit.claimed}", "x": claimed, "yref": "paper", "y": 1, "yanchor": "bottom"}
        more["annotations"] = [{**note, "showarrow": False}]
        data.append({"type": "scatter", "mode": "markers", "x": [claimed], "y": [0], "opacity": 0, "hoverinfo": "skip"})
    names = name_axis([f"{b.guesses} guesses" for b in bounds])
    made = layout("ε", "", 110 + 40 * len(bounds), yaxis=names, barmode="overlay", margin={"t": 28}, **more)
    return {"data": data, "layout": made}


def _scores(audit: Audit) -> Figure:
    """Histograms of canaries' scores, by their coins."""
    scores, present = np.array(audit.canaries.scores), np.array(audit.canaries.present)
    scaled = (scores - scores[~present].mean()) / (scores[~present].std() or 1.0)  # 0 where θ did not move
    data = [
        {
            **{"type": "histogram", "name": name, "x": scaled[chosen].tolist(), "nbinsx": 40, "opacity": 0.6},
            **{"marker": {"color": colour(place)}, "hovertemplate": f"%{{y}} {name}<extra></extra>"},
        }
        for name, chosen, place in (("out", ~present, OUT), ("in", present, IN))
    ]
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    made = layout("score", "canaries", 300, barmode="overlay", showlegend=True, legend=legend, margin={"t": 28})
    return {"data": data, "layout": made}


def _assertions(page: Page, audit: Audit) -> None:
    p = audit.probe
    if p is None:
        return
    rows: Rows = [
        ["no update counts more than C", f"{max(p.shares):.6g}", f"{p.clip:.6g}", _passed(not p.unclipped)],
        ["the least that one counts", f"{min(p.shares):.6g}", f"{p.clip:.6g}", ""],
        ["noise over C", f"{p.noise:.4g} ± {p.error:.2g}", f"{p.sigma:.4g}", _passed(not p.quiet)],
    ]
    page.add(
        "Direct assertions",
        f"Two rounds of {len(p.shares)} canaries with the same noise, one with their opposites: half the difference is"
        " what each counted, half the sum is the noise, both read off θ after an outer step whose rate is 5, so that"
        f" noise after the step would be found too small. Noise fails {DOUBT:g} standard errors below the claim.",
        html_table(["", ">measured", ">claimed", ""], rows),
    )


def _presence(page: Page, audit: Audit) -> None:
    a = audit.presence
    if a is None:
        return
    doubt = a.doubt or "as accounted for"
    rows: Rows = [
        ["ε", f"≥ {a.epsilon:.4g}", f"≤ {audit.claimed}", _passed(not a.refuted)],
        ["people drawn in a round", f"{a.drawn:.4g}", f"{a.rate * a.people:.4g}", doubt],
        ["rounds in which fewer counted", f"{a.fewer} of {a.replays}", "0", ""],
        ["noise over what a person counts for", f"{a.sigma:.4g}", "", "by the assertions"],
    ]
    page.add(
        "Adding a person",
        f"{a.replays} rounds were drawn again with fresh secrets, and the strategy was shown every number of people"
        f" that can be drawn. ε is that of {a.rounds} rounds at δ = {a.delta:g}, by data chosen for it: the person who"
        " may be there counts as +C, all others as −C or as nothing. It is computed, not sampled; draws are doubted"
        " six standard errors away from independent coins.",
        html_table(["", ">shown", ">claimed", ""], rows),
    )


def _shadows(page: Page, audit: Audit) -> None:
    r = audit.shadows
    if r is None:
        return
    areas = [f"{r.auc:.3f} [{r.low:.3f}, {r.high:.3f}]", f"{r.control:.3f} [{r.control_low:.3f}, {r.control_high:.3f}]"]
    rows: Rows = [[*areas, f"{r.hits:.0%}", f"≥ {r.bound.epsilon:.4g}", f"{r.bound.ceiling:.4g}"]]
    page.add(
        "Shadow models",
        f"{r.runs} runs with the same settings, each of {r.people} people in it by a fair coin. Of a run under attack"
        " the others say how small a person's loss is with him and without him; guesses are by likelihood ratio. The"
        " control guesses coins that no run was made with. ε is a lower bound (95 %) from the first run alone.",
        html_table([">AUC", ">control", ">members found at 5 % false alarms", ">ε", ">ceiling"], rows),
    )


def _passed(good: bool) -> TableCell | str:
    return "holds" if good else TableCell("", badge="does not hold")


def _membership(audit: Audit) -> str:
    rows: Rows = [
        [
            m.name,
            f"{m.auc:.3f} [{m.low:.3f}, {m.high:.3f}]",
            str(m.members),
            str(m.others),
            f"{m.control:.3f} [{m.control_low:.3f}, {m.control_high:.3f}]",
        ]
        for m in audit.membership
    ]
    return html_table(["attack", ">AUC", ">members", ">others", ">control"], rows) if rows else ""


def _inversion(audit: Audit) -> str:
    rows: Rows = [
        [
            i.name + (f" ({i.nothing})" if i.nothing else ""),
            "private" if i.private else "bare",
            str(i.people),
            _error(i.error),
            f"{i.recovered:.0%}",
            _error(i.control),
            f"{i.control_recovered:.0%}",
        ]
        for i in audit.inversion
    ]
    return html_table(["update", "", ">people", ">error", ">recovered", ">control: error", ">recovered"], rows)


def _error(value: float | None) -> str:
    return "nothing to invert" if value is None else f"{value:.3g}"
