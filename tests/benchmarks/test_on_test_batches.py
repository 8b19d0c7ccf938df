"""The source that adapts on what it judges: training is untouched, testing has the test samples twice."""

import numpy as np
import pytest

from benchmarks.on_test_batches import OnTestBatches
from metapulse.data import Source
from metapulse.errors import DataError
from metapulse.sim.sources.synthetic import Synthetic


def test_clients_train_as_published_and_are_tested_on_what_they_adapt_on():
    plain, source = Synthetic(), OnTestBatches()
    assert isinstance(source, Source)
    assert len(source) == 2 * len(plain)
    for index in (0, 7, 99):
        trained, tested = source.samples(index), source.samples(100 + index)
        assert np.array_equal(trained.x, plain.samples(index).x)
        assert np.array_equal(trained.held_out, plain.samples(index).held_out)
        judged = trained.held_out
        for side in (tested.held_out, ~tested.held_out):
            assert np.array_equal(tested.x[side], trained.x[judged])
            assert np.array_equal(tested.y[side], trained.y[judged])
        assert source.client(index).device == "training"
        assert (source.client(100 + index).device, source.client(100 + index).label) == ("testing", f"t_{index}")
        assert source.client(100 + index).user != source.client(index).user
    with pytest.raises(DataError):
        source.samples(200)
