"""Photos with 10, 12 or 14 bits in 16-bit files give the pixels of the same photos with 8 bits."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.images.decode import decode_photo
from kiyome.images.depth import bits_in_use

rng = np.random.default_rng(0)
RGB = rng.integers(0, 256, (40, 50, 3), np.uint8)
RGB[0, 0] = 255
GREY = RGB[:, :, 1]
FORMS = ["grey.png", "grey.tif", "rgb.png", "rgb.tif", "rgb_big_endian.tif"]


def deep(pixels: np.ndarray, bits: int) -> np.ndarray:
    """The pixels in the highest 8 of so many bits, with other values below them."""
    return (pixels.astype(np.uint16) << (bits - 8)) + rng.integers(1 << (bits - 8), dtype=np.uint16)


def png_of(values: np.ndarray) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = values.shape[:2]
    color = {1: 0, 2: 4, 3: 2, 4: 6}[(*values.shape, 1)[2]]
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff_of(values: np.ndarray, order: str = "<", largest: int | None = None) -> bytes:
    """One strip of 16 bits a channel, without compression; `largest` is the tag MaxSampleValue."""
    strip = values.astype(f"{order}u2").tobytes()
    height, width, channels = (*values.shape, 1)[:3]
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 2 if channels == 3 else 1), (273, 8)]
    tags += [(277, channels), (278, height), (279, len(strip))]
    tags += [] if largest is None else [(281, largest)]
    entries, more = b"", b""
    start = 8 + len(strip)
    behind = start + 2 + 12 * len(tags) + 4
    for tag, value in tags:
        if tag == 258 and channels == 3:
            entries += struct.pack(f"{order}HHII", tag, 3, 3, behind)
            more = struct.pack(f"{order}HHH", 16, 16, 16)
        else:
            entries += struct.pack(f"{order}HHII", tag, 4, 1, value)
    magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
    count = struct.pack(f"{order}H", len(tags))
    return magic + struct.pack(f"{order}I", start) + strip + count + entries + bytes(4) + more


def photo_in(form: str, bits: int) -> tuple[bytes, np.ndarray]:
    """A photo with so many bits in a 16-bit file, and the pixels that must come out."""
    values = deep(RGB if form.startswith("rgb") else GREY, bits)
    ideal = RGB if values.ndim == 3 else np.repeat(GREY[:, :, None], 3, axis=2)
    if form.endswith("png"):
        return png_of(values), ideal
    return tiff_of(values, ">" if "big" in form else "<"), ideal


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("form", FORMS)
def test_the_bits_in_use_are_found_and_scaled(form, bits, tmp_path: Path):
    data, ideal = photo_in(form, bits)
    (tmp_path / form).write_bytes(data)
    assert bits_in_use([tmp_path / form]) == bits
    photo = decode_photo(data, deep_bits=bits)
    assert np.array_equal(photo.pixels, ideal)
    assert photo.findings == (
        ("16 bits a channel scaled to 8",) if bits == 16 else (f"uses {bits} of 16 bits a channel",)
    )


def test_the_largest_value_of_the_set_gives_one_scale(tmp_path: Path):
    dark, bright = deep(GREY // 8, 12), deep(GREY, 12)
    paths = [tmp_path / name for name in ("dark.png", "bright.tif", "broken.png", "missing.tif", "plain.png")]
    paths[0].write_bytes(png_of(dark))
    assert bits_in_use(paths[:1]) == 10
    paths[1].write_bytes(tiff_of(bright))
    paths[2].write_bytes(png_of(bright)[:200])
    Image.fromarray(GREY).save(paths[4])
    assert bits_in_use(paths) == 12
    assert bits_in_use(paths[4:]) == 16
    assert decode_photo(paths[0].read_bytes(), deep_bits=12).pixels.max() == (GREY // 8).max()


def test_a_tiff_file_may_state_its_largest_value(tmp_path: Path):
    path = tmp_path / "dark.tif"
    path.write_bytes(tiff_of(deep(GREY // 8, 12), largest=4095))
    assert bits_in_use([path]) == 12


def test_values_above_the_scale_are_clipped_and_noted():
    photo = decode_photo(png_of(deep(GREY, 14)), deep_bits=12)
    assert photo.pixels.max() == 255
    assert "brighter than 12 bits" in photo.findings


def test_photos_with_eight_bits_do_not_depend_on_the_scale():
    for format_ in ("PNG", "TIFF", "JPEG", "BMP"):
        file = io.BytesIO()
        Image.fromarray(RGB).save(file, format_)
        plain, scaled = decode_photo(file.getvalue()), decode_photo(file.getvalue(), deep_bits=12)
        assert np.array_equal(plain.pixels, scaled.pixels)
        assert plain.findings == scaled.findings


@pytest.mark.parametrize("alpha_bits", [8, 12, 16])
@pytest.mark.parametrize("pixels", [GREY, RGB], ids=["grey", "rgb"])
def test_alpha_stands_beside_deep_values_and_does_not_count_as_one(pixels, alpha_bits, tmp_path: Path):
    shown = np.full(GREY.shape, 255, np.uint8)
    shown[:, :25] = 0
    alpha = deep(shown, alpha_bits) if alpha_bits > 8 else np.full(GREY.shape, 0xFFFF, np.uint16)
    alpha[:, 25:] = (1 << alpha_bits) - 1 if alpha_bits > 8 else 0xFFFF
    data = png_of(np.dstack([deep(pixels, 12), alpha]))
    (tmp_path / "a.png").write_bytes(data)
    assert bits_in_use([tmp_path / "a.png"]) == 12
    photo = decode_photo(data, deep_bits=12)
    ideal = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    assert np.array_equal(photo.pixels[:, 25:], ideal[:, 25:])
    if alpha_bits > 8:
        assert (photo.pixels[:, :25] == 255).all()
        assert photo.findings == ("uses 12 of 16 bits a channel", "transparency shown on white")
    else:
        assert photo.findings == ("uses 12 of 16 bits a channel",)
