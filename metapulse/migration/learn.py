"""Learning the population's prior over maps from people who wore both devices for a while.

Each kind of map is judged on people held out, after none, a tenth, a fifth and two fifths of the hours that people are
seen; for each amount the kind with the least error is taken, so that what does not help is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metapulse.errors import DataError
from metapulse.migration.base import MapCard
from metapulse.migration.drift import Drift, fit_drift
from metapulse.migration.errors_in_time import ErrorProcess, fit_errors
from metapulse.migration.held_out import HeldOut, judge
from metapulse.migration.linear import LEARNED_ROWS, Evidence, believe, learn_prior, take_rows
from metapulse.migration.pairs import Paired, read_pairs
from metapulse.migration.prior import POOR, Choice, MapPrior, kind_name
from metapulse.migration.published import PUBLISHED, published
from metapulse.migration.terms import LAGS_MIN, Terms

#: Kinds that are tried; what comes first wins where two do alike.
TRIED = (
    (),
    ("offset",),
    ("bends",),
    ("slow",),
    ("window",),
    ("window", "slow"),
    ("window", "slow", "bends"),
    ("window", "slow", "hour"),
)
SHARES = (0.0, 0.1, 0.2, 0.4)  # of the hours that people are seen: amounts of overlap that are judged
COUNTED_HOURS = (8.0, 24.0)  # hours that count as one reading
FEWEST, FEWEST_ROWS = 4, 20  # people, to choose between kinds; pairs of a person, to see a drift
DRIFT_ROWS = 80  # a person at most
_FEW = f"kinds of maps are chosen from {FEWEST} people on, and there were {{}}"


@dataclass(frozen=True)
class _Kind:
    terms: Terms
    evidence: Evidence
    held_out: tuple[HeldOut, ...]

    @property
    def name(self) -> str:
        return kind_name(self.terms, self.evidence)

    def at(self, hours: float) -> HeldOut | None:
        return next((one for one in self.held_out if one.hours == hours), None)


def learn(pairs: Any, metric: str = "") -> MapPrior:
    """The population's prior over maps.

    Args:
        pairs: table of polars, pandas or Arrow with ``person``, ``time`` (UTC), ``old`` and ``new``, in the metric's
            unit; a table without ``person`` is of one.
        metric: its name, for the card.

    Returns:
        A prior; ``personal(overlap)`` makes a person's map of it. From fewer than four people no kind can be chosen:
        the prior is that of ``published`` where there is one for the metric, else a line of these people's.

    Raises:
        DataError: the table lacks a column, has no two pairs that differ, or is in another unit.
    """
    read = read_pairs(pairs, metric=metric)
    people = list(read.people.values())
    rows = sum(map(len, people))
    old = np.concatenate([one.old for one in people]) if people else np.empty(0)
    if rows < 2 or float(old.std()) == 0.0:
        raise DataError(
            f"the pairs: {rows} rows with both readings; a map needs two at least, of different old readings"
        )
    left = tuple(f"{count} {reason}" for reason, count in read.left_out.items())
    card = MapCard("", metric, people=len(people), pairs=rows, notes=left)
    line = Terms((), float(old.mean()), float(old.std()))
    able = sum(len(one) >= 2 for one in people)
    if able < FEWEST and metric in PUBLISHED:
        known = published(metric)
        return replace(known, card=replace(known.card, notes=(*known.card.notes, *left, _FEW.format(able))))
    if able < FEWEST:
        evidence = Evidence(COUNTED_HOURS[0])
        head = learn_prior(line, take_rows(line, people, LEARNED_ROWS), evidence)
        return MapPrior((Choice(0.0, line, evidence, head, compared=f"a line: {_FEW.format(able)}"),), card)
    choices = _choices(line, people)
    return MapPrior(choices, _refusing(card, choices), errors=_errors(choices[-1], people))


def _choices(line: Terms, people: Sequence[Paired]) -> tuple[Choice, ...]:
    """The best kind for every amount of overlap."""
    step = float(np.median(np.concatenate([np.diff(one.hours) for one in people])))
    span = float(np.median([one.span for one in people]))
    level = (np.concatenate([one.old for one in people]) - line.centre) / line.scale
    low, high = (float(knot) for knot in np.quantile(level, (1 / 3, 2 / 3)))
    knots = (low, high) if low < high else ()
    drift = _drift(line, people, span)
    tried = [
        replace(line, names=names, knots=knots if "bends" in names else ())
        for names in TRIED
        if _possible(names, step, span)
    ]
    overlaps = list(dict.fromkeys(share * span for share in SHARES))
    kinds = [_judged(terms, Evidence(COUNTED_HOURS[0], drift), people, overlaps) for terms in tried]
    best = min(kinds, key=lambda kind: np.mean([one.rmse for one in kind.held_out])).terms
    further = [Evidence(COUNTED_HOURS[1], drift), *([Evidence(0.0, drift)] if drift else [])]
    kinds += [_judged(best, evidence, people, overlaps) for evidence in further]
    return tuple(_choose(kinds, people, hours) for hours in overlaps if any(kind.at(hours) for kind in kinds))


def _possible(names: Sequence[str], step: float, span: float) -> bool:
    """Whether readings are near enough in time, and seen for long enough, for these terms."""
    near = step * 60.0 <= 2.0 * min(abs(lag) for lag in LAGS_MIN)
    day = span >= 48.0 and step <= 6.0
    return ("window" not in names or near) and (day or not {"slow", "hour"} & set(names))


def _drift(line: Terms, people: Sequence[Paired], span: float) -> Drift | None:
    """How errors hang together; None: too little is seen of each person to tell."""
    long = [one for one in people if len(one) >= FEWEST_ROWS]
    if len(long) < FEWEST:
        return None
    rows = take_rows(line, long, DRIFT_ROWS)
    return fit_drift(rows.hours, rows.terms, rows.new, rows.mask, span)


def _judged(terms: Terms, evidence: Evidence, people: Sequence[Paired], overlaps: Sequence[float]) -> _Kind:
    return _Kind(terms, evidence, tuple(judge(terms, evidence, people, overlaps)))


def _choose(kinds: Sequence[_Kind], people: Sequence[Paired], hours: float) -> Choice:
    """The kind with the least error at so many hours of overlap, learned on everyone."""
    known = [(kind, held) for kind in kinds if (held := kind.at(hours)) is not None]
    kind, held = min(known, key=lambda one: one[1].rmse)
    others = ", ".join(f"{other.name} {at.rmse:.3g}" for other, at in known)
    said = f"least error of {len(known)} kinds on people held out after {hours:.3g} h of overlap: {others}"
    head = learn_prior(kind.terms, take_rows(kind.terms, people, LEARNED_ROWS), kind.evidence)
    return Choice(hours, kind.terms, kind.evidence, head, held, said)


def _errors(choice: Choice, people: Sequence[Paired]) -> ErrorProcess:
    """How everyone's own map errs over time, after all of their pairs."""
    weights = believe(choice.head, take_rows(choice.terms, people, LEARNED_ROWS), choice.evidence).head.mean
    apart = [
        one.new - choice.terms.of(one.hours, one.old) @ w.numpy()
        for one, w in zip(people, weights[..., 0], strict=True)
    ]
    return fit_errors([(60.0 * one.hours, errors) for one, errors in zip(people, apart, strict=True)])


def _refusing(card: MapCard, choices: Sequence[Choice]) -> MapCard:
    """The card, with the reason to refuse if maps account for too little at every amount of overlap."""
    best = max(choice.held_out.explained for choice in choices if choice.held_out)
    if best >= POOR:
        return card
    said = f"on people held out the old readings account for {100 * max(best, 0.0):.0f} % of the variance of the new"
    return replace(card, refused=f"{said} ones, and a map needs {100 * POOR:.0f} %")
