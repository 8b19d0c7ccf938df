"""The wire: θ, updates and scores as Flower records, and back, with every size checked before memory is taken.

    instruction   arrays: θ        config: server-round, work (JSON), and reply ("update" or "weights")
                                   or, for the meta-test, trial (JSON); and sum ("samples" or "uniform"):
                                   an engine that holds many clients may answer with their weighted sum;
                                   run and checkpoint: which state a device goes on from, how far back it may be sent
                                   clip: the norm that updates of such a sum are clipped to; guard (JSON): how a
                                   device clips its update and adds noise to it before it leaves
                                   wire: version of all this; attempt: how often the run was begun or continued
    train reply   arrays: update   metrics: num-examples, and the learner's numbers
    test reply    metrics: one list per metric, (episodes × steps) flattened; num-examples
    query reply   config: partition-id, user, device, label, and task (JSON)
    every reply   config: wire, and run and server-round as the instruction had them

Stock Flower strategies average weights, so they ask for "weights": the reply then carries θ − update.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, overload

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from metapulse.client.flower_compat import SType, sent_as
from metapulse.data import Task
from metapulse.errors import ReplyError
from metapulse.trees import Params

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"
ROUND, WORK, TRIAL, REPLY, EXAMPLES = "server-round", "work", "trial", "reply", "num-examples"
SUM, RUN, CHECKPOINT = "sum", "run", "checkpoint"
CLIP, GUARD = "clip", "guard"
WIRE, ATTEMPT = "wire", "attempt"
VERSION = 2  # of the wire; another one's instructions and replies are refused
TASK = "task"
REPORTS, UPDATES = "reports", "updates"  # in an app of Flower's own: what a reply is to carry
LARGEST_TASK = 2**24  # numbers in one sample, and outputs, that a task may ask a model for


class LazyArray(Array):
    """An array that holds the numbers themselves and makes bytes of them only for those who ask.

    Within one process they are not needed, and turning bytes back into numbers costs more than averaging them.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    @property
    def dtype(self) -> str:  # type: ignore[override]
        """Of the numbers."""
        return str(self.values.dtype)

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Of the numbers."""
        return self.values.shape

    @property
    def stype(self) -> str:  # type: ignore[override]
        """NumPy's format."""
        return str(SType.NUMPY)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The numbers in that format."""
        return Array(np.asarray(self.values, order="C")).data  # a scalar stays one

    def numpy(self) -> np.ndarray:
        """The numbers, a view that must not be written to; copy them first."""
        return self.values

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (self.dtype, self.shape, self.stype, self.data)


sent_as(Array, LazyArray)


def encode(params: Params) -> ArrayRecord:
    """A tree as an array record, in the tree's order."""
    return array_record({name: p.detach().cpu().numpy() for name, p in params.items()})


def array_record(arrays: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Arrays as an array record that holds them, not copies."""
    made = ArrayRecord()
    for name, values in arrays.items():
        made[name] = LazyArray(values)
    return made


def decode(record: ArrayRecord) -> dict[str, Tensor]:
    """A tree out of a record that we made ourselves."""
    return {name: torch.from_numpy(array.numpy().copy()) for name, array in record.items()}


def differ(before: ArrayRecord, after: ArrayRecord) -> bool:
    """Whether two θ of the same names hold other numbers."""
    return any(not np.array_equal(array.numpy(), after[name].numpy()) for name, array in before.items())


class Instructions(Sequence[Message]):
    """The same instruction for several nodes, made into messages only for those who look at one.

    A message costs microseconds, and so does training a small model: an engine that reads ``content`` and ``nodes``
    needs no messages at all, and every other grid iterates over ordinary ones.

    Args:
        content: what all of them are told.
        nodes: whom, in the order of the messages.
        kind: type of the messages.
        theta: θ, which an engine in this process need not decode; None: it is in ``content`` alone.
    """

    def __init__(self, content: RecordDict, nodes: Sequence[int], kind: str, theta: Params | None = None) -> None:
        self.content, self.nodes, self.kind, self.theta = content, nodes, kind, theta

    def __len__(self) -> int:
        return len(self.nodes)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Message(self.content, self.nodes[index], self.kind)


def instruction(work: str, run: str, checkpoint: int, attempt: int, sums: str = "") -> ConfigRecord:
    """What clients are told in every round, to which a strategy adds the round's number.

    Args:
        work: the clients' part of the configuration (JSON).
        run: the run's name.
        checkpoint: round of the last checkpoint.
        attempt: how often the run was begun or continued.
        sums: how an engine that holds many may add their updates up; "": it may not.
    """
    return _instruction(work, run, checkpoint, attempt, sums).copy()  # Flower checks entries, not copies


@lru_cache(maxsize=64)  # runs that are done side by side
def _instruction(work: str, run: str, checkpoint: int, attempt: int, sums: str) -> ConfigRecord:
    told: dict[str, Any] = {WIRE: VERSION, WORK: work, RUN: run, CHECKPOINT: checkpoint, ATTEMPT: attempt}
    return ConfigRecord(told | ({SUM: sums} if sums else {}))


def reply_stamp(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a reply must repeat of its instruction: version, run and round; {} where it names no version."""
    return {key: config[key] for key in (WIRE, RUN, ROUND) if key in config} if WIRE in config else {}


def check_stamp(reply: RecordDict, expected: Mapping[str, Any]) -> None:
    """Refuse the reply of another version, run or round.

    Args:
        reply: a reply's content.
        expected: the ``reply_stamp`` of its instruction.

    Raises:
        ReplyError: what differs, in one line.
    """
    if not expected:
        return
    told = reply.config_records.get(CONFIG, ConfigRecord())
    for key, value in expected.items():
        found = told.get(key)
        if type(found) is not type(value) or found != value:
            raise ReplyError(f"{key} = {repr(found)[:60]}; this was asked with {key} = {value!r}")


def decode_like(record: ArrayRecord, like: Params) -> dict[str, Tensor]:
    """A tree out of a record from a message: same names, shapes and dtypes as ``like``, and finite.

    The header of every array is read first and nothing is allocated for one that does not fit.

    Raises:
        ReplyError: what is wrong, in one line.
    """
    missing, extra = sorted(set(like) - set(record)), sorted(set(record) - set(like))
    if missing or extra:
        wrong = [name[:60] for name in extra[:3]]
        raise ReplyError(f"array names differ: missing {missing[:3]}, not asked for {wrong}")
    return {name: _decode_array(name, record[name], p) for name, p in like.items()}


def _decode_array(name: str, array: Array, like: Tensor) -> Tensor:
    expected = like.numpy()
    if isinstance(array, LazyArray):  # of this very process: there are no bytes to be careful with
        return _checked(name, array.values, expected)
    limit = expected.nbytes + 1024  # room for the header
    if len(array.data) > limit:
        raise ReplyError(f"array {name!r} has {len(array.data)} bytes; at most {limit} are allowed")
    shape, fortran, dtype, start = _read_header(name, array.data)
    _check_shape(name, shape, dtype, expected)
    body = array.data[start:]
    if len(body) != expected.nbytes:
        raise ReplyError(f"array {name!r} has {len(body)} bytes of data; expected {expected.nbytes}")
    return _checked(name, np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C"), expected)


def _check_shape(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], expected: np.ndarray) -> None:
    if shape != expected.shape or dtype != expected.dtype:
        raise ReplyError(f"array {name!r} is {dtype}{list(shape)}; expected {expected.dtype}{list(expected.shape)}")


def _checked(name: str, values: np.ndarray, expected: np.ndarray) -> Tensor:
    _check_shape(name, values.shape, values.dtype, expected)
    if not np.isfinite(values).all():
        raise ReplyError(f"array {name!r} holds NaN or infinity")
    return torch.from_numpy(values.copy())


def _read_header(name: str, data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype, and where the numbers begin; nothing is allocated by what a header says."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's remarks about old headers
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream, max_header_size=1000)
    except Exception as error:  # a stranger's bytes can make NumPy's parser fail in any way
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ReplyError(f"array {name!r} is not in NumPy's format ({reason})") from None
    return shape, fortran, dtype, stream.tell()


def metric_record(examples: float, metrics: Mapping[str, float | list[float]]) -> MetricRecord:
    """Numbers of one reply, the number of samples first."""
    return MetricRecord({EXAMPLES: examples, **metrics})


def read_text(config: ConfigRecord, key: str) -> str:
    """A string setting of an instruction.

    Raises:
        ReplyError: it is missing or no string.
    """
    value = config.get(key)
    if not isinstance(value, str):
        raise ReplyError(f"instruction without {key!r}")
    return value


def write_task(task: Task) -> str:
    """A task as it travels: a coordinator without data builds the model from it."""
    return json.dumps(asdict(task), sort_keys=True)


def read_task(record: ConfigRecord) -> Task:
    """The task in a message.

    Raises:
        ReplyError: what is wrong with it, in one line.
    """
    text = read_text(record, TASK)
    try:
        told = json.loads(text[:100_000])
        kind, features, outputs = told["kind"], tuple(told["features"]), told["outputs"]
        known = told.get("scale", 1.0), told.get("value_unit", "")
        task = Task(kind, features, outputs, tuple(told["labels"]), told["unit"], tuple(told.get("names", ())), *known)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ReplyError(f"task {text[:60]!r} is not a description of a task") from None
    sizes = (*task.features, task.outputs)
    names = (*task.labels, *task.names, task.unit, task.value_unit)
    sound = (
        task.kind in ("classification", "regression") and type(task.scale) in (int, float) and 0 < task.scale < math.inf
    )
    whole = all(type(n) is int and n > 0 for n in sizes) and math.prod(sizes) <= LARGEST_TASK and len(sizes) <= 6
    if (
        not sound
        or not whole
        or not all(isinstance(name, str) and len(name) <= 200 and name.isprintable() for name in names)
    ):
        raise ReplyError(f"task {text[:60]!r} is not one that a model could be built for")
    return task
