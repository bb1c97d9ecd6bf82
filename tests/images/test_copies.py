"""Copies across splits: every kind of copy is found, other photos are not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from kiyome.errors import InputError
from kiyome.images.copies import MIRRORED, Copies, find_copies, read_thumbnails, thumbnail, turned
from kiyome.images.directions import most_alike
from kiyome.images.duplicates import photo_signature

NUM_PHOTOS = 60


def scenes(num_photos: int = NUM_PHOTOS, *, side: int = 96, seed: int = 0) -> list[Image.Image]:
    """Photos of nothing: colored noise with as much detail at every scale as photographs have."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    photos = []
    for _ in range(num_photos):
        waves = np.fft.fft2(rng.normal(size=(3, side, side))) / frequency
        grey = np.fft.ifft2(waves).real.transpose(1, 2, 0)
        mixed = grey @ np.array([[1, 0.8, 0.6], [0, 0.3, 0.2], [0, 0, 0.3]])
        scaled = 128 + 50 * (mixed - mixed.mean()) / mixed.std()
        photos.append(Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)))
    return photos


def compressed(photo: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def inner(photo: Image.Image, share: float) -> Image.Image:
    side = photo.width
    start = round(side * (1 - share) * 0.7)
    return photo.crop((start, start // 2, start + round(side * share), start // 2 + round(side * share)))


KINDS: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "resized": (lambda photo: photo.resize((40, 40), Image.Resampling.LANCZOS), "nearly the same"),
    "squeezed": (lambda photo: photo.resize((120, 70)), "nearly the same"),
    "compressed": (lambda photo: compressed(photo, 40), "nearly the same"),
    "recolored": (
        lambda photo: ImageEnhance.Color(ImageEnhance.Brightness(photo).enhance(1.3)).enhance(0.2),
        "recolored",
    ),
    "cropped": (lambda photo: inner(photo, 0.88), "cropped"),
    "mirrored": (lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "mirrored"),
    "flipped": (lambda photo: photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "mirrored"),
    "turned left": (lambda photo: photo.transpose(Image.Transpose.ROTATE_90), "turned"),
    "upside down": (lambda photo: photo.transpose(Image.Transpose.ROTATE_180), "turned"),
    "transposed": (lambda photo: photo.transpose(Image.Transpose.TRANSPOSE), "mirrored, turned"),
    "turned by 3 degrees": (lambda photo: photo.rotate(3, Image.Resampling.BICUBIC), "nearly the same"),
    "turned by 5 degrees": (lambda photo: photo.rotate(-5, Image.Resampling.BICUBIC), "cropped"),
    "several": (
        lambda photo: compressed(inner(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.92), 60),
        "mirrored, cropped",
    ),
}


def copies_of(
    photos: list[Image.Image], splits: list[int], features: NDArray[np.float32] | None = None
) -> Copies:
    pixels = [np.array(photo) for photo in photos]
    return find_copies(
        np.stack([photo_signature(each) for each in pixels]),
        [each.tobytes().hex() for each in pixels],
        np.array(splits),
        lambda rows: np.stack([thumbnail(pixels[row]) for row in rows]),
        features=features,
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_copy_is_found_and_named(name: str) -> None:
    change, kind = KINDS[name]
    photos = scenes()
    copied = range(0, NUM_PHOTOS, 6)
    test = [change(photos[row]) for row in copied] + scenes(20, seed=1)
    copies = copies_of(photos + test, [0] * NUM_PHOTOS + [1] * len(test))
    pairs = sorted(zip(copies.first.tolist(), copies.second.tolist(), strict=True))
    assert pairs == [(NUM_PHOTOS + number, row) for number, row in enumerate(copied)]
    assert set(copies.kinds) == {kind}


def test_photos_that_are_no_copies_are_not_listed() -> None:
    assert len(copies_of(scenes(120), [0] * 60 + [1] * 60).first) == 0


def test_small_turns_of_wide_photos_are_found_and_shears_are_not() -> None:
    photos = [photo.resize((128, 96)) for photo in scenes()]
    turned_by_5 = [photo.rotate(5, Image.Resampling.BICUBIC).crop((10, 8, 118, 88)) for photo in photos[:8]]
    shear = (1, 0.1, -6, 0.1, 1, -5)
    sheared = [photo.transform(photo.size, Image.Transform.AFFINE, shear) for photo in photos[8:16]]
    copies = copies_of(photos + turned_by_5 + sheared, [0] * NUM_PHOTOS + [1] * 16)
    assert sorted(copies.second.tolist()) == list(range(8))


def test_scans_of_few_pixels_are_copies_only_if_nearly_all_agrees() -> None:
    from sklearn.datasets import load_digits

    scans = [
        Image.fromarray((255 - scan * 15).astype(np.uint8)).convert("RGB").resize((64, 64))
        for scan in load_digits().images[:500]
    ]
    copied = [scans[0], scans[1].resize((48, 48)), scans[2].transpose(Image.Transpose.ROTATE_90)]
    copies = copies_of(scans + copied, [0] * 400 + [1] * 100 + [2] * 3)
    assert {(500, 0), (501, 1), (502, 2)} == set(
        zip(copies.first.tolist(), copies.second.tolist(), strict=True)
    )


def test_flat_photos_are_copies_only_if_their_pixels_are_the_same() -> None:
    flat = [Image.new("RGB", (50, 50), (level, level, level)) for level in (10, 11, 10)]
    copies = copies_of(flat, [0, 0, 1])
    assert (copies.first.tolist(), copies.second.tolist(), copies.kinds) == ([2], [0], ("same pixels",))


def test_each_photo_with_the_same_pixels_is_named_and_not_each_pair() -> None:
    photo = scenes(1)[0]
    copies = copies_of([photo] * 40, [0] * 20 + [1] * 20)
    assert set(copies.first.tolist()) == set(range(20, 40))
    assert set(copies.second.tolist()) == set(range(20))
    assert len(copies.first) < 40
    assert set(copies.similarity.tolist()) == {1}


def test_copies_within_a_split_are_not_listed_and_the_higher_split_comes_first() -> None:
    photo, other = scenes(2)
    small = photo.resize((60, 60))
    copies = copies_of([small, photo, other, photo.resize((70, 70)), other], [2, 0, 0, 1, 0])
    pairs = set(zip(copies.first.tolist(), copies.second.tolist(), strict=True))
    assert pairs == {(0, 1), (0, 3), (3, 1)}


def test_features_lead_to_copies_that_lost_much() -> None:
    photos = scenes(400, side=64)
    test = [inner(photo, 0.76) for photo in photos[::40]]
    features = np.random.default_rng(0).normal(size=(len(photos), 30)).astype(np.float32)
    splits = [0] * len(photos) + [1] * len(test)
    alone = copies_of(photos + test, splits)
    helped = copies_of(photos + test, splits, np.concatenate([features, features[::40]]))
    assert len(alone.first) < len(helped.first)
    assert (helped.second == 40 * (helped.first - len(photos))).all()


def test_unreadable_photos_are_ignored() -> None:
    photos = [np.array(photo) for photo in scenes(3)]
    signatures = np.stack([photo_signature(photo) for photo in [*photos, photos[0]]])
    copies = find_copies(
        signatures,
        ["a", "b", "c", None],
        np.array([0, 0, 0, 1]),
        lambda rows: np.zeros((len(rows), 32, 32, 3), np.uint8),
    )
    assert len(copies.first) == 0


def test_arrays_of_different_length_are_refused() -> None:
    signatures = np.zeros((2, 256), np.uint8)
    with pytest.raises(InputError, match="Signatures, hashes, splits and features are of 2, 1, 2 photos"):
        find_copies(signatures, ["a"], np.zeros(2, int), lambda rows: signatures[rows])


def test_the_most_alike_are_those_that_a_sort_gives() -> None:
    values = np.random.default_rng(0).normal(size=(7, 101)).astype(np.float32)
    for most in (1, 5, 200):
        chosen = most_alike(values, most)
        expected = np.argsort(-values, axis=1)[:, :most]
        assert np.array_equal(np.sort(chosen, axis=1), np.sort(expected, axis=1))


def test_turns_are_all_eight_and_each_leads_back() -> None:
    picture = np.arange(9).reshape(1, 3, 3)
    assert len({turned(picture, turn).tobytes() for turn in range(2 * MIRRORED)}) == 8
    assert np.array_equal(turned(turned(picture, 5), 5), picture)


def test_thumbnails_of_photos_that_are_gone_are_black(tmp_path: Path) -> None:
    scenes(1)[0].save(tmp_path / "a.png")
    thumbnails = read_thumbnails([tmp_path / "a.png", tmp_path / "gone.png"], shrink_to=256, deep_bits=16)
    assert thumbnails[0].any()
    assert not thumbnails[1].any()
