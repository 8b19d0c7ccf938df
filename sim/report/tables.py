"""Tables of a report as HTML; whatever comes from data or a configuration is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from metapulse.server.reasons import bare
from metapulse.server.reasons import kind as kind_of
from metapulse.server.stages import STAGES
from metapulse.sim.report.figures import colour
from metapulse.sim.report.paired import Difference, difference
from metapulse.sim.report.runs import Panel, RunData
from metapulse.sim.scores import NUMBERS, Score, best, columns, find, number, scenario_title, scenarios, size


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already, in a box that scrolls by itself on a narrow screen.

    Args:
        head: titles of the columns; one that starts with ">" is set to the right, over numbers.
        rows: cells, with or without their <td>.
        kind: class of the table.
    """
    top = "".join(
        f'<th class="number">{cell[1:]}</th>' if cell.startswith(">") else f"<th>{cell}</th>" for cell in head
    )
    body = "".join("<tr>" + "".join(_cell(c) for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(content: str) -> str:
    return content if content.startswith(("<td", "<th")) else f"<td>{content}</td>"


def swatch(place: int) -> str:
    """A run's colour as a small square."""
    return f'<i class="swatch" style="background:{colour(place)}"></i>'


def scores(runs: Sequence[RunData], metric: str) -> str:
    """Scenario by scenario: every run before adaptation and after its last step, with interval and worst tenth."""
    everything = [score for run in runs for score in run.final]
    shown = columns(everything)
    rows: list[list[str]] = []
    for scenario in scenarios(everything):
        grid = [[find(run.final, scenario, k, step, metric) for _, k, step in shown] for run in runs]
        winners = [best([row[i] for row in grid], metric) for i in range(len(shown))]
        rows.append([f'<th colspan="{len(shown) + 2}"><span>{escape(scenario_title(scenario))}</span></th>'])
        rows += [
            [
                swatch(j) + escape(run.label),
                *(_score(s, winners[i] == j) for i, s in enumerate(grid[j])),
                _clients(grid[j]),
            ]
            for j, run in enumerate(runs)
        ]
    return table(["", *(_title(title, step) for title, _, step in shown), "clients"], rows, "scores")


def _title(title: str, step: int) -> str:
    return escape(title) + (f"<small>{step} steps</small>" if step else "<small>before adaptation</small>")


def _score(score: Score | None, bold: bool) -> str:
    if score is None:
        return '<td class="number">–</td>'
    mean, low, high, worst = (number(score[key], score["metric"]) for key in NUMBERS)
    mean = f"<b>{mean}</b>" if bold else mean
    return f'<td class="number">{mean} <span>[{low}, {high}]</span><small>worst tenth {worst}{size(score)}</small></td>'


def _clients(row: Sequence[Score | None]) -> str:
    counts = sorted({int(score["clients"]) for score in row if score})
    return f'<td class="number">{", ".join(map(str, counts)) or "–"}</td>'


def paired(panel: Panel, metric: str) -> str:
    """Row minus column for every two runs; "" where nothing can be paired."""
    rows, any_pair = [], False
    for a in panel.lines:
        cells = [swatch(a.colour) + escape(a.label)]
        for b in panel.lines:
            d = None if a is b else difference(a, b, metric)
            any_pair |= d is not None
            cells.append(_difference(d, metric))
        rows.append(cells)
    if not any_pair:
        return ""
    head = ["row − column", *(escape(line.label) for line in panel.lines)]
    return f"<h4>{escape(panel.title)}</h4>" + table(head, rows, "paired")


def _difference(d: Difference | None, metric: str) -> str:
    if d is None:
        return '<td class="number muted">·</td>'
    shade = ' class="number clear"' if d.clear else ' class="number"'
    mean, low, high = (number(value, metric, "+") for value in (d.mean, d.low, d.high))
    return f"<td{shade}>{mean}<small>[{low}, {high}]</small></td>"


def dropped(runs: Sequence[RunData]) -> str:
    """Replies that were refused, by reason, with an example; a sentence where there were none."""
    rows = []
    for place, run in enumerate(runs):
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for event in run.dropped:
            groups.setdefault(kind_of(str(event.get("reason", ""))), []).append(event)
        for events in sorted(groups.values(), key=len, reverse=True):
            clients = sorted({int(e.get("client", -1)) for e in events})
            rounds = sorted({int(e.get("round", 0)) for e in events})
            rows.append(
                [
                    swatch(place) + escape(run.label),
                    f'<td class="number">{len(events)}</td>',
                    f'<td class="number">{len(clients)}</td>',
                    escape(f"{rounds[0]}–{rounds[-1]}" if len(rounds) > 1 else str(rounds[0])),
                    f'<td class="wide">{escape(bare(str(events[0].get("reason", ""))))}'
                    f"<small>client {escape(_some(clients))}</small></td>",
                ]
            )
    if not rows:
        return "<p>Nobody: every reply of every round passed its checks.</p>"
    return table(["run", ">replies", ">clients", "rounds", "why (an example)"], rows)


def _some(clients: Sequence[int]) -> str:
    named = ", ".join(map(str, clients[:6]))
    return named + (f" and {len(clients) - 6} more" if len(clients) > 6 else "")


def times(runs: Sequence[RunData]) -> str:
    """Rounds, clients and seconds of every run."""
    rows = []
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
        rows.append([swatch(place) + escape(run.label), *(f'<td class="number">{n}</td>' for n in numbers)])
    head = ["run", ">rounds", ">client updates", ">training time", ">median round", ">95th percentile", ">clients/s"]
    return table(head, rows)


def stages(runs: Sequence[RunData]) -> str:
    """Milliseconds a round and shares by stage; "" where no log says."""
    shown = [stage for stage in STAGES if any(stage in run.stages for run in runs)]
    rows = []
    for place, run in enumerate(runs):
        if run.stages and run.rounds:
            whole = max(sum(run.stages.values()), 1e-9)
            cells = [_milliseconds(run.stages.get(stage), whole, len(run.rounds)) for stage in shown]
            rows.append([swatch(place) + escape(run.label), *cells])
    return table(["run", *(f">{STAGES[stage]}" for stage in shown)], rows) if rows else ""


def _milliseconds(seconds: float | None, whole: float, rounds: int) -> str:
    if seconds is None:
        return '<td class="number">–</td>'
    return f'<td class="number">{1000 * seconds / rounds:.3g} ms<small>{seconds / whole:.1%}</small></td>'


def provenance(runs: Sequence[RunData]) -> str:
    """What was run: learner and strategy with the settings that matter most, model, data, rounds, seed."""
    rows = []
    for place, run in enumerate(runs):
        config = run.config
        state = "" if run.finished else ' <span class="warn">unfinished</span>'
        model = _named(config, "model", "hidden", "channels")
        free = "<small>a combination of its own (method.free)</small>" if config.get("method", {}).get("free") else ""
        size = f"<small>{run.parameters} meta-parameters</small>" if run.parameters else ""
        rows.append(
            [
                swatch(place) + escape(run.label) + state,
                _named(config, "learner", "inner_lr", "inner_steps") + free,
                _named(config, "strategy", "outer", "lr", "cohort"),
                model + size,
                _named(config, "source", "users"),
                f'<td class="number">{escape(str(config["run"].get("rounds")))}</td>',
                f'<td class="number">{escape(str(config["run"].get("seed")))}</td>',
            ]
        )
    return table(["run", "learner", "strategy", "model", "data", ">rounds", ">seed"], rows)


def _named(config: Mapping[str, Any], section: str, *keys: str) -> str:
    """A section's name, and under it some of its settings."""
    chosen = config.get(section, {})
    text = ", ".join(f"{key} {chosen[key]}" for key in keys if key in chosen)
    return escape(str(chosen.get("name"))) + (f"<small>{escape(text)}</small>" if text else "")


def settings(runs: Sequence[RunData]) -> str:
    """Every run's resolved configuration, folded."""
    from metapulse.server.config_text import to_toml

    return "".join(
        f"<details><summary>{swatch(place)}{escape(run.label)}: configuration</summary>"
        f"<pre>{escape(to_toml(run.config))}</pre></details>"
        for place, run in enumerate(runs)
    )
