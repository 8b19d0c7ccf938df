"""TensorBoard: event files in the run's folder; ``tensorboard --logdir runs`` shows every run below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from metapulse.server.config_text import to_toml
from metapulse.server.folder import RunFolder


class TensorBoard:
    """Scalars by round, the configuration and the summary as text.

    Args:
        folder: the run's; what an interrupted process wrote after its last checkpoint is not shown.
    """

    def __init__(self, folder: RunFolder) -> None:
        done = int(folder.checkpoints()[-1].name)
        self._writer = SummaryWriter(folder.path / "tensorboard", purge_step=done + 1)
        self._writer.add_text("config", _fenced(folder.config()[0]))

    def log(self, round: int, values: Mapping[str, float]) -> None:
        """One scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, round)
        self._writer.flush()  # what a checkpoint has passed must be there after a kill

    def close(self, summary: Mapping[str, Any]) -> None:
        """Write what is left."""
        if summary:
            self._writer.add_text("summary", _fenced(summary))
        self._writer.close()


def _fenced(table: Mapping[str, Any]) -> str:
    return f"```toml\n{to_toml(table)}```"
