"""All that is used of Flower beyond its public interface, as it is in flwr 1.41.

Public are ``flwr.app``, ``flwr.clientapp``, ``flwr.serverapp`` and ``flwr.simulation``. The rest may move with any
release; ``tests/client/test_flower_compat.py`` says then what has moved, and what it was for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TypeVar

READ_FROM = "1.41"

try:
    from flwr.common.constant import (
        SUPERLINK_NODE_ID,  # the sender of errors about nodes that are gone
        SType,  # the name of NumPy's format in an array record
    )
    from flwr.common.secure_aggregation.crypto.shamir import (
        combine_shares,  # a secret out of shares
        create_shares,  # a secret as shares
    )
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
        decrypt,  # shares that have come
        encrypt,  # shares on their way
        generate_shared_key,  # of two clients
    )
    from flwr.common.secure_aggregation.secaggplus_utils import (
        share_keys_plaintext_concat,  # what two clients tell each other
        share_keys_plaintext_separate,  # the same, read
    )
    from flwr.proto.node_pb2 import (
        NodeInfo,  # what a Grid's get_nodes gives
    )
    from flwr.supercore import (
        telemetry,  # whether Flower reports what is started
    )
    from flwr.supercore.primitives.asymmetric import (
        bytes_to_public_key,  # a key that has come
        generate_key_pairs,  # of one client
        public_key_to_bytes,  # a key on its way
    )
    from flwr.supercore.run import (
        Run,  # what a Grid's run gives
    )
    from flwr.supercore.task_identity import (
        TaskIdentity,  # who sends a Message that this process makes
    )
except ImportError as error:
    raise ImportError(f"metapulse was written for flwr {READ_FROM}; this is {version('flwr')}: {error}") from error

__all__ = [
    "READ_FROM",
    "SUPERLINK_NODE_ID",
    "NodeInfo",
    "Run",
    "SType",
    "act_as_server",
    "bytes_to_public_key",
    "combine_shares",
    "create_shares",
    "decrypt",
    "encrypt",
    "generate_key_pairs",
    "generate_shared_key",
    "public_key_to_bytes",
    "sent_as",
    "share_keys_plaintext_concat",
    "share_keys_plaintext_separate",
    "without_telemetry",
]

T = TypeVar("T")


def act_as_server() -> None:
    """Give this process the identity that ``flwr.app.Message`` reads; only Flower's own programs set it otherwise."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1


def sent_as(sent: type, own: type[T]) -> type[T]:
    """``own``, whose objects travel as those of ``sent``.

    Flower writes the qualified name of a class into what it sends, and looks it up among its own at the other end.
    """
    own.__qualname__ = sent.__qualname__
    return own


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Flower reports nothing of what is started meanwhile, unless ``FLWR_TELEMETRY_ENABLED`` is set.

    Flower reads that variable when it is imported; later only the module's own copy counts.
    """
    before = telemetry.FLWR_TELEMETRY_ENABLED
    if "FLWR_TELEMETRY_ENABLED" not in os.environ:
        telemetry.FLWR_TELEMETRY_ENABLED = "0"
    try:
        yield
    finally:
        telemetry.FLWR_TELEMETRY_ENABLED = before
