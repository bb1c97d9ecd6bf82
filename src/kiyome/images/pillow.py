"""Everything but plain JPEG: Pillow's plugins, called by name behind our own limits.

Pillow's switches (MAX_IMAGE_PIXELS, warning filters, LOAD_TRUNCATED_IMAGES) belong to the process we run in;
a plugin called by name needs none of them changed.
"""

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.images.exif import exif_orientation
from kiyome.images.limits import check_size, unreadable_data
from kiyome.images.png import has_all_rows

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = (255, 255, 255)
"""White shows through wherever a photo is transparent, as on most pages."""
PLUGINS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
}
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION = 258, 262, 274  # tags of a TIFF file
WHITE_IS_ZERO = 0


def decode_with_pillow(data: bytes, format_: str, *, findings: list[str]) -> tuple[NDArray[np.uint8], int]:
    """Return pixels (H, W, 3) of the first frame, and the EXIF orientation still to be applied.

    What a person may want to know is appended to `findings`. Raises whatever Pillow raises on broken data,
    and UnreadablePhoto on sizes and depths that are refused.
    """
    _require_strict_pillow()
    module, plugin = PLUGINS[format_]
    image: Image = getattr(import_module(f"PIL.{module}"), plugin)(io.BytesIO(data))
    check_size(*image.size)
    tags: dict[int, Any] = dict(getattr(image, "tag_v2", {}))
    if getattr(image, "is_animated", False):
        findings.append("first of several frames")
    image.load()
    if format_ == "PNG" and _may_lack_rows(image) and not has_all_rows(data):
        raise unreadable_data("truncated PNG data (rows are missing)")
    bits = _channel_bits(data, format_, tags)
    if bits > 8:
        findings.append(f"{bits} bits a channel scaled to 8")
    if image.mode.startswith("I;16"):
        pixels = _from_deep_grey(image, bits, inverted=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO)
    elif image.mode in ("I", "F"):
        raise unreadable_data("32-bit or floating-point pixels, whose scale is unknown")
    else:
        pixels = np.asarray(_to_rgb(image, findings))
    return pixels, _orientation(image, tags, findings)


def _may_lack_rows(image: "Image") -> bool:
    """Return whether the last rows are zeros, as rows that never came are; others need no counting."""
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


def _from_deep_grey(image: "Image", bits: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Keep the highest 8 of 9 to 16 bits, as the decoders of deep RGB take them."""
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    if inverted:
        grey = 255 - grey
    return np.repeat(grey[:, :, None], 3, axis=2)


def _channel_bits(data: bytes, format_: str, tags: dict[int, Any]) -> int:
    """Return the bits of the deepest channel; Pillow drops the lower ones of RGB without a word."""
    if format_ == "PNG":
        return data[24]
    return int(max(tags.get(BITS_PER_SAMPLE, (8,))))


def _orientation(image: "Image", tags: dict[int, Any], findings: list[str]) -> int:
    """Return the EXIF orientation to apply; Pillow has turned TIFF, and only TIFF, upright by itself."""
    turned = tags.get(ORIENTATION, 1)
    if turned in range(2, 9):
        findings.append(f"turned upright (EXIF orientation {turned})")
    return exif_orientation(image.info.get("exif", b""))


def _require_strict_pillow() -> None:
    """Refuse to work where the process told Pillow to let truncated photos pass as grey ones."""
    from PIL import ImageFile

    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError(
            "Pillow refuses truncated photos while kiyome reads.",
            came="PIL.ImageFile.LOAD_TRUNCATED_IMAGES = True",
            remedy="Set it to False before reading photos.",
        )
