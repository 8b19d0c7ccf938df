"""Which rows decide: validation people choose the step and the round, test people nothing."""

import numpy as np
import polars as pl
import pytest

from metapulse.errors import RunError
from metapulse.sim.lab.panel import paired, panel
from metapulse.sim.lab.select import judged_rows, judged_steps, main_rows
from tests.sim.lab.results import results


def better_later(method, scenario, shots, step, seed):
    return np.array([0.5, 0.7]) + 0.1 * step


def test_a_data_sets_main_metric_is_its_own():
    classes = results(better_later, ["a"])
    glucose = results(better_later, ["a"], dataset="glucose", metric="mse")
    rows = main_rows(pl.concat([classes, glucose]))
    assert sorted(rows.select("dataset", "metric").unique().rows()) == [
        ("data", "balanced_accuracy"),
        ("glucose", "mse"),
    ]


def test_the_step_is_chosen_by_validation_people_where_test_people_would_choose_another():
    rows = main_rows(results(better_later, ["a"], steps=(0, 1, 5)))
    turned = rows.with_columns(
        value=pl.when(pl.col("phase") == "validation").then(1 - pl.col("value")).otherwise("value")
    )
    assert judged_steps(rows)["step"].to_list() == [5]
    assert judged_steps(turned)["step"].to_list() == [0]
    assert judged_rows(turned)[0]["value"].to_list() == [0.5, 0.7] * 5


def test_a_loss_is_best_where_it_is_least():
    rows = main_rows(results(better_later, ["a"], steps=(0, 1, 5), metric="mse"))
    assert judged_steps(rows)["step"].to_list() == [0]


def test_a_step_at_which_somebody_overflowed_is_not_chosen_by_the_others():
    """An error that is no number has no row: the mean at step 5 would be that of the survivors."""
    rows = main_rows(results(lambda *a: 1.0 - better_later(*a), ["a"], steps=(0, 1, 5), metric="mse"))
    assert judged_steps(rows)["step"].to_list() == [5]
    lost = (pl.col("step") == 5) & (pl.col("user") == "validation-0") & (pl.col("seed") == 3)
    assert judged_steps(rows.filter(~lost))["step"].to_list() == [1]


def test_who_wears_two_devices_counts_once_in_the_choice():
    """One person is best without a step, on two devices; another with one step, by more."""
    rows = main_rows(results(lambda m, s, k, step, seed: np.array([0.6 - 0.2 * step, 0.7 + 0.3 * step]), ["a"]))
    second = rows.filter(pl.col("user").str.ends_with("-0")).with_columns(client=pl.col("client") + 500)
    assert judged_steps(pl.concat([rows, second]))["step"].to_list() == [1]


def test_of_equal_steps_the_earliest_and_without_validation_the_largest():
    flat = main_rows(results(lambda *_: np.array([0.1, 0.2, 0.3]), ["a"], steps=(0, 1, 5)))
    assert judged_steps(flat)["step"].to_list() == [0]
    unseen = main_rows(results(better_later, ["a"], steps=(0, 1, 5), phases=("test",)))
    assert judged_steps(unseen)["step"].to_list() == [5]
    last, best = judged_rows(unseen)
    assert len(last) == 10
    assert best.is_empty()


def test_the_best_validation_round_is_the_earlier_one_where_there_is_one():
    early = main_rows(results(better_later, ["a"], seeds=[0, 1], rounds=(40, 100)))
    late = main_rows(results(better_later, ["a"], seeds=[2], rounds=(100,)))
    last, best = judged_rows(pl.concat([early, late]))
    assert set(last.select("seed", "round").rows()) == {(0, 100), (1, 100), (2, 100)}
    assert set(best.select("seed", "round").rows()) == {(0, 40), (1, 40), (2, 100)}


def test_validation_chooses_after_the_last_round_only():
    rows = main_rows(results(better_later, ["a"], steps=(0, 1), rounds=(40, 100)))
    wrong_way = pl.col("phase").eq("validation") & pl.col("round").eq(40) & pl.col("step").eq(0)
    shouted = rows.with_columns(value=pl.when(wrong_way).then(9.0).otherwise("value"))
    assert judged_steps(shouted)["step"].to_list() == [1]


def test_test_people_who_were_asked_again_and_again_are_refused():
    rows = main_rows(results(better_later, ["a"], seeds=[0], rounds=(20, 40, 100)))
    with pytest.raises(RunError, match=r"'data', 'a', 0, 0, \[20, 40, 100\]"):
        judged_rows(rows)


def test_a_person_counts_once_and_a_client_with_a_gap_not_at_all():
    rows = main_rows(results(better_later, ["a"], phases=("test",), devices=("phone", "watch"), steps=(0,)))
    whole = panel(rows)
    assert (len(whole.seeds), len(whole.clients)) == (5, 4)
    assert whole.people == pytest.approx(np.tile([0.5, 0.7], (5, 1)))
    gap = panel(rows.filter(~((pl.col("seed") == 3) & (pl.col("client") == 1001))))
    assert gap.clients == (1000, 1002, 1003)
    assert gap.people == pytest.approx(np.tile([0.5, 0.7], (5, 1)))  # one device left of the first person


def test_pairs_share_seeds_and_clients():
    rows = main_rows(results(better_later, ["a"], phases=("test",), steps=(0,)))
    a = panel(rows.filter(pl.col("seed") != 2))
    b = panel(rows.filter(pl.col("client") != 1000))
    one, other = paired(a, b)
    assert one.seeds == other.seeds == (0, 1, 3, 4)
    assert one.clients == other.clients == (1001,)
    assert one.values == pytest.approx(np.full((4, 1), 0.7))
