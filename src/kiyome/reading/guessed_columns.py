"""Which columns hold ids and labels where no option names them: by their names, then by what is left."""

from collections.abc import Collection, Iterable

from kiyome.reading.columns import Records
from kiyome.reading.label_forms import LABEL_COLUMNS
from kiyome.reading.photos import has_photo_suffix
from kiyome.reading.roles import GROUP_COLUMNS
from kiyome.reading.splits import SHOWN_CELLS, tells_split
from kiyome.reading.table_photos import ID_COLUMNS, PATH_COLUMNS

OTHERS = ("true_label", "fold", "weight", "split", "unnamed: 0", "index")


def columns_but_classes(records: Records, id_column: str | None) -> list[str]:
    """Return the columns of known meaning, none of which is a column of 0 and 1 for a class."""
    known = {*ID_COLUMNS, *PATH_COLUMNS, *GROUP_COLUMNS, *LABEL_COLUMNS, *OTHERS}
    return [
        name
        for name in records.columns
        if name.lower() in known or name == id_column or tells_split(records, name)
    ]


def guessed_id_column(records: Records, label_column: str | None) -> str | None:
    """Return the column of ids: the first with a usual name, or where its cells repeat, one of photos.

    Without a usual name, the only column whose cells end like photos; None where there is none.
    """
    columns = [name for name in records.columns if name not in {label_column, *records.nested}]
    usual = [name for id_name in ID_COLUMNS for name in columns if name.lower() == id_name]
    if usual and (len(usual) == 1 or _num_values(records, usual[0]) == len(records)):
        return usual[0]
    photos = [name for name in usual or columns if _names_photos(records.columns[name][:SHOWN_CELLS])]
    return photos[0] if len(photos) == 1 else next(iter(usual), None)


def guessed_label_column(records: Records, id_column: str | None, notes: list[str]) -> str | None:
    """Return the only column of unknown meaning, if its values repeat as classes do; a note says so."""
    known = {*columns_but_classes(records, id_column), *records.nested}
    known -= {name for name in known if name.lower() in ID_COLUMNS and name != id_column}
    left = [name for name in records.columns if name not in known]
    if records.pick(LABEL_COLUMNS) or len(left) != 1:
        return None
    if not 2 <= _num_values(records, left[0]) <= len(records) / 2:
        return None
    notes.append(
        f"Labels are those of column {left[0]!r}, the only one left; --label-column names another column."
    )
    return left[0]


def column_of_classes(records: Records, id_column: str | None, classes: Collection[str]) -> str | None:
    """Return the column whose cells are classes or empty: of a usual name, else the only such column."""
    names = [name for name in records.columns if name not in {id_column, *records.nested}]
    fitting = [name for name in names if set() < set(records.columns[name]) - {""} <= set(classes)]
    usual = [name for name in fitting if name.lower() in LABEL_COLUMNS]
    return fitting[0] if len(fitting) == 1 else next(iter(usual), None)


def _names_photos(cells: Iterable[str]) -> bool:
    return all(has_photo_suffix(cell.strip()) for cell in cells)


def _num_values(records: Records, column: str) -> int:
    return len(set(records.texts(column)) - {""})
