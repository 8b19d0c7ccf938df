"""Sleep by night: stages united over sources on a grid of minutes, and when it was, naps apart."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.sim.report.record.rows import RecordRows, collected

#: Of bars, from the bottom. Within a minute, and of one source, what is further left in the second line is taken.
STAGES = ("deep", "light", "rem", "asleep", "restless", "awake", "in_bed", "unknown")
DETAIL = {"asleep": 1, "in_bed": 2, "unknown": 2}  # less telling than a stage, which is 0
SLEEPING = ("deep", "light", "rem", "asleep")
BREAK = 60  # minutes without a word, after which sleep is another one
NAP = 3 * 60  # minutes: sleep by day that is shorter is a nap
BY_DAY = (9, 21)  # hours of the clock between which it begins
#: Metrics of a night's totals → stage, for nights without stages.
TOTALS = {"sleep_deep": "deep", "sleep_light": "light", "sleep_rem": "rem", "sleep_awake": "awake"}


@dataclass(frozen=True)
class Nights:
    """Sleep, from noon to noon; a night bears the day of its morning.

    Args:
        stages: night (day from 1970-01-01), stage, minutes; naps left out.
        spells: night, start (µs on the person's clock), minutes, nap; empty where only totals are known.
        naps: how many: spells by day, or, where only totals are known, those that the device calls naps.
        source: place of the device whose totals stand for nights without stages; None: every night has stages.
    """

    stages: pl.DataFrame
    spells: pl.DataFrame
    naps: int = 0
    source: int | None = None

    @property
    def asleep(self) -> pl.DataFrame:
        """night, minutes asleep."""
        slept = self.stages.filter(pl.col("stage").is_in(SLEEPING))
        return slept.group_by("night").agg(pl.col("minutes").sum()).sort("night")


def nights(record: RecordRows) -> Nights | None:
    """Sleep of a record; None if it tells of none."""
    minutes, totals = _minutes(record), _totals(record)
    if not len(minutes):
        return totals
    spells = minutes.filter(~pl.col("stage").is_in(("in_bed", "unknown", "awake")))
    spells = spells if len(spells) else minutes
    spells = spells.with_columns(spell=(pl.col("minute").diff() > BREAK).fill_null(False).cum_sum())
    spells = spells.group_by("spell").agg(
        start=pl.col("minute").min(), end=pl.col("minute").max() + 1, minutes=pl.len().cast(pl.Int64)
    )
    hour = pl.col("start") % (DAY // MINUTE) / (HOUR // MINUTE)
    nap = (pl.col("minutes") < NAP) & hour.is_between(*BY_DAY, closed="left")
    spells = spells.with_columns(nap=nap, night=_night("start")).sort("start")
    naps = spells.filter("nap").select(minute=pl.int_ranges("start", "end")).explode("minute")
    stages = minutes.join(naps, on="minute", how="anti").with_columns(night=_night("minute"))
    stages = stages.group_by("night", "stage").agg(minutes=pl.len().cast(pl.Float64)).sort("night", "stage")
    shown = spells.select("night", pl.col("start") * MINUTE, "nap", minutes=pl.col("end") - pl.col("start"))
    naps_by_day, source = int(shown["nap"].sum()), None
    if totals and len(others := totals.stages.join(stages, on="night", how="anti")):
        stages, source = pl.concat([stages, others.select(stages.columns)]).sort("night", "stage"), totals.source
    return Nights(stages, shown, naps_by_day, source)


def _night(minute: str) -> pl.Expr:
    return (pl.col(minute) + DAY // MINUTE // 2) // (DAY // MINUTE)


def _minutes(record: RecordRows) -> pl.DataFrame:
    """minute, stage: every minute of sleep once.

    Of several sources the one with most minutes in stages that night is believed, and the others fill in where it says
    nothing or less; of one source's spans the shortest, since short awakenings lie within longer stages.
    """
    length = pl.col("until") - pl.col("local")
    code = pl.col("code").replace_strict(dict(zip(STAGES, range(len(STAGES)), strict=True)), default=None)
    rows = record.used.filter(
        (pl.col("metric") == "sleep_stage") & length.is_between(1, DAY) & pl.col("code").is_in(STAGES)
    ).select(
        "place",
        first=(pl.col("local") + MINUTE // 2) // MINUTE,
        last=(pl.col("until") + MINUTE // 2) // MINUTE,
        stage=code.cast(pl.Int64),
        detail=pl.col("code").replace_strict(DETAIL, default=0, return_dtype=pl.Int64),
    )
    spans = collected(rows.unique()).with_columns(
        last=pl.max_horizontal("last", pl.col("first") + 1), night=_night("first")
    )
    told = pl.when(pl.col("detail") == 0).then(pl.col("last") - pl.col("first")).otherwise(0)
    rank = (
        spans.group_by("night", "place")
        .agg(told=told.sum())
        .sort("night", "told", "place", descending=[False, True, False])
    )
    rank = rank.with_columns(rank=pl.int_range(pl.len()).over("night")).select("night", "place", "rank")
    length = pl.col("last") - pl.col("first")
    choice = ((pl.col("detail") * 100 + pl.col("rank")) * 2048 + length) * 16 + pl.col("stage")
    each = (
        spans.join(rank, on=["night", "place"])
        .lazy()
        .select(choice=choice, minute=pl.int_ranges("first", "last"))
        .explode("minute")
    )
    best = collected(each.group_by("minute").agg(pl.col("choice").min())).sort("minute")
    return best.select(
        "minute", stage=(pl.col("choice") % 16).replace_strict(dict(enumerate(STAGES)), return_dtype=pl.String)
    )


def _totals(record: RecordRows) -> Nights | None:
    """From what devices say of whole nights: the one that tells most of stages, else of time asleep."""
    for names in (TOTALS, {"sleep_duration": "asleep"}):
        wanted = pl.col("metric").is_in(list(names)) & (pl.col("part") == "") & pl.col("value").is_not_null()
        night = (pl.col("local") + DAY // 2) // DAY
        rows = (
            record.used.filter(wanted & ~pl.col("doubtful"))
            .group_by("place", "metric", night=night)
            .agg(minutes=pl.col("value").last())
        )
        found = collected(rows)
        if len(found):
            most = (
                found.group_by("place").agg(pl.col("night").n_unique()).sort("night", "place", descending=[True, False])
            )
            place = int(most["place"][0])
            stage = pl.col("metric").replace_strict(names, return_dtype=pl.String)
            stages = found.filter(pl.col("place") == place).select("night", "minutes", stage=stage)
            naps = (pl.col("metric") == "sleep_duration") & (pl.col("part") == "nap") & (pl.col("place") == place)
            told = int(record.contents.filter(naps)["values"].sum())
            return Nights(stages.sort("night", "stage"), pl.DataFrame(), told, place)
    return None
