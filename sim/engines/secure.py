"""Simulated devices that mask: each keeps its own secrets and answers its own messages; training is in stacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from flwr.app import ConfigRecord, Error, Message, RecordDict
from jaxtyping import Int64

from metapulse.client.privacy import read_guard, silenced
from metapulse.client.secure.answered import ContextAnswerRecord
from metapulse.client.secure.device import SECURE, STAGE, answer, read_terms
from metapulse.client.secure.quantise import MASKED_VECTORS, STAGES, dropout_stages, quantise
from metapulse.client.wire import CONFIG, read_text
from metapulse.errors import MetapulseError, ReplyError
from metapulse.outcome import Outcome
from metapulse.strategies.aggregate import vetted
from metapulse.strategies.replies import CLIENT_FAILED

#: Trains clients on what an instruction says.
Train = Callable[[RecordDict, list[int]], Outcome]


class SecureDevices:
    """The devices' part of secure aggregation, for all devices of an engine.

    Args:
        train: as a stack.
    """

    def __init__(self, train: Train) -> None:
        self._train = train
        self._secrets: dict[int, ConfigRecord] = {}
        self._answered: dict[int, ContextAnswerRecord] = {}

    def answer(self, asked: Mapping[int, Message]) -> list[Message]:
        """The answers to one stage's messages, by partition id."""
        content = next(iter(asked.values())).content
        vectors: dict[int, Int64[np.ndarray, " entries"] | str] = {}
        if read_text(content.config_records[SECURE], STAGE) == MASKED_VECTORS:
            vectors = self._vectors(content, list(asked))

        def entries(client: int) -> Int64[np.ndarray, " entries"]:
            if isinstance(found := vectors[client], str):
                raise ReplyError(found)
            return found

        replies = []
        for client, message in asked.items():
            told, secrets = message.content.config_records[SECURE], self._secrets.setdefault(client, ConfigRecord())
            try:
                answered = self._answered.setdefault(client, ContextAnswerRecord(ConfigRecord()))
                made = answer(secrets, told, client, lambda terms, client=client: entries(client), answered)
                replies.append(Message(made, reply_to=message))
            except MetapulseError as error:
                replies.append(Message(Error(CLIENT_FAILED, str(error)), reply_to=message))
        return replies

    def _vectors(self, content: RecordDict, clients: list[int]) -> dict[int, Int64[np.ndarray, " entries"] | str]:
        """The entries of those who get as far as training, or why they have none."""
        terms = read_terms(content.config_records[SECURE])
        here = [
            c
            for c, at in zip(clients, dropout_stages(terms, clients), strict=True)
            if at != STAGES.index(MASKED_VECTORS)
        ]
        outcome = self._train(content, here)
        guard, report = read_guard(content.config_records[CONFIG]), outcome.report
        if report is not None:
            outcome = vetted(outcome, report) if guard is None else replace(outcome, report=silenced(report))
        if outcome.report is None:
            return {**outcome.failures}
        rows = quantise(outcome.report, terms, outcome.clients, guard)
        return {**outcome.failures, **dict(zip(outcome.clients, rows, strict=True))}
