"""The cohort engine: chunks and workers change nothing, killed workers lose nothing, and it is a Grid like Flower's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, MessageType
from flwr.serverapp.strategy import FedAvg

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial, to_json
from metapulse.client.wire import (
    ARRAYS,
    METRICS,
    REPLY,
    TRIAL,
    WORK,
    Instructions,
    decode,
    differ,
    encode,
)
from metapulse.errors import EngineError
from metapulse.registry import LEARNERS
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.strategies.registry import make_strategy
from tests.cases import STILL
from tests.cohort_grid import EVERYONE, answer, instructions, same_bits
from tests.runs import CLIENTS, CURVES, KINDS, distance, make
from tests.thorough import THOROUGH

ASKED = LEARNERS if THOROUGH else (*KINDS, *CURVES, "ditto", "scaffold")


@pytest.mark.parametrize(("learner", "chunk"), list(zip(ASKED, itertools.cycle([1, 2, 4]), strict=False)))
def test_chunks_change_nothing(learner: str, chunk: int) -> None:
    """Every learner meets a size of chunks, and every size a third of the learners: some of each kind, for that a
    client is the same in any company is a law of all (tests/laws/test_cohorts.py).
    """
    config = make(learner, "fedavg")
    whole, cut = answer(config), answer(config, chunk)
    assert whole.stack.clients == cut.stack.clients == EVERYONE
    if learner in STILL:
        assert all(not update.any() for update in whole.stack.update.values())
    else:  # θ − u is what the promise is about; u itself is a difference of near numbers and has fewer digits
        theta = ClientExecutor(config.client_config()).init()
        moved = [{name: theta[name] - update for name, update in r.stack.update.items()} for r in (cut, whole)]
        assert distance(*moved) <= 1e-6
        assert distance(cut.stack.update, whole.stack.update) <= 1e-5
    torch.testing.assert_close(cut.stack.metrics["loss"], whole.stack.metrics["loss"], rtol=1e-5, atol=1e-6)


def test_order_of_messages_changes_nothing() -> None:
    config = make("maml", "fedmaml")
    same_bits(answer(config, 2), answer(config, 2, clients=EVERYONE[::-1]))


def test_a_client_alone_is_the_client_in_the_crowd() -> None:
    config = make("fomaml", "fedmaml")
    crowd = answer(config)
    for client in EVERYONE:
        alone = answer(config, clients=[client])
        one = {name: update[[client]] for name, update in crowd.stack.update.items()}
        assert distance(alone.stack.update, one) <= 1e-6


def test_theta_that_is_handed_over_is_the_one_that_is_encoded() -> None:
    """A strategy hands an engine of its own process the θ that its last step made, and the record says the same."""
    config, rounds = make("reptile", "fedreptile"), range(1, 4)
    strategy = make_strategy(config.strategy, len(rounds), 0)
    grid, arrays = CohortGrid(CLIENTS), encode(ClientExecutor(config.client_config()).init())
    for round in rounds:
        record = ConfigRecord({WORK: to_json(config.client_config())})
        sent = strategy.configure_train(round, arrays, record, grid)
        assert isinstance(sent, Instructions)
        assert all(torch.equal(sent.theta[name], p) for name, p in decode(arrays).items())
        same_bits(grid.send_and_receive(sent), grid.send_and_receive(list(sent)))
        after, _ = strategy.aggregate_train(round, grid.send_and_receive(sent))
        assert differ(arrays, after)
        arrays = after


def test_replies_are_ordinary_messages() -> None:
    config = make("reptile", "fedreptile")
    replies = answer(config)
    assert len(replies) == len(list(replies)) == CLIENTS
    for client, message in enumerate(replies):
        assert message.metadata.src_node_id == client + FIRST_NODE
        update = decode(message.content.array_records[ARRAYS])
        assert all(torch.equal(update[name], replies.stack.update[name][client]) for name in update)
        assert message.content.metric_records[METRICS]["num-examples"] == replies.stack.weight[client]
    assert replies[-1] is replies[CLIENTS - 1]
    with pytest.raises(IndexError):
        replies[CLIENTS]


def test_weights_are_theta_minus_update() -> None:
    config = make("fedavg", "stock-fedavg")
    theta = ClientExecutor(config.client_config()).init()
    updates, weights = answer(config), answer(config, **{REPLY: "weights"})
    for update, weight in zip(updates, weights, strict=True):
        u, w = (decode(m.content.array_records[ARRAYS]) for m in (update, weight))
        assert all(torch.equal(w[name], theta[name] - u[name]) for name in theta)


def test_stock_fedavg_runs_on_the_grid_unchanged() -> None:
    """``Strategy.start`` of Flower, nothing of ours around it: θ is the weighted mean of what clients trained."""
    config = make("fedavg", "stock-fedavg")
    theta = ClientExecutor(config.client_config()).init()
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=1)
    record = ConfigRecord({WORK: to_json(config.client_config()), REPLY: "weights"})
    result = strategy.start(CohortGrid(CLIENTS), encode(theta), num_rounds=1, train_config=record)
    stack = answer(config).stack
    share = (stack.weight / stack.weight.sum()).double()
    expected = {name: theta[name] - torch.einsum("c,c...->...", share, u.double()) for name, u in stack.update.items()}
    assert distance(decode(result.arrays), expected) <= 1e-6


def test_several_contents_in_one_call() -> None:
    config = make("fomaml", "fedmaml")
    parts = instructions(config, [0, 3]) + instructions(config, [1], **{REPLY: "weights"})
    replies = CohortGrid(CLIENTS).send_and_receive(parts)
    assert [m.metadata.src_node_id - FIRST_NODE for m in replies] == [0, 1, 3]


def test_scores_are_messages_too() -> None:
    config = make("fomaml", "fedmaml")
    trial = Trial(plan=config.episodes, steps=(0, 2), episodes=3)
    messages = instructions(config, kind=MessageType.EVALUATE, **{TRIAL: to_json(trial)})
    replies = CohortGrid(CLIENTS, chunk=4).send_and_receive(messages)
    expected = ClientExecutor(config.client_config()).evaluate(
        decode(messages[0].content.array_records[ARRAYS]), 1, EVERYONE, trial
    )
    for client, reply in enumerate(replies):
        numbers = reply.content.metric_records[METRICS]
        assert numbers["num-examples"] == 3
        for name, values in expected.metrics.items():
            np.testing.assert_allclose(numbers[name], values[client].flatten(), rtol=1e-5, atol=1e-6)


def test_nobody_and_strangers() -> None:
    config = make("fomaml", "fedmaml")
    grid = CohortGrid(CLIENTS)
    assert list(grid.send_and_receive([])) == []
    assert list(grid.get_node_ids()) == [client + FIRST_NODE for client in EVERYONE]
    with pytest.raises(EngineError, match="node 8 does not exist; there are 6 clients"):
        grid.send_and_receive(instructions(config, [CLIENTS]))
    with pytest.raises(EngineError, match="no answer to messages of type 'query'"):
        grid.send_and_receive(instructions(config, [0], kind=MessageType.QUERY))


def test_a_million_nodes_cost_nothing() -> None:
    nodes = CohortGrid(1_000_000_000).get_node_ids()
    assert isinstance(nodes, range)
    assert len(nodes) == 1_000_000_000
