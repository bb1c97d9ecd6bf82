"""Bytes to upright RGB pixels, or a short reason why not.

    path ── bytes ── format by content ── header, size ── pixels ── 8-bit RGB ── upright ── Photo
              └──────────────┴──────────────────┴────────────┴───── UnreadablePhoto

pillow.py holds the limits of size, the decoders and the turns of EXIF; dicom.py reads DICOM.
"""

import errno
import os
import re
import stat
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import ALL_BITS
from kiyome.errors import InputError, UnreadablePhoto
from kiyome.images.dicom import decode_dicom
from kiyome.images.pillow import (
    MAX_FILE_BYTES,
    UPRIGHT,
    decode_jpeg,
    decode_with_pillow,
    exif_of,
    unreadable_data,
    unreadable_file,
)

TINY_SIDE, NARROW_RATIO = 8, 10
SNIFFED_BYTES = 4096
PHOTO_STARTS = {
    "DICOM": rb".{128}DICM",  # any other start may stand before it
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "TIFF": rb"II\*\0|MM\0\*",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
}
PHOTO_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIF": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
}
"""Brands in the box `ftyp`; AVIF comes first, since `mif1` stands in files of both."""
OTHER_STARTS = {
    "an empty file": rb"\Z",
    "an HTML page": rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)",
    "an SVG drawing": rb"\s*(<\?xml.*?\?>\s*)?(<!--.*?-->\s*|<!doctype[^>]*>\s*)*<svg",
    "an XML file": rb"\s*<\?xml",
    "a PostScript file": rb"%!PS|\xc5\xd0\xd3\xc6",
    "a PDF file": rb"%PDF",
    "a raw photo of a camera": rb"....ftypcrx",
    "a film": rb"....ftyp",
    "a JPEG 2000 photo": rb"\0\0\0\x0cjP|\xff\x4f\xff\x51",
    "a zip archive": rb"PK\x03\x04",
    "a git-lfs pointer, not the photo": rb"version https://git-lfs",
    "zeros only": rb"\0+\Z",
    "a text file": rb"[\t\n\r\x20-\x7e]+\Z",
}


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, upright, C-contiguous."""
    width: int
    """Width of the upright photo before any shrinking."""
    height: int
    """Height of the upright photo before any shrinking."""
    format: str
    """One of `FORMATS`, by content and not by name."""
    findings: tuple[str, ...]
    """Remarks about the file for people, in a few plain words."""


def read_photo_file(path: str | PathLike[str]) -> bytes:
    """Return all bytes of a regular file; a pipe, a folder or a huge file is refused before it is read.

    UnreadablePhoto gives the `reason`.

    >>> try:
    ...     read_photo_file("no/such/photo.jpg")
    ... except UnreadablePhoto as error:
    ...     print(error.reason)
    no such file
    """
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to returns at once.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _require_regular(status)
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(status.st_size + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise unreadable_file(_why_not_read(error)) from error
    if len(data) > status.st_size:
        raise unreadable_file("a file that grows while it is read")
    return data


def decode_photo(data: bytes, *, shrink_to: int | None = None, deep_bits: int = ALL_BITS) -> Photo:
    """Return upright 8-bit RGB pixels for any format, color model, depth and orientation.

    Format and size are checked before any pixel is decoded. Of several frames the first is taken,
    transparency is shown on white, CMYK and LAB are converted, deeper channels keep their highest 8 bits;
    each of these is a finding. Of 16 bits a channel the lowest `deep_bits` are in use, for a whole set
    (`depth.bits_in_use`). Color profiles are ignored. With `shrink_to` a JPEG may come out 2, 4 or 8 times
    smaller while its short side keeps that many pixels.

    UnreadablePhoto for other formats, truncated or broken data, more than `MAX_PIXELS` or `MAX_SCAN_PIXELS`,
    and 32-bit or floating-point pixels, whose scale is unknown.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (40, 30), 200).save(file, "PNG")
    >>> photo = decode_photo(file.getvalue())
    >>> photo.pixels.shape, photo.format, photo.findings
    ((30, 40, 3), 'PNG', ('one color only',))
    """
    format_ = photo_format(data)
    findings: list[str] = []
    try:
        if format_ == "JPEG":
            pixels, size, orientation = decode_jpeg(data, shrink_to=shrink_to, findings=findings)
        elif format_ == "DICOM":
            pixels, orientation = decode_dicom(data, findings=findings), 1
            size = pixels.shape[1], pixels.shape[0]
        else:
            pixels, orientation = decode_with_pillow(data, format_, findings=findings, deep_bits=deep_bits)
            size = pixels.shape[1], pixels.shape[0]
    except (UnreadablePhoto, InputError):
        raise
    except Exception as error:  # on broken data the decoders raise nearly everything
        raise unreadable_data(f"broken {format_} data ({_in_short(error)})") from error
    if orientation != 1:
        findings.append(f"turned upright (EXIF orientation {orientation})")
    width, height = size[::-1] if orientation >= 5 else size
    pixels = np.ascontiguousarray(UPRIGHT[orientation](pixels))
    findings += _oddities(pixels, width, height)
    return Photo(pixels=pixels, width=width, height=height, format=format_, findings=tuple(findings))


def photo_format(data: bytes) -> str:
    """Return the photo format of the first bytes, one of `FORMATS`; UnreadablePhoto names other kinds.

    >>> photo_format(b"GIF89a...")
    'GIF'
    """
    start = data[:SNIFFED_BYTES]
    for format_, pattern in PHOTO_STARTS.items():
        if re.match(pattern, start, re.DOTALL):
            return format_
    brands = _brands(start)
    for format_, known in PHOTO_BRANDS.items():
        if brands & known:
            return format_
    for looks_like, pattern in OTHER_STARTS.items():
        if re.match(pattern, start, re.DOTALL | re.IGNORECASE):
            raise unreadable_data(looks_like)
    raise unreadable_data(f"data of an unknown kind (first bytes {start[:8].hex(' ')})")


def holds_exif(path: str | PathLike[str]) -> bool:
    """Return whether a photo holds EXIF, as those of cameras do; False where it cannot be opened.

    >>> holds_exif("no/such/photo.jpg")
    False
    """
    try:
        data = read_photo_file(path)
        return bool(exif_of(data, photo_format(data)))
    except Exception:  # on broken data the decoders raise nearly everything
        return False


def _brands(start: bytes) -> set[bytes]:
    """Return the brands of a file that begins with the box `ftyp`: the major one, and those it claims."""
    if start[4:8] != b"ftyp":
        return set()
    box = start[: int.from_bytes(start[:4], "big")]
    return {box[at : at + 4] for at in (8, *range(16, len(box), 4))}


def _require_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise unreadable_file("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise unreadable_file("a pipe, socket or device")
    if status.st_size > MAX_FILE_BYTES:
        raise unreadable_file(f"{status.st_size:,} bytes, more than {MAX_FILE_BYTES:,}")


def _why_not_read(error: OSError | ValueError) -> str:
    reasons = {
        errno.ENOENT: "no such file",
        errno.ENOTDIR: "no such file",
        errno.ELOOP: "a link that leads to itself",
        errno.EACCES: "a file that may not be read",
        errno.ENXIO: "a pipe, socket or device",
        errno.ENAMETOOLONG: "a file name that is too long",
    }
    if isinstance(error, OSError) and error.errno is not None:
        return reasons.get(error.errno, f"a file that cannot be read ({error.strerror})")
    return f"a file name that cannot be used ({error})"


def _oddities(pixels: NDArray[np.uint8], width: int, height: int) -> list[str]:
    """Return findings about a photo that is whole but probably not intended."""
    found = []
    if min(width, height) < TINY_SIDE:
        found.append(f"tiny ({width} x {height})")
    if max(width, height) >= NARROW_RATIO * min(width, height):
        found.append(f"long and narrow ({width} x {height})")
    # the sample saves nearly every photo the full comparison
    if all((part == pixels[0, 0]).all() for part in (pixels[::16, ::16], pixels)):
        found.append("one color only")
    return found


def _in_short(error: Exception) -> str:
    """Return the first line of a decoder's error, without addresses of Python objects."""
    lines = re.sub(r"<[^>]*>", "it", str(error)).splitlines() or [type(error).__name__]
    return lines[0][:80]
