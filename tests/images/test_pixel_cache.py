"""Photos stored once: the right pixels, whatever was stored before, was killed, is damaged or unreadable."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.errors import InputError, KiyomeError, StaleArtifact
from kiyome.images import pixel_cache
from kiyome.images.decode import decode_photo
from kiyome.images.pixel_cache import CachedPhotos, StoredSize, cache_photos, estimate_bytes, stored_size

SMALL = StoredSize(side=70)


def pixels_of(photos: CachedPhotos) -> list[np.ndarray]:
    return [photos.pixels(row) for row in np.flatnonzero(photos.readable)]


def stored_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bytes_of_pixels(folder: Path) -> int:
    return sum(np.load(path, mmap_mode="r").size for path in folder.rglob("*.npy"))


def test_pixels_are_decoded_and_resized_by_pillow(jpegs: list[Path], tmp_path: Path):
    photos = cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert photos.readable.all()
    assert photos.num_decoded == len(jpegs)
    for row, path in enumerate(jpegs):
        image = Image.fromarray(decode_photo(path.read_bytes(), shrink_to=70).pixels)
        factor = min(1, 70 / min(image.size))
        size = round(image.width * factor), round(image.height * factor)
        expected = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
        assert np.array_equal(photos.pixels(row), expected)
        assert photos.shapes[row].tolist() == [*expected.shape[:2]]
        assert not photos.pixels(row).flags.writeable


def test_small_photos_stay_as_they_are_and_squashed_ones_become_square(jpegs: list[Path], tmp_path: Path):
    small = cache_photos(jpegs, stored=StoredSize(side=61), folder=tmp_path).pixels(3)
    assert np.array_equal(small, decode_photo(jpegs[3].read_bytes()).pixels)
    squashed = cache_photos(jpegs, stored=StoredSize(side=50, squash=True), folder=tmp_path)
    assert squashed.shapes.tolist() == [[50, 50]] * len(jpegs)
    [part] = (tmp_path / f"photos-{StoredSize(side=50, squash=True).fingerprint[:16]}").glob("*.npy")
    in_a_notebook = np.load(part, mmap_mode="r")
    assert in_a_notebook.shape == (len(jpegs), 50, 50, 3)
    assert np.array_equal(in_a_notebook[4], squashed.pixels(4))


def test_the_default_is_a_little_more_than_the_training_size():
    assert (stored_size(512).side, stored_size(224, squash=True)) == (589, StoredSize(side=258, squash=True))


def test_another_table_of_the_same_photos_decodes_nothing(jpegs: list[Path], tmp_path: Path):
    first = cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    before = stored_files(tmp_path)
    fewer = cache_photos(jpegs[::-2], stored=SMALL, folder=tmp_path)
    assert fewer.num_decoded == 0
    assert stored_files(tmp_path) == before
    for row, other in enumerate(range(len(jpegs))[::-2]):
        assert np.array_equal(fewer.pixels(row), first.pixels(other))


def test_the_same_bytes_are_stored_once(jpegs: list[Path], tmp_path: Path):
    copy = tmp_path / "copy.jpg"
    shutil.copy(jpegs[0], copy)
    photos = cache_photos([jpegs[0], copy, jpegs[0]], stored=SMALL, folder=tmp_path / "cache")
    assert photos.num_decoded == 1
    assert bytes_of_pixels(tmp_path / "cache") == photos.pixels(0).size
    assert np.array_equal(photos.pixels(2), photos.pixels(0))


def test_unreadable_photos_are_set_aside_and_replaced_by_nothing(jpegs: list[Path], tmp_path: Path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(jpegs[1].read_bytes()[:400])
    paths = [jpegs[0], broken, tmp_path / "missing.jpg", jpegs[2]]
    photos = cache_photos(paths, stored=SMALL, folder=tmp_path / "cache")
    assert photos.readable.tolist() == [True, False, False, True]
    assert photos.reasons[2] == "no such file"
    assert photos.shapes[1].tolist() == [0, 0]
    alone = cache_photos([jpegs[2]], stored=SMALL, folder=tmp_path / "cache")
    assert np.array_equal(photos.pixels(3), alone.pixels(0))
    with pytest.raises(InputError, match=r"The photo of row 2 is unreadable \(no such file\)"):
        photos.pixels(2)


def test_many_parts_hold_the_same_pixels(jpegs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = cache_photos(jpegs, stored=SMALL, folder=tmp_path / "whole")
    monkeypatch.setattr(pixel_cache, "PART_BYTES", 60_000)
    parted = cache_photos(jpegs, stored=SMALL, folder=tmp_path / "parted", num_threads=3)
    assert len(whole.parts) == 1
    assert len(parted.parts) > 5
    assert all(map(np.array_equal, pixels_of(parted), pixels_of(whole)))
    reopened = cache_photos(jpegs, stored=SMALL, folder=tmp_path / "parted")
    assert reopened.num_decoded == 0
    assert all(map(np.array_equal, pixels_of(reopened), pixels_of(whole)))


def test_the_estimate_is_what_is_stored_and_shrinks_as_the_cache_grows(jpegs: list[Path], tmp_path: Path):
    estimated = estimate_bytes(jpegs, stored=SMALL, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    cache_photos(jpegs[:10], stored=SMALL, folder=tmp_path)
    rest = estimate_bytes(jpegs, stored=SMALL, folder=tmp_path)
    stored = bytes_of_pixels(tmp_path)
    cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert bytes_of_pixels(tmp_path) == estimated == stored + rest
    assert estimate_bytes(jpegs, stored=SMALL, folder=tmp_path) == 0


def test_a_sample_is_enough_for_many_photos(
    jpegs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pixel_cache, "NUM_SAMPLED", 10)
    estimated = estimate_bytes(jpegs, stored=SMALL, folder=tmp_path)
    cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert estimated == pytest.approx(bytes_of_pixels(tmp_path), rel=0.2)


def test_a_disk_without_room_is_refused_before_anything_is_stored(
    jpegs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    needed = estimate_bytes(jpegs, stored=SMALL, folder=tmp_path)
    usage = type(shutil.disk_usage(tmp_path))(total=10**12, used=10**12 - needed, free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(KiyomeError, match=r"is too full: .* GB to store, .* GB free"):
        cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_fills_up_loses_only_the_last_part(jpegs: list[Path], tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pixel_cache, "PART_BYTES", 60_000)
            patch.setattr(pixel_cache, "SPARE", 0)
            with pytest.raises(KiyomeError, match="No space left on device"):
                cache_photos(jpegs, stored=SMALL, folder=small)
        kept = cache_photos(jpegs[:3], stored=SMALL, folder=small)
        assert kept.num_decoded == 0
        assert not list(small.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def test_changed_pixels_are_noticed_at_the_first_look(jpegs: list[Path], tmp_path: Path):
    cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    [part] = tmp_path.rglob("*.npy")
    flip_a_bit(part, -5)
    photos = cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    photos.pixels(0)
    with pytest.raises(StaleArtifact, match=f"{part} holds other pixels than were stored. Remove that file"):
        photos.pixels(len(jpegs) - 1)
    part.unlink()
    again = cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert again.num_decoded == len(jpegs)
    assert len(pixels_of(again)) == len(jpegs)


@pytest.mark.parametrize("damage", ["list", "header", "truncated", "no pixels"])
def test_damaged_parts_are_made_anew_and_noted(jpegs: list[Path], tmp_path: Path, damage: str):
    first = [pixels.copy() for pixels in pixels_of(cache_photos(jpegs, stored=SMALL, folder=tmp_path))]
    [part] = tmp_path.rglob("*.npy")
    if damage == "list":
        flip_a_bit(part.with_suffix(".json"), 300)
    elif damage == "header":
        flip_a_bit(part, 3)
    elif damage == "truncated":
        os.truncate(part, part.stat().st_size - 1)
    else:
        part.unlink()
    assert estimate_bytes(jpegs, stored=SMALL, folder=tmp_path) > 0
    photos = cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert photos.num_decoded == len(jpegs)
    assert photos.notes == (f"a damaged part of the photo cache was made again: {part.name[:12]}",)
    assert all(map(np.array_equal, pixels_of(photos), first))


def test_what_kills_left_behind_goes_after_a_day(jpegs: list[Path], tmp_path: Path):
    cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    [own] = tmp_path.iterdir()
    left = [own / name for name in ("0" * 64 + ".npy", ".kiyome-0123456789abcdef.tmp")]
    for path in left:
        path.write_bytes(b"half")
    cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert all(path.exists() for path in left)
    for path in left:
        os.utime(path, (0, 0))
    cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert not any(path.exists() for path in left)


def test_what_was_done_is_kept_when_a_user_stops_it(jpegs: list[Path], tmp_path: Path):
    def stop(stage: str, done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_photos(jpegs, stored=SMALL, folder=tmp_path, on_progress=stop)
    photos = cache_photos(jpegs, stored=SMALL, folder=tmp_path)
    assert photos.num_decoded == len(jpegs) - 9


def test_another_decoder_or_size_is_another_cache(monkeypatch: pytest.MonkeyPatch):
    prints = {
        SMALL.fingerprint,
        StoredSize(side=71).fingerprint,
        StoredSize(side=70, squash=True).fingerprint,
    }
    monkeypatch.setattr(pixel_cache, "version", lambda _: "0.1")
    assert len(prints | {SMALL.fingerprint}) == 4


def test_a_side_of_no_pixels_is_refused():
    with pytest.raises(InputError, match=r"side=0 is less than one pixel\."):
        StoredSize(side=0)


def test_an_empty_table_is_an_empty_cache(tmp_path: Path):
    photos = cache_photos([], stored=SMALL, folder=tmp_path)
    assert photos.shapes.shape == (0, 2)
    assert photos.readable.tolist() == []


JOB = """
import sys
from pathlib import Path
from kiyome.images import pixel_cache
pixel_cache.PART_BYTES = 60_000
photos = pixel_cache.cache_photos(
    sorted(Path(sys.argv[1]).iterdir()), stored=pixel_cache.StoredSize(side=70), folder=sys.argv[2]
)
for row in range(len(photos.photos)):
    photos.pixels(row)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["rename", "fsync", "write"])
def test_a_kill_at_any_call_leaves_a_cache_that_goes_on(jpegs: list[Path], tmp_path: Path, call: str):
    job = [sys.executable, "-c", JOB, jpegs[0].parent]
    expected = pixels_of(cache_photos(jpegs, stored=SMALL, folder=tmp_path / "whole"))
    for number in itertools.count(1):
        kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}"]
        folder = tmp_path / str(number)
        if subprocess.run([*kill, *job, folder], check=False).returncode == 0:
            break
        photos = cache_photos(jpegs, stored=SMALL, folder=folder)
        assert all(map(np.array_equal, pixels_of(photos), expected))
        assert not photos.notes
    assert number > 10


def flip_a_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
