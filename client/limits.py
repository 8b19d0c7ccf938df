"""How much an instruction may ask of a device: sizes are looked at before anything is decoded, built or allocated.

A device counts in what it can know beforehand: characters of text, numbers of arrays, widths, gradient steps, and the
memory that these need together (``metapulse.client.footprint``). Each limit is the device's own (key ``limits`` of its
node configuration); the defaults are far above what wearables need.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metapulse.client.footprint import MB, data_bytes, training_bytes, trial_bytes
from metapulse.client.privacy import Guard
from metapulse.client.spec import Trial
from metapulse.errors import InstructionError
from metapulse.settings import plain, setting

LONGEST = 64  # entries of a list, and keys of a table
DEEPEST = 12  # tables and lists within each other
SHOWN = 60  # characters of a stranger's text in a message


@dataclass(frozen=True)
class Limits:
    """What one instruction may ask for."""

    text: int = setting(100_000, "characters of one JSON text", ge=1)
    arrays: int = setting(4096, "arrays of θ", ge=1)
    parameters: int = setting(2**26, "numbers in θ, and in what a learner builds beside it", ge=1)
    width: int = setting(8192, "any one size of a model, a learner or a transform", ge=1)
    samples: int = setting(2**26, "product of the sizes of generated data", ge=1)
    loop: int = setting(1000, "any one count of steps, epochs or episodes", ge=1)
    steps: int = setting(100_000, "gradient steps of one instruction, all loops together", ge=1, le=2**53)
    memory_mb: int = setting(4096, "MB (2^20 bytes) that the work, a trial or generated data needs", ge=1)
    private_answers: int = setting(10_000, "answers under this device's own noise, all runs together", ge=1)
    masked: bool = setting(False, "whether it answers training under secure aggregation alone")
    neighbours: int = setting(512, "devices whose keys it is shown in secure aggregation, its own among them", ge=2)
    threshold: float = setting(0.0, "share of these that opening a secret takes at least", ge=0, le=1)
    noise: float = setting(0.0, "its own noise on an answer at least, drawn here in secret, as a multiple of C", ge=0)
    query: int = setting(1, "query samples of a test episode at least", ge=1)


def read_untrusted_json(text: str, limits: Limits, where: str) -> dict[str, Any]:
    """A JSON table from a message, of bounded length and depth, without NaN and infinity.

    Raises:
        InstructionError: what is wrong with it, in one line.
    """
    if len(text) > limits.text:
        raise InstructionError(f"{where} has {len(text)} characters; at most {limits.text} are allowed")
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InstructionError(f"{where} = {text[:SHOWN]!r}: expected a JSON table without NaN and infinity") from None
    if not isinstance(found, dict):
        raise InstructionError(f"{where} = {text[:SHOWN]!r}: expected a JSON table")
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        if any(len(one) > (limits.width if _numbers(one) else LONGEST) for one in level):
            raise InstructionError(f"{where} has a list or table of more than {LONGEST} entries")
        if any(isinstance(v, float) and not math.isfinite(v) for one in level for v in _values(one)):
            raise InstructionError(f"{where} holds a number that is not finite")
        level = [v for one in level for v in _values(one) if isinstance(v, (dict, list))]
        if not level:
            return found
    raise InstructionError(f"{where} is nested more than {DEEPEST} levels deep")


def check_client_config(spec: Mapping[str, Any], limits: Limits) -> None:
    """Refuse a specification of work that is too large.

    Args:
        spec: as read from JSON.

    Raises:
        InstructionError: names the setting, its value and the limit.
    """
    for section in ("model", "learner", "transform"):
        for key, size in _sizes(spec.get(section), section):
            _at_most(key, size, limits.width)
    model, learner = spec.get("model"), spec.get("learner")
    _at_most("sizes of the model, multiplied", model_size(model), limits.parameters)
    copies = [n for key, n in _sizes(learner, "learner") if key.endswith(("components", "clusters"))]
    _at_most("sizes of the model times its copies", model_size(model) * math.prod(copies), limits.parameters)
    _at_most("sizes of the learner, multiplied", _product(learner, "learner"), limits.parameters)
    _at_most("sizes of the source, multiplied", _product(spec.get("source"), "source"), limits.samples)
    for key, size in _sizes(spec.get("episodes"), "episodes"):
        _at_most(key, size, limits.samples)
    _at_most("steps of the learner, multiplied", _loops(learner, "learner", limits), limits.steps)
    check_training(model_size(model) * math.prod(copies), learner, limits)
    named = ", ".join(f"{key} = {size}" for key, size in _sizes(spec.get("source"), "source"))[: 4 * SHOWN]
    check_memory(named or "the source", data_bytes(spec.get("source")), limits)


def check_training(parameters: int, learner: object, limits: Limits) -> None:
    """Refuse a round that would need too much memory.

    Args:
        parameters: numbers in θ.
        learner: its table.

    Raises:
        InstructionError: names the settings, the memory and the limit.
    """
    check_memory("parameters of the model × learner.inner_steps", training_bytes(parameters, learner), limits)


def check_testing(parameters: int, learner: object, episodes: int, limits: Limits) -> None:
    """Refuse a trial that would need too much memory.

    Args:
        parameters: numbers in θ.
        learner: its table.
        episodes: of the trial, which are adapted at once.

    Raises:
        InstructionError: names the settings, the memory and the limit.
    """
    check_memory("parameters of the model × trial.episodes", trial_bytes(parameters, learner, episodes), limits)


def check_memory(what: str, bytes: int, limits: Limits) -> None:
    """Refuse what needs more memory than this device gives.

    Raises:
        InstructionError: names what asks for it, the memory and the limit.
    """
    if bytes > limits.memory_mb * MB:
        raise InstructionError(f"{what}: about {bytes // MB} MB; limits.memory_mb of this device is {limits.memory_mb}")


def check_answer(guard: Guard | None, session: bool, limits: Limits) -> None:
    """Refuse an answer that would leave with less protection than this device asks for.

    Args:
        guard: how the update is clipped and noised here.
        session: whether it is masked.

    Raises:
        InstructionError: names the limit.
    """
    if limits.masked and not session:
        raise InstructionError("an answer in the clear: this device trains under secure aggregation (limits.masked)")
    if limits.noise and (guard is None or guard.seed >= 0 or guard.noise < limits.noise * guard.clip):
        asked = f"{guard.noise / guard.clip:g} C" if guard else "none"
        again = ", which can be drawn again" if guard and guard.seed >= 0 else ""
        raise InstructionError(f"noise: {asked}{again}; limits.noise of this device is {limits.noise:g}")


def check_ring(threshold: int, keys: Sequence[Any], around: Sequence[Any], limits: Limits) -> None:
    """Refuse a circle of secure aggregation that is too large for this device, or opened by too few.

    Args:
        threshold: shares that open a secret.
        keys: two of each neighbour.
        around: the neighbours.

    Raises:
        InstructionError: names the limit.
    """
    if len(around) > limits.neighbours or len(keys) != 2 * len(around):
        told = f"{len(around)} neighbours with {len(keys)} keys"
        raise InstructionError(f"{told}, two each; limits.neighbours of this device is {limits.neighbours}")
    if threshold > len(around) or threshold < limits.threshold * len(around):
        told = f"{threshold} of {len(around)} open a secret"
        raise InstructionError(f"{told}; limits.threshold of this device is {limits.threshold:g}")


def check_trial(trial: Mapping[str, Any], spec: Mapping[str, Any], limits: Limits) -> None:
    """Refuse a question of the meta-test that would take too long.

    Args:
        trial: as read from JSON.
        spec: of the work it is asked about; ``trial.adapt`` is laid over its learner.

    Raises:
        InstructionError: names the setting, its value and the limit.
    """
    trial = plain(Trial()) | dict(trial)
    adapt = trial["adapt"] or {}
    if not isinstance(adapt, dict) or not isinstance(spec.get("learner"), dict):
        raise InstructionError("trial.adapt and work.learner must be tables")
    learner = spec["learner"] | adapt
    check_client_config({**spec, "learner": learner}, limits)
    steps = trial["steps"]
    counts = [n for n in steps if isinstance(n, int)] if isinstance(steps, list) else []
    most = _at_most("trial.steps", max(counts, default=0), limits.loop)
    old = _at_most("trial.history_steps", _number(trial["history_steps"]), limits.loop)
    episodes = _at_most("trial.episodes", _number(trial["episodes"]), limits.loop)
    inside = _loops({k: v for k, v in learner.items() if k != "inner_steps"}, "learner", limits)
    _at_most("steps of the trial, multiplied", episodes * (most + 1 + old) * inside, limits.steps)
    copies = [n for key, n in _sizes(learner, "learner") if key.endswith(("components", "clusters"))]
    check_testing(model_size(spec.get("model")) * math.prod(copies), learner, episodes, limits)


def _at_most(key: str, size: int, limit: int) -> int:
    if size > limit:
        shown = str(size) if size < 10**18 else "more than 10^18"
        raise InstructionError(f"{key} = {shown}: this device allows at most {limit}")
    return size


def _sizes(section: object, where: str) -> Iterator[tuple[str, int]]:
    """Every whole number in a section that is a size, at any depth; seeds and counts of steps are none."""
    for key, value in section.items() if isinstance(section, dict) else ():
        name = f"{where}.{key}"[:SHOWN]
        if key in ("seed", "batch_size") or _counts_steps(key):
            continue
        values = value if isinstance(value, list) else [value]
        yield from ((name, abs(v)) for v in values if isinstance(v, int) and not isinstance(v, bool))
        for inner in values:
            if isinstance(inner, (dict, list)):
                yield from _sizes(inner if isinstance(inner, dict) else {key: inner}, where)


def model_size(model: object) -> int:
    """An upper bound of the parameters: Σ w² over the widths, times the square of the widest kernel."""
    found = list(_sizes({k: v for k, v in model.items() if k != "options"}, "") if isinstance(model, dict) else ())
    kernel = max([size for key, size in found if "kernel" in key], default=1)
    return max(kernel, 1) ** 2 * (1 + sum(size**2 for key, size in found if "kernel" not in key))


def _product(section: object, where: str) -> int:
    """Π of single sizes, times 1 + Σ w² of those in lists."""
    if not isinstance(section, dict):
        return 1
    single = [size for _, size in _sizes({k: v for k, v in section.items() if not isinstance(v, list)}, where)]
    listed = [size for _, size in _sizes({k: v for k, v in section.items() if isinstance(v, list)}, where)]
    return math.prod(max(size, 1) for size in single) * (1 + sum(size**2 for size in listed))


def _loops(section: object, where: str, limits: Limits) -> int:
    counts = {k: v for k, v in section.items() if _counts_steps(k)} if isinstance(section, dict) else {}
    return math.prod(max(_at_most(f"{where}.{k}", _number(v), limits.loop), 1) for k, v in counts.items())


def _counts_steps(key: object) -> bool:
    return isinstance(key, str) and ("steps" in key or "epochs" in key)


def _number(value: object) -> int:
    """A count, rounded up; what is no number is refused later, by its type."""
    sound = isinstance(value, (int, float)) and math.isfinite(value)
    return math.ceil(value) if sound else 0  # type: ignore[call-overload]


def _numbers(one: dict[str, Any] | list[Any]) -> bool:
    """A list of numbers with a point, one per channel, which nothing is built by."""
    return isinstance(one, list) and all(type(value) is float for value in one)


def _values(one: dict[str, Any] | list[Any]) -> Iterator[Any]:
    return iter(one.values() if isinstance(one, dict) else one)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
