"""Every kind of odd or broken photo: right pixels, a finding, or a refusal with a reason; never a guess."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter

from kiyome.errors import UnreadablePhoto
from kiyome.images.decode import decode_photo
from kiyome.images.reader import PhotoRecord, read_photos

HEIGHT, WIDTH = 96, 128


def scene() -> np.ndarray:
    """A picture with all colors, soft texture and no symmetry."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramp = np.stack([x * 255 / WIDTH, y * 255 / HEIGHT, (x + 2 * y) * 255 / (WIDTH + 2 * HEIGHT)], axis=2)
    soft = np.asarray(noise.filter(ImageFilter.GaussianBlur(3)), float) - 128
    return np.clip(ramp + 2 * soft, 0, 255).astype(np.uint8)


RGB = scene()
GREY = np.asarray(Image.fromarray(RGB).convert("L"))
WHITE = np.full_like(RGB, 255)
PHOTO = Image.fromarray(RGB)
HOLE = np.where((np.arange(WIDTH) < 40)[None, :], 0, 255).astype(np.uint8) * np.ones((HEIGHT, 1), np.uint8)
"""Alpha: the left 40 columns are transparent, with the picture hidden below."""
SHOWN = np.where(HOLE[:, :, None] == 0, 255, RGB)


def encoded(image: Image.Image, format_: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, format_, **how)
    return file.getvalue()


def grey_as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def as_lab(image: Image.Image) -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    assert converted is not None
    return converted


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, color: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def idat(width: int, height: int, depth: int, channels: int) -> bytes:
    row = bytes(1 + (width * depth * channels + 7) // 8)
    packer = zlib.compressobj(9)
    return chunk(b"IDAT", b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


def deep_png(array: np.ndarray, color: int) -> bytes:
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return png(width, height, 16, color, chunk(b"IDAT", zlib.compress(rows)))


def size_of_frame(data: bytes) -> int:
    """Place of the height in the start-of-frame segment of a JPEG."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC2):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 5


def with_size(data: bytes, width: int, height: int) -> bytes:
    at = size_of_frame(data)
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def with_flipped_bits(data: bytes, num_flips: int, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    flipped = bytearray(data)
    for at in rng.integers(len(data) // 4, len(data) - 2, num_flips):
        flipped[at] ^= 1 << rng.integers(8)
    return bytes(flipped)


def many_scans(num_scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: little data, endless work."""
    data = encoded(PHOTO, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * num_scans + data[-2:]


def tiff(bits: int, photometric: int, strip: bytes, width: int, height: int, kind: int = 1) -> bytes:
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(strip)),
        (339, 3, kind),
    ]
    entries = b"".join(struct.pack("<HHII", tag, type_, 1, value) for tag, type_, value in tags)
    start = 8 + len(strip)
    return b"II*\0" + struct.pack("<I", start) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def with_avif_size(width: int, height: int) -> bytes:
    """An AVIF file whose header claims this size."""
    at = AVIF.index(b"ispe") + 8
    return AVIF[:at] + struct.pack(">II", width, height) + AVIF[at + 8 :]


def twelve_bits(grey: np.ndarray) -> bytes:
    """Grey levels times 16, plus 5, two samples packed into three bytes."""
    first, second = ((grey.astype(np.uint16) << 4) + 5).reshape(-1, 2).T
    return (
        np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
        .astype(np.uint8)
        .tobytes()
    )


JPEG = encoded(PHOTO, "JPEG", quality=90)
PNG = encoded(PHOTO, "PNG")
WEBP = encoded(PHOTO, "WEBP", lossless=True)
FINE: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
AVIF = encoded(PHOTO, "AVIF", **FINE)
GIF = encoded(PHOTO.convert("P", palette=Image.Palette.ADAPTIVE), "GIF")
DECODED_JPEG = np.asarray(Image.open(io.BytesIO(JPEG)))
DECODED_GIF = np.asarray(Image.open(io.BytesIO(GIF)).convert("RGB"))
ROTATED = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(RGB))), "PNG", exif=exif(6))
MIRRORED = encoded(Image.fromarray(np.ascontiguousarray(RGB[:, ::-1])), "PNG", exif=exif(2))
PALETTED = PHOTO.convert("P", palette=Image.Palette.ADAPTIVE, colors=200)
BLACK = np.zeros((48, 64, 3), np.uint8)
SECOND = Image.fromarray(255 - RGB)


@dataclass(frozen=True)
class Ideal:
    """What must come out: pixels within a tolerance and exactly these findings, or a reason."""

    pixels: np.ndarray | None = None
    tolerance: int = 0
    findings: tuple[str, ...] = ()
    reason: str | None = None


def ok(pixels: np.ndarray, *findings: str, tolerance: int = 0) -> Ideal:
    return Ideal(pixels, tolerance, findings)


def refused(reason: str) -> Ideal:
    return Ideal(reason=reason)


def paletted(**how: Any) -> bytes:
    return encoded(PALETTED, "PNG", **how)


def shown_palette(hidden: int) -> np.ndarray:
    """The paletted picture with one of its colors transparent."""
    pixels = np.asarray(PALETTED.convert("RGB"))
    return np.where((np.asarray(PALETTED) == hidden)[:, :, None], 255, pixels)


DEEP_GREY = (GREY.astype(np.uint16) << 8) + 77
DEEP_RGB = (RGB.astype(np.uint16) << 8) + 77

BYTES: dict[str, tuple[bytes, Ideal]] = {
    "rgb.jpg": (JPEG, ok(DECODED_JPEG)),
    "grey.jpg": (encoded(Image.fromarray(GREY), "JPEG", quality=95), ok(grey_as_rgb(GREY), tolerance=8)),
    "progressive.jpg": (encoded(PHOTO, "JPEG", quality=95, progressive=True), ok(RGB, tolerance=40)),
    "cmyk.jpg": (
        encoded(PHOTO.convert("CMYK"), "JPEG", quality=98),
        ok(RGB, "CMYK colors converted", tolerance=30),
    ),
    "two_pictures.mpo.jpg": (
        encoded(PHOTO, "MPO", quality=90, save_all=True, append_images=[SECOND.copy()]),
        ok(DECODED_JPEG, "first of several frames"),
    ),
    "rgb.png": (PNG, ok(RGB)),
    "rgb.bmp": (encoded(PHOTO, "BMP"), ok(RGB)),
    "rgb.tif": (encoded(PHOTO, "TIFF", compression="tiff_lzw"), ok(RGB)),
    "rgb.webp": (WEBP, ok(RGB)),
    "bilevel.png": (
        encoded(Image.fromarray(GREY > 127), "PNG"),
        ok(grey_as_rgb(np.where(GREY > 127, 255, 0).astype(np.uint8))),
    ),
    "exif_rotated.png": (ROTATED, ok(RGB, "turned upright (EXIF orientation 6)")),
    "exif_mirrored.png": (MIRRORED, ok(RGB, "turned upright (EXIF orientation 2)")),
    "exif_broken.jpg": (
        encoded(PHOTO, "JPEG", quality=90, exif=exif(6)[:20] + b"\xff" * 9),
        ok(DECODED_JPEG),
    ),
    "grey16.png": (deep_png(DEEP_GREY, 0), ok(grey_as_rgb(GREY), "16 bits a channel scaled to 8")),
    "rgb16.png": (deep_png(DEEP_RGB, 2), ok(RGB, "16 bits a channel scaled to 8")),
    "grey16.tif": (
        encoded(Image.fromarray(DEEP_GREY), "TIFF"),
        ok(grey_as_rgb(GREY), "16 bits a channel scaled to 8"),
    ),
    "grey16_white_is_zero.tif": (
        tiff(16, 0, (65535 - DEEP_GREY).tobytes(), WIDTH, HEIGHT),
        ok(grey_as_rgb(GREY), "16 bits a channel scaled to 8"),
    ),
    "grey12.tif": (
        tiff(12, 1, twelve_bits(GREY), WIDTH, HEIGHT),
        ok(grey_as_rgb(GREY), "12 bits a channel scaled to 8"),
    ),
    "rgba_hidden.png": (
        encoded(Image.fromarray(np.dstack([RGB, HOLE])), "PNG"),
        ok(SHOWN, "transparency shown on white"),
    ),
    "rgba_hidden.webp": (
        encoded(Image.fromarray(np.dstack([RGB, HOLE])), "WEBP", lossless=True, exact=True),
        ok(SHOWN, "transparency shown on white"),
    ),
    "rgba_opaque.png": (encoded(PHOTO.convert("RGBA"), "PNG"), ok(RGB)),
    "la_hidden.png": (
        encoded(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(HOLE)]), "PNG"),
        ok(np.where(HOLE[:, :, None] == 0, 255, grey_as_rgb(GREY)), "transparency shown on white"),
    ),
    "palette.png": (paletted(), ok(np.asarray(PALETTED.convert("RGB")))),
    "palette_one_transparent.png": (
        paletted(transparency=7),
        ok(shown_palette(7), "transparency shown on white"),
    ),
    "palette_alphas.png": (
        paletted(transparency=bytes([255] * 9 + [0] + [255] * 100)),
        ok(shown_palette(9), "transparency shown on white"),
    ),
    "animated.gif": (
        encoded(PHOTO, "GIF", save_all=True, append_images=[SECOND.copy()]),
        ok(RGB, "first of several frames", tolerance=80),
    ),
    "animated.png": (
        encoded(PHOTO, "PNG", save_all=True, append_images=[SECOND.copy()]),
        ok(RGB, "first of several frames"),
    ),
    "animated.webp": (
        encoded(PHOTO, "WEBP", save_all=True, append_images=[SECOND.copy()], lossless=True),
        ok(RGB, "first of several frames"),
    ),
    "two_pages.tif": (
        encoded(PHOTO, "TIFF", save_all=True, append_images=[SECOND.copy()]),
        ok(RGB, "first of several frames"),
    ),
    "float.tif": (
        encoded(Image.fromarray(RGB[:, :, 0] / np.float32(255)), "TIFF"),
        refused("floating-point"),
    ),
    "int32.tif": (encoded(Image.fromarray(RGB[:, :, 0].astype(np.int32)), "TIFF"), refused("32-bit")),
    "lab.tif": (encoded(as_lab(PHOTO), "TIFF"), ok(RGB, "LAB colors converted", tolerance=40)),
    "one_pixel.png": (
        encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"),
        ok(np.array([[[9, 8, 7]]], np.uint8), "tiny (1 x 1)", "one color only"),
    ),
    "strip.png": (
        encoded(Image.fromarray(np.resize(RGB, (1, 10000, 3))), "PNG"),
        ok(np.resize(RGB, (1, 10000, 3)), "tiny (10000 x 1)", "long and narrow (10000 x 1)"),
    ),
    "black.png": (
        encoded(Image.new("L", (40, 30)), "PNG"),
        ok(np.zeros((30, 40, 3), np.uint8), "one color only"),
    ),
    "empty.jpg": (b"", refused("an empty file")),
    "zeros.jpg": (bytes(5000), refused("zeros only")),
    "half.jpg": (JPEG[: len(JPEG) // 2], refused("truncated JPEG data")),
    "without_its_end.jpg": (JPEG[:-2], refused("truncated JPEG data")),
    "header_only.jpg": (JPEG[: JPEG.index(b"\xff\xda")], refused("broken JPEG data")),
    "flipped_bits.jpg": (with_flipped_bits(JPEG, 20, seed=1), Ideal(findings=("damaged JPEG data",))),
    "zero_tail.jpg": (JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), refused("truncated JPEG data")),
    "junk_behind.jpg": (JPEG + b"junk" * 1000, ok(DECODED_JPEG)),
    "too_high.jpg": (with_size(JPEG, WIDTH, HEIGHT + 40), Ideal(findings=("damaged JPEG data",))),
    "too_low.jpg": (with_size(JPEG, WIDTH, HEIGHT - 40), Ideal(findings=("damaged JPEG data",))),
    "too_wide.jpg": (with_size(JPEG, WIDTH + 24, HEIGHT), Ideal(findings=("damaged JPEG data",))),
    "half.png": (PNG[: len(PNG) // 2], refused("broken PNG data")),
    "bad_crc.png": (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], refused("broken PNG data")),
    "no_data.png": (png(64, 48, 8, 2), refused("broken PNG data")),
    "short_data.png": (png(64, 48, 8, 2, idat(64, 20, 8, 3)), refused("truncated PNG data")),
    "black_rows.png": (png(64, 48, 8, 2, idat(64, 48, 8, 3)), ok(BLACK, "one color only")),
    "half.webp": (WEBP[: len(WEBP) // 2], refused("broken WEBP data")),
    "half.gif": (GIF[: len(GIF) // 2], refused("broken GIF data")),
    "half.bmp": (encoded(PHOTO, "BMP")[:9000], refused("broken BMP data")),
    "half.tif": (encoded(PHOTO, "TIFF")[:9000], refused("broken TIFF data")),
    "text.jpg": (b"These are not the pixels you are looking for.\n", refused("a text file")),
    "page_404.jpg": (b"\n<!DOCTYPE html><html><h1>404 Not Found</h1></html>", refused("an HTML page")),
    "pointer.jpg": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        refused("a git-lfs pointer"),
    ),
    "archive.jpg": (b"PK\x03\x04" + bytes(99), refused("a zip archive")),
    "photo.avif": (AVIF, ok(RGB, tolerance=12)),
    "animated.avif": (
        encoded(PHOTO, "AVIF", **FINE, save_all=True, append_images=[SECOND]),
        ok(RGB, "first of several frames", tolerance=12),
    ),
    "half.avif": (AVIF[: len(AVIF) // 2], refused("broken AVIF data")),
    "header_only.avif": (AVIF[:32], refused("broken AVIF data")),
    "bomb.avif": (with_avif_size(14_000, 10_000), refused("14000 x 10000 pixels")),
    "film.mp4": (b"\0\0\0\x18ftypmp42" + bytes(99), refused("a film")),
    "camera.cr3": (b"\0\0\0\x18ftypcrx " + bytes(99), refused("a raw photo of a camera")),
    "avif_named.jpg": (AVIF, ok(RGB, "named .jpg but is AVIF", tolerance=12)),
    "png_named.jpg": (PNG, ok(RGB, "named .jpg but is PNG")),
    "gif_named.jpg": (GIF, ok(DECODED_GIF, "named .jpg but is GIF")),
    "no_extension": (PNG, ok(RGB)),
    "camera.jfif": (JPEG, ok(DECODED_JPEG)),
    "header_bomb.png": (png(2**31 - 1, 2**31 - 1, 8, 2), refused("2147483647 x 2147483647 pixels")),
    "bomb_400.png": (png(20000, 20000, 1, 0, idat(20000, 20000, 1, 1)), refused("20000 x 20000 pixels")),
    "bomb_120.png": (png(12000, 10000, 1, 0, idat(12000, 10000, 1, 1)), refused("12000 x 10000 pixels")),
    "bomb.gif": (GIF[:6] + struct.pack("<HH", 65535, 65535) + GIF[10:], refused("65535 x 65535 pixels")),
    "bomb.bmp": (
        b"BM" + bytes(8) + struct.pack("<IIiiHHIIiiII", 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        refused("60000 x 60000 pixels"),
    ),
    "bomb.tif": (tiff(8, 1, bytes(99), 60000, 60000), refused("60000 x 60000 pixels")),
    "bomb_size.jpg": (with_size(JPEG, 65000, 65000), refused("65000 x 65000 pixels")),
    "bomb_scans.jpg": (
        many_scans(200_000),
        refused("128 x 96 pixels in 200"),
    ),
    "bomb_text.png": (
        PNG[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000))) + PNG[33:],
        refused("broken PNG data"),
    ),
    "script.svg": (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>',
        refused("an SVG drawing"),
    ),
    "svg_named.png": (b'<?xml version="1.0"?>\n<!-- x -->\n<svg/>', refused("an SVG drawing")),
    "script.gif": (b"GIF89a=1;alert(1);//" + bytes(200), refused("broken GIF data")),
    "figure.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", refused("a PostScript file")),
    "paper.pdf": (b"%PDF-1.7\n" + bytes(99), refused("a PDF file")),
    "unknown.jpg": (bytes(range(200, 256)), refused("data of an unknown kind")),
    os.fsdecode(b"caf\xe9.png"): (PNG, ok(RGB)),
}


def nothing(path: Path) -> None:
    """Leave no file there."""


PLACES: dict[str, tuple[Callable[[Path], None], Ideal]] = {
    "dangling.png": (lambda path: path.symlink_to("nowhere.png"), refused("no such file")),
    "loop.png": (lambda path: path.symlink_to(path.name), refused("a link that leads to itself")),
    "link.png": (lambda path: path.symlink_to("rgb.png"), ok(RGB)),
    "link_to_text.png": (lambda path: path.symlink_to("text.jpg"), refused("a text file")),
    "folder.png": (lambda path: path.mkdir(), refused("a folder")),
    "pipe.png": (os.mkfifo, refused("a pipe, socket or device")),
    "device.png": (lambda path: path.symlink_to("/dev/zero"), refused("a pipe, socket or device")),
    "missing.png": (nothing, refused("no such file")),
    "below_a_file.png/x.png": (lambda path: path.parent.write_bytes(b"x"), refused("no such file")),
    "n" * 300 + ".png": (nothing, refused("a file name that is too long")),
    "with\0nul.png": (nothing, refused("a file name that cannot be used")),
}
IDEALS = {name: ideal for name, (_, ideal) in (BYTES | PLACES).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for name, (data, _) in BYTES.items():
        (folder / name).write_bytes(data)
    for name, (make, _) in PLACES.items():
        make(folder / name)
    huge = folder / "huge.jpg"
    huge.touch()
    os.truncate(huge, 2**40)  # a sparse file: a terabyte that takes no room
    return folder


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, PhotoRecord[np.ndarray]]:
    names = list(IDEALS)
    passed = read_photos([folder / name for name in names], prepare=lambda photo: photo.pixels)
    return dict(zip(names, passed, strict=True))


@pytest.mark.parametrize("name", IDEALS, ids=ascii)
def test_each_kind_of_photo_gets_its_ideal_answer(name: str, records: dict[str, PhotoRecord[np.ndarray]]):
    record, ideal = records[name], IDEALS[name]
    if ideal.reason is not None:
        assert record.reason is not None, f"decoded, with findings {record.findings}"
        assert ideal.reason in record.reason
        assert record.facts is None
        assert record.prepared is None
        return
    assert record.reason is None
    assert record.findings == ideal.findings
    pixels = record.prepared
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    if ideal.pixels is not None:
        assert pixels.shape == ideal.pixels.shape
        assert np.abs(pixels.astype(int) - ideal.pixels).max() <= ideal.tolerance


def test_the_corpus_is_large_and_has_all_three_answers():
    answers = [("refused" if i.reason else "finding" if i.findings else "ok") for i in IDEALS.values()]
    assert len(answers) >= 80
    assert min(answers.count(answer) for answer in ("refused", "finding", "ok")) >= 10


def test_reading_changes_no_file(folder: Path):
    def states() -> dict[str, str]:
        return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in BYTES}

    before = states()
    num_records = sum(1 for _ in read_photos([folder / name for name in IDEALS]))
    assert num_records == len(IDEALS)
    assert states() == before


def test_a_terabyte_is_refused_before_it_is_read(folder: Path):
    (record,) = read_photos([folder / "huge.jpg"])
    assert record.reason == "1,099,511,627,776 bytes, more than 268,435,456"


def test_bombs_fit_into_little_memory(folder: Path):
    """All bombs are refused in a process that may take 600 MB of addresses more than it has after imports."""
    bombs = sorted(str(folder / name) for name in IDEALS if "bomb" in name)
    script = f"""
import resource, numpy, simplejpeg
from PIL import Image, AvifImagePlugin, BmpImagePlugin, GifImagePlugin
from PIL import PngImagePlugin, TiffImagePlugin, WebPImagePlugin
from kiyome.images.reader import read_photos
list(read_photos(["missing"], num_threads=1))
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 600 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
reasons = [record.reason for record in read_photos({bombs!r}, num_threads=1)]
assert all(reason and "memory" not in reason.lower() for reason in reasons), reasons
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_most_flipped_bits_are_noticed():
    """Twenty flips in a small JPEG: strict decoding notices most; some give another valid picture."""
    noticed = 0
    for seed in range(100):
        try:
            noticed += "damaged JPEG data" in decode_photo(with_flipped_bits(JPEG, 20, seed)).findings
        except UnreadablePhoto:
            noticed += 1
    assert noticed >= 60
