"""The ClientApp of stock Flower's run: weights in, weights out; in between the tuned loop."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.bench.harness import Job
from benchmarks.bench.peers.tuned import Tuned
from benchmarks.bench.workload import SAMPLES, WORKLOADS, Load

app = ClientApp()


@lru_cache(maxsize=1)
def _trainer(workload: str, folder: str) -> Tuned:
    """Model and mapped data, kept by the actor from one client to the next."""
    return Tuned(Job(Load(WORKLOADS[workload], Path(folder)), 0.0, Path(), ()))


@app.train()
def train(message: Message, context: Context) -> Message:
    """One client's round."""
    config = message.content.config_records["config"]
    trainer = _trainer(str(config["workload"]), str(config["folder"]))
    client = int(context.node_config["partition-id"])
    sent = message.content.array_records["arrays"]
    values = trainer.train([torch.from_numpy(array.numpy()) for array in sent.values()], client)
    arrays = ArrayRecord({name: Array(p.numpy()) for name, p in zip(sent, values, strict=True)})
    metrics = MetricRecord({"num-examples": SAMPLES, "client": client})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
