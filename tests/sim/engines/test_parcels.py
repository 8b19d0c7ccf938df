"""What travels to a worker and back is what was sent, and can be written to."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

from metapulse.methods.base import Report
from metapulse.outcome import Outcome, Scores
from metapulse.sim.engines.parcels import pack_arrays, unpack_arrays
from metapulse.trees import flat, flat_stack


def report(**state):
    return Report({"w": torch.randn(2, 3)}, torch.ones(2), state, {"loss": torch.tensor([0.5, float("nan")])})


def shown(value):
    """In words; a flat tree as what it holds."""
    if is_dataclass(value):
        return [type(value), *(shown(getattr(value, field.name)) for field in fields(value))]
    return repr(dict(value)) if isinstance(value, Mapping) else repr(value)


@pytest.mark.parametrize(
    "value",
    [
        Outcome([4, 7], report(), {9: "no samples"}, {"data": 0.1}, {"w": torch.randn(3)}),
        Outcome([4, 7], report(kept=torch.arange(2)), {}),
        Outcome([], None, {1: "no"}),
        Scores([3], {"loss": torch.randn(1, 2, 3)}, {}),
        {"w": torch.zeros(0, 3), "b": torch.tensor(2.5, dtype=torch.float64)},
        {5: {"m": torch.ones(3)}},
        Outcome([4, 7], report(), {}, {}, flat({"w": torch.randn(3, 2), "b": torch.randn(3)})),
        Report(flat_stack({"w": torch.randn(4, 2, 3), "b": torch.randn(4, 3)}), torch.ones(4), {}, {}),
    ],
)
def test_what_arrives_is_what_was_sent(value):
    sent = pack_arrays(value)
    assert "tensor" not in repr(sent)
    back = unpack_arrays(sent)
    assert type(back) is type(value)
    assert shown(back) == shown(value)  # tensors have no equality of their own


def test_what_ray_hands_out_read_only_can_be_written_to():
    array = np.arange(3, dtype=np.float32)
    array.setflags(write=False)
    back = unpack_arrays({"w": array})["w"]
    back += 1
    assert back.tolist() == [1, 2, 3]
    assert array.tolist() == [0, 1, 2]
