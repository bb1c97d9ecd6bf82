"""Cells that a spreadsheet would run as a formula, and how lists for people are made safe from them.

A cell that begins as a formula gets an apostrophe before it (OWASP, CSV injection), and one that begins with
apostrophes and then as a formula gets one more, so that every cell leads back to one text.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import Table

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms of the first."""


def safe_cell(text: str) -> str:
    """Return the text as a spreadsheet shows it and never runs it; `text_of_safe_cell` leads back.

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
    """Whether each text begins so; None does not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pattern = f"^[{re.escape(''.join(starts))}]"
    found = pc.match_substring_regex(pa.array(texts, pa.string()), pattern=pattern)
    begin: NDArray[np.bool_] = found.fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    return begin


def text_of_safe_cell(cell: str) -> str:
    """Return the text that `safe_cell` turned into this cell.

    >>> text_of_safe_cell("'=HYPERLINK(1)"), text_of_safe_cell("'tis.jpg")
    ('=HYPERLINK(1)', "'tis.jpg")
    """
    is_marked = cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS)
    return cell[1:] if is_marked else cell


def texts_of_cells(cells: list[str]) -> list[str]:
    """Return the texts of a column of a CSV; a column with a bare formula was not made safe, and stays.

    An exact column in which each formula has an apostrophe of its own cannot be told from a safe one.

    >>> texts_of_cells(["'=1.jpg", "2.jpg"]), texts_of_cells(["'=1.jpg", "=1.jpg"])
    (['=1.jpg', '2.jpg'], ["'=1.jpg", '=1.jpg'])
    """
    is_safe = any(cell.startswith("'") for cell in cells) and not any(map(runs_in_spreadsheet, cells))
    return [text_of_safe_cell(cell) for cell in cells] if is_safe else cells


def runs_in_spreadsheet(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula.

    >>> runs_in_spreadsheet("@SUM(1+1)"), runs_in_spreadsheet("leaf.jpg")
    (True, False)
    """
    return cell.startswith(FORMULA_STARTS)


def notes_on_formulas(table: Table, files: Sequence[str]) -> list[str]:
    """Return what to tell of exact files of a table with cells that a spreadsheet would run."""
    texts = np.array([*table.image_ids, *table.class_names], dtype=object)
    cells = texts[_begin_with(texts, FORMULA_STARTS)]
    if not len(cells):
        return []
    told = f"{len(cells):,} ids and class names, such as {cells[0]!r}, would run as formulas in a spreadsheet"
    return [f"{told}: do not open {' or '.join(files)} in one; the other lists are safe"]
