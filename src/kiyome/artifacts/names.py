"""Text for file names that are not text: a reversible escape.

A file name is bytes, and not all of them are UTF-8. Such a name breaks databases, JSON and Parquet, so
image ids carry an escaped form: each byte that is not UTF-8 becomes `%XX`, and a percent sign that could
be read as such an escape becomes `%25`. Every other name stays as it is, `100%.png` among them.
"""

import re

import numpy as np
from numpy.typing import NDArray

_HEX_PAIR = re.compile(rb"%([0-9A-Fa-f]{2})")
_AMBIGUOUS_PERCENT = re.compile(r"%(?=[0-9A-Fa-f]{2})")


def text_of_path(path: str) -> str:
    r"""The text that stands for a path in ids, CSV, JSON and Parquet; `path_of_text` leads back.

    >>> text_of_path("leaves/caf\udce9.png"), text_of_path("100%.png"), text_of_path("a%41.png")
    ('leaves/caf%E9.png', '100%.png', 'a%2541.png')
    """
    escaped = _AMBIGUOUS_PERCENT.sub("%25", path)
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in escaped)


def texts_of_paths(paths: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return `text_of_path` of each path; at once where none needs an escape."""
    joined = "".join(paths)
    if "%" not in joined and is_unicode(joined):
        return paths
    return np.array([text_of_path(path) for path in paths], dtype=object)


def paths_of_texts(texts: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return `path_of_text` of each text; at once where none is escaped."""
    if "%" not in "".join(texts):
        return texts
    return np.array([path_of_text(text) for text in texts], dtype=object)


def is_unicode(text: str) -> bool:
    r"""Whether a text can be written as UTF-8: file names that are no text carry halves of characters.

    >>> is_unicode("leaf \u8449"), is_unicode("caf\udce9")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_of_text(text: str) -> str:
    r"""The path, as Python opens it, that `text_of_path` turned into this text.

    >>> path_of_text("leaves/caf%E9.png")
    'leaves/caf\udce9.png'
    """
    if "%" not in text:
        return text
    raw = _HEX_PAIR.sub(lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8", "surrogateescape")


def stays_inside(path: str) -> bool:
    """Whether a relative path, by its text alone, cannot lead out of the folder it is joined to.

    >>> stays_inside("cat/1.jpg"), stays_inside("../1.jpg"), stays_inside("/etc/passwd")
    (True, False, False)
    """
    return not path.startswith("/") and (".." not in path or ".." not in path.split("/"))
