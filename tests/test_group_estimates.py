"""Rows that belong together: bootstrap against theory, group numbers against a dict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.estimates import bootstrap_interval, group_numbers, proportion, proportion_of_rows


@given(st.lists(st.sampled_from(["", "a", "b", "plant 7"]), min_size=1, max_size=30))
@settings(derandomize=True, deadline=None)
def test_rows_share_a_number_where_they_share_a_name(names: list[str]) -> None:
    numbers = group_numbers(names, len(names)).tolist()
    for i, name in enumerate(names):
        for j, other in enumerate(names):
            assert (numbers[i] == numbers[j]) == (i == j or (name == other != ""))
    assert sorted(set(numbers)) == list(range(len(set(numbers))))


def test_single_rows_give_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    low, high = bootstrap_interval(values, np.arange(2000))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_a_plant_photographed_five_times_is_one_observation() -> None:
    plants = np.random.default_rng(1).random(120) < 0.8
    photos = proportion_of_rows(plants.repeat(5), groups=np.arange(600) // 5)
    single = proportion(int(plants.sum()), 120)
    assert photos.high - photos.low == pytest.approx(single.high - single.low, rel=0.15)


def test_rows_that_all_agree_leave_some_doubt() -> None:
    certain = proportion_of_rows(np.ones(50, bool), groups=np.arange(50) // 2)
    assert certain.low < 0.95
    assert certain.high == 1


def test_groups_fit_the_rows() -> None:
    with pytest.raises(InputError, match="one group for each row"):
        group_numbers(["a"], 2)
