"""Instructions of a round: one content for many nodes, made into messages only for those who look at one.

A message costs microseconds, and so does training a small model: an engine that reads ``content`` and ``nodes`` needs
no messages at all, and every other grid iterates over ordinary ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from flwr.app import Message, RecordDict


class Instructions(Sequence[Message]):
    """The same instruction for several nodes.

    Args:
        content: what all of them are told.
        nodes: whom, in the order of the messages.
        kind: type of the messages.
    """

    def __init__(self, content: RecordDict, nodes: Sequence[int], kind: str) -> None:
        self.content, self.nodes, self.kind = content, nodes, kind

    def __len__(self) -> int:
        return len(self.nodes)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Message(self.content, self.nodes[index], self.kind)
