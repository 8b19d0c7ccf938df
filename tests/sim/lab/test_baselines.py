"""The rows that every comparison carries (configs/baselines.toml), above all what the centralised one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from metapulse.client.executor import ClientExecutor
from metapulse.losses import task_loss
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.run import Run
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.suite import read_suite
from metapulse.trees import stack
from tests.cases import same

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = 3


def test_the_centralised_row_is_adam_on_the_pooled_samples(tmp_path: Path) -> None:
    """torch's own Adam on the mean loss over all samples of all people in meta-training, put together."""
    small = ["source.users=10", f"run.rounds={ROUNDS}", "methods.centralised.run.rounds=3", "evaluation.shots=[1]"]
    small.append("methods.centralised.strategy.tau=0.001")  # with less a gradient of 0 steps where rounding has it go
    config = read_suite(ROOT / "configs/baselines.toml", small).configs["centralised"]
    config = replace(config, checkpoint=replace(config.checkpoint, every=1, keep=9))
    work = ClientExecutor(config.client_config())
    directory = SourceDirectory(work.source)
    Run(config, CohortGrid(len(work.source)), directory, tmp_path).start()
    ours = [load_file(path / "theta.safetensors") for path in sorted((tmp_path / "checkpoints").iterdir())]

    cohort = ClientSampler(directory, config).cohort(1, 0)
    episode = work.training_episodes(1, cohort)[1]
    assert len(cohort) == 14  # ten people, three of them held out, two devices each
    assert len(set(episode.support.counts.tolist())) > 1  # a mean over clients would be another one
    real = episode.support.mask > 0
    x, y = episode.support.x[real].unsqueeze(0), episode.support.y[real].unsqueeze(0)
    theta = {name: p.clone().requires_grad_() for name, p in ours[0].items()}
    adam = torch.optim.Adam(theta.values(), lr=config.strategy["lr"], eps=config.strategy["tau"])
    for after in ours[1:]:
        adam.zero_grad()
        task_loss(work.task, work.model.predict(stack(theta, 1), x), y, torch.ones(y.shape)).sum().backward()
        adam.step()  # 3e-3 a step; gradients as differences of float32 parameters have some 1e-7 of noise
        same({name: p.detach() for name, p in theta.items()}, after, rtol=0, atol=5e-6)
