"""What a photo may be at most, and the refusals that say so."""

from kiyome.errors import UnreadablePhoto

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 110_000_000
"""Photos of 108-megapixel cameras pass; the pixels of one photo take at most 330 MB."""
MAX_SCAN_PIXELS = 20 * MAX_PIXELS
"""Pixels times scans of a progressive JPEG: bounds the time that one file can take."""


def unreadable_file(came: str) -> UnreadablePhoto:
    """Return the error for a path whose bytes cannot be had."""
    return UnreadablePhoto(
        "A photo is a regular file that may be read.",
        came=came,
        remedy="Put the photo back, or leave its row out.",
    )


def unreadable_data(came: str) -> UnreadablePhoto:
    """Return the error for bytes that are not one whole photo."""
    return UnreadablePhoto(
        f"A photo is one whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file.",
        came=came,
        remedy="Fetch or export the photo again, or leave its row out.",
    )


def check_size(width: int, height: int, *, num_scans: int = 1) -> None:
    """Refuse a photo whose header promises more pixels, or more work, than one photo may take."""
    work = width * height * num_scans
    if width * height > MAX_PIXELS or work > MAX_SCAN_PIXELS:
        scans = f" in {num_scans} scans" if num_scans > 1 else ""
        raise UnreadablePhoto(
            f"A photo has at most {MAX_PIXELS // 10**6} million pixels in a few scans.",
            came=f"{width} x {height} pixels{scans}",
            remedy="Shrink the photo, or leave its row out.",
        )
