"""What an outcome teaches a stream: its interval is judged, the head learns, drift and worse forecasts are noticed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from metapulse.personal.conformal import judge
from metapulse.personal.drift import adwin, page_hinkley
from metapulse.personal.online import Coordinates, absorb, loosen, unseen
from metapulse.personal.stream_state import Block, Lately, Line, Pending, StreamState, counted, iso
from metapulse.record.clock import DAY

FEWEST = 12.0  # outcomes before a head is compared with another


@dataclass(frozen=True)
class Pace:
    """How fast a stream forgets and how soon it reacts. Outcomes count for their share that no other shares.

    Args:
        memory: outcomes after which a sample counts for 1/e; six weeks of glucose half an hour ahead.
        recent: outcomes that "lately" means; two days of them.
        margin: by how much the adapted head's error may be above another's lately, relative, before it is rolled back;
        sure: and that by how many standard errors of the mean difference.
        kept: λ of ``loosen`` after a change: what the person's own samples still count for.
        confidence: δ of ADWIN, on means over one horizon.
        run_length: days between false alarms of Page–Hinkley, on means over a day.
    """

    memory: float = 2000.0
    recent: float = 96.0
    margin: float = 0.05
    sure: float = 3.0
    kept: float = 0.2
    confidence: float = 0.002
    run_length: float = 1000.0


def learn(
    at: Coordinates, pace: Pace, state: StreamState, one: Pending, y: float, due: int
) -> tuple[StreamState, list[Line]]:
    """After an outcome, and the events there are.

    Args:
        at: coordinates of the heads.
        pace: of forgetting and reacting.
        state: before.
        one: the forecast that it is the outcome of.
        y: the outcome, in units of the target.
        due: when it was known, µs.
    """
    weight = min(one.gap / max(due - one.time, 1), 1.0)  # as ``walk`` weighs samples
    score = abs(y - one.means[0]) / one.scale
    head = absorb(at, loosen(state.head, math.exp(-weight / pace.memory)), one.x, one.x.new_full((1, 1), y), weight)
    fade = math.exp(-weight / pace.recent)
    adapted, start, good = (abs(y - mean) for mean in one.means)
    new = (adapted, start, good, (adapted - start) ** 2, (adapted - good) ** 2, 1.0)
    state = replace(
        state,
        head=head,
        interval=judge(state.interval, score, one.promised),
        outcomes=state.outcomes + 1,
        lately=Lately(*(fade * total + weight * term for total, term in zip(state.lately, new, strict=True))),
        since=state.since + weight,
    )
    state, drifted = _watched(pace, state, due, max(due - one.time, 1), score / (1.0 + score))
    state, rolled = _rolled_back(at, pace, state, due)
    return state, drifted + rolled


def _watched(pace: Pace, state: StreamState, due: int, ahead: int, loss: float) -> tuple[StreamState, list[Line]]:
    """Whether the loss, in [0, 1], has risen: ADWIN on means over a horizon, Page–Hinkley on means over a day."""
    short, mean = _grown(state.short, due, ahead, loss)
    long, day = _grown(state.long, due, DAY, loss)
    state, by = replace(state, short=short, long=long), []
    if mean is not None:
        watch, moved = adwin(state.adwin, mean)
        rose = moved is not None and moved > 0.0
        state = replace(state, adwin=replace(watch, buckets=()) if rose else watch)  # a rise is told once
        by += ["ADWIN"] if rose else []
    if day is not None:
        page, alarm = page_hinkley(state.page, day)
        state = replace(state, page=page)
        by += ["Page-Hinkley"] if alarm else []
    if not by:
        return state, []
    state = replace(counted(state, "drifts"), head=loosen(state.head, pace.kept))
    return state, [{"time": iso(due), "event": "drift", "by": by}]


def _rolled_back(at: Coordinates, pace: Pace, state: StreamState, due: int) -> tuple[StreamState, list[Line]]:
    """Back to the better of the other two heads where the adapted one has lately been worse, beyond chance."""
    now = state.lately
    to_start = now.start <= now.good
    other, square = (now.start, now.over_start) if to_start else (now.good, now.over_good)
    worse = now.adapted - other  # a sum of differences; its variance is about the sum of their squares
    chance = math.sqrt(max(square - worse**2 / now.weight, 0.0))
    if now.weight >= FEWEST and worse > pace.margin * other and worse > pace.sure * chance:
        back = replace(state, head=unseen(at) if to_start else state.good, lately=Lately(), since=0.0)
        means = {"loss": round(now.adapted / now.weight, 4), "its_loss": round(other / now.weight, 4)}
        what = {"event": "rolled back", "to": "start" if to_start else "last good", **means}
        return counted(back, "roll-backs"), [{"time": iso(due), **what}]
    if state.since >= pace.recent and worse <= 0.0:
        return replace(state, good=state.head, lately=now._replace(good=now.adapted, over_good=0.0), since=0.0), []
    return state, []


def _grown(block: Block, time: int, length: int, loss: float) -> tuple[Block, float | None]:
    """The block with one more loss, or a new one and the mean of that which is as long as it is to be."""
    if not block.losses:
        return Block(time, loss, 1), None
    if time < block.begin + length:
        return Block(block.begin, block.total + loss, block.losses + 1), None
    return Block(time, loss, 1), block.total / block.losses
