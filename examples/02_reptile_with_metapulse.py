"""The same Reptile on the same sine waves through metapulse: a configuration instead of a training loop.

Clients, rounds, rates and the meta-test are those of 01_reptile_by_hand.py, written as settings; every one that is left
out has the default that ``metapulse config --all`` prints. The draws are other ones, so the figures
agree but are not equal.

Source: Nichol, Achiam and Schulman 2018, arXiv:1803.02999, Algorithm 2 and its sine-wave case study.
Run it: python examples/02_reptile_with_metapulse.py
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from metapulse.server.config import build_config, parse
from metapulse.server.metatest import last_scores
from metapulse.sim.experiment import run_experiment

ROUNDS = 1000
REPORTED = (0, 1, 5, 32)

CONFIG = f"""
[run]
name = "reptile-sine"
rounds = {ROUNDS}

[source]
name = "sine"           # one wave per client, y = A sin(x + φ) on 50 points
variant = "reptile"
clients = 1_000_000     # registered; a round costs what its ten clients cost

[transform]
name = "none"

[model]
name = "mlp"            # 1-64-64-1
hidden = [64, 64]
activation = "tanh"

[learner]
name = "reptile"        # φ ← θ, then five minibatch steps of SGD; reports θ − φ
inner_lr = 0.02
inner_steps = 5
batch_size = 10

[strategy]
name = "fedreptile"     # θ ← θ − ε · mean(θ − φ), ε falling from one to zero
cohort = 10
lr = 1.0

[evaluation]            # people who were not in training: ten points each, judged on the rest of the wave
split = "samples"
shots = [10]
steps = {list(REPORTED)}
clients = 200
episodes = 1
adapt = {{ batch_size = 0 }}
"""


def errors(table: dict[str, Any], rounds: int, folder: Path) -> dict[int, float]:
    """Mean squared error on the new clients by adaptation step, after so many rounds."""
    table = copy.deepcopy(table)
    table["run"]["rounds"] = rounds
    summary = run_experiment(build_config(table), folder)
    return {score["step"]: score["mean"] for score in last_scores(summary) if score["metric"] == "mse"}


def main() -> None:
    """Train, then compare with where training began: the same configuration with no rounds at all."""
    table, _ = parse(CONFIG)
    print("MSE on 200 new clients, 10 points each, after steps:", *REPORTED)
    with tempfile.TemporaryDirectory() as folder:
        for name, rounds in (("random start", 0), ("Reptile", ROUNDS)):
            found = errors(table, rounds, Path(folder) / name)
            print(f"{name:>14}", *(f"{found[step]:7.3f}" for step in REPORTED))


if __name__ == "__main__":
    main()
