"""Known answers of the lab's statistics, in the worlds of docs/statistics.md; fewer tries than there."""

import pytest

from benchmarks.comparison_power import anywhere, blocks, called, crossed, people_only
from tests.points import WORLDS

TRIES = 200


@pytest.mark.parametrize(("people", "seeds"), [(6, 5), (10, 5), (30, 5)])
@pytest.mark.parametrize("world", ["A/A, still", "A/A", "A/A, lucky seeds", "tie"])
def test_a_family_of_twelve_equals_is_called_different_in_at_most_5_percent_of_tries(world, people, seeds):
    assert called(WORLDS[world], people, seeds, crossed, TRIES) <= 0.05


def test_people_alone_would_call_luck_of_seeds_a_difference():
    """The test above can fail: Wilcoxon's over people, Holm-corrected, does in a good part of the same tries."""
    assert called(WORLDS["A/A"], 30, 5, people_only, TRIES) > 0.3


def test_a_gain_of_two_points_is_found():
    """At the noise of recorded runs; among twelve methods with ten seeds, alone with five."""
    assert called(WORLDS["A/A"], 30, 10, crossed, TRIES, gain=2.0) > 0.9
    assert called(WORLDS["A/A"], 30, 5, crossed, TRIES, gain=2.0, methods=1) > 0.9


def test_eight_questions_to_the_same_runs_are_no_eight_chances():
    each, family = anywhere(WORLDS["A/A"], 30, 5, 40)
    assert family <= 0.05 < each


def test_questions_of_a_data_set_are_no_blocks():
    questions, datasets = blocks(5, 12, 100)
    assert datasets <= 0.05
    assert questions > 0.5
