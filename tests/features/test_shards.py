"""Features by many workers are those of one process, bit for bit, whoever did which range, and how often."""

from dataclasses import replace

import numpy as np
import pytest

from kiyome.errors import StaleArtifact
from kiyome.executors import HERE, Here, Processes
from kiyome.features import embed_elsewhere, extract_features, shards
from kiyome.features.shards import embed_range
from kiyome.models import load_backbone

TINY = load_backbone("tiny")


def refuse(pixels):
    raise AssertionError("nothing was to be embedded")


class Reversed(Here):
    """An executor that does the last unit first, and each of them twice."""

    def run(self, work, units):
        for name in reversed(units):
            work(units[name])
            yield name, work(units[name])


class NotHere:
    """An executor that is not `Here`, in this process."""

    def run(self, work, units):
        return Reversed().run(work, units)


@pytest.fixture
def small_ranges(monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 8)


@pytest.mark.usefixtures("small_ranges")
def test_ranges_in_any_order_and_again_give_the_bits_of_one_pass(photos, tmp_path):
    heard = []
    embed_elsewhere(
        photos,
        TINY,
        executor=NotHere(),
        cache_folder=tmp_path / "parts",
        on_progress=lambda *step: heard.append(step),
    )
    assert heard[-1] == ("embed in parts", 51, 51)
    assert len(heard) == 7
    whole = extract_features(photos, TINY, cache_folder=tmp_path / "whole")
    found = extract_features(photos, replace(TINY, forward=refuse), cache_folder=tmp_path / "parts")
    assert np.array_equal(whole.values, found.values)
    assert [record.reason for record in whole.records] == [record.reason for record in found.records]


@pytest.mark.usefixtures("small_ranges")
def test_two_processes_embed_what_one_does(photos, tmp_path):
    embed_elsewhere(photos, TINY, executor=Processes(num=2), cache_folder=tmp_path / "parts")
    whole = extract_features(photos, TINY, cache_folder=tmp_path / "whole")
    found = extract_features(photos, replace(TINY, forward=refuse), cache_folder=tmp_path / "parts")
    assert np.array_equal(whole.values, found.values)


@pytest.mark.usefixtures("small_ranges")
def test_what_was_done_before_a_kill_is_not_done_again(photos, tmp_path):
    units = {}

    class Collected(NotHere):
        def run(self, _, given):
            units.update(given)
            yield from ()

    embed_elsewhere(photos, TINY, executor=Collected(), cache_folder=tmp_path)
    ranges = list(units.values())
    assert [len(each.paths) for each in ranges] == [8] * 6 + [3]
    assert [embed_range(each) for each in ranges[2:4]] == [8, 8]
    # one no photo, one twice, one missing
    assert [embed_range(each) for each in ranges] == [7, 7, 0, 0, 8, 8, 2]


def test_a_worker_with_other_weights_is_refused(photos, tmp_path):
    other = replace(TINY, weights_sha256="of other weights")
    with pytest.raises(StaleArtifact, match=r"photos 1 to 51: A worker has another backbone: tiny from"):
        embed_elsewhere(photos, other, executor=Processes(num=1), cache_folder=tmp_path)


def test_here_is_left_to_the_usual_pass(photos, tmp_path):
    embed_elsewhere(photos, TINY, executor=HERE, cache_folder=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
