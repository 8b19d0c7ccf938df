"""The ClientApp: one device's ears and mouth. It decodes, calls ``client.work``, encodes; no mathematics here.

A device serves its own data: where the node's configuration names a source (``source='{"name": "own", …}'``), that
one is used whatever the instruction says, and ``client``, ``user``, ``device`` and ``label`` say which of its clients
the device is and how it is called (``client.device``). In a simulation the instruction names the source.

What a learner keeps between rounds stays here (``client.memory``): in the folder that the node's configuration names
(``state='…'``), otherwise in Flower's context. No reply holds any of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from jaxtyping import Int64
from torch import Tensor

from client.errors import ConfigError
from client.learners.base import Report
from client.memory import InContext, InFolder, Memory, recall, remember
from client.privacy import protect, read_guard
from client.secure.answered import ANSWERED, InRecord, OnDisk
from client.secure.device import SECURE, answer
from client.secure.quantise import Terms, quantise
from client.trees import finite, pick, sub
from client.wire import (
    ARRAYS,
    CHECKPOINT,
    CONFIG,
    EXAMPLES,
    METRICS,
    REPLY,
    ROUND,
    RUN,
    TASK,
    TRIAL,
    WORK,
    decode,
    encode,
    metric_record,
    read_text,
    write_task,
)
from client.work import Work, trial_from_json, work_from_json

app = ClientApp()


def _open(message: Message, context: Context) -> tuple[Work, int, ConfigRecord]:
    torch.set_num_threads(1)  # many devices share a machine in a simulation; more threads only fight
    config = message.content.config_records[CONFIG]
    partition = _partition(context)
    return work_from_json(_own_source(read_text(config, WORK), partition, context.node_config)), partition, config


def _partition(context: Context) -> int:
    partition = context.node_config.get("partition-id")
    if not isinstance(partition, int):
        raise ConfigError("partition-id", partition, "the node's configuration must give its index in the population")
    return partition


def _own_source(spec: str, partition: int, node: Mapping[str, object]) -> str:
    """The specification with the device's own source in the place of the one it names, if the device has one."""
    if "source" not in node:
        return spec
    try:
        inner = json.loads(str(node["source"]))
    except ValueError:
        raise ConfigError("source", node["source"], "the node's configuration must give a JSON table") from None
    given = {key: node[key] for key in ("user", "device", "label") if key in node}
    own = {"name": "client.device:Device", "inner": inner, "index": partition, "which": node.get("client", 0), **given}
    return json.dumps({**json.loads(spec), "source": own}, sort_keys=True)


def _memory(context: Context, config: ConfigRecord) -> Memory:
    folder = context.node_config.get("state")
    if folder is None or RUN not in config:
        return InContext(context.state)
    return InFolder(Path(str(folder)), str(config[RUN]))


@app.query()
def query(message: Message, context: Context) -> Message:
    """Who is there: the partition id, the person, the device model, and what is predicted from what."""
    work, partition, _ = _open(message, context)
    who = work.source.client(partition)
    record = ConfigRecord({"partition-id": who.index, "user": who.user, "device": who.device, "label": who.label})
    record[TASK] = write_task(work.source.task)
    return Message(RecordDict({CONFIG: record}), reply_to=message)


def _report(message: Message, context: Context) -> tuple[Report, dict[str, Tensor], int, int]:
    """What the device has learned, still on the device; θ, round and partition id."""
    work, partition, config = _open(message, context)
    meta = decode(message.content.array_records[ARRAYS])
    round, memory = int(str(config[ROUND])), _memory(context, config)
    outcome = work.train(meta, round, [partition], {partition: recall(memory, round - 1)})
    if outcome.keepers:
        remember(memory, round, int(str(config.get(CHECKPOINT, 0))), pick(outcome.state, 0))
    if outcome.report is None:
        raise RuntimeError(outcome.failures[partition])  # Flower turns it into an error reply
    return outcome.report, meta, round, partition


def _secure(message: Message, context: Context) -> Message:
    """One stage of secure aggregation; secrets stay in memory, and what was answered goes into the device's folder."""

    def entries(terms: Terms) -> Int64[np.ndarray, " entries"]:
        report = _report(message, context)[0]
        if not finite({**report.update, EXAMPLES: report.weight}):
            raise RuntimeError("update holds NaN or infinity")
        own: Int64[np.ndarray, " entries"]
        (own,) = quantise(report, terms, [client], read_guard(message.content.config_records[CONFIG]))
        return own

    client, records, folder = _partition(context), context.state.config_records, context.node_config.get("state")
    answered = InRecord(records.setdefault(ANSWERED, ConfigRecord())) if folder is None else OnDisk(Path(str(folder)))
    told, secrets = message.content.config_records[SECURE], records.setdefault(SECURE, ConfigRecord())
    return Message(answer(secrets, told, client, entries, answered), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round of local work: adapt, and report an update."""
    if SECURE in message.content.config_records:
        return _secure(message, context)
    report, meta, round, partition = _report(message, context)
    config = message.content.config_records[CONFIG]
    if guard := read_guard(config):
        report = protect(report, guard, meta, round, [partition])
    update = pick(report.update, 0)
    arrays: ArrayRecord = encode(sub(meta, update) if config.get(REPLY) == "weights" else update)
    numbers: dict[str, float | list[float]] = {name: float(value[0]) for name, value in report.metrics.items()}
    metrics = metric_record(float(report.weight[0]), numbers)
    return Message(RecordDict({ARRAYS: arrays, METRICS: metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """One question of the meta-test: adapt on the device's own shots and report its scores."""
    work, partition, config = _open(message, context)
    meta = decode(message.content.array_records[ARRAYS])
    trial = trial_from_json(read_text(config, TRIAL))
    round = int(str(config[ROUND]))
    states = {partition: recall(_memory(context, config), round)}
    scores = work.evaluate(meta, round, [partition], trial, states)
    if partition in scores.failures:
        raise RuntimeError(scores.failures[partition])
    numbers: dict[str, float | list[float]] = {name: m[0].flatten().tolist() for name, m in scores.metrics.items()}
    return Message(RecordDict({METRICS: metric_record(float(trial.episodes), numbers)}), reply_to=message)
