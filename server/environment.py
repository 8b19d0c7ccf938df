"""What a run ran on: versions, platform, commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from metapulse.server.own_code import BEGAN_IN


def environment() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": dict(_versions()),
        "torch_threads": torch.get_num_threads(),
        "git": _git_commit(),
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
    """This program's version and commit, as a run's environment.json has them."""
    versions = environment.get("versions")
    named = versions.get("metapulse", "?") if isinstance(versions, Mapping) else "?"
    return f"metapulse {named}" + (f" ({commit})" if (commit := environment.get("git")) else "")


def _git_commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
