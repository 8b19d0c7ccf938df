"""The ClientApp of a device: it decodes an instruction, has ``client/executor.py`` follow it, and encodes the answer.

A device serves its own data: where the node's configuration names a source (``source='{"name": "own", …}'``), that
one is used whatever the instruction says, and ``client``, ``user``, ``device`` and ``label`` say which of its clients
the device is and how it is called (``metapulse.client.one_client_source``). An instruction is not trusted: what it may
name and how much it may ask for is the device's own to say (``metapulse.client.trust``), and what is refused is refused
in one line.

An engine whose devices are simulated makes an app of its own (``device_app``), in which they do other work.

What a learner keeps between rounds stays here (``metapulse.client.memory``): in the folder that the node's
configuration names (``state='…'``), otherwise in Flower's context. No reply holds any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from jaxtyping import Int64
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.journal import TrainingRequest, admit
from metapulse.client.limits import check_answer, check_testing, check_training
from metapulse.client.memory import ContextMemory, FolderMemory, Memory, recall, remember
from metapulse.client.privacy import protect, read_guard, silenced
from metapulse.client.secure.answered import ANSWERED, ContextAnswerRecord, FolderAnswerRecord
from metapulse.client.secure.device import SECURE, answer
from metapulse.client.secure.quantise import SumTerms, quantise
from metapulse.client.spec import Trial
from metapulse.client.trust import Policy, check_head, read_client_config, read_policy, read_trial
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
    reply_stamp,
    write_task,
)
from metapulse.errors import ConfigError, InstructionError, MetapulseError
from metapulse.methods.base import Report
from metapulse.registry import only
from metapulse.trees import all_finite, pick, sub

LONGEST = 500  # characters of a reason

#: The work of an instruction, as far as the device allows it.
ReadWork: TypeAlias = Callable[[ConfigRecord, Policy], ClientExecutor]


@dataclass(frozen=True)
class Request:
    """One message to one device, and what the device allows.

    Args:
        read: makes the work of an instruction.
    """

    message: Message
    context: Context
    policy: Policy
    read: ReadWork

    @property
    def partition(self) -> int:
        """Partition id of the device."""
        return _partition(self.context)

    @property
    def folder(self) -> Path | None:
        """Where the device keeps its state; None: in Flower's context."""
        folder = self.context.node_config.get("state")
        return None if folder is None else Path(str(folder))

    def open(self) -> tuple[ClientExecutor, ConfigRecord]:
        """The work and the configuration of the instruction, its head checked."""
        records = self.message.content.config_records
        if CONFIG not in records:
            raise InstructionError(f"an instruction has a configuration record {CONFIG!r}")
        if self.policy.allow is not None:
            check_head(records[CONFIG], self.policy)
            run, own = self.message.metadata.run_id, self.context.run_id
            if run != own:
                raise InstructionError(f"an instruction of run {run}, this is run {own}")
        return self.read(records[CONFIG], self.policy), records[CONFIG]

    def theta(self, work: ClientExecutor, trial: Trial | None = None) -> dict[str, Tensor]:
        """θ; a stranger's is held against the model, and its work against memory, before any of it is decoded."""
        if list(self.message.content.array_records) != [ARRAYS]:
            raise InstructionError(f"an instruction has one array record {ARRAYS!r}")
        record, policy = self.message.content.array_records[ARRAYS], self.policy
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

    def memory(self, config: ConfigRecord) -> Memory:
        """What the device kept of earlier rounds."""
        if self.folder is None or RUN not in config:
            return ContextMemory(self.context.state)
        return FolderMemory(self.folder, str(config[RUN]))

    def reply(self, content: dict[str, ArrayRecord | MetricRecord], config: ConfigRecord) -> Message:
        """A reply that says which version, run and round it is of."""
        told = {CONFIG: ConfigRecord(reply_stamp(config))} if WIRE in config else {}
        return Message(RecordDict({**content, **told}), reply_to=self.message)


def _partition(context: Context) -> int:
    partition = context.node_config.get("partition-id")
    if not isinstance(partition, int):
        raise ConfigError("partition-id", partition, "the node's configuration must give its index in the population")
    return partition


def query(asked: Request) -> Message:
    """Which client this is: the partition id, the person, the device model, and what is predicted from what."""
    work, _ = asked.open()
    who = work.source.client(asked.partition)
    record = ConfigRecord({"partition-id": who.index, "user": who.user, "device": who.device, "label": who.label})
    record[TASK], record[WIRE] = write_task(work.source.task), VERSION
    return Message(RecordDict({CONFIG: record}), reply_to=asked.message)


def train(asked: Request) -> Message:
    """One round of local work: adapt, and report an update."""
    if SECURE in asked.message.content.config_records:
        return _secure(asked)
    report, meta, round = _report(asked)
    config = asked.message.content.config_records[CONFIG]
    if guard := read_guard(config):
        report = protect(report, guard, meta, round, [asked.partition])
    update = pick(report.update, 0)
    arrays: ArrayRecord = encode(sub(meta, update) if config.get(REPLY) == "weights" else update)
    numbers: dict[str, float | list[float]] = {name: float(value[0]) for name, value in report.metrics.items()}
    return asked.reply({ARRAYS: arrays, METRICS: metric_record(float(report.weight[0]), numbers)}, config)


def _report(asked: Request) -> tuple[Report, dict[str, Tensor], int]:
    """What the device has learned, still on the device; θ and round."""
    (work, config), policy, partition = asked.open(), asked.policy, asked.partition
    meta = asked.theta(work)
    round, checkpoint, guard = int(str(config[ROUND])), int(str(config.get(CHECKPOINT, 0))), read_guard(config)
    memory = asked.memory(config)
    with memory.alone():  # until the new state is written; who is refused here has not answered
        if policy.allow is not None:
            private, session = guard is not None and guard.noise > 0, SECURE in asked.message.content.config_records
            check_answer(guard, session, policy.limits)
            run, attempt = str(config.get(RUN, "none")), int(str(config.get(ATTEMPT, 0)))
            question = TrainingRequest(run, attempt, round, checkpoint, private, session)
            admit(asked.context.state, asked.folder, question, policy.limits.private_answers)
        outcome = work.train(meta, round, [partition], {partition: recall(memory, round - 1)})
        if outcome.keepers:
            remember(memory, round, checkpoint, pick(outcome.state, 0))
    if outcome.report is None:
        raise InstructionError(outcome.failures[partition])  # Flower turns it into an error reply
    return outcome.report, meta, round


def _secure(asked: Request) -> Message:
    """One stage of secure aggregation; secrets stay in memory, and what was answered goes into the device's folder."""
    records, client = asked.message.content.config_records, asked.partition

    def entries(terms: SumTerms) -> Int64[np.ndarray, " entries"]:
        report, guard = _report(asked)[0], read_guard(records[CONFIG])
        if guard is not None:
            report = silenced(report)
        elif not all_finite({**report.update, EXAMPLES: report.weight}):
            raise InstructionError("update holds NaN or infinity")
        own: Int64[np.ndarray, " entries"]
        (own,) = quantise(report, terms, [client], guard)
        return own

    kept, folder = asked.context.state.config_records, asked.folder
    answered = (
        ContextAnswerRecord(kept.setdefault(ANSWERED, ConfigRecord())) if folder is None else FolderAnswerRecord(folder)
    )
    secrets = kept.setdefault(SECURE, ConfigRecord())
    limits = None if asked.policy.allow is None else asked.policy.limits
    return Message(answer(secrets, records[SECURE], client, entries, answered, limits), reply_to=asked.message)


def evaluate(asked: Request) -> Message:
    """One question of the meta-test: adapt on the device's own shots and report its scores."""
    (work, config), partition = asked.open(), asked.partition
    trial = read_trial(config, asked.policy)
    meta = asked.theta(work, trial)
    round = int(str(config[ROUND]))
    states = {partition: recall(asked.memory(config), round)}
    if asked.policy.allow is not None and (least := asked.policy.limits.query) > 1:
        fewest = min(len(cut.query) for cut in work.cuts(partition, trial)[1])
        if fewest < least:
            raise InstructionError(f"{fewest} query samples in an episode; limits.query of this device is {least}")
    scores = work.evaluate(meta, round, [partition], trial, states)
    if partition in scores.failures:
        raise InstructionError(scores.failures[partition])
    numbers: dict[str, float | list[float]] = {name: m[0].flatten().tolist() for name, m in scores.metrics.items()}
    return asked.reply({METRICS: metric_record(float(trial.episodes), numbers)}, config)


def _in_one_line(answers: Callable[[Request], Message], read: ReadWork, message: Message, context: Context) -> Message:
    """An answer under what the device allows; whatever goes wrong becomes one line of an error reply."""
    torch.set_num_threads(1)  # many devices share a machine in a simulation; more threads only fight
    try:
        policy = read_policy(context.node_config, _partition(context))
        with only(policy.names):
            return answers(Request(message, context, policy, read))
    except MetapulseError as error:
        if len(str(error)) <= LONGEST and str(error).isprintable():
            raise
        raise InstructionError(_short(str(error))) from None
    except Exception as error:  # a stranger's instruction can make anything fail
        raise InstructionError(_short(f"{type(error).__name__}: {error}")) from None


def _short(text: str) -> str:
    kept = " ".join(text[: 2 * LONGEST].split())
    return "".join(c if c.isprintable() else "?" for c in kept)[:LONGEST]


def device_app(read: ReadWork = read_client_config) -> ClientApp:
    """The ClientApp of a device.

    Args:
        read: makes the work of an instruction; an engine whose devices are simulated has one of its own.
    """
    made = ClientApp()
    made.query()(partial(_in_one_line, query, read))
    made.train()(partial(_in_one_line, train, read))
    made.evaluate()(partial(_in_one_line, evaluate, read))
    return made


app = device_app()
