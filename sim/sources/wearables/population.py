"""The population of wearers: any client of a million from its index alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from metapulse.data import Client, Samples, Task
from metapulse.errors import ConfigError, DataError
from metapulse.settings import SIZE, setting
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.wearables.activities import NAMES, column
from metapulse.sim.sources.wearables.device import (
    HOP,
    LENGTH,
    MODELS,
    RATE_HZ,
    DeviceName,
    cut,
    device_generator,
    draw_wearing,
    read_out,
    resample,
    sample_times,
)
from metapulse.sim.sources.wearables.gait import limb_course
from metapulse.sim.sources.wearables.motion import sense_ideal
from metapulse.sim.sources.wearables.native.simulate import simulator
from metapulse.sim.sources.wearables.person import draw_executions, draw_person

REMEMBERED = 512  # clients whose samples a process keeps, 0.15 MB each: a small population is simulated once
_VIBRATION = column("vibration")
_TASK = Task("classification", (6, LENGTH), len(NAMES), NAMES)


@dataclass(frozen=True)
class Wearables:
    """People doing six activities, each wearing some devices; the physics is in docs/wearables.md.

    A sample is 1.28 s of accelerometer (m/s²) and gyroscope (rad/s) at 50 Hz, shape (6, 64). Client index = user ·
    devices + position of its device. A group is one execution of an activity, worn by all devices of the person at
    once, so group g of the watch and of the phone are the same walk.
    """

    dataset: ClassVar[Dataset] = Dataset(
        "wearables",
        "people with gait, tremor and habits, wearing device models; physics in docs",
        "metapulse (this project)",
        devices="phone, watch, band, ring",
    )

    users: int = setting(200, "number of people", ge=1, le=2**40)
    devices: tuple[DeviceName, ...] = setting(
        ("phone", "watch", "band", "ring"), "device models that each person wears"
    )
    executions: int = setting(4, "mean executions of an activity a person does; each has at least 2", ge=2, le=SIZE)
    windows: int = setting(6, "most windows of an execution; they have between half of them and all", ge=1, le=SIZE)
    missing: float = setting(0.1, "probability that a person never does an activity", ge=0.0, lt=1.0)
    person_spread: float = setting(1.0, "how much bodies differ; 0: all average, habits aside", ge=0.0, le=3.0)
    device_spread: float = setting(1.0, "how much units and their wearing differ; 0: not at all", ge=0.0, le=3.0)
    noise: float = setting(1.0, "factor on the sensors' own noise", ge=0.0)
    seed: int = setting(0, "seed of the population", ge=0)

    def __post_init__(self) -> None:
        if not self.devices or len(set(self.devices)) < len(self.devices):
            raise ConfigError("devices", list(self.devices), "must name at least one device, none twice")

    @property
    def task(self) -> Task:
        """Six activities from windows of six channels."""
        return _TASK

    def __len__(self) -> int:
        return self.users * len(self.devices)

    def client(self, index: int) -> Client:
        """Who client ``index`` is.

        Raises:
            DataError: no such client.
        """
        user, device = self._who(index)
        return Client(index, user, device, str(user))

    def clients_of(self, user: int) -> Sequence[int]:
        """The person's devices, in the order of ``devices``.

        Raises:
            DataError: no such user.
        """
        if not 0 <= user < self.users:
            raise DataError(f"wearables has no user {user}: allowed are 0 to {self.users - 1}")
        return range(user * len(self.devices), (user + 1) * len(self.devices))

    def samples(self, index: int) -> Samples:
        """Everything one client recorded, the same at every call.

        Raises:
            DataError: no such client.
        """
        return _record(self, *self._who(index))

    def _who(self, index: int) -> tuple[int, str]:
        if not 0 <= index < len(self):
            raise DataError(f"wearables has no client {index}: allowed are 0 to {len(self) - 1}")
        return index // len(self.devices), self.devices[index % len(self.devices)]


@lru_cache(maxsize=REMEMBERED)
def _record(source: Wearables, user: int, device: DeviceName) -> Samples:
    """What one person's device records, from its address alone; read-only, because it may be asked for again."""
    lasting = source.executions, source.windows, source.missing
    compiled = simulator(source.seed, device, *lasting, source.person_spread, source.device_spread, source.noise)
    samples = compiled.record(user) if compiled else simulated(source, user, device)
    for array in (samples.x, samples.y, samples.group, samples.held_out):
        array.setflags(write=False)
    return samples


def simulated(source: Wearables, user: int, device: DeviceName) -> Samples:
    """What one person's device records, with NumPy: what the compiled simulation is held against.

    Args:
        source: the population.
        user: the person, ≥ 0.
        device: which of their devices.
    """
    person = draw_person(source.seed, user, source.person_spread, source.missing)
    done = draw_executions(source.seed, user, person, source.executions, source.windows)
    model, rng = MODELS[device], device_generator(source.seed, user, device)
    wearing = draw_wearing(rng, model, len(done), source.device_spread)
    count = LENGTH + HOP * (source.windows - 1)
    t = sample_times(rng, model, wearing, len(done), (count - 1) / RATE_HZ)
    limb = limb_course(person, done, model.limb, wearing.side, model.radius, model.fingers)
    ideal = sense_ideal(limb, t + np.float32(wearing.start_s))
    value = read_out(rng, model, wearing, ideal, _VIBRATION[done.activity], source.noise)
    x, group = cut(resample(rng, model, wearing, value, count), done.windows)
    return Samples(x, done.activity[group], group, np.zeros(len(x), dtype=np.bool_))
