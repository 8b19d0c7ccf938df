"""The numbers a comparison is read for: the last meta-test, before adaptation and at the last step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, isfinite
from typing import Any

from rich.table import Table
from rich.text import Text

from metapulse.metrics.table import is_share, larger_is_better
from metapulse.server.evaluation import SCENARIOS
from metapulse.server.metatest import headline_metric, last_scores, of_last
from metapulse.server.reasons import listed
from metapulse.server.result import CHOSEN

NUMBERS = ("mean", "low", "high", "worst_decile")
SCENARIO_TITLES = {
    "known_user": "Known people",
    "new_user": "New people",
    "new_device": "New device",
    "new_device_history": "New device, with history",
}

Score = Mapping[str, Any]


def score_columns(scores: Iterable[Score]) -> list[tuple[str, int, int]]:
    """(title, shots, step) of a table: before adaptation at the most shots, then each number of shots at the last step.

    Before adaptation shots only decide which episodes are drawn, so one column stands for all.
    """
    pairs = sorted({(int(s["shots"]) or 1 << 62, int(s["shots"]), int(s["step"])) for s in scores})
    if not pairs:
        return []
    shots = list(dict.fromkeys(k for _, k, _ in pairs))
    last = {k: max(step for _, other, step in pairs if other == k) for k in shots}
    out = [("zero-shot", shots[-1], 0)] if any(k == shots[-1] and step == 0 for _, k, step in pairs) else []
    return out + [(shots_name(k), k, last[k]) for k in shots if last[k] > 0 or not out]


def shots_name(shots: int) -> str:
    """Number of shots in words; 0 stands for all there is."""
    return {0: "all samples", 1: "1 shot"}.get(shots, f"{shots} shots")


def scenarios(scores: Iterable[Score]) -> list[str]:
    """Scenarios in the order in which a configuration names them."""
    there = {str(score["scenario"]) for score in scores}
    return [name for name in SCENARIOS if name in there] + sorted(there - set(SCENARIOS))


def scenario_title(scenario: str) -> str:
    """A scenario in words."""
    return SCENARIO_TITLES.get(scenario, scenario)


def find_score(scores: Iterable[Score], scenario: str, shots: int, step: int, metric: str) -> Score | None:
    """One entry of a summary's scores."""
    wanted = (scenario, shots, step, metric)
    return next((s for s in scores if (s["scenario"], s["shots"], s["step"], s["metric"]) == wanted), None)


@dataclass(frozen=True)
class ScoreGrid:
    """Final scores of several runs as a table shows them.

    Args:
        metric: that is shown.
        columns: (title, shots, step) of each column, as from ``score_columns``.
        rows: scenario → for each run its score in every column, with whether it is the best of the column.
    """

    metric: str
    columns: list[tuple[str, int, int]]
    rows: dict[str, list[list[tuple[Score | None, bool]]]]


def score_grid(finals: Sequence[Sequence[Score]], metric: str = "") -> ScoreGrid:
    """Scenario × run × (zero-shot, shots).

    Args:
        finals: of each run the scores of its last meta-test.
        metric: that is shown; "": balanced accuracy, accuracy or mse.
    """
    everything = [score for scores in finals for score in scores]
    metric, shown = headline_metric(everything, metric), score_columns(everything)
    rows = {}
    for scenario in scenarios(everything):
        found = [[find_score(scores, scenario, k, step, metric) for _, k, step in shown] for scores in finals]
        tops = [_top(column, metric) for column in zip(*found, strict=True)]
        rows[scenario] = [[(s, _shown(s) == top) for s, top in zip(row, tops, strict=True)] for row in found]
    return ScoreGrid(metric, shown, rows)


def _top(found: Sequence[Score | None], metric: str) -> str:
    """The best of several means, as it is shown: all that read alike are the best; "" if there are fewer than two."""
    there = [score for score in found if score]
    if len(there) < 2:
        return ""
    return _shown((max if larger_is_better(metric) else min)(there, key=lambda score: score["mean"]))


def _shown(score: Score | None) -> str:
    return number_text(score["mean"], score["metric"]) if score else "–"


def shown_metrics(chosen: Iterable[tuple[Sequence[str], str]], scores: Iterable[Score]) -> list[str]:
    """What tables are about, each once: first the main metric, then the others that were chosen.

    Args:
        chosen: of each run its metrics and the main one ("": balanced accuracy, accuracy or mse).
        scores: of all runs.
    """
    runs = list(chosen)
    main = headline_metric(scores, next((main for _, main in runs if main), ""))
    return list(dict.fromkeys([main, *(name for metrics, _ in runs for name in metrics)]))


def score_tables(summaries: Mapping[str, Mapping[str, Any]], width: int = 120) -> list[Table]:
    """A table of the main metric, and one of every other metric that was chosen.

    Args:
        summaries: method → summary, as in summary.json.
        width: of the screen in characters.
    """
    chosen = [(summary.get(CHOSEN[0], ()), summary.get(CHOSEN[1], "")) for summary in summaries.values()]
    scores = [score for summary in summaries.values() for score in measured(last_scores(summary))]
    return [score_table(summaries, width, metric) for metric in shown_metrics(chosen, scores)]


def score_table(summaries: Mapping[str, Mapping[str, Any]], width: int = 120, metric: str = "") -> Table:
    """Methods × (zero-shot, shots) for every scenario: mean over clients with its 95 % interval.

    Args:
        summaries: method → summary, as in summary.json.
        width: of the screen in characters; on a narrow one an interval goes under its mean.
        metric: that is shown; "": balanced accuracy, accuracy or mse.
    """
    grid = score_grid([measured(last_scores(summary)) for summary in summaries.values()], metric)
    between = " " if width >= 100 else "\n"
    steps = sorted({step for _, _, step in grid.columns if step})
    after = f" after {steps[-1]} steps" if steps else ""
    title = f"{grid.metric}{after}: mean over clients [95 % interval over people] (number of clients)"
    table = Table(title=title, title_justify="left")
    table.add_column("scenario")
    table.add_column("method")
    for title, _, _ in grid.columns:
        table.add_column(title, justify="right")
    for scenario, rows in grid.rows.items():
        table.add_section()
        for j, (name, row) in enumerate(zip(summaries, rows, strict=True)):
            cells = [Text(interval_text(score, between) + size(score), "bold" if best else "") for score, best in row]
            table.add_row(Text("" if j else scenario), Text(name), *cells)
    return table


def size(score: Score | None) -> str:
    """How many clients a mean is over, as it stands behind it."""
    return "" if score is None else f" ({score['clients']})"


def missing(people: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for every question of the last meta-test that not all of the clients answered, with the reasons.

    Args:
        people: how many were asked and answered, and why the others did not, as in summary.json.
    """
    lines: dict[str, list[str]] = {}
    for one in of_last(people):
        told = f"{one['answered']} of {one['asked']} clients"
        if one["reasons"]:
            told += f"; missing: {listed(one['reasons'])}"
        if one["diverged"]:
            told += f"; {one['diverged']} diverged (shares count as 0, errors are in no mean)"
        if one["reasons"] or one["diverged"]:
            lines.setdefault(f"{one['scenario']}\n{told}", []).append(shots_name(int(one["shots"])))
    return ["{0}, {2}: {1}".format(*key.split("\n"), " and ".join(shots)) for key, shots in lines.items()]


def lost_replies(summary: Mapping[str, Any]) -> str:
    """How many replies of a run did not count, how many rounds were given up, and why; "" where there are none."""
    counts = {"replies dropped": summary.get("dropped", 0), "rounds given up": summary.get("given_up", 0)}
    told = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    return f"{told}: {listed(summary.get('reasons', {}))}" if told else ""


def beside(summary: Mapping[str, Any]) -> list[str]:
    """What stands beside a table of scores: who is in no mean, and which replies did not count."""
    return [
        *missing(summary.get("people", ())),
        *undefined(summary.get("not_defined", ())),
        *filter(None, [lost_replies(summary)]),
    ]


def undefined(counts: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for every question of the last meta-test and every metric that is not defined for some clients.

    Args:
        counts: of these clients, as in summary.json.
    """
    lines: dict[str, list[str]] = {}
    for one in of_last(counts):
        told = (
            f"{one['scenario']}\n{one['metric']} is not defined for {one['clients']} clients, who are not in its mean"
        )
        lines.setdefault(told, []).append(shots_name(int(one["shots"])))
    return ["{0}, {2}: {1}".format(*key.split("\n"), " and ".join(shots)) for key, shots in lines.items()]


def interval_text(score: Score | None, between: str = " ") -> str:
    """Mean and interval, as in 0.812 [0.790, 0.834]; a dash for nothing."""
    if score is None:
        return "–"
    mean, low, high = (number_text(score[key], score["metric"]) for key in ("mean", "low", "high"))
    return f"{mean}{between}[{low}, {high}]"


def number_text(value: float, metric: str, sign: str = "") -> str:
    """A share with three decimals, anything else with four digits; ``sign`` "+" shows the sign of differences."""
    return minus(f"{value:{sign}.3f}" if is_share(metric) else f"{value:{sign}.4g}")


def minus(number: str) -> str:
    """A number in words with a minus where Python writes a hyphen."""
    return number.replace("-", "−")


def gain(value: float, metric: str, sign: str = "") -> str:
    """A difference of a comparison: of scores as it is, of errors the log ratio as the share of error taken away."""
    return (
        number_text(value, metric, sign) if larger_is_better(metric) else minus(f"{100.0 * -expm1(-value):{sign}.1f} %")
    )


def measured(scores: Iterable[Score]) -> list[Score]:
    """The scores that are numbers; a mean that overflowed is null in summary.json."""
    return [s for s in scores if all(isinstance(s[k], (int, float)) and isfinite(s[k]) for k in NUMBERS)]
