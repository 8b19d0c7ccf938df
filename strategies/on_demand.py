"""Messages of an engine that holds what they say as stacks: each is made when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from flwr.app import Message


class MessagesOnDemand(Sequence[Message]):
    """A sequence of messages of which those that are never looked at are never made.

    Args:
        size: how many there are.
        message: makes the one of a position.
    """

    def __init__(self, size: int, message: Callable[[int], Message]) -> None:
        self._size, self._message = size, message
        self._made: dict[int, Message] = {}

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self._made:
            self._made[index] = self._message(index)
        return self._made[index]
