"""The table and the sentences of docs/comparison.md, from the folder of a comparison.

metapulse compare configs/comparison.toml --workers 2 --out FOLDER
python benchmarks/comparison_table.py FOLDER [--shots 5]
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

MARKS = {"better": " ↑", "worse": " ↓", "no difference shown": ""}
TITLES = {"new_user": "new people", "new_device": "new device"}


def table(said: dict[str, Any], shots: int) -> list[str]:
    """Scores after the last round at so many shots, with a mark where a verdict is; the best mean rank first."""
    scores = {(s["dataset"], s["scenario"], s["method"]): s for s in said["scores"] if s["shots"] == shots}
    verdicts = {(p["dataset"], p["scenario"], p["method"]): p["verdict"] for p in said["pairs"] if p["shots"] == shots}
    ranking = said["ranking"]
    ranks = dict(zip(ranking["methods"], ranking["ranks"], strict=True)) if ranking else {}
    questions = list(dict.fromkeys(key[:2] for key in scores))
    lines = ["| | rank | " + " | ".join(f"{d} {TITLES.get(s, s)}" for d, s in questions) + " |"]
    lines.append("|---" * (len(questions) + 2) + "|")
    for method in sorted(said["methods"], key=lambda m: ranks.get(m, 1e9)):
        cells = []
        for question in questions:
            score = scores.get((*question, method))
            number = "–" if score is None else f"{score['last']['value']:.3f}".removeprefix("0")
            cells.append(number + MARKS[verdicts.get((*question, method), "no difference shown")])
        rank = f"{ranks[method]:.1f}" if method in ranks else "–"
        lines.append(f"| {method} | {rank} | {' | '.join(cells)} |")
    return lines


def counts(said: dict[str, Any]) -> list[str]:
    """Verdicts by method, of all its questions."""
    lines = ["| | better | worse | no difference shown |", "|---|---:|---:|---:|"]
    for method in said["methods"]:
        told = Counter(p["verdict"] for p in said["pairs"] if p["method"] == method)
        if told:
            lines.append(f"| {method} | {told['better']} | {told['worse']} | {told['no difference shown']} |")
    return lines


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Scores or pairs as CSV; an interval is three columns."""
    flat = []
    for row in rows:
        made: dict[str, Any] = {}
        for name, value in row.items():
            parts = {f"{name}_{end}": number for end, number in value.items()} if isinstance(value, dict) else {}
            made |= parts or {name: value}
        flat.append({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in made.items()})
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in flat for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="folder for scores.csv and verdicts.csv")
    options = parser.parse_args()
    said = json.loads((options.folder / "comparison.json").read_text())
    if options.csv:
        write(options.csv / "scores.csv", said["scores"])
        write(options.csv / "verdicts.csv", said["pairs"])
    print(*table(said, options.shots), "", *counts(said), "", *(f"* {word}" for word in said["words"]), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
