"""The engines that a configuration can name, each with the settings that it alone has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.errors import ConfigError
from metapulse.server.config import EngineSettings
from metapulse.settings import setting


@dataclass(frozen=True)
class Cohort(EngineSettings):
    """Clients in stacks, in this process or in Ray actors: fast."""

    runner: ClassVar[str] = "metapulse.sim.experiment:run_cohort"

    name: str = "cohort"
    device: str = setting("cpu", "where stacks are computed: cpu, cuda, cuda:1, …")
    chunk: int = setting(0, "clients stacked at once (0: as the model and the cohort make it fast)", ge=0)
    masks: bool = setting(False, "mask under secure aggregation, as devices do (slow; the same numbers)")

    def __post_init__(self) -> None:
        if self.address and not self.workers:
            raise ConfigError("engine.address", self.address, "has no effect without engine.workers")


@dataclass(frozen=True)
class Flower(EngineSettings):
    """Flower's Simulation Runtime, one ClientApp per client: the reference."""

    runner: ClassVar[str] = "metapulse.sim.engines.flower:run_flower"

    name: str = "flower"
    cpus_per_client: float = setting(0.5, "cores per simulated client", gt=0)
