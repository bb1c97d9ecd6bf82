"""Shares of work on threads, rows that are looked at again, and pages that are let go."""

import numpy as np
import pytest

from kiyome.noise import top_classes
from kiyome.noise.top_classes import on_threads, over_blocks, release, revisit


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("num_items", [0, 1, 5, 100])
def test_every_item_is_done_once(monkeypatch, threads, num_items):
    monkeypatch.setattr(top_classes, "num_cores", lambda: threads)
    done = np.zeros(num_items, dtype=int)

    def work(share):
        done[share] += 1

    on_threads(work, num_items, entries=10**9)
    assert (done == 1).all()


def test_the_first_of_several_errors_is_raised(monkeypatch):
    monkeypatch.setattr(top_classes, "num_cores", lambda: 4)

    def work(share):
        if share.start:
            raise ValueError(f"from {share.start}")

    with pytest.raises(ValueError, match="from 25"):
        on_threads(work, 100, entries=10**9)


@pytest.mark.parametrize("entries", [1, 12, 10**6])
def test_blocks_cover_all_rows(entries):
    seen = np.zeros(101, dtype=int)
    probs = np.zeros((101, 3))

    def work(block):
        seen[block] += 1

    over_blocks(work, probs, entries=entries)
    assert (seen == 1).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_revisited_rows_are_those_asked_for(monkeypatch, order, dtype):
    monkeypatch.setattr(top_classes, "REVISITED_ENTRIES", 30)
    probs = np.array(np.random.default_rng(0).random((101, 3)), dtype=dtype, order=order)
    rows = np.array([0, 1, 5, 50, 51, 52, 60, 70, 80, 90, 99, 100])
    again = [(part, values[at]) for part, values, at in revisit(probs, rows)]
    assert len(again) == 2
    for part, values in again:
        np.testing.assert_array_equal(values, probs[rows[part]])


def test_memory_of_other_kinds_is_left_alone():
    probs = np.random.default_rng(0).random((1000, 7))
    before = probs.copy()
    for part in (probs, probs[3:5], probs[:0], probs.T):
        release(part)
    np.testing.assert_array_equal(probs, before)
