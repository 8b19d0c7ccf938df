"""A person's model on a stream of readings: forecasts, adaptation, drift and roll-back, in bounded memory.

Each reading first settles the forecasts whose time has come (their intervals are judged, the head learns) and then
asks for the next one, as ``walk`` does for a whole record. Three heads forecast side by side: the one that learns, the
population's start, and the last one that was good. Where the first has lately done worse than another, by losses that
fade (Gama, Sebastião and Rodrigues 2013), it is rolled back to that one. All functions are pure: a state and a reading
give the next state and the lines to be written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from metapulse.errors import ConfigError
from metapulse.personal.conformal import radius
from metapulse.personal.drift import Adwin, PageHinkley, page_threshold
from metapulse.personal.online import Coordinates, ask, coordinates, loosen, of_belief
from metapulse.personal.person import PersonModel
from metapulse.personal.stream_learning import Pace, learn
from metapulse.personal.stream_state import Block, Lately, Line, Pending, Reading, StreamState, counted, iso
from metapulse.personal.walk import Forecasts
from metapulse.record.clock import DAY, MINUTE, US
from metapulse.record.metrics import metric
from metapulse.record.recipes.base import MetricRows, Questions, Recipe

CLOSEST = 30 * US  # readings nearer than this to the one before are not used: memory stays bounded
ALLOWANCE = 0.25  # δ of Page–Hinkley, in standard deviations of a day's loss
WARMUP = 14  # days before its first alarm


@dataclass(frozen=True)
class PersonStream:
    """What stays as it is: the person's model, and the pace."""

    model: PersonModel
    pace: Pace = Pace()

    @cached_property
    def recipe(self) -> Recipe:
        """What is forecast.

        Raises:
            ConfigError: it cannot be followed reading by reading.
        """
        made = self.model.made
        if len(made.metrics) != 1:
            raise ConfigError("recipe", type(made).__name__, "cannot be followed: it needs several metrics")
        return made

    @cached_property
    def reach(self) -> int:
        """How far back readings matter, µs."""
        return int(self.recipe.reach_min * MINUTE)

    @cached_property
    def at(self) -> Coordinates:
        """In which heads are kept."""
        return coordinates(self.model.prior)

    def begin(self) -> StreamState:
        """Before the first reading: the model as it was saved."""
        head, card, pace = of_belief(self.at, self.model.belief), self.model.card, self.pace
        return StreamState(
            np.empty(0, np.int64),
            np.empty(0),
            (),
            head,
            head,
            self.model.interval,
            int(card["outcomes"]),
            Lately(),
            0.0,
            -(2**60),
            None,
            str(card["device"]),
            "",
            Block(),
            Block(),
            Adwin(pace.confidence),
            PageHinkley(ALLOWANCE, page_threshold(pace.run_length, ALLOWANCE), warmup=WARMUP),
        )

    def step(self, state: StreamState, reading: Reading) -> tuple[StreamState, list[Line]]:
        """After one more reading, and what there is to say."""
        refusal = self._refusal(state, reading)
        if refusal:
            return counted(state, refusal), []
        held, state = state.held, replace(state, held=None)
        if held is not None and held.time < reading.time <= held.time + DAY:
            state, lines = self._take(state, held)
            state, more = self.step(state, reading)
            return state, lines + more
        if held is not None:
            state = counted(state, "stamps over a day ahead of the others")
        if len(state.time) and reading.time > int(state.time[-1]) + DAY:
            return replace(state, held=reading), []
        return self._take(state, reading)

    def _refusal(self, state: StreamState, reading: Reading) -> str:
        """Why a reading is not used; "": it is."""
        limits = metric(self.recipe.metrics[0])
        if not math.isfinite(reading.value):
            return "values that are no numbers"
        if (limits.low is not None and reading.value < limits.low) or (
            limits.high is not None and reading.value > limits.high
        ):
            return "implausible values"
        if not len(state.time):
            return ""
        since = reading.time - int(state.time[-1])
        if since <= 0:
            return "readings out of order" if since < 0 else "repeated readings"
        if since < CLOSEST:
            return f"readings within {CLOSEST // US} s of the one before"
        other = reading.device not in ("", state.device) and state.device
        return "readings of a second device" if other and since <= self.reach else ""

    def _take(self, state: StreamState, reading: Reading) -> tuple[StreamState, list[Line]]:
        state, lines = self._changed(counted(state, "readings used"), reading)
        kept = state.time > reading.time - self.reach
        time, value = np.append(state.time[kept], reading.time), np.append(state.value[kept], reading.value)
        state = replace(state, time=time, value=value)
        asked = self.recipe.questions({self.recipe.metrics[0]: _rows(time, value)})
        state, events = self.settle(state, asked)
        if reading.time <= int(self.model.card["adapted_until"]):
            return counted(state, "readings that the model was made of"), lines + events
        state, line = self.forecast(state, asked)
        return state, [*lines, *events, line]

    def _changed(self, state: StreamState, reading: Reading) -> tuple[StreamState, list[Line]]:
        """A new device or firmware: what the person's own samples say counts for less, and is asked for anew."""
        device, firmware = reading.device or state.device, reading.firmware or state.firmware
        other = bool(state.device) and device != state.device
        if not other and (not state.firmware or firmware == state.firmware):
            return replace(state, device=device, firmware=firmware), []
        what = {"event": "new device", "device": device} if other else {"event": "new firmware", "firmware": firmware}
        state = replace(state, device=device, firmware=reading.firmware or ("" if other else firmware))
        state = replace(state, head=loosen(state.head, self.pace.kept), lately=Lately())
        if other:  # readings of two devices are no one series
            interval = replace(state.interval, own=np.empty(0), level=state.interval.miss)
            none = state.time[:0], state.value[:0]
            state = replace(state, time=none[0], value=none[1], pending=(), outcomes=0, interval=interval)
        return counted(state, what["event"] + "s"), [{"time": iso(reading.time), **what}]

    def forecast(self, state: StreamState, asked: Questions) -> tuple[StreamState, Line]:
        """The forecast at the newest reading, or why there is none."""
        now = int(state.time[-1])
        if not len(asked) or int(asked.time[-1]) != now:
            why = "the readings before are too few, or not unbroken"
            return counted(state, "abstained"), {"time": iso(now), "abstained": True, "reason": why}
        last = asked.where(np.array([len(asked) - 1]))
        x = self.model.features.of(last.x)
        mean, variance = (float(part[0, 0]) for part in ask(self.at, state.head, x))
        start = float((x @ self.model.prior.mean[0])[0, 0])
        good = mean if state.good is state.head else float(ask(self.at, state.good, x)[0][0, 0])
        scale = math.sqrt(variance) * float(self.model.start.rough.of(last.x)[0])
        promised = radius(state.interval)
        made = Forecasts(*(np.array([n]) for n in (mean, scale, promised, 0.0, float(state.outcomes))))
        made = replace(made, unlike=self.model.start.distance(x))
        reason = str(self.model.abstention.reasons(last, made, self.model.start.unlike)[0])
        waits = Pending(now, now - state.asked, x, (mean, start, good), scale, promised)
        state = replace(state, pending=(*state.pending, waits), asked=now)
        line: Line = {"time": iso(now), "due": iso(int(last.due[0]))}
        if reason:
            return counted(state, "abstained"), line | {"abstained": True, "reason": reason}
        low, mid, high = (float(last.value(made.mean + side * promised * scale)[0]) for side in (-1, 0, 1))
        told = {"value": round(mid, 3), "lower": round(low, 3), "upper": round(high, 3), "abstained": False}
        return counted(state, "forecasts"), line | told

    def settle(self, state: StreamState, asked: Questions) -> tuple[StreamState, list[Line]]:
        """Judge and learn from the forecasts whose outcome has come; drop those whose outcome cannot come any more."""
        where = {int(time): place for place, time in enumerate(asked.time)}
        waiting, lines = [], []
        for one in state.pending:
            place = where.get(one.time)
            if place is None:  # the window has moved on: a silence lay where the outcome was to be
                state = counted(state, "outcomes that did not come")
            elif np.isnan(asked.y[place]):
                waiting.append(one)
            else:
                outcome = float(asked.y[place]), int(asked.due[place])
                state, said = learn(self.at, self.pace, state, one, *outcome)
                lines += said
        return replace(state, pending=tuple(waiting)), lines


def _rows(time: np.ndarray, value: np.ndarray) -> MetricRows:
    n = len(time)
    return MetricRows(
        time, time, np.zeros(n, np.int64), value, np.full(n, "", object), *(np.zeros(n, bool) for _ in range(2))
    )
