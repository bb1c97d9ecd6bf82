"""Agreement against scikit-learn and plain loops; the interval against simulation."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.decisions.agreement import (
    DISPUTED,
    agreement,
    cohen_kappa,
    common_codes,
    consensus_codes,
    overall_agreement,
)
from kiyome.decisions.current import DROP, KEEP, LABEL, NONE, UNSURE, CurrentDecisions
from kiyome.errors import InputError
from kiyome.estimates import wilson_interval

answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@settings(derandomize=True, deadline=None)
@given(answers)
def test_kappa_is_that_of_scikit_learn(both: list[tuple[int, int]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    a, b = np.array(both).T
    kappa = cohen_kappa(a, b)
    assert (kappa.num_rows, kappa.num_agreed) == (len(a), (a == b).sum())
    if len(set(a) | set(b)) == 1:
        assert kappa.value is None
        return
    assert kappa.value == pytest.approx(cohen_kappa_score(a, b))
    assert kappa.low - 1e-12 <= kappa.value <= kappa.high + 1e-12
    assert kappa.high <= 1 + 1e-12
    assert cohen_kappa(b, a) == pytest.approx(kappa) or cohen_kappa(b, a).low == pytest.approx(kappa.low)


def test_full_agreement_has_the_width_of_wilson() -> None:
    kappa = cohen_kappa([0, 1] * 10, [0, 1] * 10)
    low, high = wilson_interval(1.0, 20)
    assert (kappa.value, kappa.low, kappa.high) == pytest.approx((1, (low - 0.5) / 0.5, (high - 0.5) / 0.5))


def test_no_common_row_and_unequal_answers() -> None:
    assert cohen_kappa([], []).value is None
    with pytest.raises(
        InputError, match=r"two raters have the shapes \(2,\) and \(1,\)\. Expected one answer of each"
    ):
        cohen_kappa([0, 1], [0])


@pytest.mark.parametrize(("kappa", "num_rows"), [(0.4, 50), (0.7, 50), (0.9, 50), (0.9, 200), (0.97, 200)])
@pytest.mark.parametrize("prior", [(0.2,) * 5, (0.6, 0.2, 0.1, 0.06, 0.04)])
def test_intervals_cover_the_truth(kappa: float, num_rows: int, prior: tuple[float, ...]) -> None:
    """Two people who give one answer in a share kappa of rows, and guess apart in the others."""
    joint = kappa * np.diag(prior) + (1 - kappa) * np.outer(prior, prior)
    cells = np.random.default_rng(0).choice(25, size=(400, num_rows), p=joint.ravel())
    found = [cohen_kappa(draw // 5, draw % 5) for draw in cells]
    covered = np.mean([each.low <= kappa <= each.high for each in found if each.value is not None])
    assert 0.91 <= covered <= 0.995  # 0.95, less or more by what 400 draws and few rows bring


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([NONE, UNSURE, DROP, KEEP, LABEL, LABEL + 1]), min_size=4, max_size=4))
)
def test_consensus_is_that_of_a_count(rows: list[list[int]]) -> None:
    outcomes = np.array(rows, np.int32).reshape(len(rows), 4).T
    unanimous, majority = common_codes(outcomes, "unanimous"), common_codes(outcomes, "majority")
    for row, said in enumerate(rows):
        sure = Counter(code for code in said if code > UNSURE)
        if not sure:
            expected = UNSURE if UNSURE in said else NONE
            assert (unanimous[row], majority[row]) == (expected, expected)
            continue
        [(best, votes), *_] = sure.most_common()
        assert unanimous[row] == (best if len(sure) == 1 else DISPUTED)
        assert majority[row] == (best if 2 * votes > sure.total() else DISPUTED)


def test_a_rule_that_nobody_knows() -> None:
    with pytest.raises(
        InputError, match=r"The rule 'loudest' is unknown. Expected one of unanimous, majority"
    ):
        common_codes(np.zeros((1, 1), np.int32), "loudest")


def test_agreement_of_three(items_of, log_of) -> None:
    items = items_of(6, given_labels=np.array([0, 0, 1, 1, 2, 2], np.int32))
    current, log = CurrentDecisions(items), log_of(items)
    assert (agreement(current), overall_agreement(current)) == ([], None)
    assert consensus_codes(current).tolist() == [NONE] * 6
    current.apply(log.append("Ann", {0: "keep", 1: "drop", 2: "class 0", 3: "unsure"}))
    current.apply(log.append("Bob", {0: "class 0", 1: "drop", 2: "keep", 3: "keep", 4: "drop"}))
    current.apply(log.append("Cem", {2: "class 0", 5: "unsure"}))
    pairs = {(pair.a, pair.b): (pair.kappa.num_rows, pair.kappa.num_agreed) for pair in agreement(current)}
    assert pairs == {("Ann", "Bob"): (3, 2), ("Ann", "Cem"): (1, 1), ("Bob", "Cem"): (1, 0)}
    assert overall_agreement(current) == 3 / 5
    assert consensus_codes(current).tolist() == [LABEL, DROP, DISPUTED, LABEL + 1, DROP, UNSURE]
    assert consensus_codes(current, rule="majority")[2] == LABEL
    assert current.disputed.tolist() == (consensus_codes(current) == DISPUTED).tolist()
