"""Text for file names that are not text: a reversible escape.

A file name is bytes, and not all of them are UTF-8. Such a name breaks databases, JSON and Parquet, so
image ids carry an escaped form: each byte that is not UTF-8 becomes `%XX`, and a percent sign that could
be read as such an escape becomes `%25`. Every other name stays as it is, `100%.png` among them.
"""

import re

_HEX_PAIR = re.compile(rb"%([0-9A-Fa-f]{2})")
_AMBIGUOUS_PERCENT = re.compile(r"%(?=[0-9A-Fa-f]{2})")


def text_of_path(path: str) -> str:
    r"""The text that stands for a path in ids, CSV, JSON and Parquet; `path_of_text` leads back.

    >>> text_of_path("leaves/caf\udce9.png"), text_of_path("100%.png"), text_of_path("a%41.png")
    ('leaves/caf%E9.png', '100%.png', 'a%2541.png')
    """
    escaped = _AMBIGUOUS_PERCENT.sub("%25", path)
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in escaped)


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
