"""What targets stand for: base + scale · y is the value that came true, of every source that tells it."""

import numpy as np
import polars as pl
import pytest
from flwr.app import ConfigRecord

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial, client_config_from_json
from metapulse.client.wire import TASK, read_task, write_task
from metapulse.data import Samples, Task
from metapulse.episodes import EpisodePlan
from metapulse.errors import ReplyError
from metapulse.record.recipes import make_recipe
from metapulse.registry import SOURCES
from metapulse.rng import generator
from metapulse.sim.sources.own import Own
from tests.metapulse.record.recipes.taking import samples
from tests.metapulse.record.recipes.test_questions import days, glucose, series


def readings(path, people=4, unit="mg/dL", **settings):
    """Series of glucose every five minutes for a day of each person, as data of one's own."""
    rows = []
    for person in range(people):
        values = 130.0 + 40.0 * generator(person, "glucose").standard_normal(100).cumsum() / 5.0
        rows += [(f"p{person}", 5.0 * i, round(float(np.clip(v, 45, 380)), 1)) for i, v in enumerate(values)]
    pl.DataFrame(rows, schema=["user", "time", "value"], orient="row").write_csv(path)
    given = {"kind": "forecasting", "y": "value", "history": 6, "unit": unit, "centre": 140.0, "scale": 50.0}
    return {"name": "own", "path": str(path), **given, **settings}


def values(samples: Samples, task: Task) -> np.ndarray:
    return (samples.base + task.scale * samples.y)[:, 0]


def test_own_forecasts_are_changes_of_a_reading(tmp_path):
    source = SOURCES.make(readings(tmp_path / "d.csv"))
    assert (source.task.unit, source.task.scale, source.task.value_unit) == ("50 mg/dL", 50.0, "mg/dL")
    held = pl.read_csv(tmp_path / "d.csv").filter(user="p1")["value"].to_numpy()
    own = source.samples(1)
    np.testing.assert_allclose(
        values(own, source.task), held[11:], atol=1e-4
    )  # the first is 55 minutes after the start
    np.testing.assert_allclose(own.base[:, 0], held[5 : len(held) - 6], atol=1e-4)
    assert own.take(np.array([3, 1])).base.tolist() == own.base[[3, 1]].tolist()


def test_own_regressions_are_differences_from_the_centre(tmp_path):
    frame = pl.DataFrame({"user": ["a", "a", "b"], "x": [1.0, 2.0, 3.0], "y": [60.0, 80.0, 75.0]})
    frame.write_csv(tmp_path / "d.csv")
    given = {"path": str(tmp_path / "d.csv"), "kind": "regression", "x": ("x",), "centre": 70.0, "scale": 10.0}
    source = Own(**given, unit="/min")
    np.testing.assert_allclose(values(source.samples(0), source.task), [60.0, 80.0])
    assert (Own(**given).task.value_unit, Own(**given).samples(0).base) == ("", None)


@pytest.mark.parametrize(
    ("recipe", "rows", "unit"),
    [("glucose_30min", glucose(*series(60)), "mg/dL"), ("steps_tomorrow", list(days(20)), "steps")],
)
def test_recipes_tell_the_base_of_their_questions(recipe, rows, unit):
    task, taken = make_recipe(recipe).task, samples(rows, recipe)
    assert task.value_unit == unit
    if unit == "steps":
        total = [sum(row.value for row in rows[12 * day : 12 * day + 12]) for day in range(20)]
        np.testing.assert_allclose(values(taken, task), total[-len(taken) :], rtol=1e-6)
    else:
        now, later = (np.array(series(60)[1])[first:end] for first, end in ((23, 54), (29, 60)))
        np.testing.assert_allclose(taken.base[:, 0], now, rtol=1e-6)
        np.testing.assert_allclose(values(taken, task), later, rtol=1e-5)


def test_a_person_s_mard_and_zones_are_those_of_the_values(tmp_path):
    """Persistence forecasts the reading of now: |now − later| / later in per cent, by hand."""
    names = ("rmse", "mard", "clarke_a", "parkes_ab", "tests.sim.test_target_values:lowest")
    sections = {
        "transform": {"name": "none"},
        "model": {"name": "mlp", "hidden": []},
        "learner": {"name": "persistence"},
    }
    work = ClientExecutor(client_config_from_json({"source": readings(tmp_path / "d.csv"), **sections}))
    trial = Trial(plan=EpisodePlan("forward", 5), episodes=1, steps=(0,), metrics=names)
    found = work.evaluate(work.init(), 1, [0, 1, 2, 3], trial)
    assert found.failures == {}
    for client in found.clients:
        own, (cut,) = work.cuts(client, trial)
        now, later = own.base[cut.query, 0], values(own, work.task)[cut.query]
        expected = {
            "rmse": np.sqrt(np.mean((now - later) ** 2)) / 50.0,
            "mard": 100.0 * np.mean(np.abs(now - later) / later),
            "clarke_a": np.mean((np.abs(now - later) <= 0.2 * later) | ((now < 70) & (later < 70))),
            "tests.sim.test_target_values:lowest": later.min(),
        }
        for name, value in expected.items():
            assert found.metrics[name][client].item() == pytest.approx(value, rel=1e-5)
        assert found.metrics["parkes_ab"][client] >= found.metrics["clarke_a"][client]


def lowest(predictions, targets):
    """The lowest value that came true."""
    assert predictions.shape == targets.shape == (len(targets),)
    return targets.min()


class WithoutBase(Own):
    """Says in what unit values are, and not what targets stand for."""

    def samples(self, index):
        """Of one client."""
        found = super().samples(index)
        return Samples(found.x, found.y, found.group, found.held_out)


def test_a_client_whose_samples_do_not_tell_is_left_out_with_the_reason(tmp_path):
    given = readings(tmp_path / "d.csv") | {"name": f"{__name__}:WithoutBase"}
    sections = {
        "transform": {"name": "none"},
        "model": {"name": "mlp", "hidden": []},
        "learner": {"name": "persistence"},
    }
    work = ClientExecutor(client_config_from_json({"source": given, **sections}))
    trial = Trial(plan=EpisodePlan("forward", 5), episodes=1, steps=(0,), metrics=("rmse",))
    assert work.evaluate(work.init(), 1, [0], trial).failures == {}
    trial = Trial(plan=EpisodePlan("forward", 5), episodes=1, steps=(0,), metrics=("mard",))
    (why,) = work.evaluate(work.init(), 1, [0], trial).failures.values()
    assert why.endswith("evaluate: its samples have no base, the mg/dL that a target of 0 stands for")


def test_scale_and_unit_of_values_travel_and_are_no_part_of_what_devices_agree_on():
    plain, told = (
        Task("regression", (2,), 1, (), "50 mg/dL"),
        Task("regression", (2,), 1, (), "50 mg/dL", (), 50.0, "mg/dL"),
    )
    assert (told, hash(told), repr(told)) == (plain, hash(plain), repr(plain))
    read = read_task(ConfigRecord({TASK: write_task(told)}))
    assert (read.scale, read.value_unit) == (50.0, "mg/dL")
    old = write_task(told).replace(', "value_unit": "mg/dL"', "").replace('"scale": 50.0, ', "")
    assert read_task(ConfigRecord({TASK: old})).value_unit == ""
    for wrong in ("-1.0", "NaN", "Infinity", '"50"', "true"):
        with pytest.raises(ReplyError, match=r"^task .* is not"):
            read_task(ConfigRecord({TASK: write_task(told).replace("50.0", wrong)}))
