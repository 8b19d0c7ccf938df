"""What a run asks of a grid; and grids around one: passing everything through, or waiting promptly until stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid

from metapulse.client.flower_compat import SUPERLINK_NODE_ID, NodeInfo, Run
from metapulse.errors import EngineError
from metapulse.trees import Params, Stacked

POLL_S = 0.1


class Engine(Grid):
    """A grid, and what a run asks of those that simulate devices; by default devices are real, and keep their own."""

    #: Whether devices end with this process.
    simulated: bool = False
    #: Whether it holds what its devices keep between rounds.
    keeps: bool = False
    #: Seconds of the last round by stage, chunk after chunk of the worker that was busy longest; none: not known.
    spent: Sequence[Mapping[str, float]] = ()

    def states_of(self, clients: Sequence[int]) -> Mapping[int, Params]:
        """What simulated devices keep, by partition id; those that keep nothing are left out."""
        return {}

    def keep_states(self, clients: Sequence[int], state: Stacked) -> None:
        """From now on these simulated devices keep these states, (clients, *shape) per name."""
        return None

    def save_devices(self, folder: Path) -> None:
        """Write what devices keep into a new folder; no folder where nothing is kept."""
        return None

    def load_devices(self, folder: Path) -> None:
        """Devices keep what was written there; nothing if there is no such folder."""
        return None


class GridWrapper(Engine):
    """Passes all calls on to another grid; subclasses override what differs.

    Args:
        grid: the real one.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: Run) -> None:
        """Passed through."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """Passed through."""
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        """Passed through."""
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Passed through."""
        return self._grid.get_nodes()

    def create_message(self, *args: object, **kwargs: object) -> Message:
        """Passed through."""
        return self._grid.create_message(*args, **kwargs)  # type: ignore[arg-type]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Passed through."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Passed through."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Passed through."""
        return self._grid.send_and_receive(messages, timeout=timeout)


class PollingGrid(GridWrapper):
    """Asks for replies ten times a second (Flower's own grid asks every three seconds) until it is told to stop.

    Args:
        stopped: set by another thread when no more answers will come.
    """

    def __init__(self, grid: Grid, stopped: threading.Event | None = None) -> None:
        super().__init__(grid)
        self._stopped = stopped or threading.Event()
        self.simulated = stopped is not None  # devices that end with this process

    def pause(self) -> None:
        """Wait until it is worth asking again.

        Raises:
            EngineError: the engine has stopped.
        """
        if self._stopped.wait(POLL_S):
            raise EngineError("the engine stopped before all replies had come")

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """The replies that come within ``timeout`` seconds (None: all of them)."""
        asked = list(messages)
        sent = dict(zip(self.push_messages(asked), asked, strict=False)) if asked else {}
        waiting = {i for i in sent if i}
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting:
            come = list(self.pull_messages(waiting))
            replies += [_from_its_node(reply, sent) for reply in come]
            waiting -= {reply.metadata.reply_to_message_id for reply in come}
            if not waiting or (deadline is not None and time.monotonic() >= deadline):
                break
            self.pause()
        return replies


def _from_its_node(reply: Message, sent: Mapping[str, Message]) -> Message:
    """An error that the SuperLink makes in the name of a node that is gone, as that node's own.

    Otherwise two would be counted where one is missing: an unknown node that answers, and a client that does not.
    """
    to = sent.get(reply.metadata.reply_to_message_id)
    if to is None or not reply.has_error() or reply.metadata.src_node_id != SUPERLINK_NODE_ID:
        return reply
    return Message(reply.error, reply_to=to)
