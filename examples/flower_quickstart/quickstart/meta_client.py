"""The client of FedMAML: it adapts to the training images, and is judged on the others."""

from __future__ import annotations

from flwr.app import Context

from metapulse.client import meta_app
from quickstart.task import Net, load_data


def data(context: Context, draw: int = 0) -> tuple:
    """Support and query of a person."""
    return load_data(context.node_config["partition-id"], context.run_config["batch-size"], draw)


def unseen(context: Context) -> tuple:
    """Other images of the same person, for evaluations: MAML trains on its query too."""
    return data(context, draw=1)


app = meta_app(Net, data, method="maml", inner_lr=0.1, inner_steps=3, evaluation_data=unseen)
