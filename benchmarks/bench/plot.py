"""Results as one SVG: updates per CPU-second of every system, by workload, beside the ceiling.

python plot.py RESULTS.json OUT.svg, in an environment that has matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

OURS, PEER, CEILING = "#0b6e4f", "#9aa5b1", "#c1121f"


def draw(result: dict[str, Any], out: Path) -> None:
    """One panel per workload; bars from the least to the most, whiskers over the repetitions."""
    rows = [row for row in result["summary"] if "updates_per_cpu_s" in row]
    names = list(dict.fromkeys(row["workload"] for row in rows))
    heights = [0.9 + 0.27 * sum(row["workload"] == name for row in rows) for name in names]
    figure, axes = plt.subplots(
        len(names), 1, figsize=(8, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[:, 0], names, strict=True):
        panel(axis, name, [row for row in rows if row["workload"] == name])
    axes[-1, 0].set_xlabel("client updates per CPU-second (logarithmic)")
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same results give the same file
    figure.savefig(out, metadata={"Date": None})


def panel(axis: Any, name: str, rows: list[dict[str, Any]]) -> None:
    """The systems of one workload."""
    rows = sorted(rows, key=lambda row: row["updates_per_cpu_s"]["median"])
    for i, row in enumerate(rows):
        s = row["updates_per_cpu_s"]
        ours = row["system"] == "bare" or row["system"].startswith("ours")
        whiskers = [[s["median"] - s["min"]], [s["max"] - s["median"]]]
        axis.barh(i, s["median"], xerr=whiskers, color=OURS if ours else PEER, error_kw={"lw": 0.8})
        axis.text(s["max"] * 1.03, i, f"{s['median']:,.0f}", va="center", fontsize=7)
    ceiling = max(row["updates_per_cpu_s"]["median"] / row["share_of_ceiling"]["median"] for row in rows)
    axis.axvline(ceiling, color=CEILING, lw=1)
    axis.set_yticks(range(len(rows)), [row["system"] for row in rows], fontsize=8)
    axis.set_xscale("log")
    axis.set_title(f"{name} (line: one core's sgemm)", fontsize=9, loc="left")
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
