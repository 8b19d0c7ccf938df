"""A grid that delivers some replies twice, as a network that resends does."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from metapulse.client.wire import CONFIG, ROUND, WORK, read_text
from metapulse.server.directory import Directory
from metapulse.server.grid import GridWrapper
from metapulse.sim.population import ClientJob, Population
from metapulse.strategies.replies import SECOND, Dropped, Replies


class ResendingGrid(GridWrapper):
    """A grid on which replies to training come twice.

    Args:
        grid: the real one.
        directory: who is where.
        population: says whose.
    """

    simulated = True  # as the real one

    def __init__(self, grid: Grid, directory: Directory, population: Population) -> None:
        super().__init__(grid)
        self._clients, self._population = {directory.node(c): c for c in directory.partition_ids()}, population

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """The replies, and some of them again."""
        asked = list(messages)
        replies = list(super().send_and_receive(asked, timeout=timeout))
        again = self._again(asked)
        return replies + [m for m in replies if m.metadata.src_node_id in again and not m.has_error()]

    def _again(self, asked: list[Message]) -> set[int]:
        if not asked or asked[0].metadata.message_type != MessageType.TRAIN:
            return set()
        config = asked[0].content.config_records[CONFIG]
        job = ClientJob(read_text(config, WORK), self._population).faulty
        if job is None:
            return set()
        nodes = [m.metadata.dst_node_id for m in asked]
        again = set(job.twice(int(str(config[ROUND])), [self._clients[node] for node in nodes]))
        return {node for node in nodes if self._clients[node] in again}


def resent(replies: Replies, clients: Collection[int]) -> Replies:
    """A round's replies with those of some clients a second time.

    Args:
        replies: not as a sum.
        clients: partition ids.
    """
    if replies.stack is None:
        return replies
    again = [i for i, client in enumerate(replies.stack.clients) if client in clients]
    told = [*replies.failures, *(Dropped(replies.stack.clients[i], SECOND) for i in again)]
    return Replies(replies.stack, told, lambda i: replies[i if i < len(replies) else again[i - len(replies)]])
