"""The wire: what is sent comes back bit for bit, and a task is believed only if a model could be built for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from flwr.app import Array, ConfigRecord
from hypothesis import given
from hypothesis import strategies as st

from metapulse.client.wire import (
    EXAMPLES,
    TASK,
    decode,
    decode_like,
    encode,
    metric_record,
    read_task,
    read_text,
    write_task,
)
from metapulse.data import Task
from metapulse.errors import ReplyError

SHAPES = st.lists(st.integers(1, 4), max_size=3)


@given(st.dictionaries(st.text(min_size=1, max_size=8), SHAPES, min_size=1, max_size=4), st.integers(0, 99))
def test_a_tree_comes_back_bit_for_bit_in_its_order(shapes: dict[str, list[int]], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    tree = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    record = encode(tree)
    for found in (decode(record), decode_like(record, tree)):
        assert list(found) == list(tree)
        assert all(torch.equal(found[name], p) and found[name].shape == p.shape for name, p in tree.items())


def test_what_is_decoded_can_be_written_to_and_what_was_encoded_stays() -> None:
    theta = {"w": torch.ones(3)}
    record = encode(theta)
    for found in (decode(record), decode_like(record, theta)):
        found["w"] += 1.0
    assert torch.equal(theta["w"], torch.ones(3))
    assert torch.equal(decode(record)["w"], torch.ones(3))


def test_views_and_gradients_are_sent_as_numbers() -> None:
    whole = torch.arange(6.0).view(2, 3)
    sent = {"t": whole.t(), "row": whole[1], "leaf": whole.clone().requires_grad_(), "one": torch.tensor(2.0)}
    found = decode(encode(sent))
    assert all(torch.equal(found[name], p.detach()) for name, p in sent.items())
    assert not any(p.requires_grad for p in found.values())


def test_other_dtypes_stay_what_they_are() -> None:
    tree = {"d": torch.ones(2, dtype=torch.float64), "i": torch.ones(2, dtype=torch.int64), "b": torch.tensor([True])}
    assert {name: p.dtype for name, p in decode_like(encode(tree), tree).items()} == {
        "d": torch.float64,
        "i": torch.int64,
        "b": torch.bool,
    }


def test_equal_trees_are_equal_bytes() -> None:
    """So an instruction's content is stored once for all nodes of a round."""
    a, b = (encode({"w": torch.linspace(0, 1, 5), "b": torch.zeros(())}) for _ in range(2))
    assert a.object_id == b.object_id


def test_the_number_of_samples_comes_first() -> None:
    assert list(metric_record(3.0, {"loss": 1.0})) == [EXAMPLES, "loss"]


def test_a_setting_that_is_missing_or_no_text() -> None:
    assert read_text(ConfigRecord({"work": "{}"}), "work") == "{}"
    for config in (ConfigRecord(), ConfigRecord({"work": 3}), ConfigRecord({"work": b"{}"})):
        with pytest.raises(ReplyError, match="'work'"):
            read_text(config, "work")


TASKS = [
    Task("classification", (6, 64), 3, ("a", "b", "c")),
    Task("regression", (1,), 1, (), "mg/dl"),
    Task("classification", (), 2),
]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_comes_back(task: Task) -> None:
    assert read_task(ConfigRecord({TASK: write_task(task)})) == task


GOOD = {"kind": "regression", "features": [6, 64], "outputs": 2, "labels": [], "unit": ""}
BAD = {
    "another kind": {"kind": "ranking"},
    "no outputs": {"outputs": 0},
    "a share of an output": {"outputs": 1.5},
    "true outputs": {"outputs": True},
    "a thousand million outputs": {"outputs": 10**9},
    "a negative shape": {"features": [-1, 6]},
    "a huge shape": {"features": [10**6, 10**6]},
    "many axes": {"features": [1] * 100},
    "features in words": {"features": ["six"]},
    "no features": {"features": None},
    "numbers for labels": {"labels": [1, 2]},
    "long labels": {"labels": ["x" * 1000]},
    "no unit": {"unit": None},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_task_that_no_model_could_be_built_for(change: dict[str, object]) -> None:
    read_task(ConfigRecord({TASK: json.dumps(GOOD)}))
    with pytest.raises(ReplyError, match="task '"):
        read_task(ConfigRecord({TASK: json.dumps(GOOD | change)}))


@given(st.one_of(st.text(max_size=50), st.just("[" * 60_000), st.just("{}"), st.just("[]"), st.just("null")))
def test_any_text_is_a_task_or_a_reply_error(text: str) -> None:
    with pytest.raises(ReplyError):
        read_task(ConfigRecord({TASK: text}))


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_numbers_become_the_bytes_of_an_ordinary_array(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    made, ordinary = encode({"w": torch.from_numpy(values)})["w"], Array(values)
    assert (made.dtype, made.shape, made.stype, made.data) == (
        ordinary.dtype,
        ordinary.shape,
        ordinary.stype,
        ordinary.data,
    )
    np.testing.assert_array_equal(Array(made.dtype, made.shape, made.stype, made.data).numpy(), values)
