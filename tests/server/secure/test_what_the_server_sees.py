"""Everything the server gets in a round, read byte by byte: no client's numbers are in it.

Masks are fresh in every run of these tests. A χ² value is called uniform below the 1 − 1e-9 quantile, so that a false
alarm comes once in a hundred million runs; the controls are beyond it by far.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message
from scipy import stats

from metapulse.client.flower_compat import bytes_to_public_key
from metapulse.client.secure.device import ALIVE, GONE, OWNERS, SECURE, STAGE
from metapulse.client.secure.quantise import SumTerms, levels, quantise, wrap
from metapulse.client.wire import ARRAYS, CONFIG, EXAMPLES, Instructions
from metapulse.methods.base import Report
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.replies import UpdateStack
from metapulse.strategies.secure import SecureSettings
from tests.runs import CLIENTS
from tests.secure import EVERYONE, NODES, Recording, collect, content, silent

ON = SecureSettings(on=True, max_weight=20.0)
TERMS = SumTerms(5, 1, "samples", ON.range, ON.max_weight, 32, levels(CLIENTS, 32), 4)
LOST = 3  # after sharing its keys


@pytest.fixture(scope="module")
def round_() -> Recording:
    grid = Recording(CohortGrid(CLIENTS, masks=True), silent(("masked vectors", LOST)))
    assert collect(grid, ON).total.clients == [c for c in EVERYONE if c != LOST]
    return grid


@pytest.fixture(scope="module")
def entries() -> dict[int, np.ndarray]:
    """What each client adds up, as residues: what the server must not see."""
    stack = CohortGrid(CLIENTS).send_and_receive(Instructions(content(), list(NODES.values()), "train")).stack
    rows = []
    for i, client in enumerate(stack.clients):
        rows.append(quantise(one(stack, i), TERMS, [client])[0])
    return {c: wrap(row, 32) for c, row in zip(stack.clients, rows, strict=True)}


def one(stack: UpdateStack, i: int) -> Report:
    return Report({name: u[i : i + 1] for name, u in stack.update.items()}, stack.weight[i : i + 1], {}, {})


def received(message: Message) -> bytes:
    """Every byte of an answer's records."""
    parts = [a.data for record in message.content.array_records.values() for a in record.values()]
    for record in message.content.config_records.values():
        for value in record.values():
            parts += [
                v if isinstance(v, bytes) else str(v).encode() for v in (value if isinstance(value, list) else [value])
            ]
    return b"\n".join(parts)


def chi2(values: np.ndarray) -> float:
    """P(as uneven as this | bytes are uniform)."""
    counts = np.bincount(np.frombuffer(values.tobytes(), np.uint8), minlength=256)
    return float(stats.chisquare(counts).pvalue)


def test_the_entries_are_those_that_are_added_up(round_: Recording, entries: dict[int, np.ndarray]) -> None:
    """The control of this file: with masks left out, the engine's sum is that of what is looked for below."""
    total, failures = CohortGrid(CLIENTS).add_up(content(), EVERYONE, TERMS)
    assert failures == []
    found = total.total["entries"].numpy().astype(np.int64)
    np.testing.assert_array_equal(found, sum(e.view(np.int32).astype(np.int64) for e in entries.values()))


def test_nobodys_entries_can_be_read(round_: Recording, entries: dict[int, np.ndarray]) -> None:
    everything = b"\n".join(received(m) for _, _, m in round_.got)
    vectors = round_.vectors()
    assert sorted(vectors) == [c for c in EVERYONE if c != LOST]
    for client, own in entries.items():
        pieces = [own[i : i + 2].tobytes() for i in range(len(own) - 1) if own[i : i + 2].all()]
        assert len(pieces) >= 50
        assert not any(piece in everything for piece in pieces), client
    planted = received(round_.got[-1][2]) + entries[0].tobytes()  # the search does find what is there
    assert entries[0][5:7].tobytes() in planted


def test_vectors_look_uniform_and_so_do_their_pairs(round_: Recording, entries: dict[int, np.ndarray]) -> None:
    vectors = round_.vectors()
    assert chi2(np.concatenate(list(vectors.values()))) > 1e-9
    assert chi2(np.concatenate(list(entries.values()))) < 1e-30
    for a, b in combinations(vectors, 2):  # an own mask each: no difference or sum of two gives anything away
        assert chi2(vectors[a] - vectors[b]) > 1e-9
        assert chi2(vectors[a] + vectors[b]) > 1e-9
    for client, vector in vectors.items():
        assert chi2(vector - entries[client]) > 1e-9
        assert abs(stats.spearmanr(vector[1:], entries[client][1:].view(np.int32)).statistic) < 0.65  # 6.5/√96


def test_masks_are_never_used_twice(round_: Recording) -> None:
    again = Recording(CohortGrid(CLIENTS, masks=True))
    collect(again, ON)
    for client, vector in round_.vectors().items():
        assert (again.vectors()[client] == vector).sum() <= 1


def test_neither_weights_nor_metrics_are_sent(round_: Recording) -> None:
    for stage, _, message in round_.got:
        assert list(message.content.metric_records) == []
        assert EXAMPLES.encode() not in received(message)
        if stage == "masked vectors":
            assert list(message.content) == [ARRAYS]
            assert list(message.content.array_records[ARRAYS]) == ["entries"]
        else:
            assert list(message.content) == [SECURE]


def test_of_each_client_one_secret_is_opened(round_: Recording) -> None:
    """The mask key of who was lost, the seed of all others; both together would open a vector."""
    asked: dict[str, set[int]] = {ALIVE: set(), GONE: set()}
    for message in round_.sent:
        told = message.content.config_records[SECURE]
        if told[STAGE] == "unmask":
            for kind in asked:
                asked[kind] |= set(told[kind])
    assert asked == {ALIVE: {c for c in EVERYONE if c != LOST}, GONE: {LOST}}
    owners = [m.content.config_records[SECURE][OWNERS] for s, _, m in round_.got if s == "unmask"]
    assert owners == [[c for c in EVERYONE if c != LOST] + [LOST]] * 5


def test_parcels_are_sealed_and_keys_are_fresh(round_: Recording) -> None:
    keys = [key for s, _, m in round_.got if s == "set-up" for key in m.content.config_records[SECURE]["keys"]]
    assert len(set(keys)) == 2 * CLIENTS
    assert all(bytes_to_public_key(key) for key in keys)
    parcels = [p for s, _, m in round_.got if s == "share keys" for p in m.content.config_records[SECURE]["sealed"]]
    shares = [p for s, _, m in round_.got if s == "unmask" for p in m.content.config_records[SECURE]["shares"]]
    assert len(parcels) == CLIENTS * (CLIENTS - 1)
    assert not any(share in parcel for share in shares for parcel in parcels)


def test_only_the_third_stage_tells_devices_what_to_train(round_: Recording) -> None:
    for message in round_.sent:
        stage = message.content.config_records[SECURE][STAGE]
        assert (CONFIG in message.content.config_records) == (stage == "masked vectors")
        assert isinstance(message.content.config_records[SECURE], ConfigRecord)
