"""Which rows are drawn: known chances, deterministic, and the most for the checking."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.evaluation.audit_design import (
    Strata,
    draw_audit,
    draw_from,
    rows_by_stratum,
    rows_to_audit,
    strata_of,
)
from kiyome.noise import inject_label_noise, simulate_pred_probs


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng, truth = np.random.default_rng(0), np.arange(4000) % 4
    labels = inject_label_noise(truth, np.full((4, 4), 0.03) + 0.88 * np.eye(4), rng)
    return labels, simulate_pred_probs(truth, 4, rng)


def test_weights_sum_to_all_rows_and_every_row_has_a_chance(arrays) -> None:
    design = draw_audit(*arrays, 120)
    assert design.weights.sum() == pytest.approx(4000)
    assert design.inclusion_probabilities.sum() == pytest.approx(120)
    assert design.inclusion_probabilities.min() > 0
    assert len(np.unique(design.rows)) == 120
    assert design.rows_drawn.min() >= 2
    assert len(design.strata.sizes) == 8


def test_the_same_seed_draws_the_same_rows_in_an_order_that_tells_nothing(arrays) -> None:
    first, again, other = (draw_audit(*arrays, 200, seed=seed) for seed in (3, 3, 4))
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()
    stratum, place = first.strata.stratum_of_row[first.rows], np.arange(200)
    assert abs(np.corrcoef(stratum, place)[0, 1]) < 0.25
    assert abs(np.corrcoef(first.rows, place)[0, 1]) < 0.25


def test_strata_part_agreement_and_grow_surer(arrays) -> None:
    labels, probs = arrays
    strata = strata_of(labels, probs)
    agrees = probs.argmax(axis=1) == labels
    assert ((strata.stratum_of_row >= strata.num_disagreeing) == agrees).all()
    for side in (slice(0, strata.num_disagreeing), slice(strata.num_disagreeing, None)):
        assert (np.diff(strata.guesses[side]) > 0).all()


def test_each_row_is_drawn_as_often_as_its_chance_says(arrays) -> None:
    strata = strata_of(arrays[0][:300], arrays[1][:300])
    counts = np.zeros(300)
    for seed in range(400):
        design = draw_from(strata, 40, seed=seed)
        counts[design.rows] += 1
    expected = 400 * design.inclusion_probabilities
    spread = np.sqrt(expected * (1 - design.inclusion_probabilities))
    assert np.abs((counts - expected)[spread > 0] / spread[spread > 0]).max() < 4.5
    assert (counts == expected)[spread == 0].all()


@given(st.lists(st.tuples(st.integers(2, 6), st.floats(0.1, 0.5)), min_size=2, max_size=3), st.integers(0, 8))
@settings(derandomize=True, deadline=None)
def test_no_other_deal_of_rows_has_less_variance(strata: list[tuple[int, float]], further: int) -> None:
    sizes, spreads = np.array([size for size, _ in strata]), np.array([spread for _, spread in strata])
    made = Strata(
        stratum_of_row=np.repeat(np.arange(len(sizes)), sizes).astype(np.int8),
        num_disagreeing=0,
        guesses=spreads,
        spreads=spreads,
    )
    n = min(2 * len(sizes) + further, int(sizes.sum()))

    def variance(rows: np.ndarray) -> float:
        return float((sizes**2 * spreads**2 / rows).sum())

    deals = [np.array(d) for d in product(*(range(2, size + 1) for size in sizes)) if sum(d) == n]
    found = rows_by_stratum(made, n)
    assert found.sum() == n
    assert variance(found) <= min(map(variance, deals)) * (1 + 1e-9)


def test_rows_to_audit_is_the_smallest_number_that_is_enough(arrays) -> None:
    n = rows_to_audit(*arrays, 0.02)
    assert draw_audit(*arrays, n).expected_half_width() <= 0.02
    assert draw_audit(*arrays, n - 1).expected_half_width() > 0.02
    assert rows_to_audit(*arrays, 1e-9) == 4000


def test_a_side_of_few_rows_gets_few_strata_and_an_empty_one_none() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([0.1, 0.1], 200)
    labels = probs.argmax(axis=1)
    assert strata_of(labels, probs).num_disagreeing == 0
    labels[:5] = 1 - labels[:5]
    few = strata_of(labels, probs)
    assert (few.num_disagreeing, few.sizes[0]) == (1, 5)


@pytest.mark.parametrize("n", [1, 15, 4001])
def test_too_few_or_too_many_rows_are_refused(arrays, n: int) -> None:
    with pytest.raises(InputError, match=r"rows cannot be drawn\. Expected 16 to 4000, 2 or more a stratum"):
        draw_audit(*arrays, n)


def test_shares_and_strata_that_are_none_are_refused(arrays) -> None:
    with pytest.raises(InputError, match=r"half_width=1, .*Pass 0\.01 for one point"):
        rows_to_audit(*arrays, 1)
    with pytest.raises(InputError, match=r"num_strata=\d+: expected 2 to 127"):
        draw_audit(*arrays, 100, num_strata=1)
