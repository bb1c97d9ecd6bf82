"""Values to HTML: safe text, thumbnails, and pages that ask the network for nothing and run no script."""

import base64
import hashlib
import io
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import is_machine_failure
from kiyome.cores import num_cores
from kiyome.errors import UnreadablePhoto
from kiyome.progress import Progress, no_progress

# Controls, invisible formats, lone surrogates, private use, line and paragraph separators.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Persian, Hindi and others cannot be written without these two joiners.
JOINERS = frozenset("\u200c\u200d")


def shown(text: object, limit: int = 80) -> str:
    r"""Return text on one line with every invisible character spelled out, shortened in the middle.

    >>> shown("cat\nexe.\u202egpj")
    'cat\\nexe.\\u202egpj'
    >>> shown("a" * 50 + ".jpg", limit=20)
    'aaaaaaaaaaaaa…aa.jpg'
    """
    whole = str(text)
    if len(whole) > limit:
        tail = limit * 3 // 10
        whole = f"{whole[: limit - tail - 1]}…{whole[-tail:]}"
    return "".join(map(_spelled_out, whole)) or "(empty)"


def _spelled_out(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN_CATEGORIES or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def count(number: float) -> str:
    """Return a whole number with separated thousands.

    >>> count(21397), count(12.6)
    ('21,397', '13')
    """
    return f"{round(number):,}"


def percent(share: float) -> str:
    r"""Return a proportion in percent, with a space that does not break.

    >>> percent(0.0716), percent(0.0002), percent(0.0)
    ('7.2\xa0%', '<0.1\xa0%', '0.0\xa0%')
    """
    return "<0.1\u00a0%" if 0 < share < 0.0005 else f"{100 * share:.1f}\u00a0%"


def chance(probability: float) -> str:
    r"""Return a probability in whole percent, and never certain.

    >>> chance(0.347), chance(0.9996), chance(0.001)
    ('35\xa0%', '>99\xa0%', '<1\xa0%')
    """
    percent = "<1" if probability < 0.005 else ">99" if probability > 0.995 else f"{100 * probability:.0f}"
    return f"{percent}\u00a0%"


def score(quality: float) -> str:
    """Return a score from 0 to 1 with three digits.

    >>> score(0.41249), score(0.00001), score(0.0)
    ('0.412', '<0.001', '0.000')
    """
    return "<0.001" if 0 < quality < 0.0005 else f"{quality:.3f}"


FILTERS = {each.__name__: each for each in (shown, chance, count, percent, score)}
"""Functions that templates may apply to a value."""


def render_page(name: str, *, style: str = "page", **values: object) -> str:
    """Return the template `name`.html with its values, and the sheet `style`.css."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("kiyome.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    css = resources.files("kiyome.report").joinpath("templates", f"{style}.css").read_text("utf-8")
    return environment.get_template(f"{name}.html").render(
        **values,
        css=Markup(css),  # noqa: S704 - our own file, byte for byte as hashed
        policy=content_security_policy(css),
    )


def content_security_policy(css: str) -> str:
    """Return the policy that allows embedded images and this style sheet, and nothing else.

    >>> content_security_policy("p { color: red }").split("; ")[:2]
    ["default-src 'none'", 'img-src data:']
    """
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


Photo = Callable[[int], NDArray[np.uint8]]
"""Returns the pixels of a row's photo, uint8 (H, W, 3); called from several threads at once."""

SIDE = 160
MAX_BYTES = 12_000
QUALITIES = (82, 64, 40, 15)


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """Small copy of a photo: its size in pixels and its JPEG as a data URI."""

    width: int
    height: int
    uri: str


def make_thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """Return a copy of the whole photo that fits in 160 x 160 pixels and in 12,000 bytes.

    Small photos keep their size and full color; large ones lose detail until they fit.

    >>> make_thumbnail(np.zeros((300, 600, 3), np.uint8)).height
    80
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    tiny = max(image.size) <= SIDE // 2
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    jpeg = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, subsampling=0 if tiny else 2, optimize=True)
        jpeg = buffer.getvalue()
        if len(jpeg) <= MAX_BYTES:
            break
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    return Thumbnail(width=image.width, height=image.height, uri=uri)


def make_thumbnails(
    rows: Sequence[int], photo: Photo, *, on_progress: Progress = no_progress
) -> dict[int, Thumbnail]:
    """Return row -> thumbnail in the order of `rows`; a photo that can no longer be read is left out.

    Threads decode, so that no more photos are in memory at once than there are threads.
    """

    def one(row: int) -> Thumbnail | None:
        try:
            return make_thumbnail(photo(row))
        except (UnreadablePhoto, OSError) as error:
            if is_machine_failure(error):
                raise
            return None

    made: dict[int, Thumbnail] = {}
    with ThreadPoolExecutor(max_workers=min(8, num_cores())) as pool:
        for done, (row, thumbnail) in enumerate(zip(rows, pool.map(one, rows), strict=True), start=1):
            if thumbnail is not None:
                made[row] = thumbnail
            on_progress("report", done, len(rows))
    return made
