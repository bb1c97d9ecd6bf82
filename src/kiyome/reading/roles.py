"""Columns beside ids and labels: groups, folds and weights. N rows.

They count when an option names them, when kiyome wrote the file, or when name and content leave no doubt;
then a note says so, as it does for a column that was passed over.
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import UNKNOWN, Texts
from kiyome.reading.columns import Records
from kiyome.reading.splits import tells_split

GROUP_COLUMNS = ("group", "patient_id", "patient id", "patientid")
FOLD_LIKE = ("kfold", "folds", "fold_id", "cv_fold")
"""Names that may mean folds, or something else."""
NEVER_HELD_OUT = -1
"""The fold of a row that no fold holds out, as in scikit-learn's `PredefinedSplit`."""
FEW_GROUPS, LARGE_GROUP = 10, 5
"""Fewer groups, of more rows each, are more likely arms of a trial than patients."""
ID_LIKE = re.compile(
    r"(?i)(^|[^a-z])(id|uid|no|nr)$|[a-z]I[dD]$|patient|lesion|subject|person|animal|plant|case|study|series"
    r"|session|video|specimen|scan"
)


def groups_of(records: Records, wanted: str | None, notes: list[str]) -> Texts | None:
    """Return the group of each row, whose rows stay in one fold; None where no column certainly has them."""
    if wanted is not None:
        column = records.require(wanted, (), option="--group-column")
    elif (found := records.pick(GROUP_COLUMNS)) is None:
        return None
    else:
        column = found
    texts = records.texts(column)
    if wanted is None and not records.is_ours:
        num_groups = len(set(texts) - {""})
        if are_few(num_groups, len(texts)):
            notes.append(
                f"Column {column!r} was not used: {num_groups} values for {len(texts):,} rows. To keep rows"
                f" of one value in one fold, add --group-column {_quoted(column)}."
            )
            return None
        notes.append(f"Rows of one {column!r} stay in one fold; --group-column names another column.")
    return np.array(texts, dtype=object)


def are_few(num_groups: int, num_rows: int) -> bool:
    """Return whether groups are so few and large that they are probably no patients."""
    return num_groups < FEW_GROUPS and num_rows > LARGE_GROUP * num_groups


def note_on_ids(records: Records, used: Iterable[str], labels: list[str]) -> list[str]:
    """Return a note on a column of ids that repeat within classes, such as those of lesions or patients."""
    for column in records.columns:
        if column in used or column in records.nested or not ID_LIKE.search(column):
            continue
        texts = records.columns[column]
        num_values = len(set(texts) - {""})
        if not FEW_GROUPS <= num_values <= 0.95 * len(texts):
            continue
        pairs = len({pair for pair in zip(texts, labels, strict=True) if pair[0]})
        crosses = "" if pairs > num_values else " and never crosses classes"
        note = (
            f"Column {column!r} repeats ({num_values:,} values in {len(texts):,} rows){crosses}. If rows of"
            f" one value show the same thing, keep them in one fold with --group-column {_quoted(column)}."
        )
        return [note]
    return []


def _quoted(column: str) -> str:
    return column if re.fullmatch(r"\w+", column) else repr(column)


def folds_of(records: Records, notes: list[str] | None = None) -> NDArray[np.int16] | None:
    """Return the fold of each row, from the column `fold`; -1 for a row that no fold holds out.

    A stranger's folds are numbered again from 0, in their order; None where there is none.
    """
    if "fold" in records.columns and tells_split(records, "fold"):
        return None
    folds = _numbers(
        records, "fold", np.int16, "folds that are not whole numbers from 0", lowest=NEVER_HELD_OUT
    )
    if folds is None and notes is not None and (unused := records.pick(FOLD_LIKE)):
        notes.append(f"Column {unused!r} was not used: new folds are made. If it holds folds, name it fold.")
    if folds is None or records.is_ours:
        return folds
    found = np.unique(folds[folds >= 0])
    if not len(found):
        return None
    if notes is not None:
        notes.append(f"The {len(found)} folds are those of column 'fold'; no other split is made.")
    return np.where(folds < 0, UNKNOWN, np.searchsorted(found, folds)).astype(np.int16)


def weights_of(records: Records, wanted: str | None, notes: list[str]) -> NDArray[np.float32] | None:
    """Return the weight of each row in training; None where no column certainly holds weights."""
    if wanted is not None:
        records.require(wanted, (), option="--weight-column")
        return _numbers(records, wanted, np.float32, "weights that are not numbers from 0")
    column = records.pick(("weight",))
    if column is None:
        return None
    if not records.is_ours:
        values = records.numbers(column)
        if not ((values >= 0) & (values <= 1)).all():
            notes.append(
                f"Column {column!r} was not used: not all its values are between 0 and 1. If it weighs rows"
                f" in training, add --weight-column {_quoted(column)}."
            )
            return None
        notes.append(f"Rows are weighted by column {column!r}; --weight-column names another column.")
    return _numbers(records, column, np.float32, "weights that are not numbers from 0")


def note_on_true_labels(records: Records, column: str | None) -> list[str]:
    """Return a note that a column is taken for right labels."""
    if column is None or records.is_ours:
        return []
    known = sum(map(bool, records.columns[column]))
    return [f"Column {column!r} is taken for right labels of {known:,} rows, which only `evaluate` uses."]


def _numbers(records: Records, name: str, kind: type, faults: str, *, lowest: int = 0) -> NDArray[Any] | None:
    """Return an optional column of numbers; they must be whole if `kind` is an integer type."""
    column = name if name in records.columns else records.pick((name,))
    if column is None:
        return None
    values = records.numbers(column)
    if np.issubdtype(kind, np.integer) and np.isnan(values).any():
        empty = np.array([not text for text in records.texts(column)])
        values = np.where(empty, lowest, values)
    high = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else np.finfo(kind).max
    good = (values >= lowest) & (values <= high)
    if np.issubdtype(kind, np.integer):
        good &= values == np.floor(values)
    if not good.all():
        records.fail(
            faults,
            np.flatnonzero(~good).tolist(),
            describe=lambda row: repr(records.texts(column)[row]),
            remedy=f"Correct these, or rename the column {column!r} if it means something else.",
        )
    return values.astype(kind)
