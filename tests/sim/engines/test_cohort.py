"""The cohort engine: chunks and workers change nothing, killed workers lose nothing, and it is a Grid like Flower's."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp.strategy import FedAvg

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial, to_json
from metapulse.client.wire import (
    ARRAYS,
    CONFIG,
    METRICS,
    REPLY,
    ROUND,
    TRIAL,
    WORK,
    Instructions,
    decode,
    differ,
    encode,
)
from metapulse.errors import ConfigError, EngineError
from metapulse.registry import LEARNERS
from metapulse.server.config import Config
from metapulse.sim import experiment
from metapulse.sim.engines import workers
from metapulse.sim.engines.cluster import start_ray
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.sim.engines.workers import LocalPool, RayPool
from metapulse.sim.population import ClientJob
from metapulse.strategies.aggregate import AggregationSpec
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import Replies
from tests.cases import STILL
from tests.listening import descendants, listening, sockets
from tests.runs import CLIENTS, CURVES, KINDS, distance, make, read
from tests.thorough import THOROUGH

EVERYONE = list(range(CLIENTS))


def instructions(config: Config, clients: list[int] = EVERYONE, kind: str = "train", **extra: str) -> list[Message]:
    """One round's messages, sharing one content."""
    work = ClientExecutor(config.client_config())
    record = ConfigRecord({ROUND: 1, WORK: to_json(config.client_config()), **extra})
    content = RecordDict({ARRAYS: encode(work.init()), CONFIG: record})
    return [Message(content, client + FIRST_NODE, kind) for client in clients]


def answer(config: Config, chunk: int = 50, pool: object = None, **options) -> Replies:
    """All clients' replies."""
    grid = CohortGrid(CLIENTS, pool, chunk)
    replies = grid.send_and_receive(instructions(config, **options))
    assert isinstance(replies, Replies)
    return replies


def same_bits(a: Replies, b: Replies) -> None:
    assert a.stack.clients == b.stack.clients
    for name, update in a.stack.update.items():
        assert torch.equal(update, b.stack.update[name])
    assert torch.equal(a.stack.weight, b.stack.weight)
    assert all(torch.equal(a.stack.metrics[name], b.stack.metrics[name]) for name in a.stack.metrics)


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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Path]:
    """One Ray for all pools of this file; a pool's actors are its own. The folder of ``Mortal``'s fates."""
    import ray

    fates = tmp_path_factory.mktemp("fates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FATES", str(fates))
        assert start_ray(6)
        yield fates
        ray.shutdown()


@pytest.fixture(scope="module")
def pool(cluster) -> Iterator[RayPool]:
    """Two workers, which heal."""
    actors = RayPool(2)
    yield actors
    actors.close()


@pytest.mark.ray
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc to see who listens")
def test_ray_listens_on_the_loopback_address_only(cluster) -> None:
    import ray

    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    mine = {inode for pid in descendants() for inode in sockets(pid)}
    heard = {address for inode, address in listening() if inode in mine}
    assert heard
    assert heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(cluster, tmp_path, workers: int) -> None:
    ours, theirs = (
        make("maml", "fedmaml", "wearables", 2, engine={"workers": count, "chunk": 2}) for count in (0, workers)
    )
    a = read(tmp_path / "here", experiment.run_experiment(ours, tmp_path / "here"))
    b = read(tmp_path / "actors", experiment.run_experiment(theirs, tmp_path / "actors"))
    assert a.digests == b.digests
    assert a.rows == b.rows
    assert a.summary == b.summary


class Mortal(workers.Worker):
    """Kills itself before a call of a function, which it counts: no moment depends on the clock.

    The folder ``FATES`` has a file "CLIENT-CALL" for every worker that is to die, once, over its first client.
    """

    def train(self, *job: Any) -> Any:
        self._meet(job[3])
        return super().train(*job)

    def evaluate(self, *job: Any) -> Any:
        self._meet(job[3])
        return super().evaluate(*job)

    def _meet(self, chunks: Sequence[Sequence[int]]) -> None:
        left = 0
        for fate in Path(os.environ["FATES"]).glob(f"{chunks[0][0]}-*"):
            left = int(fate.name.split("-")[1])
            fate.unlink()

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal left
            left -= event in ("call", "c_call")
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(count if left else None)


@pytest.fixture
def dying(cluster, monkeypatch) -> Iterator[Callable[..., AbstractContextManager[RayPool]]]:
    """Two workers, of which those die in the block whose first client is named, before that call of a function."""
    monkeypatch.setattr(workers, "Worker", Mortal)
    actors = RayPool(2)

    @contextmanager
    def die(**calls: int) -> Iterator[RayPool]:
        for client, call in calls.items():
            (cluster / f"{client.removeprefix('client')}-{call}").touch()
        before = actors.pids()
        yield actors
        assert len(set(before) - set(actors.pids())) == len(calls)

    yield die
    actors.close()


@pytest.mark.ray
def test_killed_workers_lose_nothing(dying) -> None:
    """A worker dies at three moments spread over a round, then both; every round ends with the bits it should."""
    config = make("maml", "fedmaml", learner={"inner_steps": 60})
    expected = answer(config, 1)
    for calls in ({}, {"client0": 1}, {"client3": 1_000}, {"client0": 10_000}, {"client0": 3_000, "client3": 300}):
        with dying(**calls) as pool:
            same_bits(answer(config, 1, pool), expected)


@pytest.mark.ray
def test_a_theta_of_any_size_arrives(pool, monkeypatch) -> None:
    config = make("maml", "fedmaml")
    monkeypatch.setattr("metapulse.sim.engines.workers.DIRECT", 0)  # all are large: through the object store
    same_bits(answer(config, 2, pool), answer(config, 2))


@pytest.mark.ray
def test_killed_workers_lose_no_scores(dying) -> None:
    config = make("maml", "fedmaml")
    trial = to_json(Trial(plan=config.episodes, steps=(0, 200), episodes=2))
    messages = instructions(config, kind=MessageType.EVALUATE, **{TRIAL: trial})
    with dying(client0=2_000, client3=5_000) as pool:
        grids = (CohortGrid(CLIENTS, chunk=1), CohortGrid(CLIENTS, pool, chunk=1))
        replies = [grid.send_and_receive(messages) for grid in grids]
    here, there = ([dict(reply.content.metric_records[METRICS]) for reply in part] for part in replies)
    assert here == there


class Suicidal:
    """A worker that dies of whatever it is given."""

    def __init__(self, device: str) -> None:
        pass

    def pid(self) -> int:
        return os.getpid()

    def train(self, *args: object) -> None:
        os._exit(1)


@pytest.mark.ray
def test_a_worker_that_always_dies_is_an_error(cluster, monkeypatch) -> None:
    monkeypatch.setattr(workers, "Worker", Suicidal)
    monkeypatch.setattr(workers, "LIVES", 2)
    pool = RayPool(1)
    try:
        with pytest.raises(EngineError, match="workers died 2 times over the same clients"):
            answer(make("maml", "fedmaml"), pool=pool)
    finally:
        pool.close()


@pytest.mark.ray
def test_an_error_in_a_worker_is_the_error(pool) -> None:
    """A bad specification is the same one-line error as in this process, not a Ray traceback."""
    job = ClientJob('{"learner": {"name": "nonsense"}, "source": {"name": "sine"}, "model": {"name": "mlp"}}')
    for runs in (LocalPool(), pool):
        with pytest.raises(ConfigError, match=r"learner\.name = 'nonsense'"):
            runs.train(job, {}, 1, [[0]], {}, AggregationSpec())
