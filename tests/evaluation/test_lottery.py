"""Luck on a leaderboard: against test rows that are really drawn again, and on the contest's own figures."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.compare_many import differing_share, lottery, ranks_a_row

# places and private scores that write-ups of the contest give, and the talk's own (rounded as they are there)
PLACES = [1, 2, 3, 10, 14, 18, 25, 36, 165, 226]
PRIVATE = [0.9132, 0.9043, 0.9028, 0.9017, 0.9016, 0.9013, 0.9010, 0.9000, 0.8993, 0.8990]


def test_ranks_are_those_of_test_rows_drawn_again() -> None:
    rng, N, T = np.random.default_rng(0), 4000, 120
    hard = rng.random((N, 1)) < 0.2  # rows on which submissions differ, with skills from 50 to 65 %
    rights = np.where(hard, rng.random((N, T)) < np.linspace(0.5, 0.65, T), True)
    place, scores = 60, rights.mean(axis=0)
    found = lottery(
        scores, N, place=place, differing=differing_share({str(t): rights[:, t] for t in range(0, T, 10)})
    )
    again = []
    for _ in range(400):
        drawn = rights[rng.integers(N, size=N)].mean(axis=0)
        again.append(1 + (drawn > drawn[place]).sum())
    low, median, high = np.quantile(again, [0.025, 0.5, 0.975])
    assert found.ranks.median == pytest.approx(median, abs=5)
    assert (found.ranks.low, found.ranks.high) == (pytest.approx(low, abs=9), pytest.approx(high, abs=9))


def test_the_contests_figures_give_the_talks_worth_of_two_images() -> None:
    field = np.interp(np.arange(1, 227), PLACES, PRIVATE)
    worth = [2 * ranks_a_row(field, 10_350, 0.8993, within) for within in (0.0003, 0.0005)]
    assert all(24 <= ranks <= 54 for ranks in worth), worth


def test_more_rows_and_fewer_differing_ones_narrow_the_ranks() -> None:
    field = np.linspace(0.85, 0.95, 201)

    def width(num_rows: int, differing: float) -> float:
        ranks = lottery(field, num_rows, place=100, differing=differing).ranks
        return ranks.high - ranks.low

    assert width(40_000, 0.04) < 0.7 * width(10_000, 0.04) < 0.7 * width(10_000, 0.16)


def test_a_small_public_part_tells_less_of_the_private_one() -> None:
    field = np.linspace(0.88, 0.9, 101)
    most, least = (
        lottery(field, 10_000, place=0, differing=0.05, public_share=share) for share in (0.9, 0.05)
    )
    assert most.public_private > least.public_private + 0.2
    assert least.private_of_public_top.median > most.private_of_public_top.median
    assert lottery(field, 10_000, place=0, differing=0.05).public_private is None


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([90.1, 89.9], {"place": 0}, "Divide percentages by 100"),
        ([0.9], {"place": 0}, "two scores or more"),
        ([0.9, 0.8], {"place": 2}, "place=2: there are 2 scores"),
        ([0.9, 0.8], {"place": 0, "differing": 0.0}, "shares above 0 and below 1"),
        ([0.9, 0.8], {"place": 0, "public_share": 1.5}, "shares above 0 and below 1"),
    ],
)
def test_bad_input_is_told(scores: list[float], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lottery(scores, 100, **({"differing": 0.1} | options))
