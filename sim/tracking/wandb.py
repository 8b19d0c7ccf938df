"""Weights & Biases: online after ``wandb login``; with ``WANDB_MODE=offline`` for a later ``wandb sync``.

Its files are in ``wandb/`` of the run's folder. ``WANDB_PROJECT`` and ``WANDB_ENTITY`` are wandb's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import wandb

from metapulse.server.folder import RunFolder


class WandB:
    """One run, whose id is the identity of ours: a resumed run goes on in it; offline pieces join when synced."""

    def __init__(self, folder: RunFolder) -> None:
        config = folder.config()[0]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "metapulse"),
            id=folder.identity,
            name=config["run"]["name"],
            config=config,
            resume="allow",
            reinit="create_new",  # runs that are done as one are open at once
            dir=folder.path.absolute(),
        )
        self._run.define_metric("*", step_metric="federated_round")  # scores of earlier rounds are told at the end

    def log(self, round: int, values: Mapping[str, float]) -> None:
        """Against the federated round."""
        self._run.log({"federated_round": round, **values})

    def close(self, summary: Mapping[str, Any]) -> None:
        """A run that was given up ends as failed."""
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=0 if summary else 1)
