"""What a device answers in the four round trips of SecAgg+. Its secrets last for one round and never leave memory.

    set-up          two fresh public keys: one for masks, one for encryption
    share keys      of its mask key and of its own mask's seed, a share for each neighbour, encrypted to it
    masked vectors  entries + own mask + Σ_{j > i} mask_ij − Σ_{j < i} mask_ij, over the neighbours that shared keys
    unmask          of each neighbour one share: of the seed if its vector arrived, of the mask key if it did not

Source: Bell, Bonawitz, Gascón, Lepoint and Raykova 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", ePrint 2020/704, Algorithm 2 (the server follows the protocol).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
from cryptography.fernet import InvalidToken
from flwr.app import ConfigRecord, RecordDict
from jaxtyping import Int64

from metapulse.client.flower_compat import (
    create_shares,
    decrypt,
    encrypt,
    generate_key_pairs,
    generate_shared_key,
    public_key_to_bytes,
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from metapulse.client.limits import Limits, check_ring
from metapulse.client.secure.answered import AnswerRecord, SumRequest
from metapulse.client.secure.masks import SEED, Residues, expand_key, pairwise, private_bytes, private_key, public_key
from metapulse.client.secure.quantise import (
    ENTRIES,
    MASKED_VECTORS,
    SET_UP,
    SHARE_KEYS,
    STAGES,
    SumTerms,
    dropout_stages,
    refusal,
    wrap,
)
from metapulse.client.wire import ARRAYS, array_record, read_text
from metapulse.errors import InstructionError
from metapulse.settings import build

SECURE, STAGE, TERMS, SESSION = "secure", "stage", "terms", "session"
AROUND, KEYS, SEALED, PRINTS, SENDERS = "around", "keys", "sealed", "prints", "senders"
ALIVE, GONE, OWNERS, SHARES = "alive", "gone", "owners", "shares"
NEXT, SECRETS, SEED_SECRET = "next", "secrets", "seed"  # of a device's memory alone

#: Trains, and gives what is to be added up.
Entries = Callable[[SumTerms], Int64[np.ndarray, " entries"]]


def answer(
    memory: ConfigRecord,
    told: ConfigRecord,
    client: int,
    entries: Entries,
    answered: AnswerRecord,
    limits: Limits | None = None,
) -> RecordDict:
    """A device's answer to one of the four instructions.

    Args:
        memory: its secrets of this round, changed in place; nothing else reads them.
        entries: trains, and gives what is to be added up.
        answered: for which sessions a vector has left it.
        limits: of a real device; None: it is simulated.

    Raises:
        ClientError: the instruction comes out of turn, is for a round that was answered, shows too few neighbours, or
            would open a vector; or a drop-out was drawn.
        InstructionError: it asks for more than the device allows.
    """
    if limits is not None and len(agreed := read_text(told, TERMS)) > limits.text:
        raise InstructionError(f"{TERMS} has {len(agreed)} characters; at most {limits.text} are allowed")
    terms, stage, session = read_terms(told), read_text(told, STAGE), read_text(told, SESSION)
    turn = STAGES.index(stage)
    try:
        asked = _asked(session, terms)
        if dropout_stages(terms, [client])[0] == turn:
            raise ValueError("lost")
        if stage == SET_UP:
            memory.clear()
            answered.check(asked)
            memory[TERMS] = told[TERMS]
        elif memory.get(NEXT) != f"{session}/{stage}":
            raise ValueError("out of turn")
        elif memory.get(TERMS) != told[TERMS]:
            raise ValueError("the terms are not those of the set-up")
        if stage == SHARE_KEYS and limits is not None:
            check_ring(terms.threshold, _list(told, KEYS), _list(told, AROUND), limits)
        if stage == MASKED_VECTORS:
            vector = _mask(memory, told, terms, client, entries)
            answered.enter(asked)
            reply = RecordDict({ARRAYS: array_record({ENTRIES: vector})})
        elif stage == SET_UP:
            reply = RecordDict({SECURE: _set_up(memory)})
        elif stage == SHARE_KEYS:
            reply = RecordDict({SECURE: _share_keys(memory, told, terms, client)})
        else:
            reply = RecordDict({SECURE: _unmask(memory, told, terms, client)})
    except ValueError as error:
        memory.clear()
        raise refusal(terms, client, str(error)) from None
    if stage == STAGES[-1]:
        memory.clear()
    else:
        memory[NEXT] = f"{session}/{STAGES[turn + 1]}"
    return reply


def read_terms(told: ConfigRecord) -> SumTerms:
    """The terms that an instruction names."""
    return build(SumTerms, json.loads(read_text(told, TERMS)), TERMS)


def _asked(session: str, terms: SumTerms) -> SumRequest:
    run, _, rest = session.partition("/")
    if not run.isalnum() or len(run) > 64 or rest != f"{terms.round}/{terms.attempt}":
        raise ValueError("a session is RUN/ROUND/ATTEMPT, as its terms have them")
    return SumRequest(run, terms.round, terms.attempt, terms.noisy)


def _set_up(memory: ConfigRecord) -> ConfigRecord:
    """Keys for masks come first, keys for encryption second."""
    pairs = [generate_key_pairs() for _ in range(2)]
    memory[SECRETS] = [private_bytes(private) for private, _ in pairs]
    memory[KEYS] = [public_key_to_bytes(public) for _, public in pairs]
    return ConfigRecord({KEYS: memory[KEYS]})


def _share_keys(memory: ConfigRecord, told: ConfigRecord, terms: SumTerms, client: int) -> ConfigRecord:
    """The neighbours' keys come two for each, the device's own among them."""
    around, keys = _list(told, AROUND), _list(told, KEYS)
    if len(around) < terms.threshold:
        raise ValueError(f"{len(around)} neighbours, {terms.threshold} are needed")
    mine = around.index(client)
    if len(set(keys)) < 2 * len(around) or keys[2 * mine : 2 * mine + 2] != memory[KEYS]:
        raise ValueError("keys are not as they were sent")
    mask_key, seal_key = _list(memory, SECRETS)
    seed = os.urandom(SEED)
    pairs = list(
        zip(*(create_shares(secret, terms.threshold, len(around)) for secret in (seed, mask_key)), strict=True)
    )
    memory[SEED_SECRET], memory[AROUND], memory[KEYS] = seed, around, keys
    memory[OWNERS], memory[SHARES] = [client], list(pairs[mine])
    sealed = [
        encrypt(_seal(seal_key, keys[2 * i + 1]), share_keys_plaintext_concat(client, other, *pairs[i]))
        for i, other in enumerate(around)
        if i != mine
    ]
    return ConfigRecord({SEALED: sealed, PRINTS: [share_fingerprint(share) for pair in pairs for share in pair]})


def _mask(memory: ConfigRecord, told: ConfigRecord, terms: SumTerms, client: int, entries: Entries) -> Residues:
    """Masks go with every neighbour who has shared its keys, whether or not its parcel can be opened."""
    senders, sealed = _list(told, SENDERS), _list(told, SEALED)
    if len(senders) + 1 < terms.threshold:
        raise ValueError(f"{len(senders) + 1} neighbours, {terms.threshold} are needed")
    around, keys = _list(memory, AROUND), _list(memory, KEYS)
    mask_key, seal_key = _list(memory, SECRETS)
    owners, shares = _list(memory, OWNERS), _list(memory, SHARES)
    vector: Residues = wrap(entries(terms), terms.bits)
    vector = vector + expand_key(_bytes(memory, SEED_SECRET), len(vector), terms.bits)
    for sender, parcel in zip(senders, sealed, strict=True):
        theirs = 2 * around.index(sender)
        vector += pairwise(private_key(mask_key), client, keys[theirs], sender, len(vector), terms.bits)
        try:
            opened = share_keys_plaintext_separate(decrypt(_seal(seal_key, keys[theirs + 1]), parcel))
        except InvalidToken:
            continue
        if opened[:2] == (sender, client):
            owners.append(sender)
            shares += opened[2:]
    memory[OWNERS], memory[SHARES], memory[SENDERS] = owners, shares, [*senders, client]
    return vector


def _unmask(memory: ConfigRecord, told: ConfigRecord, terms: SumTerms, client: int) -> ConfigRecord:
    """One secret of each neighbour, never both: together they would open its vector. Its own vector has arrived."""
    alive, gone = _list(told, ALIVE), _list(told, GONE)
    asked = {*alive, *gone}
    if len(asked) < len(alive) + len(gone) or client in gone or not asked <= set(_list(memory, SENDERS)):
        raise ValueError("asked for what would open a vector")
    if len(alive) < terms.threshold:
        raise ValueError(f"{len(alive)} neighbours, {terms.threshold} are needed")
    owners, shares = _list(memory, OWNERS), _list(memory, SHARES)
    seeds, keys = dict(zip(owners, shares[::2], strict=True)), dict(zip(owners, shares[1::2], strict=True))
    opened = {c: seeds[c] for c in alive if c in seeds} | {c: keys[c] for c in gone if c in keys}
    return ConfigRecord({OWNERS: list(opened), SHARES: list(opened.values())})


def share_fingerprint(share: bytes) -> bytes:
    """A digest that identifies a share without revealing it: a share has at least 128 random bits."""
    return sha256(share).digest()


def _seal(mine: bytes, theirs: bytes) -> bytes:
    return generate_shared_key(private_key(mine), public_key(theirs))


def _bytes(record: ConfigRecord, key: str) -> bytes:
    return bytes(record[key])  # type: ignore[arg-type]


def _list(record: ConfigRecord, key: str) -> list[Any]:
    return list(record[key])  # type: ignore[arg-type]
