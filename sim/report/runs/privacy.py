"""The report's section on privacy: the claim, and all that it depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from metapulse.server.privacy import LEDGER, released
from metapulse.sim.report.runs.run_data import RunData
from metapulse.sim.report.runs.tables import run_name
from metapulse.sim.report.table import Rows, html_table
from metapulse.strategies.privacy import accounting
from metapulse.strategies.privacy.plan import shown

HEAD = ["", ">ε", ">δ", ">σ", ">C", ">q", ">N", ">rounds", "mechanism", "neighbours", "accountant", ""]


def privacy_table(runs: Sequence[RunData]) -> str:
    """A row for every run with a privacy budget, from its event log alone; "" where there is none."""
    rows: Rows = [[run_name(place, run), *_claim(run, claim)] for place, run in enumerate(runs) for claim in _last(run)]
    return html_table(HEAD, rows) if rows else ""


def _last(run: RunData) -> list[Mapping[str, Any]]:
    """What a run claims, and what it has spent at last: none or one."""
    plans = [event for event in run.events if event.get("kind") == "privacy"]
    spent = [event for event in run.events if event.get("kind") == "privacy-spent"]
    if not (plans and spent):
        return []
    claim = {**plans[-1], **spent[-1]}
    begun = tuple(released(run.path).items()) if (run.path / LEDGER).exists() else ()
    lines = sum(count for _, count in begun)
    if lines > claim["rounds"] + claim.get("scales", 0):  # since the last checkpoint
        epsilon = accounting.spent(begun, claim["delta"], claim["accountant"])
        claim |= {"rounds": lines - claim.get("scales", 0), "epsilon": epsilon}
    return [claim | ({"epsilon": math.inf} if claim["seeded"] and lines else {})]


def _claim(run: RunData, claim: Mapping[str, Any]) -> list[str]:
    last = [event for event in run.rounds if "clip" in event]
    clip = last[-1]["clip"] if claim["adaptive"] and last else claim["clip"]
    numbers = (claim["delta"], claim["noise_multiplier"], clip, claim["rate"], claim["people"])
    words = (
        f"{claim['mechanism']}, {claim['sampling']}",
        claim["relation"],
        f"{claim['accountant']}, {claim['library']}",
    )
    stopped = "ended by its budget" if any(e.get("kind") == "privacy-limit" for e in run.events) else ""
    seeded = "noise from a seed: no privacy" if claim["seeded"] else ""
    notes = "; ".join(filter(None, [stopped, seeded, *claim.get("warnings", ())]))
    rounds = f"{claim['rounds']} of {claim['planned']}"
    return [shown(claim["epsilon"]), *(f"{value:.4g}" for value in numbers), rounds, *map(str, words), notes]
