"""What travels to a worker and back is what was sent, and can be written to."""

import numpy as np
import pytest
import torch

from client.learners.base import Report
from client.outcome import Outcome, Scores
from sim.engines.parcels import pack, unpack


def report(**state):
    return Report({"w": torch.randn(2, 3)}, torch.ones(2), state, {"loss": torch.tensor([0.5, float("nan")])})


@pytest.mark.parametrize(
    "value",
    [
        Outcome([4, 7], report(), {9: "no samples"}, {"data": 0.1}, {"w": torch.randn(3)}),
        Outcome([4, 7], report(kept=torch.arange(2)), {}),
        Outcome([], None, {1: "no"}),
        Scores([3], {"loss": torch.randn(1, 2, 3)}, {}),
        {"w": torch.zeros(0, 3), "b": torch.tensor(2.5, dtype=torch.float64)},
        {5: {"m": torch.ones(3)}},
    ],
)
def test_what_arrives_is_what_was_sent(value):
    sent = pack(value)
    assert "tensor" not in repr(sent)
    back = unpack(sent)
    assert type(back) is type(value)
    assert repr(back) == repr(value)  # tensors have no equality of their own


def test_what_ray_hands_out_read_only_can_be_written_to():
    array = np.arange(3, dtype=np.float32)
    array.setflags(write=False)
    back = unpack({"w": array})["w"]
    back += 1
    assert back.tolist() == [1, 2, 3]
    assert array.tolist() == [0, 1, 2]
