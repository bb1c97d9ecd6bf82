"""Right pixels: upright, equal to Pillow's, close to them when shrunk; and nothing global is changed."""

import io
import os
import re
import struct
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from kiyome.errors import InputError, UnreadablePhoto
from kiyome.images.decode import decode_photo, photo_format, read_photo_file
from kiyome.images.pillow import FORMATS, UPRIGHT, check_size, exif_orientation, has_all_rows

HEIC = pytest.mark.skipif(find_spec("pillow_heif") is None, reason="needs the extra heic")
y, x = np.mgrid[:60, :80]
RGB = np.stack([3 * x, 4 * y, 2 * (x + y) % 256], axis=2).astype(np.uint8)
STORED = {  # how a camera held in each of the eight ways stores the upright picture
    1: RGB,
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.swapaxes(0, 1),
    6: np.rot90(RGB),
    7: RGB[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(RGB, -1),
}


def encoded(image: Image.Image, format_: str, **how: object) -> bytes:
    if format_ == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()  # for its encoder; kiyome registers nothing
    file = io.BytesIO()
    image.copy().save(file, format_, **how)
    return file.getvalue()


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x010F] = "a camera"
    block[0x0112] = orientation
    return block.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format_", "how", "tolerance"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}, 12),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 4),
        pytest.param("HEIF", {"quality": -1, "chroma": 444, "matrix_coefficients": 0}, 0, marks=HEIC),
    ],
)
def test_all_eight_orientations_give_the_same_upright_pixels(format_, how, tolerance, orientation):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    photo = decode_photo(encoded(stored, format_, exif=exif(orientation), **how))
    assert (photo.width, photo.height) == (80, 60)
    assert np.abs(photo.pixels.astype(int) - RGB).max() <= tolerance
    finding = (f"turned upright (EXIF orientation {orientation})",)
    assert photo.findings == (finding if orientation > 1 else ())


@HEIC
@pytest.mark.parametrize("major", [b"heic", b"mif1"])
def test_a_heic_photo_is_known_by_any_of_its_brands_and_refused_by_its_size(major):
    data = encoded(Image.fromarray(RGB), "HEIF", quality=-1)
    data = data[:8] + major + data[12:]
    assert photo_format(data) == "HEIF"
    assert decode_photo(data).pixels.shape == RGB.shape
    with pytest.raises(UnreadablePhoto, match="broken HEIF data"):
        decode_photo(data[:-40])
    huge = re.sub(rb"(ispe....)........", lambda box: box[1] + struct.pack(">II", 14_000, 10_000), data)
    with pytest.raises(UnreadablePhoto, match="14000 x 10000 pixels"):
        decode_photo(huge)


def test_without_the_extra_the_reason_of_a_heic_photo_holds_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    start = b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf"
    with pytest.raises(UnreadablePhoto) as caught:
        decode_photo(start + bytes(99))
    assert caught.value.reason == "a HEIC photo; to read it, run: pip install 'kiyome[heic]'"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_pillow(orientation):
    from PIL import ImageOps

    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = orientation
    assert (UPRIGHT[orientation](RGB) == np.asarray(ImageOps.exif_transpose(image))).all()


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=60))
def test_any_exif_block_gives_an_orientation(junk):
    for start in (b"", b"Exif\0\0II*\0\x08\0\0\0", b"Exif\0\0MM\0*\0\0\0\x08"):
        assert exif_orientation(start + junk) in range(1, 9)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_broken_bytes_give_a_photo_or_a_reason_never_another_error(seed, format_):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(Image.fromarray(RGB), format_))
    for at in rng.integers(0, len(data), rng.integers(1, 12)):
        data[at] = rng.integers(256)
    cut = bytes(data[: rng.integers(1, len(data) + 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        photo = reason = None
        try:
            photo = decode_photo(cut)
        except UnreadablePhoto as error:
            reason = error.reason
    if photo is None:
        assert reason
        assert len(reason) < 150
    else:
        assert photo.pixels.shape == (photo.height, photo.width, 3)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
def test_jpeg_pixels_equal_those_of_pillow(mode, how):
    data = encoded(Image.fromarray(RGB).convert(mode), "JPEG", quality=85, **how)
    with Image.open(io.BytesIO(data)) as image:
        theirs = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(decode_photo(data).pixels - theirs).max() <= 2  # the same libjpeg, maybe another version


@pytest.mark.parametrize(("shrink_to", "shape"), [(600, (600, 801)), (300, (300, 401)), (151, (300, 401))])
@pytest.mark.parametrize("orientation", [1, 6])
def test_shrinking_keeps_the_short_side_and_the_picture(shrink_to, shape, orientation):
    """801 x 600 at half the size: near the mean of four pixels, by less than 1 level on average."""
    big = Image.fromarray(RGB).resize((801, 600), Image.Resampling.BICUBIC)
    data = encoded(big, "JPEG", quality=95, exif=exif(orientation))
    photo = decode_photo(data, shrink_to=shrink_to)
    upright = shape if orientation == 1 else shape[::-1]
    assert photo.pixels.shape == (*upright, 3)
    assert (photo.width, photo.height) == ((801, 600) if orientation == 1 else (600, 801))
    whole = Image.fromarray(decode_photo(data).pixels).resize(upright[::-1], Image.Resampling.BOX)
    assert np.abs(photo.pixels.astype(int) - np.asarray(whole)).mean() < 1


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 80))
def test_shrinking_never_goes_below_what_was_asked_for(width, height, shrink_to):
    photo = decode_photo(encoded(Image.new("RGB", (width, height), "teal"), "JPEG"), shrink_to=shrink_to)
    assert min(photo.pixels.shape[:2]) >= min(shrink_to, width, height)


def test_limits_hold_on_both_sides():
    check_size(11_000, 10_000)
    with pytest.raises(UnreadablePhoto, match=r"11000 x 10001 pixels\. Expected at most 110 million pixels"):
        check_size(11_000, 10_001)
    check_size(1000, 1000, num_scans=64)
    with pytest.raises(UnreadablePhoto, match="10000 x 10000 pixels in 30 scans"):
        check_size(10_000, 10_000, num_scans=30)


def test_formats_are_known_by_content():
    for format_ in set(FORMATS) - {"HEIF", "DICOM"}:  # tested where their extras are installed
        assert photo_format(encoded(Image.fromarray(RGB), format_)) == format_
    with pytest.raises(
        UnreadablePhoto, match=r"unreadable: a text file\. Expected one whole JPEG.* Fetch or export"
    ):
        photo_format(b"hello")


def test_a_process_that_lets_truncated_photos_pass_is_refused(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(InputError, match="Set it to False before reading photos"):
        decode_photo(encoded(Image.fromarray(RGB), "PNG"))


def test_pillows_settings_are_neither_needed_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    filters = list(warnings.filters)
    for format_ in ("JPEG", "PNG", "BMP"):  # the other plugins ask Pillow's limit by themselves
        assert decode_photo(encoded(Image.fromarray(RGB), format_)).pixels.shape == RGB.shape
    assert Image.MAX_IMAGE_PIXELS == 100
    assert warnings.filters == filters


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 8), (33, 2)])
def test_black_pngs_of_every_kind_hold_all_their_rows(mode, size):
    assert has_all_rows(encoded(Image.new(mode, size), "PNG"))


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (5, 7), (8, 8), (37, 41)])
@pytest.mark.parametrize("depth", [8, 16])
def test_interlaced_rows_are_counted_pass_by_pass(size, depth):
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    width, height = size
    raw = b""
    for left, top, across, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
    ):  # fmt: skip
        columns, rows = len(range(left, width, across)), len(range(top, height, down))
        raw += (b"\0" + bytes(columns * 3 * depth // 8)) * rows if columns else b""
    for content, whole in ((raw, True), (raw[:-1], False)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 1))
        body = chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
        data = b"\x89PNG\r\n\x1a\n" + header + body
        assert has_all_rows(data) is whole
        if whole:
            assert decode_photo(data).pixels.shape == (height, width, 3)


def test_bytes_come_back_as_they_lie_on_disk(tmp_path: Path):
    path = tmp_path / "photo.png"
    path.write_bytes(bytes(range(256)) * 5000)
    assert read_photo_file(path) == path.read_bytes()
    assert read_photo_file(os.fspath(path)) == path.read_bytes()


def test_no_file_stays_open(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        for path in (tmp_path, tmp_path / "missing"):
            with pytest.raises(UnreadablePhoto):
                read_photo_file(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_named_so(tmp_path: Path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(UnreadablePhoto, match="a file that may not be read"):
        read_photo_file(path)
