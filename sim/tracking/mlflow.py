"""MLflow: to ``MLFLOW_TRACKING_URI``, else into ``mlruns/`` here, which is all that its small package can write to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from metapulse.server.folder import RunFolder

EXPERIMENT = "metapulse"
IDENTITY = "metapulse.run"  # the tag that finds a resumed run's run again
METRICS, PARAMS = 1000, 100  # in one request, at most


class MLflow:
    """One run of the experiment ``metapulse`` (or ``MLFLOW_EXPERIMENT_NAME``)."""

    def __init__(self, folder: RunFolder) -> None:
        if "MLFLOW_TRACKING_URI" not in os.environ:
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # MLflow's own default is a database
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", Path("mlruns").absolute().as_uri()))
        config = folder.config()[0]
        self._run = self._found(folder.identity) or self._created(folder.identity, config)
        self._client.update_run(self._run, status="RUNNING")
        self._last: dict[str, int] = {}  # the last round that each metric was logged at

    def log(self, round: int, values: Mapping[str, float]) -> None:
        """One metric each, the round as its step."""
        now = time.time_ns() // 10**6
        fresh = [Metric(name, value, now, round) for name, value in values.items() if round > self._latest(name)]
        for start in range(0, len(fresh), METRICS):
            self._client.log_batch(self._run, metrics=fresh[start : start + METRICS])
        self._last |= {metric.key: round for metric in fresh}

    def close(self, summary: Mapping[str, Any]) -> None:
        """The summary as tags; a run that was given up ends as failed."""
        for name, value in summary.items():
            self._client.set_tag(self._run, f"summary.{name}", value)
        self._client.set_terminated(self._run, "FINISHED" if summary else "FAILED")

    def _latest(self, name: str) -> int:
        if name not in self._last:
            history = self._client.get_metric_history(self._run, name)
            self._last[name] = max((metric.step for metric in history), default=-1)
        return self._last[name]

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _found(self, identity: str) -> str | None:
        runs = self._client.search_runs([self._experiment()], f"tags.`{IDENTITY}` = '{identity}'")
        return str(runs[0].info.run_id) if runs else None

    def _created(self, identity: str, config: Mapping[str, Any]) -> str:
        run = self._client.create_run(self._experiment(), tags={IDENTITY: identity}, run_name=config["run"]["name"])
        params = [Param(name, value) for name, value in _flat(config)]
        for start in range(0, len(params), PARAMS):
            self._client.log_batch(run.info.run_id, params=params[start : start + PARAMS])
        return str(run.info.run_id)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings by dotted name."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)
