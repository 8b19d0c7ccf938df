"""The ServerApp: what Flower starts on the coordinator, in ``flwr run`` and in a deployment.

Settings come from ``[tool.flwr.app.config]`` and ``flwr run -c "key='value'"``:

    config      path of a TOML file inside the app's folder, or TOML text
    method      one of its [methods.NAME] tables to lay over the rest ("": none)
    out         the run's folder ("": runs/NAME-RUNID); a run of this configuration found in it is resumed
    min-nodes   nodes that must have said who they are before the first round
    wait-s      longest wait for them, seconds
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from metapulse.client.spec import to_json
from metapulse.errors import ConfigError, NoResultError
from metapulse.server.config import Config, EngineSettings, build_config, load_config, merge, parse
from metapulse.server.directory import handshake
from metapulse.server.grid import PollingGrid
from metapulse.server.lock import alone
from metapulse.server.result import failure
from metapulse.server.run import Run
from metapulse.server.simulated import refuse_simulated
from metapulse.settings import build, default_of, is_setting, setting
from metapulse.strategies.privacy.plan import sentence

app = ServerApp()


@dataclass(frozen=True)
class AppSettings:
    """What Flower's run configuration may say."""

    config: str = setting("configs/quick.toml", "a TOML file inside the app's folder, or TOML text")
    method: str = setting("", "one of the file's [methods.NAME] tables ('': none)")
    out: str = setting("", "the run's folder ('': runs/NAME-RUNID)")
    min_nodes: int = setting(1, "nodes needed before the first round", ge=1)
    wait_s: float = setting(120.0, "longest wait for them, seconds", gt=0)


@app.main()
def run_server(grid: Grid, context: Context) -> None:
    """Ask the nodes which clients they serve, then run to the end.

    Raises:
        NoResultError: the run ended without one.
        ConfigError: it has attacks or faults, which real devices have not.
    """
    settings = build(AppSettings, {k.replace("-", "_"): v for k, v in context.run_config.items()}, "run configuration")
    config = read_config(settings)
    refuse_simulated(config.attack, config.faults)
    path = Path(settings.out or f"runs/{config.run.name}-{context.run_id}")
    logger = logging.getLogger("flwr")
    logger.info("metapulse: run folder %s", path.resolve())
    if idle := without_effect(config.engine):
        logger.warning("metapulse: %s have no effect: they are of simulated devices, and these are not", idle)
    with alone(path):
        begun, prompt = (path / "config.json").exists(), PollingGrid(grid)
        directory = handshake(prompt, to_json(config.client_config()), settings.min_nodes, settings.wait_s)
        run = Run(config, prompt, directory, path)
        summary = run.resume() if begun else run.start()
    logger.info("metapulse: %d rounds done, θ %s", summary["rounds"], summary["theta"])
    if "privacy" in summary:
        logger.info("metapulse: %s", sentence(summary["privacy"]))
    if why := failure(summary):
        raise NoResultError(why)  # for Flower the run has failed then


def read_config(settings: AppSettings) -> Config:
    """The typed configuration of a run configuration.

    Raises:
        ConfigError: no such file inside the app's folder, or what it says is wrong.
    """
    table, methods = _read(settings.config)
    if settings.method:
        if settings.method not in methods:
            raise ConfigError("method", settings.method, f"must be one of {', '.join(sorted(methods)) or 'none'}")
        merge(table, methods[settings.method])
    return build_config(table)


def without_effect(engine: EngineSettings) -> str:
    """The engine's settings that are given and not read where devices are real: all but the longest wait.

    They are told and not refused: no number depends on them, so one file can serve a simulation and a deployment.
    """
    given = {f.name: getattr(engine, f.name) for f in fields(engine) if is_setting(f)}
    usual = {f.name: default_of(f) for f in fields(engine)} | {"timeout_s": engine.timeout_s}
    return ", ".join(f"engine.{key} = {given[key]!r}" for key in sorted(given) if given[key] != usual[key])


def app_folder() -> Path:
    """Where Flower has unpacked the app: the first folder of ``sys.path`` with a pyproject.toml."""
    for name in sys.path:
        if (Path(name) / "pyproject.toml").is_file():
            return Path(name).resolve()
    return Path.cwd()


def _read(text: str) -> tuple[dict[str, Any], Mapping[str, dict[str, Any]]]:
    if "\n" in text or "=" in text:
        return parse(text)
    folder = app_folder()
    path = (folder / text).resolve()
    if not path.is_relative_to(folder):
        raise ConfigError("config", text, "must be a file inside the app's folder, or TOML text")
    return load_config(path, anchor=False)
