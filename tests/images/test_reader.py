"""A pass over photos: one record a row, in order, whatever the threads do and whatever the files are."""

import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.errors import InputError
from kiyome.images.reader import AHEAD_PER_THREAD, PhotoFacts, photo_facts, read_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for row in range(60):
        # Sizes differ, so that photos take unequal times and threads overtake each other.
        side = 8 + 40 * (row % 7)
        Image.new("RGB", (side, side), (row, 2 * row, 255 - row)).save(folder / f"{row:02}.png")
    (folder / "17.png").write_bytes(b"no photo")
    return folder


def paths_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_records_come_in_the_order_of_the_paths(folder: Path, num_threads: int):
    paths = paths_of(folder)
    records = list(
        read_photos(paths, prepare=lambda photo: int(photo.pixels[0, 0, 0]), num_threads=num_threads)
    )
    assert [record.row for record in records] == list(range(60))
    assert [record.prepared for record in records] == [None if row == 17 else row for row in range(60)]
    assert [record.reason for record in records if record.reason] == ["a text file"]
    for record, path in zip(records, paths, strict=True):
        assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (record.facts is None) == (record.reason is not None)


def test_known_photos_are_not_decoded(folder: Path):
    paths = paths_of(folder)
    first = {record.sha256: record.facts for record in read_photos(paths) if record.sha256}
    decoded = []
    again = list(read_photos(paths, prepare=lambda photo: decoded.append(photo), known=first.get))
    assert decoded == []
    assert all(record.facts is first[record.sha256] for record in again)
    assert again[17].reason == "a text file"


def test_facts_depend_on_pixels_and_not_on_names(folder: Path, tmp_path: Path):
    copy = tmp_path / "renamed.jpg"
    copy.write_bytes((folder / "03.png").read_bytes())
    original, renamed = read_photos([folder / "03.png", copy])
    assert isinstance(original.facts, PhotoFacts)
    assert renamed.facts is not None
    assert original.sha256 == renamed.sha256
    assert original.facts.pixels_sha256 == renamed.facts.pixels_sha256
    assert original.findings == original.facts.findings == renamed.facts.findings == ("one color only",)
    assert renamed.findings == ("one color only", "named .jpg but is PNG")


def test_pixels_hash_tells_shapes_apart():
    from kiyome.images.decode import Photo

    def facts(shape: tuple[int, int, int]) -> PhotoFacts:
        pixels = np.zeros(shape, np.uint8)
        return photo_facts(Photo(pixels=pixels, width=1, height=1, format="PNG", findings=()))

    assert facts((2, 6, 3)).pixels_sha256 != facts((3, 4, 3)).pixels_sha256


def test_only_a_few_photos_are_ahead_of_the_caller(folder: Path):
    paths, started, lock = paths_of(folder), [], threading.Lock()

    def count(photo: object) -> None:
        with lock:
            started.append(photo)

    for taken, _ in enumerate(read_photos(paths, prepare=count, num_threads=2), start=1):
        time.sleep(0.001)
        assert len(started) <= taken + 2 * AHEAD_PER_THREAD


def test_a_caller_may_stop_early(folder: Path):
    before = threading.active_count()
    records = read_photos(paths_of(folder), num_threads=3)
    assert next(records).row == 0
    records.close()
    assert threading.active_count() == before


def test_errors_of_prepare_reach_the_caller(folder: Path):
    def fail(photo: object) -> None:
        raise RuntimeError("a bug of the caller")

    with pytest.raises(RuntimeError, match="a bug of the caller"):
        list(read_photos(paths_of(folder), prepare=fail))


def test_progress_counts_every_photo(folder: Path):
    calls: list[tuple[str, int, int]] = []
    list(read_photos(paths_of(folder), on_progress=lambda *call: calls.append(call)))
    assert calls == [("read photos", done, 60) for done in range(1, 61)]


@pytest.mark.parametrize("argument", ["num_threads", "shrink_to"])
def test_arguments_below_one_are_refused_at_once(argument: str):
    with pytest.raises(InputError, match=f"{argument} is 0, below 1"):
        read_photos([], **{argument: 0})


def test_no_photos_give_no_records():
    assert list(read_photos([])) == []
