"""Many experiments at once: the winner's curse by simulation, false verdicts over all pairs, symmetries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.evaluation.compare import compare
from kiyome.evaluation.compare_many import compare_many, differing_share


def tried(seed: int, skills: np.ndarray, N: int = 300) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    hard = rng.random((N, 1)) < 0.3
    rights = np.where(hard, rng.random((N, len(skills))) < (skills - 0.7) / 0.3, True)
    return {f"run{m}": rights[:, m] for m in range(len(skills))}


def test_what_the_best_owes_to_the_choice_is_said_and_taken_off() -> None:
    skills, errors, corrected, covered = np.full(8, 0.85), [], [], []
    for seed in range(80):
        found = compare_many(tried(seed, skills))
        errors.append(found.scores[found.best].value - 0.85)
        corrected.append(found.best_corrected.value - 0.85)
        covered.append(found.best_corrected.low <= 0.85 <= found.best_corrected.high)
    assert np.mean(errors) > 0.015  # the winner's curse, here of experiments that are all alike
    assert abs(np.mean(corrected)) < 0.25 * np.mean(errors)
    assert np.mean(covered) >= 0.9


def test_an_experiment_far_ahead_owes_nothing() -> None:
    found = compare_many(tried(1, np.array([0.75, 0.76, 0.95]), N=2000))
    assert found.best == "run2"
    assert found.optimism < 0.001
    assert found.indistinguishable_from_best == ()
    assert found.pairs["run2", "run0"].verdict == "better"


def test_of_alike_experiments_no_pair_is_told_apart_in_nearly_all_sets() -> None:
    alone, together = 0, 0
    for seed in range(80):
        runs = tried(seed + 100, np.full(6, 0.85))
        found = compare_many(runs)
        together += any(each.verdict != "cannot tell" for each in found.pairs.values())
        alone += any(compare(runs[a], runs[b]).verdict != "cannot tell" for a, b in found.pairs)
    assert together <= 6  # 5 % of 80, and chance
    assert alone >= 12  # without correction a false verdict is common


@given(st.integers(0, 10_000))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_names_and_order_do_not_matter(seed: int) -> None:
    runs = tried(seed, np.array([0.8, 0.85, 0.9]), N=150)
    there = compare_many(runs)
    back = compare_many(dict(reversed(runs.items())))
    assert there.scores[there.best].value == back.scores[back.best].value
    assert there.optimism == pytest.approx(back.optimism, abs=0.004)
    for (a, b), each in there.pairs.items():
        assert each.difference.value >= 0
        assert each.difference.low <= each.difference.value <= each.difference.high
        other = back.pairs.get((a, b)) or back.pairs[b, a]  # of two alike either comes first
        assert other.p_value == pytest.approx(each.p_value)


def test_groups_are_drawn_whole() -> None:
    runs = {name: right.repeat(4) for name, right in tried(2, np.full(4, 0.85), N=120).items()}
    alone, grouped = compare_many(runs), compare_many(runs, groups=np.arange(480) // 4)
    assert 1.5 < grouped.optimism / alone.optimism < 2.6
    pair = next(iter(alone.pairs))
    assert grouped.pairs[pair].difference.high > alone.pairs[pair].difference.high


def test_words_and_differing_rows() -> None:
    said = compare_many({"a": np.arange(100) < 90, "b": np.arange(100) < 88}).describe()
    assert said[0].startswith("Best of 2: a, 90.00 %")
    assert said[2] == "Not significantly different from it: b."
    assert differing_share({"a": np.arange(100) < 90, "b": np.arange(100) < 88}) == 0.02


@pytest.mark.parametrize(
    "rights",
    [{}, {"a": [True, False]}, {"a": [True], "b": [True, False]}, {"a": [1, 0], "b": [1, 1]}],
)
def test_bad_input_is_told(rights: dict) -> None:
    with pytest.raises(InputError, match="from two experiments or more on the same rows"):
        compare_many(rights)
