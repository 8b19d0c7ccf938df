"""An engine of one's own: settings and ``run``, chosen by its dotted name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from metapulse.errors import ConfigError
from metapulse.server.config import Config, build_config, resolved
from metapulse.settings import setting
from metapulse.sim import experiment
from metapulse.sim.engines.settings import Cohort
from tests.runs import make, read

OWN = f"{__name__}:Noted"


@dataclass(frozen=True)
class Noted(Cohort):
    """The cohort engine, which leaves a note first."""

    runner: ClassVar[str] = f"{__name__}:run_noted"

    note: str = setting("", "what it says")


def run_noted(config: Config, engine: Noted, path: Path, *told: Any) -> dict[str, Any]:
    """The note, then the run."""
    (path / "note.txt").write_text(engine.note, encoding="utf-8")
    return experiment.run_cohort(config, engine, path, *told)


def test_an_engine_of_ones_own_runs_with_its_own_settings_to_the_same_numbers(tmp_path: Path) -> None:
    config = make("reptile", "fedreptile", engine={"name": OWN, "note": "here", "chunk": 2})
    assert resolved(config)["engine"]["name"] == OWN
    assert build_config(resolved(config)).engine == config.engine == Noted(OWN, chunk=2, note="here")
    usual = make("reptile", "fedreptile", engine={"chunk": 2})
    assert config.digest() == usual.digest()
    thetas = [
        read(tmp_path / name, experiment.run_experiment(one, tmp_path / name)).thetas[-1]
        for name, one in {"own": config, "usual": usual}.items()
    ]
    assert (tmp_path / "own/note.txt").read_text() == "here"
    assert all((thetas[0][name] == p).all() for name, p in thetas[1].items())


def test_what_it_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine.cpus_per_client = 1.0: has no effect with engine.name = .*'flower'"):
        make("reptile", "fedreptile", engine={"name": OWN, "cpus_per_client": 1.0})
