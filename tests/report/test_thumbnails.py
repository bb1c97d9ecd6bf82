import base64
import io

import numpy as np
import pytest
from PIL import Image

from kiyome.errors import UnreadablePhoto
from kiyome.report.render import MAX_BYTES, SIDE, Thumbnail, make_thumbnail, make_thumbnails


def decoded(thumbnail: Thumbnail) -> Image.Image:
    head, data = thumbnail.uri.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("height", "width"), [(600, 800), (800, 600), (160, 160), (8, 8), (1, 1), (3000, 1), (1, 3000)]
)
def test_the_whole_photo_is_in_the_thumbnail(height: int, width: int) -> None:
    thumbnail = make_thumbnail(np.full((height, width, 3), 200, np.uint8))
    image = decoded(thumbnail)
    assert image.size == (thumbnail.width, thumbnail.height)
    assert max(image.size) == min(SIDE, max(height, width))
    assert abs(image.width / image.height - width / height) < 0.02 * width / height or min(image.size) == 1


def test_a_thumbnail_shows_the_photo_it_was_made_from() -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[:200, :, 0], pixels[200:, :, 2] = 250, 250
    small = np.asarray(decoded(make_thumbnail(pixels)), dtype=int)
    assert np.abs(small[20, 80] - [250, 0, 0]).max() < 12
    assert np.abs(small[140, 80] - [0, 0, 250]).max() < 12


def test_a_small_photo_keeps_its_colors() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, ::2, 0], pixels[:, 1::2, 2] = 255, 255
    kept = np.asarray(decoded(make_thumbnail(pixels)), dtype=int)
    assert kept[:, ::2, 0].mean() > 180
    assert kept[:, 1::2, 0].mean() < 75


def test_even_noise_stays_under_the_bound() -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(SIDE, SIDE, 3), dtype=np.uint8)
    _head, data = make_thumbnail(noise).uri.split(",")
    assert len(base64.b64decode(data)) <= MAX_BYTES


def test_photos_come_in_order_and_unreadable_ones_are_left_out() -> None:
    def photo(row: int) -> np.ndarray:
        if row == 7:
            raise UnreadablePhoto("a broken file", remedy="Replace it.")
        if row == 8:
            raise FileNotFoundError("gone since")
        return np.full((40, 40 + row, 3), row, np.uint8)

    told: list[tuple[str, int, int]] = []
    made = make_thumbnails([9, 7, 3, 8], photo, on_progress=lambda *what: told.append(what))
    assert list(made) == [9, 3]
    assert [made[row].width for row in made] == [49, 43]
    assert told == [("report", done, 4) for done in (1, 2, 3, 4)]


def test_any_other_error_is_not_hidden() -> None:
    def photo(row: int) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_thumbnails([0], photo)
