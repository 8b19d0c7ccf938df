"""The ClientApp of a device: it decodes an instruction, has ``client/work.py`` follow it, and encodes the answer.

A device serves its own data: where the node's configuration names a source (``source='{"name": "own", …}'``), that
one is used whatever the instruction says, and ``client``, ``user``, ``device`` and ``label`` say which of its clients
the device is and how it is called (``metapulse.client.device``). An instruction is a stranger's: what it may name and
how much it may ask for is the device's own to say (``metapulse.client.trust``), and what is refused is refused in one
line.

What a learner keeps between rounds stays here (``metapulse.client.memory``): in the folder that the node's
configuration names (``state='…'``), otherwise in Flower's context. No reply holds any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from jaxtyping import Int64
from torch import Tensor

from metapulse.client.journal import Asked, admit
from metapulse.client.limits import check_testing, check_training
from metapulse.client.memory import InContext, InFolder, Memory, recall, remember
from metapulse.client.privacy import protect, read_guard
from metapulse.client.secure.answered import ANSWERED, InRecord, OnDisk
from metapulse.client.secure.device import SECURE, answer
from metapulse.client.secure.quantise import Terms, quantise
from metapulse.client.spec import Trial
from metapulse.client.trust import Policy, check_head, read_policy, read_trial, read_work
from metapulse.client.wire import (
    ARRAYS,
    ATTEMPT,
    CHECKPOINT,
    CONFIG,
    EXAMPLES,
    METRICS,
    REPLY,
    ROUND,
    RUN,
    TASK,
    VERSION,
    WIRE,
    decode,
    decode_like,
    encode,
    metric_record,
    stamp,
    write_task,
)
from metapulse.client.work import Work
from metapulse.errors import ConfigError, InstructionError, MetapulseError
from metapulse.methods.base import Report
from metapulse.registry import only
from metapulse.trees import finite, pick, sub

app = ClientApp()


Answer = Callable[[Message, Context], Message]
LONGEST = 500  # characters of a reason


def _in_one_line(answer: Callable[[Message, Context, Policy], Message]) -> Answer:
    """An answer under what the device allows; whatever goes wrong becomes one line of an error reply."""

    @wraps(answer)
    def call(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)  # many devices share a machine in a simulation; more threads only fight
        try:
            policy = read_policy(context.node_config, _partition(context))
            with only(policy.names):
                return answer(message, context, policy)
        except MetapulseError as error:
            if len(str(error)) <= LONGEST and str(error).isprintable():
                raise
            raise InstructionError(_short(str(error))) from None
        except Exception as error:  # a stranger's instruction can make anything fail
            raise InstructionError(_short(f"{type(error).__name__}: {error}")) from None

    return call


def _short(text: str) -> str:
    kept = " ".join(text[: 2 * LONGEST].split())
    return "".join(c if c.isprintable() else "?" for c in kept)[:LONGEST]


def _open(message: Message, context: Context, policy: Policy) -> tuple[Work, int, ConfigRecord]:
    if CONFIG not in message.content.config_records:
        raise InstructionError(f"an instruction has a configuration record {CONFIG!r}")
    config = message.content.config_records[CONFIG]
    if policy.allow is not None:
        check_head(config, policy)
        if message.metadata.run_id != context.run_id:
            raise InstructionError(f"an instruction of run {message.metadata.run_id}, this is run {context.run_id}")
    return read_work(config, policy), _partition(context), config


def _theta(message: Message, work: Work, policy: Policy, trial: Trial | None = None) -> dict[str, Tensor]:
    """θ; a stranger's is held against the model, and its work against memory, before any of it is decoded."""
    if list(message.content.array_records) != [ARRAYS]:
        raise InstructionError(f"an instruction has one array record {ARRAYS!r}")
    record = message.content.array_records[ARRAYS]
    if policy.allow is None:
        return decode(record)
    if len(record) > policy.limits.arrays:
        raise InstructionError(f"θ has {len(record)} arrays; this device allows {policy.limits.arrays}")
    size = sum(p.numel() for p in work.fresh.values())
    if size > policy.limits.parameters:
        raise InstructionError(f"θ has {size} numbers; this device allows {policy.limits.parameters}")
    if trial is None:
        check_training(size, work.spec.learner, policy.limits)
    else:
        check_testing(size, work.spec.learner, trial.episodes, policy.limits)
    return decode_like(record, work.fresh)


def _partition(context: Context) -> int:
    partition = context.node_config.get("partition-id")
    if not isinstance(partition, int):
        raise ConfigError("partition-id", partition, "the node's configuration must give its index in the population")
    return partition


def _stamped(content: dict[str, ArrayRecord | MetricRecord], config: ConfigRecord, message: Message) -> Message:
    """A reply that says which version, run and round it is of."""
    told = {CONFIG: ConfigRecord(stamp(config))} if WIRE in config else {}
    return Message(RecordDict({**content, **told}), reply_to=message)


def _folder(context: Context) -> Path | None:
    folder = context.node_config.get("state")
    return None if folder is None else Path(str(folder))


def _memory(context: Context, config: ConfigRecord) -> Memory:
    folder = _folder(context)
    return InContext(context.state) if folder is None or RUN not in config else InFolder(folder, str(config[RUN]))


@app.query()
@_in_one_line
def query(message: Message, context: Context, policy: Policy) -> Message:
    """Who is there: the partition id, the person, the device model, and what is predicted from what."""
    work, partition, _ = _open(message, context, policy)
    who = work.source.client(partition)
    record = ConfigRecord({"partition-id": who.index, "user": who.user, "device": who.device, "label": who.label})
    record[TASK], record[WIRE] = write_task(work.source.task), VERSION
    return Message(RecordDict({CONFIG: record}), reply_to=message)


def _report(message: Message, context: Context, policy: Policy) -> tuple[Report, dict[str, Tensor], int, int]:
    """What the device has learned, still on the device; θ, round and partition id."""
    work, partition, config = _open(message, context, policy)
    meta = _theta(message, work, policy)
    round, checkpoint, guard = int(str(config[ROUND])), int(str(config.get(CHECKPOINT, 0))), read_guard(config)
    memory = _memory(context, config)
    with memory.alone():  # until the new state is written; who is refused here has not answered
        if policy.allow is not None:
            private, session = guard is not None and guard.noise > 0, SECURE in message.content.config_records
            run, attempt = str(config.get(RUN, "none")), int(str(config.get(ATTEMPT, 0)))
            asked = Asked(run, attempt, round, checkpoint, private, session)
            admit(context.state, _folder(context), asked, policy.limits.private_answers)
        outcome = work.train(meta, round, [partition], {partition: recall(memory, round - 1)})
        if outcome.keepers:
            remember(memory, round, checkpoint, pick(outcome.state, 0))
    if outcome.report is None:
        raise InstructionError(outcome.failures[partition])  # Flower turns it into an error reply
    return outcome.report, meta, round, partition


def _secure(message: Message, context: Context, policy: Policy) -> Message:
    """One stage of secure aggregation; secrets stay in memory, and what was answered goes into the device's folder."""

    def entries(terms: Terms) -> Int64[np.ndarray, " entries"]:
        report = _report(message, context, policy)[0]
        if not finite({**report.update, EXAMPLES: report.weight}):
            raise InstructionError("update holds NaN or infinity")
        own: Int64[np.ndarray, " entries"]
        (own,) = quantise(report, terms, [client], read_guard(message.content.config_records[CONFIG]))
        return own

    client, records, folder = _partition(context), context.state.config_records, _folder(context)
    answered = InRecord(records.setdefault(ANSWERED, ConfigRecord())) if folder is None else OnDisk(folder)
    told, secrets = message.content.config_records[SECURE], records.setdefault(SECURE, ConfigRecord())
    return Message(answer(secrets, told, client, entries, answered), reply_to=message)


@app.train()
@_in_one_line
def train(message: Message, context: Context, policy: Policy) -> Message:
    """One round of local work: adapt, and report an update."""
    if SECURE in message.content.config_records:
        return _secure(message, context, policy)
    report, meta, round, partition = _report(message, context, policy)
    config = message.content.config_records[CONFIG]
    if guard := read_guard(config):
        report = protect(report, guard, meta, round, [partition])
    update = pick(report.update, 0)
    arrays: ArrayRecord = encode(sub(meta, update) if config.get(REPLY) == "weights" else update)
    numbers: dict[str, float | list[float]] = {name: float(value[0]) for name, value in report.metrics.items()}
    metrics = metric_record(float(report.weight[0]), numbers)
    return _stamped({ARRAYS: arrays, METRICS: metrics}, config, message)


@app.evaluate()
@_in_one_line
def evaluate(message: Message, context: Context, policy: Policy) -> Message:
    """One question of the meta-test: adapt on the device's own shots and report its scores."""
    work, partition, config = _open(message, context, policy)
    trial = read_trial(config, policy)
    meta = _theta(message, work, policy, trial)
    round = int(str(config[ROUND]))
    states = {partition: recall(_memory(context, config), round)}
    scores = work.evaluate(meta, round, [partition], trial, states)
    if partition in scores.failures:
        raise InstructionError(scores.failures[partition])
    numbers: dict[str, float | list[float]] = {name: m[0].flatten().tolist() for name, m in scores.metrics.items()}
    return _stamped({METRICS: metric_record(float(trial.episodes), numbers)}, config, message)
