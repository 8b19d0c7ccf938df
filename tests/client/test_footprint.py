"""What an instruction's work needs in memory is known, and refused, before anything is allocated."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from metapulse.client.footprint import MB, PATH_KEPT, data_bytes, training_bytes, trial_bytes
from metapulse.client.limits import Limits, check_client_config, check_testing, check_training, check_trial
from metapulse.errors import InstructionError
from metapulse.methods.maml import MAML
from metapulse.registry import LEARNERS, SOURCES
from metapulse.sim.sources.wearables.native import simulate

WIDE = {"name": "mlp", "hidden": [3900, 3900]}  # 30 million parameters
SMALL = {"name": "mlp", "hidden": [64, 64]}
LEARNER: dict[str, Any] = {"name": "maml", "inner_steps": 5}
SINE = {"name": "sine"}


def work(**sections: Any) -> dict[str, Any]:
    return {"source": SINE, "model": SMALL, "learner": LEARNER, **sections}


TOO_MUCH: dict[str, tuple[dict[str, Any], str]] = {
    "a long path": (work(model=WIDE, learner={"name": "maml", "inner_steps": 1000}), "learner.inner_steps"),
    "a path with rates": (work(model=WIDE, learner={"name": "meta_sgd", "inner_steps": 500}), "learner.inner_steps"),
    "a path that an LSTM reads": (work(model=WIDE, learner={"name": "meta_lstm"}), "learner.inner_steps"),
    "windows × executions": (
        work(source={"name": "wearables", "windows": 2**20, "executions": 32}),
        r"source\.windows = 1048576, source\.executions",
    ),
    "windows alone": (work(source={"name": "wearables", "windows": 2**20}), r"source\.windows"),
    "test samples": (work(source={"name": "mixture", "test": 2**26}), r"source\.test"),
    "a population drawn at once": (work(source={"name": "synthetic", "clients": 2**20}), r"source\.clients"),
}


@pytest.mark.parametrize("offence", TOO_MUCH)
def test_work_beyond_memory_is_refused_and_names_settings_and_limit(offence: str) -> None:
    spec, words = TOO_MUCH[offence]
    tracemalloc.start()
    with pytest.raises(InstructionError, match=words) as caught:
        check_client_config(spec, Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "limits.memory_mb of this device is 4096" in str(caught.value)
    assert peak < MB


def test_a_trial_beyond_memory_is_refused() -> None:
    """Its episodes are adapted at once."""
    with pytest.raises(InstructionError, match=r"trial\.episodes: about \d+ MB; limits\.memory_mb"):
        check_trial({"episodes": 1000, "steps": [1]}, work(model=WIDE), Limits())
    check_trial({"episodes": 4, "steps": [1]}, work(model=WIDE), Limits())
    check_trial({"episodes": 100, "steps": [0, 20]}, work(), Limits())


def test_the_parameters_that_a_model_has_in_truth_count_too() -> None:
    """The device counts θ once more when it knows it: classes of one's own say no sizes."""
    with pytest.raises(InstructionError, match="memory_mb"):
        check_training(31_000_000, {"name": "maml", "inner_steps": 1000}, Limits())
    with pytest.raises(InstructionError, match="memory_mb"):
        check_testing(31_000_000, {"name": "fedavg_ft"}, 1000, Limits())


def test_the_bound_is_the_devices_own() -> None:
    check_client_config(work(), Limits())
    with pytest.raises(InstructionError, match=r"this device is 1$"):
        check_client_config(work(learner={"name": "maml", "inner_steps": 100}), Limits(memory_mb=1))


@pytest.mark.parametrize("name", ["fedavg", "reptile", "fomaml", "pfedme"])
def test_learners_that_keep_no_path_may_walk_far(name: str) -> None:
    check_client_config(work(model=WIDE, learner={"name": name, "inner_steps": 1000}), Limits())


def test_every_maml_keeps_its_path() -> None:
    kept = {name for name in LEARNERS if issubclass(LEARNERS[name], MAML)}
    assert kept <= set(PATH_KEPT)
    assert training_bytes(10**6, {"name": "maml", "inner_steps": 98}) == 8 * 10**8
    assert training_bytes(10**6, {"name": "fedavg", "inner_steps": 98}) == 16 * 10**6
    assert trial_bytes(10**6, {"name": "maml"}, 100) == 16 * 10**8


@pytest.mark.parametrize(
    "source",
    [
        {"name": "wearables", "windows": 200},
        {"name": "mixture", "test": 20_000},
        {"name": "mixture", "clients": 3000, "components": 1000, "test": 0},
        {"name": "leaf", "clients": 500},
        {"name": "synthetic", "clients": 150},
        {"name": "synthetic", "variant": "lazy"},
        {"name": "gaussian_means", "points": 1000, "coordinates": 1000},
        {"name": "low_rank", "points": 1000, "dimension": 500},
        {"name": "sine", "points": 100_000},
    ],
    ids=str,
)
def test_generated_data_needs_no_more_than_is_said(source: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is it said to need ten times as much.

    Where there is a compiler ``wearables`` needs less, of which the C code's own part is not seen by this measure; what
    is said has to do for a device that has none.
    """
    monkeypatch.setattr(simulate, "compiled", lambda source, *flags: None)
    made = SOURCES.make(source)
    tracemalloc.start()
    made.samples(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= data_bytes(source) + MB
    assert data_bytes(source) < 10 * peak
