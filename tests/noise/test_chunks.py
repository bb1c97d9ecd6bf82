"""A table in chunks gives what it gives whole, to the last bit, however it is cut and whoever reads it."""

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.noise import confident_joint, find_label_issues, find_label_issues_in_chunks, pruning, top_classes
from kiyome.noise.label_issues import METHODS
from kiyome.noise.pruning import Chunks

examples = settings(derandomize=True, deadline=None, max_examples=60)

WAYS = [sys.maxsize, 0]  # plain and compiled


@st.composite
def tables(draw):
    """Up to 400 rows and 12 classes: smooth, of few values (ties at most cuts), or one-hot."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K, N = draw(st.sampled_from([2, 3, 5, 12])), draw(st.integers(1, 400))
    true = rng.choice(K, N, p=rng.dirichlet(np.full(K, 1.0)))
    labels = np.where(rng.random(N) < 0.3, rng.integers(0, K, N), true)
    weights = rng.gamma(0.4, size=(N, K)) + 1e-6
    weights[np.arange(N), true] += draw(st.sampled_from([0.3, 3.0]))
    if draw(st.booleans()):
        weights = np.ceil(weights * 2)
    probs = weights / weights.sum(axis=1, keepdims=True)
    if draw(st.integers(0, 5)) == 0:
        probs = np.eye(K)[probs.argmax(axis=1)]
    return labels, probs.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))


def cut(table, cuts):
    labels, probs = table
    edges = sorted({0, *(edge for edge in cuts if edge < len(labels)), len(labels)})
    return [(labels[a:b], probs[a:b]) for a, b in pairwise(edges)]


@pytest.mark.filterwarnings("ignore:All rows of pred_probs prefer")
@examples
@given(tables(), st.lists(st.integers(1, 399), max_size=5), st.sampled_from(WAYS))
def test_masks_of_chunks_are_those_of_the_whole(table, cuts, worth_compiled):
    whole = {method: find_label_issues(*table, method=method) for method in (*METHODS, "adaptive")}
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(top_classes, "WORTH_COMPILED", worth_compiled)
        for method, mask in whole.items():
            for run in (map, pool.map):
                found = find_label_issues_in_chunks(cut(table, cuts), method=method, run=run)
                np.testing.assert_array_equal(found, mask, err_msg=method)


@examples
@given(tables(), st.lists(st.integers(1, 399), max_size=5), st.sampled_from(WAYS))
def test_joints_add_up(table, cuts, worth_compiled):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_classes, "WORTH_COMPILED", worth_compiled)
        joint = Chunks.read(cut(table, cuts)).joint()
    np.testing.assert_array_equal(joint.counts, confident_joint(*table, calibrate=False))
    np.testing.assert_array_equal(joint.calibrated(), confident_joint(*table))


def loop_suspects(labels, probs, wanted):
    """For each cell, the sorted leads that belong to it, and the next one."""
    found = {}
    for true, given_label in np.argwhere(wanted > 0):
        of_class = labels == given_label
        leads = np.sort(probs[of_class, true] - probs[of_class, given_label])[::-1]
        num = wanted[true, given_label]
        if len(leads):
            found[given_label * len(wanted) + true] = leads[:num].tolist(), leads[num : num + 1].tolist()
    return found


@examples
@given(tables(), st.lists(st.integers(1, 399), max_size=5), st.integers(0, 99), st.sampled_from(WAYS))
def test_suspects_are_the_strongest_of_their_cell(table, cuts, seed, worth_compiled):
    """By any way, from any chunks, merged in any order; rows hold the leads that they are said to hold."""
    labels, probs = table
    rng, K = np.random.default_rng(seed), probs.shape[1]
    wanted = rng.integers(0, 6, (K, K)) * rng.integers(0, 2, (K, K))
    np.fill_diagonal(wanted, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_classes, "WORTH_COMPILED", worth_compiled)
        chunks = Chunks.read(cut(table, cuts))
        found = [
            pruning.find_suspects(rows, part, wanted, first_row)
            for rows, part, first_row in zip(chunks.parts, chunks.pred_probs, chunks.first_rows, strict=True)
        ]
    merged = reduce(add, (found[n] for n in rng.permutation(len(found))))
    expected = loop_suspects(labels, probs, wanted)
    assert set(merged.cells.tolist()) == set(expected)
    for cell, (leads, next_lead) in expected.items():
        here = merged.cells == cell
        assert sorted(merged.leads[here].tolist(), reverse=True) == leads
        rows = merged.rows[here]
        assert len(set(rows.tolist())) == len(rows)
        np.testing.assert_array_equal(probs[rows, cell % K] - probs[rows, labels[rows]], merged.leads[here])
        assert (cell in merged.tied) == (leads[-1:] == next_lead)


def test_one_class_may_hold_nearly_all_rows():
    """Lists of one class then take turns on one thread, and are cut many times."""
    rng = np.random.default_rng(3)
    labels = np.zeros(40_000, dtype=int)
    labels[:5] = [1, 2, 3, 1, 2]
    probs = rng.dirichlet(np.ones(8), 40_000).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_classes, "WORTH_COMPILED", WAYS[0])
        plain = find_label_issues(labels, probs, method="prune_by_noise_rate")
    assert plain.sum() > 1000
    np.testing.assert_array_equal(find_label_issues(labels, probs, method="prune_by_noise_rate"), plain)


def test_chunks_agree_in_type_and_classes():
    with pytest.raises(InputError, match="The parts have 2 classes of float64 and 3 classes of float64"):
        Chunks.read([([0], np.eye(2)[:1]), ([0], np.eye(3)[:1])])
    with pytest.raises(InputError, match="The parts have 2 classes of float32 and 2 classes of float64"):
        Chunks.read([([0], np.eye(2)[:1]), ([0], np.eye(2, dtype=np.float32)[:1])])
    with pytest.raises(InputError, match=r"There is no part\. Expected one part or more, of one type"):
        find_label_issues_in_chunks([])


def test_a_bad_row_is_named_by_its_number_in_the_table():
    good = [0, 1, 0], np.eye(2)[[0, 1, 0]]
    bad = np.eye(2)[[0, 1, 0]]
    bad[1] = np.nan
    with pytest.raises(InputError, match="nan in row 7, column 0"):
        find_label_issues_in_chunks([good, good, ([0, 1, 0], bad)])
    with pytest.raises(InputError, match="Label 2 in row 5"):
        find_label_issues_in_chunks([good, ([0, 1, 2], np.eye(2)[[0, 1, 0]])])
