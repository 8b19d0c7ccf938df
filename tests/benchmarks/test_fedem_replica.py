"""The replica of FedEM's program draws the very population that the source does."""

import numpy as np

from benchmarks.fedem_replica import population
from metapulse.sim.sources.mixture import Mixture


def test_sizes_are_the_sources_and_labels_its_classifiers():
    clients, source = population(clients=3, test=400), Mixture().population
    assert [len(client.y) for client in clients] == source.sizes[:3].tolist()
    for i, client in enumerate(clients):
        x, y = client.test_x[:, :-1].double().numpy(), client.test_y.numpy() > 0.5
        agree = ((x @ source.components.T > 0) == y[:, None]).mean(0)  # of every classifier with the labels
        # A classifier says what its own samples' labels are, and tosses a coin about the others: sd .025 of 400,
        # and two random directions in 150 dimensions agree on .50 ± .03.
        np.testing.assert_allclose(agree, source.shares[i] + (1 - source.shares[i]) / 2, atol=0.1)
