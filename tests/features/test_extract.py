"""Features of photos through the cache: same bits however often, however interrupted, however damaged."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kiyome.errors import KiyomeError
from kiyome.features import cache, extract_features
from kiyome.images.decode import decode_photo
from kiyome.models import load_backbone

TINY = load_backbone("tiny")


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.arrow"))


def refuse(pixels):
    raise AssertionError("nothing was to be embedded")


def test_equals_one_photo_at_a_time(photos, tmp_path):
    features = extract_features(photos, TINY, cache_folder=tmp_path / "cache")
    readable = [path for row, path in enumerate(photos) if row not in (7, 50)]
    alone = [TINY.embed(TINY.prepare(decode_photo(path.read_bytes()).pixels)[None])[0] for path in readable]
    assert np.array_equal(features.values, np.array(alone, np.float16))
    assert features.readable.tolist() == [row not in (7, 50) for row in range(51)]
    assert [record.row for record in features.records] == list(range(51))
    assert all(record.prepared is None for record in features.records)
    assert features.num_embedded == 48  # 51 less two unreadable ones and one with the bytes of its neighbor
    assert isinstance(features.values, np.memmap)
    assert not features.values.flags.writeable


def test_the_second_pass_decodes_and_embeds_nothing(photos, tmp_path):
    first = extract_features(photos, TINY, cache_folder=tmp_path / "cache")
    renamed = [path.rename(path.with_stem(f"other-{path.stem}")) for path in photos[:7]]
    second = extract_features(
        renamed + photos[7:], replace(TINY, forward=refuse), cache_folder=tmp_path / "cache"
    )
    assert second.num_embedded == 0
    assert np.array_equal(first.values, second.values)
    for before, after in zip(first.records, second.records, strict=True):
        assert (before.reason, before.sha256, before.findings) == (after.reason, after.sha256, after.findings)
        if before.facts:
            assert vars(before.facts) | {"signature": 0} == vars(after.facts) | {"signature": 0}
            assert np.array_equal(before.facts.signature, after.facts.signature)


def test_another_order_and_a_part_take_the_right_rows(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "ROWS_PER_SHARD", 5)
    monkeypatch.setattr("kiyome.features.extract.CROPS_AT_ONCE", 3)
    whole = extract_features(photos, TINY, cache_folder=tmp_path / "cache")
    assert len(shards(tmp_path)) == 8
    rows = np.random.default_rng(0).permutation(51)[:30]
    part = extract_features([photos[row] for row in rows], TINY, cache_folder=tmp_path / "cache")
    place = np.cumsum(whole.readable) - 1
    assert np.array_equal(part.values, whole.values[place[rows[whole.readable[rows]]]])


def test_another_backbone_has_another_cache(photos, tmp_path):
    extract_features(photos, TINY, cache_folder=tmp_path)
    larger = replace(TINY, size=8, num_features=192)
    features = extract_features(photos, larger, cache_folder=tmp_path)
    assert features.num_embedded == 48
    assert len({shard.parent for shard in shards(tmp_path)}) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_shard_is_noticed_and_computed_anew(photos, tmp_path, damage, monkeypatch):
    monkeypatch.setattr(cache, "ROWS_PER_SHARD", 20)
    monkeypatch.setattr("kiyome.features.extract.CROPS_AT_ONCE", 10)
    first = extract_features(photos, TINY, cache_folder=tmp_path)
    victim = shards(tmp_path)[1]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "empty": b""}[damage])
    again = extract_features(photos, TINY, cache_folder=tmp_path)
    assert again.notes == (f"a damaged part of the feature cache was removed: {victim.name[:12]}",)
    assert 0 < again.num_embedded < 48
    assert np.array_equal(first.values, again.values)
    assert extract_features(photos, TINY, cache_folder=tmp_path).notes == ()


def test_features_that_are_not_finite_are_refused(photos, tmp_path):
    broken = replace(TINY, forward=lambda pixels: np.full((len(pixels), 768), 1e6, np.float32))
    with pytest.raises(KiyomeError, match="features that are not finite"):
        extract_features(photos, broken, cache_folder=tmp_path)


def test_a_folder_that_cannot_be_written_is_told(photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KiyomeError, match="set KIYOME_CACHE to another folder"):
        extract_features(photos, TINY, cache_folder=tmp_path / "file")


def test_nothing_readable_gives_no_rows(tmp_path):
    features = extract_features([tmp_path / "none.png"], TINY, cache_folder=tmp_path)
    assert features.values.shape == (0, 768)
    assert extract_features([], TINY, cache_folder=tmp_path).values.shape == (0, 768)


# A slow backbone in small shards, so that there is a middle in which to be killed.
CHILD = """
import sys, time
from dataclasses import replace
from pathlib import Path
from kiyome.features import cache, extract, extract_features
from kiyome.models import load_backbone

cache.ROWS_PER_SHARD, extract.CROPS_AT_ONCE = 8, 4
tiny = load_backbone("tiny")
slow = replace(tiny, forward=lambda pixels: (time.sleep(0.002), tiny.forward(pixels))[1])
paths = sorted(Path(sys.argv[1]).iterdir())
extract_features(paths, slow, cache_folder=sys.argv[2], on_progress=lambda *step: print(step[1], flush=True))
"""


def start(photos: Path, cache_folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(photos), str(cache_folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def test_killed_at_any_point_it_goes_on_with_the_same_bits(tmp_path, write_photos):
    paths, cache_folder = write_photos(200), tmp_path / "cache"
    whole = extract_features(paths, TINY, cache_folder=tmp_path / "other")
    for moment in np.random.default_rng(0).integers(20, 180, 4):
        child = start(paths[0].parent, cache_folder)
        for line in child.stdout:
            if int(line) >= moment:
                child.send_signal(signal.SIGKILL)
                break
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        known = 8 * len(shards(cache_folder))
        assert known >= moment - 8 - 4  # one shard, and the crops on their way to it
    resumed = extract_features(paths, TINY, cache_folder=cache_folder)
    assert 0 < resumed.num_embedded == 200 - known
    assert resumed.notes == ()
    assert np.array_equal(whole.values, resumed.values)


def test_two_processes_may_write_at_once(tmp_path, write_photos):
    paths, cache_folder = write_photos(120), tmp_path / "cache"
    children = [start(paths[0].parent, cache_folder) for _ in range(2)]
    for child in children:
        child.communicate()
        assert child.returncode == 0
    after = extract_features(paths, replace(TINY, forward=refuse), cache_folder=cache_folder)
    whole = extract_features(paths, TINY, cache_folder=tmp_path / "other")
    assert after.notes == ()
    assert np.array_equal(whole.values, after.values)
