"""Out-of-fold predictions in a stranger's array or table."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import Predictions, check_distributions
from kiyome.artifacts.storage import (
    is_machine_failure,
    map_array,
)
from kiyome.artifacts.table import Table
from kiyome.errors import InputError
from kiyome.reading.columns import SHOWN, Records, some
from kiyome.reading.files import read_records
from kiyome.reading.read_table import ID_COLUMNS, fold_column

Numbers = NDArray[np.floating]


def read_out_of_fold(path: str | Path, table: Table) -> tuple[Table, Predictions]:
    r"""Return the table with the folds of a file of predictions, and the predictions of its rows.

    A CSV or Parquet file has an id column, and for each class a column named like it (`healthy`, `p_healthy`)
    or its number (`0`, `p_0`); a column `fold` gives the folds of the predictions; other columns are not
    read. Without ids, and in a `.npy` array (N, K), rows are in the table's order. InputError where ids,
    shape, classes or folds do not fit the table, or a row is not a distribution.

    >>> import tempfile
    >>> table = Table(root=Path("."), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1],
    ...               class_names=("healthy", "blight"))
    >>> path = Path(tempfile.mkdtemp()) / "oof.csv"
    >>> _ = path.write_text("image_id,fold,p_0,p_1\nb,0,0.25,0.75\na,1,0.5,0.5\n")
    >>> with_folds, predictions = read_out_of_fold(path, table)
    >>> with_folds.folds.tolist(), predictions.pred_probs.tolist()
    ([1, 0], [[0.5, 0.5], [0.25, 0.75]])
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file of predictions at {path}.", remedy="Check the path.")
    is_array = path.suffix.lower() == ".npy"
    probs, folds = (_array_file(path, table), None) if is_array else _table_file(path, table)
    predictions = Predictions(
        pred_probs=probs.astype(np.float32),
        kind="out_of_fold",
        source=path.name,
        table_fingerprint=table.fingerprint,
    )
    if folds is None:
        return table, predictions
    _check_same_folds(folds, table, path.name)
    return table.with_folds(folds), predictions


def _check_same_folds(folds: NDArray[np.int16], table: Table, name: str) -> None:
    if table.folds is None or not (other := folds != table.folds).any():
        return
    row = int(other.argmax())
    raise InputError(
        f"{other.sum():,} predictions were made on other folds than the table's, such as"
        f" {table.image_ids[row]!r}: {folds[row]} in {name}, {table.folds[row]} in the table.",
        remedy="Remove the column `fold` that is not of these predictions.",
    )


def _array_file(path: Path, table: Table) -> Numbers:
    try:
        probs: Numbers = map_array(path)
    except (OSError, ValueError) as error:
        if is_machine_failure(error):
            raise
        fault = f"is {error}" if isinstance(error, ValueError) else f"cannot be read: {error}"
        raise InputError(f"{path.name} {fault}.", remedy="Save it with np.save.") from error
    if probs.shape != (len(table), table.num_classes) or probs.dtype.kind != "f":
        raise InputError(
            f"{path.name} has shape {probs.shape} and type {probs.dtype}.",
            expected=f"Expected floats, {len(table)} rows and {table.num_classes} columns like the table.",
            remedy="Rows of .npy are matched by position; with ids use CSV or Parquet.",
        )
    if probs.dtype == np.float16:  # half precision sums to one only roughly
        wide = probs.astype(np.float32)
        sums = wide.sum(axis=1, keepdims=True)
        probs = np.where(np.abs(sums - 1) < 1e-2, wide / sums, wide)
    check_distributions(probs, path.name)
    return probs


def _table_file(path: Path, table: Table) -> tuple[Numbers, NDArray[np.int16] | None]:
    records = read_records(path)
    columns = _class_columns(records, table.class_names)
    ids = _id_column(records, columns, table)
    if ids is None and len(records) != len(table):
        raise InputError(
            f"{path.name} has {len(records)} rows and no id column among"
            f" {', '.join(map(repr, records.columns))}.",
            expected=f"Without ids, expected {len(table)} rows in the table's order.",
            remedy="Add the column image_id.",
        )
    rows = np.arange(len(table)) if ids is None else _rows_by_id(records, records.texts(ids), table)
    probs = np.stack([records.numbers(column) for column in columns], axis=1)
    check_distributions(probs, path.name, name_of_row=records.location)
    folds = None if "fold" in columns else fold_column(records)
    return probs[rows], None if folds is None else folds[rows]


def _id_column(records: Records, class_columns: Sequence[str], table: Table) -> str | None:
    """Return a column with the name of one, or else one whose cells differ and include an id of the table."""
    others = [name for name in records.columns if name not in class_columns and name not in records.nested]
    known = records.pick([name for name in ID_COLUMNS if name in map(str.lower, others)])
    if known is not None:
        return known
    ids = set(table.image_ids)
    cells = {name: set(records.columns[name]) for name in others}
    return next((name for name, c in cells.items() if len(c) == len(records) and not ids.isdisjoint(c)), None)


def _class_columns(records: Records, names: Sequence[str]) -> list[str]:
    """Return the file's columns in class order, by the first naming scheme that has them all."""
    numbers = [str(label) for label in range(len(names))]
    schemes = [list(names), [f"p_{name}" for name in names], numbers, [f"p_{number}" for number in numbers]]
    fitting = [scheme for scheme in schemes if records.columns.keys() >= set(scheme)]
    known = fitting[0] if fitting else []
    if not fitting or _further_classes(records, known):
        expected = ", ".join(schemes[1][:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        raise InputError(
            f"{records.source.name} does not have one column for each of {len(names)} classes, but columns"
            f" {', '.join(map(repr, records.columns))}.",
            expected=f"Expected {expected}.",
            remedy="Name them by class or by number, and classes without photos with --class-map.",
        )
    return known


def _further_classes(records: Records, known: Sequence[str]) -> bool:
    """Whether another column is named by the same scheme, as `p_5` beside `p_0` to `p_4`."""
    others = [column for column in records.columns if column not in known]
    if all(column.startswith("p_") for column in known):
        return any(column.startswith("p_") for column in others)
    return all(column.isdecimal() for column in known) and any(column.isdecimal() for column in others)


def _rows_by_id(records: Records, ids: Sequence[str], table: Table) -> NDArray[np.intp]:
    """Return the row in the file of each row of the table."""
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    twice = (
        [image_id for image_id, count in Counter(ids).items() if count > 1] if len(row_of) < len(ids) else []
    )
    missing = [image_id for image_id in table.image_ids if image_id not in row_of]
    unknown = sorted(row_of.keys() - set(table.image_ids))
    problems = {"more than once": twice, "without a row": missing, "not in the table": unknown}
    if any(problems.values()):
        found = [
            f"{len(these)} ids {problem} ({some(these)})" for problem, these in problems.items() if these
        ]
        raise InputError(
            f"The ids of {records.source.name} do not match the table: {'; '.join(found)}.",
            remedy="Give predictions for just these photos, with ids written as in the table.",
        )
    return np.array([row_of[image_id] for image_id in table.image_ids], dtype=np.intp)
