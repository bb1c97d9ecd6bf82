"""Batches: every row once, the same bits whatever the threads, the start or the company."""

import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kiyome.errors import InputError, MissingExtra, StaleArtifact
from kiyome.images import loader as loader_module
from kiyome.images.augment import Augment, draw_views, render
from kiyome.images.loader import Batch, Loader
from kiyome.images.pixel_cache import CachedPhotos, StoredSize, cache_photos

EVERYTHING = Augment(
    size=32,
    horizontal_flip=0.5,
    vertical_flip=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    cutout=0.5,
)
ROWS = np.array([22, 3, 4, 9, 1, 0, 17, 13, 8, 11, 20])


@pytest.fixture(scope="module")
def photos(jpegs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> CachedPhotos:
    missing = jpegs[0].with_name("missing.jpg")
    return cache_photos(
        [*jpegs, missing], stored=StoredSize(side=50), folder=tmp_path_factory.mktemp("cache")
    )


def make(photos: CachedPhotos, **options: object) -> Loader:
    given = {"rows": ROWS, "augment": EVERYTHING, "batch_size": 4, "shuffle": True, "seed": 7} | options
    return Loader(photos=photos, **given)  # type: ignore[arg-type]


def taken(loader: Loader, epoch: int = 0, **options: int) -> list[tuple[list[int], str]]:
    """Rows and digest of each batch, for the pixels last only until the next one."""
    batches = loader.epoch(epoch, **options)
    return [(batch.rows.tolist(), hashlib.sha256(batch.inputs.tobytes()).hexdigest()) for batch in batches]


def test_every_row_comes_once_an_epoch_in_an_order_of_its_own(photos: CachedPhotos):
    loader = make(photos)
    orders = [[row for rows, _ in taken(loader, epoch) for row in rows] for epoch in range(5)]
    assert all(sorted(order) == sorted(ROWS.tolist()) for order in orders)
    assert len({tuple(order) for order in [*orders, ROWS.tolist()]}) == 6
    assert [len(rows) for rows, _ in taken(loader)] == [4, 4, 3]
    assert len(loader) == 3


def test_orders_are_evenly_spread(photos: CachedPhotos):
    loader = make(photos, rows=np.arange(4))
    orders, counts = np.unique([loader.order(epoch) for epoch in range(12_000)], axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_pixels_are_those_of_single_views(photos: CachedPhotos):
    for batch in make(photos).epoch(3, view=2):
        for row, pixels in zip(batch.rows, batch.inputs, strict=True):
            rows, out = np.array([row]), np.empty((32, 32, 3), np.uint8)
            views = draw_views(EVERYTHING, photos.shapes[rows], seed=7, epoch=3, rows=rows, view=2)
            render(photos.pixels(int(row)), views, 0, out)
            assert np.array_equal(pixels, out)


@pytest.mark.parametrize(
    "options", [{"num_threads": 1}, {"num_threads": 7}, {"num_ahead": 0}, {"num_ahead": 9}]
)
def test_threads_and_prefetch_change_no_bit(photos: CachedPhotos, options: dict[str, int]):
    assert taken(make(photos, **options), 2) == taken(make(photos, num_threads=2), 2)


def test_an_epoch_starts_at_any_batch_with_the_same_bits(photos: CachedPhotos):
    loader = make(photos)
    whole = taken(loader, 4)
    for start in range(4):
        assert taken(loader, 4, start=start) == whole[start:]
    with pytest.raises(InputError, match=r"start=4 is outside 0 to 3 batches"):
        loader.epoch(4, start=4)


def test_a_view_of_a_row_does_not_depend_on_batch_size_and_other_rows(photos: CachedPhotos):
    def by_row(loader: Loader) -> dict[int, bytes]:
        return {
            int(row): pixels.tobytes()
            for batch in loader.epoch(1)
            for row, pixels in zip(*batch, strict=True)
        }

    whole, part = by_row(make(photos)), by_row(make(photos, rows=ROWS[:5], batch_size=3, shuffle=False))
    assert part == {row: whole[row] for row in ROWS[:5].tolist()}


def test_views_differ_and_come_again(photos: CachedPhotos):
    loader = make(photos, shuffle=False)
    views = [taken(loader, view=view) for view in range(4)]
    assert len({digest for batches in views for _, digest in batches}) == 12
    assert [rows for rows, _ in views[3]] == [ROWS[:4].tolist(), ROWS[4:8].tolist(), ROWS[8:].tolist()]
    assert views[2] == taken(loader, view=2)


def test_the_last_partial_batch_can_be_left_out(photos: CachedPhotos):
    loader = make(photos, drop_last=True)
    assert len(loader) == 2
    assert taken(loader) == taken(make(photos))[:2]
    assert taken(make(photos, batch_size=20, drop_last=True)) == []


@pytest.mark.parametrize(("batch_size", "num_ranks"), [(6, 2), (5, 2), (4, 2), (7, 3), (3, 4)])
def test_ranks_share_the_batches_of_one(photos: CachedPhotos, batch_size: int, num_ranks: int):
    """The mean of the ranks' weighted means is the mean of the batch, whatever part of it each has."""
    whole = make(photos, batch_size=batch_size)
    ranks = [make(photos, batch_size=batch_size, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    shared = [[rows for rows, _ in taken(rank, 5)] for rank in ranks]
    assert {len(rank) for rank in [*ranks, *shared]} == {len(whole)}
    for number, (rows, _) in enumerate(taken(whole, 5)):
        own = [each[number] for each in shared]
        assert min(map(len, own)) >= min(2, len(rows))
        if len(rows) < 2 * num_ranks:
            assert own == [rows] * num_ranks
        else:
            assert sorted(np.concatenate(own)) == sorted(rows)
        means = [rank.weight(number) * np.mean(part) for rank, part in zip(ranks, own, strict=True)]
        assert np.mean(means) == pytest.approx(np.mean(rows))


def test_only_a_few_batches_are_made_ahead(photos: CachedPhotos, monkeypatch: pytest.MonkeyPatch):
    rendered, lock = [], threading.Lock()

    def count(*arguments: object) -> None:
        with lock:
            rendered.append(1)

    monkeypatch.setattr(loader_module, "render", count)
    batches = make(photos, batch_size=1, num_ahead=2).epoch()
    for most in (3, 4):
        next(batches)
        while len(rendered) < most:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(rendered) == most
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if "kiyome-views" in thread.name]


def test_a_batch_stays_as_it_is_until_the_next_one(photos: CachedPhotos):
    for batch in make(photos, num_threads=3).epoch():
        before = batch.inputs.copy()
        time.sleep(0.02)
        assert np.array_equal(batch.inputs, before)


def test_a_plug_in_sees_each_view_with_a_seed_of_its_own(photos: CachedPhotos):
    seeds = []

    def darken(pixels: np.ndarray, seed: int) -> np.ndarray:
        assert threading.current_thread() is threading.main_thread()
        seeds.append(seed)
        return pixels // 2

    plain = Augment(size=32)
    plugged = make(photos, augment=Augment(size=32, plugin=darken)).epoch(1)
    for one, other in zip(make(photos, augment=plain).epoch(1), plugged, strict=True):
        assert np.array_equal(one.inputs // 2, other.inputs)
    assert len(set(seeds)) == len(ROWS)
    first, seeds[:] = list(seeds), []
    list(make(photos, augment=Augment(size=32, plugin=darken)).epoch(1))
    assert seeds == first


def test_changed_pixels_stop_the_loader(jpegs: list[Path], tmp_path: Path):
    cache_photos(jpegs, stored=StoredSize(side=50), folder=tmp_path)
    [part] = tmp_path.rglob("*.npy")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    photos = cache_photos(jpegs, stored=StoredSize(side=50), folder=tmp_path)
    with pytest.raises(StaleArtifact, match="holds other pixels than were stored"):
        list(make(photos).epoch())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rows": np.array([0, 23])},
            "The photo of row 23 is unreadable.",
        ),
        ({"rows": np.array([0, 24])}, "Row 24 is outside 0 to 23."),
        ({"rows": np.array([-1, 2])}, "Row -1 is outside 0 to 23."),
        ({"rows": np.array([2, 2])}, "Row 2 occurs twice."),
        ({"batch_size": 0}, "batch_size is 0, below 1."),
        ({"num_threads": 0}, "num_threads is 0, below 1."),
        ({"rank": 2, "num_ranks": 2}, "rank=2 is outside 0 to 1."),
    ],
)
def test_a_loader_that_cannot_work_is_refused(photos: CachedPhotos, options: dict[str, object], message: str):
    with pytest.raises(InputError) as error:
        make(photos, **options)
    assert message in str(error.value)


def test_opencv_is_asked_for_by_its_extra(photos: CachedPhotos, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'kiyome\[torch\]'"):
        make(photos).epoch()


def test_no_rows_no_batches(photos: CachedPhotos):
    assert list(make(photos, rows=np.array([], np.int64)).epoch()) == []


def test_a_batch_unpacks(photos: CachedPhotos):
    rows, pixels = next(make(photos).epoch())
    assert isinstance(Batch(rows, pixels).rows, np.ndarray)
    assert pixels.shape == (4, 32, 32, 3)
    assert pixels.flags.c_contiguous
