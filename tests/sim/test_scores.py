"""Means and differences as tables write them."""

from metapulse.sim.scores import gain, number_text, score_grid


def test_means_that_read_alike_are_all_the_best_of_their_column():
    def run(mean):
        return [{"scenario": "new_user", "shots": 5, "step": 1, "metric": "accuracy", "mean": mean}]

    grid = score_grid([run(0.75), run(0.75), run(0.7501), run(0.74)])
    assert [row[0][1] for row in grid.rows["new_user"]] == [True, True, True, False]
    assert not score_grid([run(0.75)]).rows["new_user"][0][0][1]


def test_differences_have_a_minus():
    assert number_text(-0.0121, "accuracy", "+") == "−0.012"
    assert gain(-0.0121, "accuracy") == "−0.012"
    assert gain(-0.5, "mse", "+") == "−64.9 %"
