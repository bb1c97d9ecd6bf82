"""Cells that a spreadsheet would run as a formula, and how lists for people are made safe from them.

A cell that begins as a formula gets an apostrophe before it (OWASP, CSV injection), and one that begins with
apostrophes and then as a formula gets one more, so that every cell leads back to one text.
"""

from collections.abc import Sequence

from kiyome.artifacts.table import Table

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the full-width forms of the first."""


def safe_cell(text: str) -> str:
    """Return the text as a spreadsheet shows it and never runs it; `text_of_safe_cell` leads back.

    >>> safe_cell("=HYPERLINK(1)"), safe_cell("'=HYPERLINK(1)"), safe_cell("cat/1.jpg")
    ("'=HYPERLINK(1)", "''=HYPERLINK(1)", 'cat/1.jpg')
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


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
    cells = [text for text in (*table.image_ids, *table.class_names) if runs_in_spreadsheet(text)]
    if not cells:
        return []
    told = f"{len(cells):,} ids and class names, such as {cells[0]!r}, would run as formulas in a spreadsheet"
    return [f"{told}: do not open {' or '.join(files)} in one; the other lists are safe"]
