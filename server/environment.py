"""What a run ran on: versions, platform, commit."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from metapulse.compiler import compiled
from metapulse.rng import SOURCE
from metapulse.server.own_code import BEGAN_IN


def environment() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": dict(_versions()),
        "torch_threads": torch.get_num_threads(),
        "git": _git_commit(),
        "compiled": compiled(SOURCE) is not None,
        BEGAN_IN: str(Path.cwd()),
    }


@cache
def _versions() -> dict[str, str]:
    versions = {}
    for name in ("metapulse", "flwr", "ray", "torch", "numpy", "safetensors", "pyarrow"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def version_of(environment: Mapping[str, Any]) -> str:
    """What a run's numbers depend on besides its settings and data: version, commit, compiled code, kind of device.

    Args:
        environment: as a run's environment.json has it.
    """
    versions = environment.get("versions")
    told = f"metapulse {versions.get('metapulse', '?') if isinstance(versions, Mapping) else '?'}"
    told += f" ({commit})" if (commit := environment.get("git")) else ""
    told += " without compiled code" if environment.get("compiled") is False else ""
    return told + (f" on {device}" if (device := environment.get("device", "cpu")) != "cpu" else "")


def _git_commit() -> str | None:
    """Of changed files also the beginning of a digest of their changes: two states of one commit are two versions."""
    told = _git("describe", "--always", "--dirty", "--abbrev=12")
    changes = _git("diff", "--no-ext-diff", "HEAD") if told and told.endswith("-dirty") else None
    return f"{told}.{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else told


def _git(*command: str) -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(here), *command],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
