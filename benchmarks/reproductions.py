"""Do published numbers come out? Runs ``configs/reproductions`` and prints published, ours, and the spread over seeds.

    python benchmarks/reproductions.py OUT [--only a4 a5] [--seeds 0 1 2]

Finished runs in OUT are not done again. The published figures stand in PUBLISHED with what they are of.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from shared import finished, last_rows

from client.registry import SOURCES
from sim.suite import plan

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "reproductions"

#: (config, method, step, metric) → what was published.
PUBLISHED: dict[tuple[str, str, int, str], str] = {
    ("a1_a2_sine", "maml", 1, "mse"): "~0.67",
    ("a1_a2_sine", "maml", 5, "mse"): "~0.38",
    ("a1_a2_sine", "maml", 10, "mse"): "~0.35",
    ("a1_a2_sine", "fomaml", 1, "mse"): "not published",
    ("a1_a2_sine", "fomaml", 5, "mse"): "not published",
    ("a1_a2_sine", "fomaml", 10, "mse"): "not published",
    ("a1_a2_sine", "pretrained", 1, "mse"): "~2.41",
    ("a1_a2_sine", "pretrained", 5, "mse"): "~2.23",
    ("a1_a2_sine", "pretrained", 10, "mse"): "~2.19",
    ("a3_metasgd_sine", "maml", 1, "mse"): "1.13 ± .18",
    ("a3_metasgd_sine", "meta_sgd", 1, "mse"): "0.90 ± .16",
    ("a4_reptile_sine", "reptile", 0, "mse"): "not published",
    ("a4_reptile_sine", "reptile", 1, "mse"): "not published",
    ("a4_reptile_sine", "reptile", 8, "mse"): "not published",
    ("a4_reptile_sine", "reptile", 32, "mse"): "0.048 (one curve)",
    ("a5_synthetic_mlr", "fedavg", 0, "pooled"): "77.62",
    ("a5_synthetic_mlr", "per_fedavg", 1, "pooled"): "81.49",
    ("a5_synthetic_mlr", "per_fedavg_hf", 1, "pooled"): "81.49",
    ("a5_synthetic_mlr", "fedavg_ft", 200, "pooled"): "not published",
    ("a5_synthetic_mlr", "local_only", 12000, "pooled"): "not published",
    ("a5_synthetic_dnn", "fedavg", 0, "pooled"): "83.64",
    ("a5_synthetic_dnn", "per_fedavg", 1, "pooled"): "85.01",
    ("a5_synthetic_dnn", "per_fedavg_hf", 1, "pooled"): "85.01",
    ("a5_synthetic_dnn", "fedavg_ft", 200, "pooled"): "not published",
    ("a5_synthetic_dnn", "local_only", 12000, "pooled"): "not published",
}


def final(folder: Path) -> dict[tuple[int, str], float]:
    """(step, metric) → mean over clients at the last meta-test; accuracies also pooled over samples (percent)."""
    rows = last_rows(folder)
    config = json.loads((folder / "config.json").read_text())["config"]
    groups: dict[tuple[int, str], dict[int, float]] = {}
    for row in rows:
        groups.setdefault((row["step"], row["metric"]), {})[row["client"]] = row["value"]
    scores = {key: float(np.mean(list(values.values()))) for key, values in groups.items()}
    if config["source"]["name"] == "synthetic":
        # The published accuracy counts every test sample once, not every client.
        source = SOURCES.make(config["source"])
        sizes = {c: int(source.samples(c).held_out.sum()) for c in range(len(source))}
        for (step, metric), values in groups.items():
            if metric == "accuracy":
                total = sum(sizes[c] for c in values)
                scores[step, "pooled"] = 100 * sum(sizes[c] * v for c, v in values.items()) / total
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", default=[])
    args = parser.parse_args(argv)
    print("| config | method | step | metric | published | ours, mean ± sd over seeds | seeds |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(CONFIGS.glob("*.toml")):
        if not any(path.stem.startswith(prefix) for prefix in args.only):
            continue
        scores: dict[str, list[dict[tuple[int, str], float]]] = {}
        for seed in args.seeds:
            for method, config in plan(path, [f"run.seed={seed}"]).configs.items():
                if not args.methods or method in args.methods:
                    folder = finished(config, args.out / path.stem / method / str(seed))
                    scores.setdefault(method, []).append(final(folder))
        for (stem, method, step, metric), published in PUBLISHED.items():
            if stem == path.stem and method in scores:
                values = [s[step, metric] for s in scores[method]]
                sd = np.std(values, ddof=1) if len(values) > 1 else float("nan")
                ours = f"{np.mean(values):.4g} ± {sd:.2g}"
                print(f"| {stem} | {method} | {step} | {metric} | {published} | {ours} | {len(values)} |", flush=True)


if __name__ == "__main__":
    main()
