"""Reversible escapes: for file names that are not UTF-8, and for cells that a spreadsheet would run.

A file name is bytes, and not all are UTF-8. Such a name breaks databases, JSON and Parquet, so image ids
carry an escaped form: each byte that is not UTF-8 becomes `%XX`, and a percent sign that could be read as
such an escape becomes `%25`. Every other name stays as it is, `100%.png` among them.

A cell that begins like a formula gets an apostrophe before it (OWASP, CSV injection), and one that begins
with apostrophes and then like a formula gets one more, so that every cell leads back to one text.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from kiyome.artifacts.table import Table

_HEX_PAIR = re.compile(rb"%([0-9A-Fa-f]{2})")
_AMBIGUOUS_PERCENT = re.compile(r"%(?=[0-9A-Fa-f]{2})")


def text_of_path(path: str) -> str:
    r"""Return the text for a path in ids, CSV, JSON and Parquet; `path_of_text` is the inverse.

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
    r"""Whether a text can be written as UTF-8; file names that are not text hold lone surrogates.

    >>> is_unicode("leaf \u8449"), is_unicode("caf\udce9")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_of_text(text: str) -> str:
    r"""Return the path, as Python opens it, whose `text_of_path` is this text.

    >>> path_of_text("leaves/caf%E9.png")
    'leaves/caf\udce9.png'
    """
    if "%" not in text:
        return text
    raw = _HEX_PAIR.sub(lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8", "surrogateescape")


def stays_inside(path: str) -> bool:
    """Whether a relative path, by its text alone, cannot lead out of the folder that it is joined to.

    >>> stays_inside("cat/1.jpg"), stays_inside("../1.jpg"), stays_inside("/etc/passwd")
    (True, False, False)
    """
    return not path.startswith("/") and (".." not in path or ".." not in path.split("/"))


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms of the first."""


def safe_cell(text: str) -> str:
    """Return a cell that a spreadsheet shows and never runs; `text_of_safe_cell` is the inverse.

    >>> safe_cell("=HYPERLINK(1)"), safe_cell("'=HYPERLINK(1)"), safe_cell("cat/1.jpg")
    ("'=HYPERLINK(1)", "''=HYPERLINK(1)", 'cat/1.jpg')
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


def safe_cells(texts: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return `safe_cell` of each text, None as it is."""
    changed = np.flatnonzero(_begin_with(texts, (*FORMULA_STARTS, "'")))
    cells = texts.copy()
    cells[changed] = [safe_cell(text) for text in texts[changed]]
    return cells


def _begin_with(texts: NDArray[np.object_], starts: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each text begins with one of these characters; None does not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pattern = f"^[{re.escape(''.join(starts))}]"
    found = pc.match_substring_regex(pa.array(texts, pa.string()), pattern=pattern)
    begin: NDArray[np.bool_] = found.fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    return begin


def text_of_safe_cell(cell: str) -> str:
    """Return the text whose `safe_cell` is this cell.

    >>> text_of_safe_cell("'=HYPERLINK(1)"), text_of_safe_cell("'tis.jpg")
    ('=HYPERLINK(1)', "'tis.jpg")
    """
    is_marked = cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS)
    return cell[1:] if is_marked else cell


def texts_of_cells(cells: list[str]) -> list[str]:
    """Return the texts of a column of a CSV; a column with a bare formula was not escaped, and stays.

    An exact column in which each formula has an apostrophe of its own looks like an escaped one.

    >>> texts_of_cells(["'=1.jpg", "2.jpg"]), texts_of_cells(["'=1.jpg", "=1.jpg"])
    (['=1.jpg', '2.jpg'], ["'=1.jpg", '=1.jpg'])
    """
    is_safe = any(cell.startswith("'") for cell in cells) and not any(map(runs_in_spreadsheet, cells))
    return [text_of_safe_cell(cell) for cell in cells] if is_safe else cells


def runs_in_spreadsheet(cell: str) -> bool:
    """Whether a spreadsheet may run a cell as a formula.

    >>> runs_in_spreadsheet("@SUM(1+1)"), runs_in_spreadsheet("leaf.jpg")
    (True, False)
    """
    return cell.startswith(FORMULA_STARTS)


def formula_warnings(table: "Table", files: Sequence[str]) -> list[str]:
    """Return a warning for exact files of a table with cells that a spreadsheet would run."""
    texts = np.array([*table.image_ids, *table.class_names], dtype=object)
    cells = texts[_begin_with(texts, FORMULA_STARTS)]
    if not len(cells):
        return []
    cause = (
        f"{len(cells):,} ids and class names, such as {cells[0]!r}, would run as formulas in a spreadsheet"
    )
    return [f"{cause}: do not open {' or '.join(files)} in one; the other lists are safe"]
