"""The simulation in C (``simulate.c``): random numbers, movement and sensors of one client, with no Python between.

What it gives is what ``population.simulated`` gives with NumPy: the same random numbers, and what follows from them up
to rounding.
"""

from __future__ import annotations

from ctypes import CDLL, byref, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from metapulse.compiler import compiled
from metapulse.data import Samples
from metapulse.rng import philox_key
from metapulse.sim.sources.wearables.activities import ACTIVITIES, HARMONICS, JOINTS, column, poses
from metapulse.sim.sources.wearables.device import LENGTH, MODELS, DeviceName, chances, device_purpose
from metapulse.sim.sources.wearables.gait import (
    ARM_WAVES,
    AT_REST,
    GESTURE_RAD,
    LEG_WAVES,
    OMEGA_RAD_S,
    OTHER_ARM,
    REACH,
    TRUNK_WAVES,
)
from metapulse.sim.sources.wearables.person import EXECUTIONS_PURPOSE, GESTURES, PERSON_PURPOSE

SOURCE = Path(__file__).with_name("simulate.c")
#: As NumPy's distributions are compiled, since the numbers are to be the same; ``-O3`` makes loops over vectors.
FLAGS = ("-O3", "-ffp-contract=off")
#: What the C code has room for: means of binomials that are drawn by inversion, phases that keep whole quarters apart.
MOST_EXECUTIONS, MOST_WINDOWS = 12, 1000
LIMB_NAMES = ("leg", "arm", "forearm")

# The C code's structures (person.h, device.h), all of numbers of eight bytes.
_N, _J = len(ACTIVITIES), len(JOINTS)
ACTIVITY = np.dtype([
    ("omega", "f8"), ("rest", "f8"), ("loose", "f8"), ("vibration", "f8"), ("pose", "f8", _J), ("other_arm", "f8", 3),
    ("gesture", "f8", 3), ("leg", "c16", (3, HARMONICS)), ("arm", "c16", (4, HARMONICS)),
    ("trunk", "c16", (3, HARMONICS)),
])  # fmt: skip
SETTING = np.dtype([
    ("person_spread", "f8"), ("missing", "f8"), ("device_spread", "f8"), ("noise", "f8"), ("executions", "i8"),
    ("windows", "i8"),
])  # fmt: skip
MODEL = np.dtype([
    ("limb", "i8"), ("radius", "f8"), ("axes", "f8", (2, 3, 3)), ("left", "f8"), ("ways", "f8", 4),
    ("tilt_deg", "f8", 2), ("spin_deg", "f8", 2), ("fingers", "f8"), ("shake", "f8"), ("rate_hz", "f8"),
    ("jitter", "f8"), ("range", "f8", 2), ("bits", "f8"), ("noise", "f8", 2), ("gain", "f8"), ("bias", "f8", 2),
    ("loss_hz", "f8"), ("loss_s", "f8"), ("reach", "f8", (4, GESTURES)),
])  # fmt: skip
PERSON = np.dtype([
    ("height_m", "f8"), ("tempo", "f8", _N), ("vigour", "f8"), ("stride", "f8"), ("arm_swing", "f8"),
    ("arm_lag", "f8"), ("asymmetry", "f8"), ("timbre", "c16", (3, HARMONICS)), ("pose", "f8", (_N, _J)),
    ("other_arm", "f8", _N), ("sway", "f8"), ("fidget", "f8"), ("tremor_hz", "f8"), ("tremor_ms2", "f8"),
    ("present", "f8", _N), ("usage", "f8", _N),
])  # fmt: skip
EXECUTION = np.dtype([
    ("activity", "i8"), ("windows", "i8"), ("tempo", "f8"), ("size", "f8"), ("phase", "f8"), ("wander", "f8", 3),
    ("pose", "f8", _J), ("other_arm", "f8"), ("gesture_rad_s", "f8", GESTURES), ("gesture", "c16", (4, GESTURES)),
])  # fmt: skip
DRAWN = np.dtype([("person", PERSON), ("done", EXECUTION, _N * MOST_EXECUTIONS)])


@dataclass(frozen=True, eq=False)
class Simulator:
    """One device model worn by the people of one population.

    Args:
        code: the compiled library.
        keys: of the streams of people and of their executions, then of the device's.
        setting, table, model: settings of the population, what activities do, and the device, as the C code has them.
    """

    code: CDLL
    keys: np.ndarray
    setting: np.ndarray
    table: np.ndarray
    model: np.ndarray

    @cached_property
    def _addresses(self) -> tuple[int, ...]:
        """Of all arrays but the first, after those of both keys: asking for one takes a microsecond."""
        return tuple(map(_at, (self.keys, self.keys[4:], self.setting, self.table, self.model)))

    def people(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """Who a person is (a ``PERSON``), and what they did (an ``EXECUTION`` each)."""
        drawn, count, _ = self._draw(user)
        return drawn["person"], drawn["done"][0, :count]

    def record(self, user: int) -> Samples:
        """All that the person's device recorded.

        Raises:
            MemoryError: there is no room for its readings.
        """
        drawn, count, n = self._draw(user)
        x, y, group = np.empty((n, 6, LENGTH), dtype=np.float32), np.empty(n, np.int64), np.empty(n, np.int64)
        _, key, *settings = self._addresses
        people = _at(drawn)
        given = people, people + PERSON.itemsize, count
        if self.code.record(key, user, *settings, *given, _at(x), _at(y), _at(group)):
            raise MemoryError("no memory for a device's readings")
        return Samples(x, y, group, np.zeros(n, dtype=np.bool_))

    def _draw(self, user: int) -> tuple[np.ndarray, int, int]:
        """A person and what they did, how many executions that is, and how many windows."""
        drawn, count = np.empty(1, DRAWN), c_int64()
        keys, _, setting, table, _ = self._addresses
        people = _at(drawn)
        n = self.code.people(keys, user, setting, table, people, people + PERSON.itemsize, byref(count))
        return drawn, count.value, n


def simulator(
    seed: int,
    device: DeviceName,
    executions: int,
    windows: int,
    missing: float,
    person_spread: float,
    device_spread: float,
    noise: float,
) -> Simulator | None:
    """The simulation of one device model in C.

    Args:
        seed, executions, windows, missing, person_spread, device_spread, noise: as for ``Wearables``.
        device: name of the model.

    Returns:
        None where nothing can be compiled, and where an activity is executed or an execution lasts so long that it is
        left to NumPy.
    """
    if executions > MOST_EXECUTIONS or windows > MOST_WINDOWS:
        return None
    code = compiled(SOURCE, *FLAGS)
    if code is None:
        return None
    return _prepared(code, seed, device, (person_spread, missing, device_spread, noise, executions, windows))


@lru_cache(maxsize=64)
def _prepared(code: CDLL, seed: int, device: DeviceName, setting: tuple[float, ...]) -> Simulator:
    code.people.restype, code.record.restype = c_int64, c_int64
    code.people.argtypes = [c_void_p, c_uint64, *[c_void_p] * 5]
    code.record.argtypes = [c_void_p, c_uint64, *[c_void_p] * 5, c_int64, *[c_void_p] * 3]
    purposes = PERSON_PURPOSE, EXECUTIONS_PURPOSE, device_purpose(device)
    keys = np.array([philox_key(seed, purpose) for purpose in purposes], dtype=np.uint64).ravel()
    return Simulator(code, keys, np.array([setting], SETTING), _table(), _model(device, setting[2]))


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    table = np.empty(_N, ACTIVITY)
    table["omega"], table["rest"], table["vibration"] = OMEGA_RAD_S, AT_REST, column("vibration")
    table["loose"], table["pose"], table["other_arm"] = np.radians(column("loose")), poses(), OTHER_ARM
    table["gesture"], table["leg"], table["arm"], table["trunk"] = GESTURE_RAD, LEG_WAVES, ARM_WAVES, TRUNK_WAVES
    return table


def _model(device: DeviceName, spread: float) -> np.ndarray:
    m = MODELS[device]
    ranges, noises, biases = (m.acc_range, m.gyro_range), (m.acc_noise, m.gyro_noise), (m.acc_bias, m.gyro_bias)
    worn = LIMB_NAMES.index(m.limb), m.radius, (m.left_axes, m.right_axes), m.left, np.cumsum(chances(m, spread))
    held = m.tilt_deg, m.spin_deg, m.fingers, m.shake
    sensors = m.rate_hz, m.jitter, ranges, m.bits, noises, m.gain, biases, m.loss_hz, m.loss_s
    return np.array([(*worn, *held, *sensors, REACH[m.limb])], MODEL)


def _at(array: np.ndarray) -> int:
    address: int = array.ctypes.data
    return address
