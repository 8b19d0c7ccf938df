"""Results as JSON, as a Markdown table and as a plot."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench import environments
from benchmarks.bench.figures import Spread, ratios, summarise
from benchmarks.bench.systems import SYSTEMS, Entry
from benchmarks.bench.workload import WORKLOADS, Workload

HEAD = (
    "| system | updates/s | updates per CPU-s | … per GFLOP/s of sgemm | of the ceiling | metapulse ÷ it, per CPU-s "
    "| start-up s | peak MB | error of the step |\n|---|---|---|---|---|---|---|---|---|"
)


def save(work: Path, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    """Write what has been measured so far to results.json."""
    result = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "settings": dict(settings),
        "summary": summarise(rows),
        "ratios": ratios(rows),
        "measurements": list(rows),
    }
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    beside = work / "results.json.part"
    beside.write_text(text)
    beside.replace(work / "results.json")


def publish(work: Path, docs: Path | None) -> None:
    """Add the versions, make table and plot beside results.json; copy all three to ``docs`` where it is given."""
    result = json.loads((work / "results.json").read_text())
    used = {entry.environment for entry in SYSTEMS if any(s["system"] == entry.name for s in result["summary"])}
    result["versions"] = {name or "project": environments.versions(work, name) for name in sorted(used)}
    (work / "results.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    text = table(result)
    (work / "results.md").write_text(text)
    plot = Path(__file__).with_name("plot.py")
    subprocess.run([environments.python(work, "plot"), plot, work / "results.json", work / "results.svg"], check=True)
    print(text)
    if docs is not None:
        for ending in ("json", "md", "svg"):
            shutil.copyfile(work / f"results.{ending}", docs / f"bench.{ending}")


def table(result: Mapping[str, Any]) -> str:
    """Markdown: what was measured on, then a table per workload."""
    machine, settings = result["machine"], result["settings"]
    repeats = max((row["repeat"] + 1 for row in result["measurements"]), default=0)
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; medians (range) of {repeats} "
        f"turns of {settings['seconds']:g} s each. Ratios are taken within a turn. The ceiling is one core's sgemm "
        "at the same moment."
    ]
    for workload in WORKLOADS.values():
        rows = [s for s in result["summary"] if s["workload"] == workload.name]
        if rows:
            parts.append(f"**{_title(workload)}**\n\n{HEAD}\n" + "\n".join(_row(result, row) for row in rows))
    if (variants := _variants(result)) is not None:
        parts.append(variants)
    return "\n\n".join(parts) + "\n"


def _title(workload: Workload) -> str:
    kind = "tasks, second-order MAML" if workload.second_order else "clients a round"
    return f"{workload.name}: {workload.cohort} {kind}, {workload.flops / 1e6:.3g} MFLOP each"


def _row(result: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    title = _entry(row["system"]).title
    if "updates_per_s" not in row:
        return f"| {title} | {row['problem']} |" + " |" * 7
    cells = [
        title,
        _cell(row["updates_per_s"]),
        _cell(row["updates_per_cpu_s"]),
        _cell(row["updates_per_cpu_s_per_gflops"]),
        f"{100 * row['share_of_ceiling']['median']:.2g} %",
        _ratio(result, row["workload"], "ours", row["system"], "updates_per_cpu_s"),
        _cell(row["startup_s"]),
        f"{row['peak_mb']['median']:.0f}",
        f"{row['step_error']['max']:.0e}",
    ]
    return "| " + " | ".join(cells) + " |"


def _variants(result: Mapping[str, Any]) -> str | None:
    """What the targets ask of metapulse's other forms: against stock Flower, and against metapulse itself."""
    lines = []
    for row in result["summary"]:
        entry = _entry(row["system"])
        if entry.ours and "updates_per_s" in row:
            key = (result, row["workload"], row["system"])
            lines.append(
                f"| {row['workload']} | {entry.title} | {_ratio(*key, 'flower', 'updates_per_cpu_s')} "
                f"| {_ratio(*key, 'ours', 'updates_per_cpu_s')} | {_ratio(*key, 'ours', 'updates_per_s')} |"
            )
    if not lines:
        return None
    head = "| workload | form | ÷ stock Flower, per CPU-s | ÷ metapulse, per CPU-s | ÷ metapulse, per s |"
    return "**Forms of metapulse**\n\n" + "\n".join([head, "|---|---|---|---|---|", *lines])


def _ratio(result: Mapping[str, Any], workload: str, system: str, over: str, figure: str) -> str:
    for one in result["ratios"]:
        if (one["workload"], one["system"], one["over"]) == (workload, system, over):
            return _cell(one[figure])
    return ""


def _cell(s: Spread) -> str:
    return f"{_number(s['median'])} ({_number(s['min'])}–{_number(s['max'])})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _entry(name: str) -> Entry:
    return next(entry for entry in SYSTEMS if entry.name == name)


def processor() -> str:
    """What the machine calls its processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
