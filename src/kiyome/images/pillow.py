"""The decoders of photos: simplejpeg for JPEG, Pillow's plugins for all else; limits of size; turns of EXIF.

Pillow's switches (MAX_IMAGE_PIXELS, warning filters, LOAD_TRUNCATED_IMAGES) belong to the whole process; a
plugin called by name needs none of them changed.
"""

import io
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import ALL_BITS
from kiyome.errors import InputError, UnreadablePhoto

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION_TAG, LONG = 0x0112, 4
UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""EXIF 2.3, tag Orientation: from stored pixels (H, W, 3) to a view of the upright ones."""


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 where there is none or the block is broken.

    >>> exif_orientation(bytes.fromhex("4d4d002a 00000008 0001 0112 0003 00000001 0006 0000"))
    6
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * num_entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == ORIENTATION_TAG:
                (value,) = struct.unpack_from(f"{order}{'I' if kind == LONG else 'H'}", tiff, entry + 8)
                return int(value) if value in UPRIGHT else 1
    except struct.error:
        pass  # broken blocks are common, and the photo is fine
    return 1


FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF", "DICOM")
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 110_000_000
"""Photos of 108-megapixel cameras pass; the pixels of one photo take at most 330 MB."""
MAX_SCAN_PIXELS = 20 * MAX_PIXELS
"""Pixels times scans of a progressive JPEG: limits the time for one file."""


def unreadable_file(reason: str) -> UnreadablePhoto:
    """Return the error for a path whose bytes cannot be read."""
    remedy = "Put the photo back, or leave its row out."
    return UnreadablePhoto(reason, expected="Expected a regular file with read permission.", remedy=remedy)


def unreadable_data(reason: str) -> UnreadablePhoto:
    """Return the error for bytes that are not one whole photo."""
    expected = f"Expected one whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file."
    remedy = "Fetch or export the photo again, or leave its row out."
    return UnreadablePhoto(reason, expected=expected, remedy=remedy)


EXTRAS = {"HEIF": "HEIC", "DICOM": "DICOM"}
"""Formats that an optional package decodes, and the names of their extras in capitals."""


def needs_extra(format_: str) -> UnreadablePhoto:
    """Return the error for a photo whose decoder is not installed, with the pip line."""
    name = EXTRAS[format_]
    return unreadable_data(f"a {name} photo; to read it, run: pip install 'kiyome[{name.lower()}]'")


def check_size(width: int, height: int, *, num_scans: int = 1) -> None:
    """Raise UnreadablePhoto if the header states more pixels, or more work, than one photo may take."""
    work = width * height * num_scans
    if width * height > MAX_PIXELS or work > MAX_SCAN_PIXELS:
        scans = f" in {num_scans} scans" if num_scans > 1 else ""
        raise UnreadablePhoto(
            f"{width} x {height} pixels{scans}",
            expected=f"Expected at most {MAX_PIXELS // 10**6} million pixels in a few scans.",
            remedy="Shrink the photo, or leave its row out.",
        )


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by the color type in the header."""
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each pass of an interlaced PNG."""
SIGNATURE_BYTES = 8
PIECE_BYTES = 1 << 20


def has_all_rows(data: bytes) -> bool:
    """Whether a PNG with whole chunks has as many pixels as its header says; needs little memory.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 3)).save(file, "PNG")
    >>> has_all_rows(file.getvalue())
    True
    """
    width, height, depth, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, SIGNATURE_BYTES + 8)
    promised = 0
    for left, top, across, down in ADAM7 if interlaced else WHOLE:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            promised += rows * (1 + (columns * depth * CHANNELS[color] + 7) // 8)
    return _inflated_size(data, up_to=promised) >= promised


def _inflated_size(data: bytes, *, up_to: int) -> int:
    """Return how many bytes the pixel chunks inflate to, piece by piece, and no more than needed."""
    inflater = zlib.decompressobj()
    size = 0
    for content in _pixel_chunks(data):
        left: bytes | memoryview = content
        while len(left) and size < up_to and not inflater.eof:
            size += len(inflater.decompress(left, PIECE_BYTES))
            left = inflater.unconsumed_tail
    while size < up_to and not inflater.eof and (piece := inflater.decompress(b"", PIECE_BYTES)):
        size += len(piece)
    return size


def _pixel_chunks(data: bytes) -> Iterator[memoryview]:
    at, view = SIGNATURE_BYTES, memoryview(data)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            yield view[at + 8 : at + 8 + length]
        at += 12 + length


BACKGROUND = (255, 255, 255)
"""White shows through transparent parts, as on most web pages."""
PLUGINS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}
GREY_ALPHA = "LA;16B"
LITTLE = sys.byteorder == "little"
CODED_SIZE = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, LARGEST_VALUE = 258, 262, 274, 281  # tags of a TIFF file
OTHER_BYTE = {
    f"{colors};16{order}": f"{colors};16{other}"
    for colors in ("RGB", "RGBA")
    for order, other in {"B": "L", "L": "B", "N": "B" if LITTLE else "L"}.items()
}
"""Pillow's name of deep colors in the other order of bytes."""
WHITE_IS_ZERO = 0


def decode_with_pillow(
    data: bytes, format_: str, *, findings: list[str], deep_bits: int = ALL_BITS
) -> tuple[NDArray[np.uint8], int]:
    """Return pixels (H, W, 3) of the first frame, and the EXIF orientation still to be applied.

    Remarks are appended to `findings`. Of 16 bits a channel, `deep_bits` are in use. Raises whatever Pillow
    raises on broken data, and UnreadablePhoto for refused sizes and depths.
    """
    _require_strict_pillow()
    image, tags = _opened(data, format_)
    if getattr(image, "is_animated", False):
        findings.append("first of several frames")
    image.load()
    if format_ == "PNG" and _may_lack_rows(image) and not has_all_rows(data):
        raise unreadable_data("truncated PNG data (rows are missing)")
    bits = _channel_bits(data, format_, tags, image.info)
    values: NDArray[np.uint16] | None = None
    alpha: NDArray[np.uint16] | None = None
    if bits == ALL_BITS > deep_bits and (deep := _deep_values(image, data, format_)) is not None:
        values, alpha = deep
        findings.append(f"uses {deep_bits} of 16 bits a channel")
        if values.max() >> deep_bits:
            findings.append(f"brighter than {deep_bits} bits")
        values, bits = values.clip(max=(1 << deep_bits) - 1), deep_bits
    else:
        values = np.asarray(image) if image.mode.startswith("I;16") else None
        findings += [f"{bits} bits a channel scaled to 8"] * (bits > 8)
    if values is not None:
        pixels = _highest_bits(values, bits, inverted=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO)
    elif image.mode in ("I", "F"):
        raise unreadable_data("32-bit or floating-point pixels, whose scale is unknown")
    else:
        pixels = np.asarray(_to_rgb(image, findings))
    if alpha is not None:
        depth = ALL_BITS if alpha.max() >> deep_bits else deep_bits
        pixels = np.asarray(_to_rgb(_with_alpha(pixels, (alpha >> (depth - 8)).astype(np.uint8)), findings))
    return pixels, _orientation(image, tags, findings)


def _plugin(format_: str) -> "Callable[[io.BytesIO], Image]":
    """Return the decoder of a format; UnreadablePhoto with the pip line where an extra holds it."""
    module, name = PLUGINS[format_]
    try:
        plugin: Callable[[io.BytesIO], Image] = getattr(import_module(module), name)
    except ImportError as error:
        raise needs_extra(format_) from error
    return plugin


def _may_lack_rows(image: "Image") -> bool:
    """Whether the last rows are zeros, as missing rows are; only then the rows need counting."""
    return not all(row.any() for row in np.asarray(image)[-2:])


def _to_rgb(image: "Image", findings: list[str]) -> "Image":
    """Return an RGB image: transparency composited, other color models converted."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        if alpha.getextrema() != (255, 255):
            findings.append("transparency shown on white")
        canvas = Image.new("RGB", image.size, BACKGROUND)
        canvas.paste(image, mask=alpha)
        return canvas
    if image.mode in ("CMYK", "LAB"):
        findings.append(f"{image.mode} colors converted")
    return image.convert("RGB")


def _highest_bits(values: NDArray[np.uint16], bits: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Return the highest 8 of 8 to 16 bits of grey (H, W) or RGB (H, W, 3), like the decoders of deep RGB."""
    pixels = (values >> (bits - 8)).astype(np.uint8)
    if inverted:
        pixels = 255 - pixels
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _with_alpha(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> "Image":
    from PIL import Image

    return Image.fromarray(np.dstack([pixels, alpha]))


Deep = tuple[NDArray[np.uint16], NDArray[np.uint16] | None]


def _deep_values(image: "Image", data: bytes, format_: str) -> Deep | None:
    """Return all 16 bits of loaded grey (H, W) or RGB (H, W, 3), and of alpha (H, W) if there is any.

    None for other color models.
    """
    if image.mode.startswith("I;16"):
        return np.asarray(image, np.uint16), None
    again, _ = _opened(data, format_)
    tile = again.tile[0]  # type: ignore[attr-defined]
    raw, *more = (tile.args,) if isinstance(tile.args, str) else tile.args
    if raw not in (GREY_ALPHA, *OTHER_BYTE) or "transparency" in image.info:
        return None
    # Pillow keeps the high byte of each value, and so the low one in the other order
    other = "RGBA" if raw == GREY_ALPHA else OTHER_BYTE[raw]
    again.tile = [  # type: ignore[attr-defined]
        each._replace(args=(other, *more) if more else other)
        for each in again.tile  # type: ignore[attr-defined]
    ]
    again.load()
    low = np.asarray(again)
    if raw == GREY_ALPHA:  # both bytes of both values
        both = low[:, :, ::2].astype(np.uint16) << 8 | low[:, :, 1::2]
        return both[:, :, 0], both[:, :, 1]
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << 8 | low
    return values[:, :, :3], values[:, :, 3] if values.shape[2] == 4 else None


def largest_value(data: bytes, format_: str) -> int:
    """Return the largest value of a photo with 16 bits a channel, as stated or as found; else 0."""
    image, tags = _opened(data, format_)
    if _channel_bits(data, format_, tags, image.info) != ALL_BITS:
        return 0
    stated: int = max(tags.get(LARGEST_VALUE, (0,)))
    if stated:
        return min(stated, (1 << ALL_BITS) - 1)
    image.load()
    values = _deep_values(image, data, format_)
    return 0 if values is None else int(values[0].max())


def is_deep_png(header: bytes) -> bool:
    """Whether a file begins like a PNG with 16 bits a channel."""
    return header.startswith(b"\x89PNG") and header[24:25] == bytes([ALL_BITS])


def _opened(data: bytes, format_: str) -> "tuple[Image, dict[int, Any]]":
    """Return an image whose size is allowed, before its pixels are decoded, and the tags of a TIFF file."""
    if format_ in ("AVIF", "HEIF"):  # what is shown may be cut from more
        for coded in CODED_SIZE.finditer(data):
            check_size(*struct.unpack(">II", coded[1]))
    image: Image = _plugin(format_)(io.BytesIO(data))
    check_size(*image.size)
    return image, dict(getattr(image, "tag_v2", {}))


def exif_of(data: bytes, format_: str) -> bytes:
    """Return the EXIF block of a photo, whose pixels are not decoded; empty where there is none."""
    image, _ = _opened(data, format_)
    return bytes(image.info.get("exif") or b"")


def _channel_bits(data: bytes, format_: str, tags: dict[int, Any], info: dict[Any, Any]) -> int:
    """Return the bits of the deepest channel; Pillow drops the lower ones of RGB silently."""
    if format_ == "PNG":
        return data[24]
    if format_ == "HEIF":
        return int(info["bit_depth"])
    return int(max(tags.get(BITS_PER_SAMPLE, (8,))))


def _orientation(image: "Image", tags: dict[int, Any], findings: list[str]) -> int:
    """Return the EXIF orientation to apply; the decoders of TIFF and HEIC, and only they, have turned it."""
    turned = tags.get(ORIENTATION) or image.info.get("original_orientation") or 1
    if turned in range(2, 9):
        findings.append(f"turned upright (EXIF orientation {turned})")
    return exif_orientation(image.info.get("exif") or b"")


def _require_strict_pillow() -> None:
    """Raise InputError where Pillow is set to decode truncated photos, with grey for the missing part."""
    from PIL import ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True, so truncated photos would pass as whole ones.",
            remedy="Set it to False before reading photos.",
        )


START_OF_SCAN, APP1, APP2, STUFFING, PADDING = 0xDA, 0xE1, 0xE2, 0x00, 0xFF
SCAN, END_OF_PHOTO = b"\xff\xda", b"\xff\xd9"


def decode_jpeg(
    data: bytes, *, shrink_to: int | None, findings: list[str]
) -> tuple[NDArray[np.uint8], tuple[int, int], int]:
    """Return pixels as stored (H, W, 3), (width, height) before shrinking, and the EXIF orientation.

    The strict decoder treats each warning of libjpeg as an error. Data that it refuses and Pillow still
    decodes (flipped bits, wrong dimensions) is appended to `findings`; truncated data, which both refuse,
    raises.
    """
    import simplejpeg

    height, width, colors, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    check_size(width, height, num_scans=data.count(SCAN))
    orientation = 1
    for marker, content in _segments(data):
        if marker == APP1 and content.startswith(b"Exif\0\0"):
            orientation = exif_orientation(content)
        if marker == APP2 and content.startswith(b"MPF\0"):
            findings.append("first of several frames")
    target = "CMYK" if colors in ("CMYK", "YCCK") else "RGB"
    shrink = _shrink_factor(min(width, height), shrink_to)
    smallest = {"min_height": -(-height // shrink), "min_width": -(-width // shrink)}
    try:
        pixels = simplejpeg.decode_jpeg(data, target, **smallest, strict=True)
    except ValueError:
        if data.rfind(END_OF_PHOTO) < data.rfind(SCAN):  # Pillow may miss this
            raise unreadable_data("truncated JPEG data (no end marker)") from None
        findings.append("damaged JPEG data")
        pixels, _ = decode_with_pillow(data, "JPEG", findings=findings)
    else:
        if target == "CMYK":  # libjpeg leaves this conversion to others
            pixels, _ = decode_with_pillow(data, "JPEG", findings=findings)
    return pixels, (width, height), orientation


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment before the first scan."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == START_OF_SCAN:
            return
        if marker in (STUFFING, PADDING):
            at += 1
            continue
        yield marker, data[at + 4 : at + 2 + size]
        at += 2 + max(size, 2)


def _shrink_factor(short_side: int, shrink_to: int | None) -> int:
    """Return 8, 4, 2 or 1: other factors of JPEG decode slower than the full size."""
    if shrink_to is None:
        return 1
    return next((factor for factor in (8, 4, 2) if -(-short_side // factor) >= shrink_to), 1)
