"""What one read keeps, against a plain loop; chunks and blocks change nothing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome import checks as arrays
from kiyome.noise import top_classes
from kiyome.noise.top_classes import (
    likeliest,
    merge_sampled,
    read_sampled,
    row_keys,
    sample_size,
    sampled_rows,
    smallest_keys,
)

examples = settings(derandomize=True, deadline=None, max_examples=60)

SMALL_SAMPLE = 50


@pytest.fixture(autouse=True)
def small_sample(monkeypatch):
    monkeypatch.setattr(top_classes, "SAMPLE_ROWS", SMALL_SAMPLE)
    monkeypatch.setattr(top_classes, "SAMPLE_ROWS_A_CLASS", 0)


def tied_set(seed, N=200, K=6, dtype=np.float64):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (N, K)) + (rng.random((N, 1)) < 0.9) * np.eye(K, dtype=int)[0]
    weights[weights.sum(axis=1) == 0] = 1
    return rng.integers(0, K, N), (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)


def same_evidence(one, other):
    np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_array_equal(one.probs, other.probs)
    for name in ("keys", "classes", "probs"):
        np.testing.assert_array_equal(getattr(one.sample, name), getattr(other.sample, name))


@examples
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(2, 12))
def test_kept_classes_are_those_of_a_plain_sort(seed, K, num_top):
    labels, probs = tied_set(seed, N=30, K=K)
    classes, kept = likeliest(labels, probs, num_top)
    for row, label in enumerate(labels):
        others = sorted((k for k in range(K) if k != label), key=lambda k: (-probs[row, k], k))
        assert classes[row].tolist() == [label, *others][:num_top]
        assert kept[row].tolist() == probs[row, classes[row]].tolist()


@examples
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 200), max_size=5), st.randoms())
def test_chunks_merge_to_one_read(seed, cuts, random):
    labels, probs = tied_set(seed)
    ends = sorted({0, 200, *cuts})
    chunks = [
        read_sampled(labels[start:stop], probs[start:stop], first_row=start) for start, stop in pairwise(ends)
    ]
    whole = read_sampled(labels, probs)
    same_evidence(merge_sampled(chunks), whole)
    same_evidence(merge_sampled([merge_sampled(chunks[:1]), *chunks[1:]]), whole)
    random.shuffle(chunks)
    np.testing.assert_array_equal(merge_sampled(chunks).sample.probs, whole.sample.probs)


@examples
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 6, 30]), st.sampled_from([np.float32, np.float64]))
def test_the_compiled_sample_is_the_plain_one(seed, K, dtype):
    pytest.importorskip("numba")
    labels, probs = tied_set(seed, K=K, dtype=dtype)
    plain = read_sampled(labels, probs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_classes, "WORTH_COMPILED", 0)
        same_evidence(read_sampled(labels, probs), plain)


@examples
@given(st.integers(0, 2**40), st.integers(1, 40_000), st.sampled_from([1, 20, 10_000]))
def test_the_sample_has_the_smallest_keys_of_all(first_row, num_rows, size):
    rows, keys = sampled_rows(first_row, num_rows, size)
    all_keys = row_keys(first_row, num_rows)
    np.testing.assert_array_equal(keys, np.sort(all_keys)[:size])
    np.testing.assert_array_equal(all_keys[rows], keys)


@pytest.mark.parametrize("entries", [1, 7, 100])
def test_blocks_change_nothing(monkeypatch, entries):
    labels, probs = tied_set(0)
    whole = read_sampled(labels, probs)
    monkeypatch.setattr(arrays, "BLOCK_ENTRIES", entries)
    same_evidence(read_sampled(labels, probs), whole)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_are_exact_in_the_type_they_came_in(dtype):
    labels, probs = tied_set(0, dtype=dtype)
    before = probs.copy()
    rows = read_sampled(labels, probs)
    assert rows.probs.dtype == rows.sample.probs.dtype == dtype
    assert rows.classes.dtype == np.uint8
    np.testing.assert_array_equal(rows.probs[:, 0], probs[np.arange(200), labels])
    np.testing.assert_array_equal(probs, before)


def test_the_sample_is_all_rows_or_a_fair_draw_of_them():
    N, keys = 100_000, row_keys(0, 100_000)
    assert len(np.unique(keys)) == N
    chosen = smallest_keys(keys, 2000)
    assert len(np.unique(chosen)) == 2000
    # mean of 2,000 draws from 0..N-1: deviation N / sqrt(12 * 2000)
    assert abs(chosen.mean() - N / 2) < 3 * N / np.sqrt(12 * 2000)
    assert abs((chosen % 2).mean() - 0.5) < 3 * 0.5 / np.sqrt(2000)
    assert sorted(smallest_keys(keys[:30], 2000)) == list(range(30))
    np.testing.assert_array_equal(row_keys(500, 10), keys[500:510])


def test_many_classes_ask_for_a_larger_sample(monkeypatch):
    monkeypatch.undo()
    assert (sample_size(10), sample_size(1000)) == (10_000, 20_000)
