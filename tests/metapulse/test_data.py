"""Samples that would poison a model are refused with the client's name, in one line."""

from __future__ import annotations

import numpy as np
import pytest

from metapulse.data import Samples, check_samples, id_difference, look_alike
from metapulse.errors import ClientError, DataError, MetapulseError
from tests.cases import classification, regression


def samples(n: int = 4, features: tuple[int, ...] = (2, 3), y: np.ndarray | None = None) -> Samples:
    labels = np.arange(n) % 3 if y is None else y
    return Samples(np.zeros((n, *features), np.float32), labels, np.zeros(n, np.int64), np.zeros(n, bool))


def poisoned(value: float) -> Samples:
    good = samples()
    good.x[1, 0, 2] = good.x[3, 1, 1] = value
    return good


def test_good_samples_pass_through() -> None:
    good = samples()
    assert check_samples(good, classification(2, 3), "client 7") is good
    targets = samples(y=np.ones((4, 2), np.float32))
    assert check_samples(targets, regression(2, 3), "client 7") is targets


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (samples(0), "no samples"),
        (samples(features=(3, 2)), r"\(3, 2\)"),
        (poisoned(np.nan), "2 of 4 samples hold NaN"),
        (poisoned(np.inf), "2 of 4 samples hold NaN or infinity"),
        (samples(y=np.array([0, 1, 2, 3])), "0 to 3; allowed are 0 to 2"),
        (samples(y=np.array([0, -1, 2, 1])), "-1 to 2"),
    ],
)
def test_bad_samples_are_refused(bad: Samples, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        check_samples(bad, classification(2, 3), "client 7")
    assert str(caught.value).startswith("client 7")
    assert "\n" not in str(caught.value)


def test_bad_targets_are_refused() -> None:
    with pytest.raises(DataError, match="targets hold NaN"):
        check_samples(samples(y=np.full((4, 2), np.nan, np.float32)), regression(2, 3), "client 7")


def test_take_keeps_rows_together() -> None:
    whole = Samples(
        np.arange(5, dtype=np.float32).reshape(5, 1), np.arange(5), np.arange(5) * 10, np.array([0, 1, 0, 1, 0], bool)
    )
    part = whole.take(np.array([3, 0]))
    assert (part.x[:, 0].tolist(), part.y.tolist(), part.group.tolist()) == ([3, 0], [3, 0], [30, 0])
    assert part.held_out.tolist() == [True, False]


def test_a_client_error_says_where() -> None:
    error = ClientError(3, 12, "train", "ran out of battery")
    assert isinstance(error, MetapulseError)
    assert str(error) == "round 3, client 12, train: ran out of battery"


@pytest.mark.parametrize(
    ("labels", "case", "found"),
    [
        (["u1", " u1"], False, ("u1", " u1")),
        (["u1", "u\u200b1"], False, ("u1", "u\u200b1")),
        (["é", "e\u0301"], False, ("é", "e\u0301")),
        (["u1", "U1"], False, None),
        (["u1", "U1"], True, ("u1", "U1")),
        (["u1", "u1", "u2"], True, None),
    ],
)
def test_ids_that_are_one_person_are_found(labels: list[str], case: bool, found: tuple[str, str] | None) -> None:
    assert look_alike(labels, case) == found


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("u1", " u1"), "blanks"),
        (("é", "e\u0301"), "how Unicode spells them"),
        (("u1", "u\u200b1"), "characters that are not shown"),
        (("u1", "U1"), "upper and lower case"),
        (("ＵＰ", "up "), "several of: blanks, upper and lower case, "),
    ],
)
def test_what_alike_ids_differ_in_is_said(pair: tuple[str, str], said: str) -> None:
    assert look_alike(pair, case=True) == pair
    assert id_difference(pair).startswith(said)
