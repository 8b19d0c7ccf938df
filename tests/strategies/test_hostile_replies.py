"""Hostile replies: each is dropped, named and counted, and θ is what the honest ones make of it, to the bit."""

from __future__ import annotations

import contextlib
import io
import math
import re
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from metapulse.client.wire import ARRAYS, CONFIG, METRICS, ROUND, RUN, VERSION, WIRE, decode, decode_like, encode
from metapulse.errors import ReplyError
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import MAX_WEIGHT, RESERVED, Dropped
from tests.runs import ROBUST, STRATEGIES

NODES = [FIRST_NODE + i for i in range(5)]
BAD = NODES[2]
OFFENDER = BAD - FIRST_NODE  # its partition id
THETA = {"w": torch.linspace(-1.0, 1.0, 6).view(2, 3), "b": torch.tensor([0.5, -0.5])}


def npy(array: np.ndarray, pickled: bool = False) -> bytes:
    """NumPy's bytes of an array."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def header(shape: str, descr: str = "<f4", version: bytes = b"\x01\x00") -> bytes:
    """A header that claims whatever one likes."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text


def raw(data: bytes) -> Array:
    """An array record's entry that holds these bytes."""
    return Array("float32", (2, 3), "numpy.ndarray", data)


def arrays(**changes: Any) -> ArrayRecord:
    """An update of tens with entries replaced (None: left out)."""
    record = encode({name: torch.full_like(p, 10.0) for name, p in THETA.items()})
    for name, change in changes.items():
        if change is None:
            del record[name]
        else:
            record[name] = change if isinstance(change, Array) else Array(np.asarray(change))
    return record


def reply(arrays_: ArrayRecord | None = None, **numbers: Any) -> RecordDict:
    """A reply's content."""
    metrics = MetricRecord({"num-examples": 7, "loss": 1.0} | numbers)
    return RecordDict({ARRAYS: arrays() if arrays_ is None else arrays_, METRICS: metrics})


def with_value(value: float) -> np.ndarray:
    poisoned = np.full((2, 3), 10.0, np.float32)
    poisoned[1, 2] = value
    return poisoned


#: What a hostile client sends, and the words with which it is dropped.
OFFENCES: dict[str, tuple[RecordDict | Error, str]] = {
    "an error": (Error(2, "Traceback\n  File x\nValueError: no data"), "ValueError: no data"),
    "an error without reason": (Error(0), "without saying why"),
    "nothing": (RecordDict(), "one array record"),
    "no metrics": (RecordDict({ARRAYS: arrays()}), "one metric record"),
    "no arrays": (RecordDict({METRICS: MetricRecord({"num-examples": 7})}), "one array record"),
    "two array records": (
        RecordDict({ARRAYS: arrays(), "more": arrays(), METRICS: MetricRecord()}),
        "one array record",
    ),
    "arrays by another name": (RecordDict({"weights": arrays(), METRICS: MetricRecord()}), "one array record"),
    "two metric records": (RecordDict({ARRAYS: arrays(), METRICS: MetricRecord(), "m": MetricRecord()}), "one metric"),
    "a missing array": (reply(arrays(b=None)), r"missing \['b'\]"),
    "an extra array": (reply(arrays(extra=[1.0])), r"not asked for \['extra'\]"),
    "a wrong shape": (reply(arrays(w=np.zeros((3, 2), np.float32))), r"float32\[3, 2\]; expected float32\[2, 3\]"),
    "a scalar": (reply(arrays(w=np.float32(1.0))), r"float32\[\]; expected"),
    "an empty array": (reply(arrays(w=np.zeros((0, 3), np.float32))), r"float32\[0, 3\]; expected"),
    "float64": (reply(arrays(w=np.zeros((2, 3)))), r"float64\[2, 3\]; expected float32"),
    "integers": (reply(arrays(w=np.zeros((2, 3), np.int32))), r"int32\[2, 3\]; expected float32"),
    "big-endian": (reply(arrays(w=np.zeros((2, 3), ">f4"))), "expected float32"),
    "complex": (reply(arrays(w=np.zeros((2, 3), np.complex64))), "expected float32"),
    "a pickle": (reply(arrays(w=raw(npy(np.array([[print] * 3] * 2, dtype=object), True)))), "expected float32|bytes"),
    "a structure": (reply(arrays(w=raw(npy(np.zeros((2, 3), "f4,f4"))))), "expected float32"),
    "NaN": (reply(arrays(w=with_value(math.nan))), "NaN or infinity"),
    "infinity": (reply(arrays(w=with_value(math.inf))), "NaN or infinity"),
    "minus infinity": (reply(arrays(b=np.array([0.0, -math.inf], np.float32))), "NaN or infinity"),
    "no NumPy": (reply(arrays(w=raw(b"PK\x03\x04 not numpy"))), "not in NumPy's format"),
    "no bytes": (reply(arrays(w=raw(b""))), "not in NumPy's format"),
    "half a header": (reply(arrays(w=raw(header("(2, 3)")[:20]))), "not in NumPy's format"),
    "a header of code": (reply(arrays(w=raw(header("__import__('os').getcwd()")))), "not in NumPy's format"),
    "a deep header": (reply(arrays(w=raw(header("(" * 300 + ")" * 300)))), "not in NumPy's format"),
    "an unclosed header": (reply(arrays(w=raw(header("(2, 3")))), "not in NumPy's format"),
    "an unknown version": (reply(arrays(w=raw(header("(2, 3)", version=b"\x09\x09")))), "not in NumPy's format|bytes"),
    "truncated data": (reply(arrays(w=raw(npy(with_value(0.0))[:-4]))), "20 bytes of data; expected 24"),
    "no data": (reply(arrays(w=raw(header("(2, 3)")))), "0 bytes of data; expected 24"),
    "too much data": (reply(arrays(w=raw(npy(with_value(0.0)) + b"\0"))), "25 bytes of data; expected 24"),
    "600 MB claimed": (reply(arrays(w=raw(header("(150000000,)") + b"\0" * 24))), r"float32\[150000000\]; expected"),
    "a huge claim": (reply(arrays(w=raw(header(f"({10**30}, {10**30})")))), "expected float32"),
    "a negative claim": (reply(arrays(w=raw(header("(-2, -3)") + b"\0" * 24))), r"float32\[-2, -3\]; expected"),
    "16 MB sent": (reply(arrays(w=raw(npy(np.zeros(2**22, np.float32))))), "bytes; at most 1048 are allowed"),
    "no number of samples": (RecordDict({ARRAYS: arrays(), METRICS: MetricRecord({"loss": 1.0})}), "= None; allowed"),
    "NaN samples": (reply(**{"num-examples": math.nan}), "num-examples = nan; allowed are numbers > 0 and ≤ 1e"),
    "infinite samples": (reply(**{"num-examples": math.inf}), "num-examples = inf"),
    "negative samples": (reply(**{"num-examples": -5}), "num-examples = -5"),
    "no samples": (reply(**{"num-examples": 0}), "num-examples = 0"),
    "too many samples": (reply(**{"num-examples": 2 * MAX_WEIGHT}), "num-examples = 20000000"),
    "a list of samples": (reply(**{"num-examples": [1, 2]}), r"num-examples = \[1, 2\]"),
    "a thousand metrics": (reply(**{f"m{i}": 1.0 for i in range(1000)}), "1002 metrics; at most 64"),
    "a long name": (reply(**{"x" * 10_000: 1.0}), "names of at most 64"),
    **{
        f"a metric {name}": (reply(**{name: 0.0}), f"metric '{name}': the name is one of the server's own")
        for name in sorted(RESERVED)
    },
    "a terminal's controls": (Error(0, "\x1b[2J\x07all fine\u202e"), r"^\\x1b\[2J\\x07all fine\\u202e$"),
}

METHODS: Mapping[str, Mapping[str, Any]] = {
    name: {**section, "cohort": 0} for name, section in (STRATEGIES | ROBUST).items() if name != "fedreptile"
}


class Round:
    """One round of a strategy by hand."""

    def __init__(self, name: str) -> None:
        self.told: list[Dropped] = []
        CohortGrid(1)  # gives this process the identity that messages need
        self.strategy: Strategy = make_strategy(METHODS[name], 3, 0, lambda round, dropped: self.told.extend(dropped))

    def ask(self, theta: Mapping[str, Tensor] = THETA, round: int = 1) -> dict[int, Message]:
        """Instructions by node."""
        sent = self.strategy.configure_train(round, encode(theta), ConfigRecord(), CohortGrid(len(NODES)))
        return {message.metadata.dst_node_id: message for message in sent}

    def end(self, replies: list[Message], round: int = 1) -> dict[str, Tensor] | None:
        """θ after the replies."""
        moved, self.metrics = self.strategy.aggregate_train(round, replies)
        return None if moved is None else decode(moved)


def honest(instruction: Message, stock: bool) -> Message:
    """What an honest node replies: an update of its own, or the weights it makes."""
    node = instruction.metadata.dst_node_id
    draw = torch.Generator().manual_seed(node)
    update = {name: torch.randn(p.shape, generator=draw) for name, p in THETA.items()}
    sent = {name: THETA[name] - u for name, u in update.items()} if stock else update
    metrics = MetricRecord({"num-examples": 3 + node, "loss": float(node)})
    return Message(RecordDict({ARRAYS: encode(sent), METRICS: metrics}), reply_to=instruction)


def answers(asked: Mapping[int, Message], name: str, without: tuple[int, ...] = ()) -> list[Message]:
    return [honest(message, name.startswith("stock")) for node, message in asked.items() if node not in without]


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


@pytest.mark.parametrize("name", METHODS)
def test_an_offender_is_dropped_named_and_counted(name: str) -> None:
    """Every offence of the table; θ has the bits that the four honest ones give it."""
    alone = Round(name)
    expected = alone.end(answers(alone.ask(), name, (BAD,)))
    assert alone.told == [Dropped(OFFENDER, "no reply")]
    for offence, (content, words) in OFFENCES.items():
        attacked = Round(name)
        asked = attacked.ask()
        bad = Message(content, reply_to=asked[BAD])
        found = attacked.end([*answers(asked, name, (BAD,)), bad])
        assert found is not None, offence
        assert same(found, expected), offence
        assert [one.client for one in attacked.told] == [OFFENDER], offence
        assert re.search(words, attacked.told[0].reason), f"{offence}: {attacked.told[0].reason}"
        assert "\n" not in attacked.told[0].reason
        assert len(attacked.told[0].reason) < 600
        assert attacked.metrics["clients"] == 4
        assert attacked.metrics["dropped"] == 1


@pytest.mark.parametrize("name", METHODS)
def test_strangers_and_second_replies(name: str) -> None:
    alone = Round(name)
    expected = alone.end(answers(alone.ask(), name))
    attacked = Round(name)
    asked = attacked.ask()
    stranger = Message(reply(), reply_to=Message(RecordDict(), 4711, MessageType.TRAIN))
    lost = Message(Error(3, "node is gone"), reply_to=Message(RecordDict(), 1, MessageType.TRAIN))
    replies = answers(asked, name)
    found = attacked.end([*replies, stranger, Message(reply(), reply_to=asked[BAD]), lost])
    assert same(found, expected)
    assert attacked.told == [
        Dropped(-1, "node 1 was not asked: node is gone"),
        Dropped(-1, "node 4711 was not asked"),
        Dropped(OFFENDER, "a second reply; the first one counts"),
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_round_of_offenders_changes_nothing_and_the_next_goes_on(name: str) -> None:
    quiet, attacked = Round(name), Round(name)
    asked = attacked.ask()
    assert attacked.end([Message(c, reply_to=asked[n]) for n, (c, _) in zip(asked, OFFENCES.values())]) is None
    assert len(attacked.told) == len(NODES)
    assert attacked.end([]) is None
    first, second = quiet.end(answers(quiet.ask(), name)), attacked.end(answers(attacked.ask(), name))
    assert same(first, second)


@pytest.mark.parametrize("name", METHODS)
def test_metrics_of_one_client_cannot_spoil_the_others(name: str) -> None:
    """One client's own metric, one that is a list, one that is not a number: the reply counts, the metric does not."""
    clean = Round(name)
    expected = clean.end(answers(clean.ask(), name))
    spoiled = Round(name)
    replies = answers(spoiled.ask(), name)
    numbers = replies[2].content.metric_records[METRICS]
    numbers["loss"], numbers["own"], numbers["curve"] = math.nan, 1.0, [1.0, 2.0]
    assert same(spoiled.end(replies), expected)
    assert spoiled.told == []
    assert all(math.isfinite(value) for value in dict(spoiled.metrics).values())


@pytest.mark.parametrize("name", METHODS)
def test_fortran_order_is_a_matter_of_taste(name: str) -> None:
    plain, turned = Round(name), Round(name)
    expected = plain.end(answers(plain.ask(), name))
    replies = answers(turned.ask(), name)
    record = replies[1].content.array_records[ARRAYS]
    record["w"] = raw(npy(np.asfortranarray(record["w"].numpy())))
    assert b"'fortran_order': True" in record["w"].data
    assert same(turned.end(replies), expected)
    assert turned.told == []


def huge(name: str, value: float = 1e30) -> tuple[Round, dict[str, Tensor] | None]:
    """A round with one client's update scaled to ``value``."""
    attacked = Round(name)
    asked = attacked.ask()
    update = {n: torch.full_like(p, value) for n, p in THETA.items()}
    bad = Message(RecordDict({ARRAYS: encode(update), METRICS: MetricRecord({"num-examples": 5})}), reply_to=asked[BAD])
    return attacked, attacked.end([*answers(asked, name, (BAD,)), bad])


def test_a_huge_update_counts_and_only_a_robust_strategy_withstands_it() -> None:
    """1e30 is a number: no check can tell it from a bold client. A mean follows it, median and trimmed mean do not."""
    for name in ("fedavg", "stock-fedavg"):
        attacked, found = huge(name)
        assert attacked.told == []
        assert all(p.isfinite().all() and p.abs().min() > 1e28 for p in found.values())
    for name in ("stock-median", "stock-trimmed", *set(ROBUST) - {"fedavg-multi_krum", "fedavg-bulyan"}):
        attacked, found = huge(name)
        assert attacked.told == []
        assert all(p.abs().max() < 10.0 for p in found.values())


@pytest.mark.parametrize("name", ["fedmaml", "stock-adam"])
def test_a_step_that_leaves_the_range_of_numbers_is_not_taken(name: str) -> None:
    """The square of 1e30 is no float32: Adam's second moment would be infinite, and θ stand still for ever after."""
    attacked, found = huge(name)
    assert found is None
    assert [one.client for one in attacked.told] == [-1]
    assert "round given up" in attacked.told[0].reason
    untouched = Round(name)
    assert same(attacked.end(answers(attacked.ask(), name)), untouched.end(answers(untouched.ask(), name)))


def test_claims_cost_no_memory() -> None:
    """Headers that claim 600 MB and 10⁶⁰ numbers, and 16 MB that were really sent: nothing of it is allocated again."""
    contents = [content for name, (content, _) in OFFENCES.items() if "claim" in name or "sent" in name]
    assert len(contents) == 4
    tracemalloc.start()
    try:
        for content in contents:
            with pytest.raises(ReplyError):
                decode_like(content.array_records[ARRAYS], THETA)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300))
def test_any_bytes_are_an_array_or_a_reply_error(data: bytes) -> None:
    for content in (data, b"\x93NUMPY\x01\x00" + data, header("(2, 3)")[:30] + data):
        with contextlib.suppress(ReplyError):
            assert decode_like(arrays(w=raw(content)), THETA)["w"].shape == (2, 3)


@given(st.text(max_size=80))
def test_any_header_is_an_array_or_a_reply_error(text: str) -> None:
    words = text.encode()
    for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        size = len(words).to_bytes(2 if version[0] == 1 else 4, "little")
        with pytest.raises(ReplyError, match=r"not in NumPy's format|expected"):
            decode_like(arrays(w=raw(b"\x93NUMPY" + version + size + words)), THETA)


#: What a reply repeats of its instruction, and the words with which another is dropped.
STALE: dict[str, tuple[dict[str, Any], str]] = {
    "of the round before": ({ROUND: 1}, "server-round = 1; this was asked with server-round = 2"),
    "of another run": ({RUN: "b2"}, "run = 'b2'; this was asked with run = 'a1'"),
    "of another version": ({WIRE: VERSION + 1}, f"wire = {VERSION + 1}; this was asked with wire = {VERSION}"),
    "true for a version": ({WIRE: True}, "wire = True; "),
    "a long run": ({RUN: "b" * 10_000}, "run = 'bbbb"),
    "without a round": ({ROUND: None}, "server-round = None; "),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_reply_of_another_version_run_or_round_is_dropped(name: str) -> None:
    """Where the instruction says of which it is, as those of a run do."""
    told = {WIRE: VERSION, RUN: "a1"}
    for offence, (change, words) in STALE.items():
        attacked = Round(name)
        nodes = CohortGrid(len(NODES))
        sent = attacked.strategy.configure_train(2, encode(THETA), ConfigRecord(told), nodes)
        asked = {message.metadata.dst_node_id: message for message in sent}
        replies = answers(asked, name)
        for one in replies:
            own = told | {ROUND: 2} | (change if one.metadata.src_node_id == BAD else {})
            one.content[CONFIG] = ConfigRecord({k: v for k, v in own.items() if v is not None})
        assert attacked.end(replies, 2) is not None
        assert [one.client for one in attacked.told] == [OFFENDER], offence
        assert words in attacked.told[0].reason
        assert len(attacked.told[0].reason) < 200
