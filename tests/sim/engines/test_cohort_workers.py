"""The cohort engine's Ray workers: they change no number, lose nothing when killed, and listen on loopback alone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flwr.app import MessageType

from metapulse.client.spec import Trial, to_json
from metapulse.client.wire import (
    METRICS,
    TRIAL,
)
from metapulse.errors import ConfigError, EngineError
from metapulse.sim import experiment
from metapulse.sim.engines import workers
from metapulse.sim.engines.cluster import start_ray
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.sim.engines.workers import LocalPool, RayPool
from metapulse.sim.population import ClientJob
from metapulse.strategies.aggregate import AggregationSpec
from tests.cohort_grid import answer, instructions, same_bits
from tests.listening import descendants, listening, sockets
from tests.runs import CLIENTS, make, read


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
