"""Out-of-fold predictions as a stranger's array or table holds them. N rows, K classes.

    file ─► columns of the classes ─► numbers ─► rows by id (or by position) ─► looked at twice ─► Predictions

Whatever is done to fit them to the table (rows averaged, left out or scaled) is counted in a note.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import SUM_TOLERANCE, Predictions, check_distributions
from kiyome.artifacts.storage import is_machine_failure, map_array
from kiyome.artifacts.table import NO_FOLD, TRAIN, SkippedFile, Table
from kiyome.errors import InputError, choose
from kiyome.reading.columns import Records, some
from kiyome.reading.files import read_records
from kiyome.reading.names import match_names, without_suffixes
from kiyome.reading.npz import npz_arrays
from kiyome.reading.plausible import check_class_order, check_matched_by_id, check_not_constant
from kiyome.reading.roles import folds_of
from kiyome.reading.table_photos import ID_COLUMNS

Numbers = NDArray[np.floating]
Scale = Literal["probabilities", "percent", "logits"]
SCALES = ("probabilities", "percent", "logits")
LEAST_MATCHED = 0.1
"""Share of the rows of file or table: with fewer in common, they belong to different data."""
HALF_PRECISION = 1e-2
"""How far a sum of half precision may be from one."""
MOST_DECIMALS = 4
"""Numbers with more digits are not taken for rounded ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadPredictions:
    """Predictions, the rows of the table that they are for, and what was done to fit the two together."""

    table: Table
    """The rows that have a prediction, with the folds of the file."""
    predictions: Predictions
    notes: tuple[str, ...]


def read_out_of_fold(path: str | Path, table: Table, *, scale: str = "probabilities") -> ReadPredictions:
    r"""Return the predictions in a file for the rows of a table.

    Parameters
    ----------
    path : str or Path
        CSV or Parquet: an id column, and for each class a column named by the class or its number, with the
        same text before or behind each (`healthy`, `p_healthy`, `class_0`, `0_prob`). Of two classes the one
        of the second is enough. The column `fold`, if there, says which folds they were made on; others, such
        as `label`, are not read. Without an id column, and in a `.npy` or `.npz` array (N, K), rows are in
        the order of the table. Several rows of one id are averaged; photos without a prediction are left out.
    table : Table
        What the predictions are for.
    scale : {"probabilities", "percent", "logits"}
        What the numbers are.

    Raises
    ------
    InputError
        When rows or classes cannot be matched, a row is no distribution, or the file and the table contradict
        each other: other folds, columns in another order, ids beside other rows.

    Examples
    --------
    >>> import tempfile
    >>> table = Table(root=Path("."), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1],
    ...               class_names=("healthy", "blight"))
    >>> path = Path(tempfile.mkdtemp()) / "oof.csv"
    >>> _ = path.write_text("image_id,fold,p_0,p_1\nb,0,0.25,0.75\na,1,0.5,0.5\n")
    >>> read = read_out_of_fold(path, table)
    >>> read.table.folds.tolist(), read.predictions.pred_probs.tolist()
    ([1, 0], [[0.5, 0.5], [0.25, 0.75]])
    """
    path = Path(path)
    choose("scale", scale, SCALES)
    if not path.is_file():
        raise InputError(f"There is no file of predictions at {path}.", remedy="Check the path.")
    if path.suffix.lower() in (".npy", ".npz"):
        numbers, rows, notes = _array_file(path, table)
        probs, scaled = _as_distributions(numbers, scale, path.name)
        notes += scaled
        is_whole = len(rows) == len(table)
        read = (
            _read(table, probs, path.name, notes)
            if is_whole
            else _placed(table, probs, rows, None, path.name, notes)
        )
    else:
        read = _table_file(path, table, scale)
    _look_twice(read, path.name)
    return read


def _read(table: Table, probs: Numbers, source: str, notes: Sequence[str]) -> ReadPredictions:
    predictions = Predictions(
        pred_probs=probs.astype(np.float32),
        kind="out_of_fold",
        source=source,
        table_fingerprint=table.fingerprint,
    )
    return ReadPredictions(table=table, predictions=predictions, notes=tuple(notes))


def _look_twice(read: ReadPredictions, source: str) -> None:
    """Raise where the labels contradict how the predictions were read."""
    probs, num_classes = read.predictions.pred_probs, read.table.num_classes
    check_not_constant(probs, source=source)
    known = read.table.is_labeled
    cells = probs.argmax(axis=1)[known] * num_classes + read.table.labels[known]
    counts = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)
    check_class_order(counts, read.table.class_names, source=source)


def _array_file(path: Path, table: Table) -> tuple[Numbers, NDArray[np.intp], list[str]]:
    """Return the numbers (M, K) of a file of an array, the mean of (R, M, K), their rows (M,), and notes.

    The rows are those of the table, or of the only split of that size, in the order of the table.
    """
    try:
        numbers: NDArray[np.floating] = _only_array(path) if path.suffix == ".npz" else map_array(path)
    except (OSError, ValueError) as error:
        if is_machine_failure(error):
            raise
        fault = f"is {error}" if isinstance(error, ValueError) else f"cannot be read: {error}"
        raise InputError(f"{path.name} {fault}.", remedy="Save it with np.save.") from error
    notes, rows = [], np.arange(len(table))
    num_rows = numbers.shape[-2] if numbers.ndim > 1 else numbers.size
    of_size = [name for name in table.splits_in_use if table.in_split(name).sum() == num_rows != len(table)]
    if len(of_size) == 1:
        rows = np.flatnonzero(table.in_split(of_size[0]))
        notes.append(f"The {num_rows:,} rows of {path.name} are read as those of {of_size[0]}, in order.")
    if numbers.ndim == 3 and numbers.shape[1:] == (len(rows), table.num_classes):
        notes.append(f"{path.name} holds {len(numbers)} predictions of each photo; their mean was taken.")
        numbers = numbers.mean(axis=0)
    if table.num_classes == 2 and numbers.shape in ((len(rows),), (len(rows), 1)):
        numbers = _both_classes(numbers.reshape(-1))
        notes.append(f"{path.name} was read as the probability of {table.class_names[1]!r}.")
    if numbers.shape != (len(rows), table.num_classes) or numbers.dtype.kind != "f":
        raise InputError(
            f"{path.name} has shape {numbers.shape} and type {numbers.dtype}.",
            expected=f"Expected floats, {len(table)} rows and {table.num_classes} columns like the table.",
            remedy="Rows of .npy are matched by position; with ids use CSV or Parquet.",
        )
    return numbers, rows, notes


def _only_array(path: Path) -> NDArray[np.floating]:
    arrays = npz_arrays(path)
    if len(arrays) != 1:
        raise InputError(
            f"{path.name} holds {len(arrays)} arrays: {some(list(arrays))}.",
            expected="Expected one array of predictions.",
            remedy="Save just that one, with np.save.",
        )
    return next(iter(arrays.values()))


def _both_classes(second: Numbers) -> Numbers:
    """Return (N, 2) probabilities from those (N,) of the second class."""
    return np.stack([1 - second, second], axis=1)


def _table_file(path: Path, table: Table, scale: str) -> ReadPredictions:
    records = read_records(path)
    columns = _class_columns(records, table.class_names)
    numbers: Numbers = np.stack([_numbers(records, column) for column in columns], axis=1)
    notes = []
    if len(columns) < table.num_classes:
        numbers = _both_classes(numbers[:, 0])
        notes.append(f"Column {columns[0]!r} was read as the probability of {table.class_names[1]!r}.")
    probs, scaled = _as_distributions(numbers, scale, path.name, records)
    folds = None if "fold" in columns else folds_of(records)
    ids = _id_column(records, columns, table)
    if ids is None:
        if len(records) != len(table):
            raise InputError(
                f"{path.name} has {len(records)} rows and no id column among"
                f" {', '.join(map(repr, records.columns))}.",
                expected=f"Without ids, expected {len(table)} rows in the table's order.",
                remedy="Add the column image_id.",
            )
        rows = np.arange(len(table))
    else:
        rows, matched = _rows_by_id(records, records.texts(ids), table)
        notes += matched
        if len(rows) == len(table):
            by_id, by_position = np.empty(len(table), np.intp), probs.argmax(axis=1)
            by_id[rows] = by_position
            labeled = table.is_labeled
            check_matched_by_id(table.labels[labeled], by_id[labeled], by_position[labeled], source=path.name)
    return _placed(table, probs, rows, folds, path.name, [*notes, *scaled])


def _placed(
    table: Table,
    probs: Numbers,
    rows: NDArray[np.intp],
    folds: NDArray[np.int16] | None,
    source: str,
    notes: list[str],
) -> ReadPredictions:
    """Return the prediction of each photo from those of `rows` (M,) in the table, -1 for none."""
    known = np.flatnonzero(rows >= 0)
    counts = np.bincount(rows[known], minlength=len(table))
    found, repeated = counts > 0, counts > 1
    first = np.zeros(len(table), np.intp)
    first[rows[known[::-1]]] = known[::-1]
    placed = probs[first]
    if repeated.any():
        notes.append(f"{repeated.sum():,} photos have several predictions in {source}; their mean was taken.")
        placed = np.zeros((len(table), table.num_classes))
        np.add.at(placed, rows[known], probs[known])
        placed /= np.maximum(counts, 1)[:, None]
    if folds is not None:
        of_train = known[table.in_split(TRAIN)[rows[known]]]
        if (folds[first[rows[of_train]]] != folds[of_train]).any():
            notes.append(f"The folds in {source} were left out: some photos are in several.")
        else:
            _check_same_folds(folds[first], found, table, source)
            in_fold = np.where(found, folds[first], 0)
            table = table.with_folds(np.where(table.in_split(TRAIN), in_fold, NO_FOLD))
    if found.all():
        return _read(table, placed, source, notes)
    missing = table.image_ids[~found].tolist()
    without = [SkippedFile(image_id, f"no prediction in {source}") for image_id in missing]
    table = replace(table, skipped=(*table.skipped, *without))
    notes.append(
        f"{len(missing):,} of {len(table):,} photos have no prediction in {source} and were left out:"
        f" {some(missing)}."
    )
    return _read(table.take(np.flatnonzero(found)), placed[found], source, notes)


def _check_same_folds(folds: NDArray[np.int16], found: NDArray[np.bool_], table: Table, name: str) -> None:
    if table.folds is None or not (other := found & table.in_split(TRAIN) & (folds != table.folds)).any():
        return
    row = int(other.argmax())
    raise InputError(
        f"{other.sum():,} predictions were made on other folds than the table's, such as"
        f" {table.image_ids[row]!r}: {folds[row]} in {name}, {table.folds[row]} in the table.",
        remedy="Remove the column `fold` that is not of these predictions.",
    )


def _numbers(records: Records, column: str) -> NDArray[np.float64]:
    """Return a column as numbers; a comma may be the decimal mark where no cell has a point."""
    numbers = records.numbers(column)
    if not np.isnan(numbers).any():
        return numbers
    texts = records.texts(column)
    if any("." in text for text in texts) or not any("," in text for text in texts):
        return numbers
    dotted = [text.strip().replace(",", ".") for text in texts]
    return np.array([float(text) if _NUMBER.fullmatch(text) else np.nan for text in dotted])


_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


def _as_distributions(
    numbers: Numbers, scale: str, source: str, records: Records | None = None
) -> tuple[Numbers, list[str]]:
    """Return rows that sum to one; a sum that only rounding explains is mended, with a note."""
    notes: list[str] = []
    if scale == "percent":
        numbers = numbers / 100
    if scale == "logits":
        shifted = np.asarray(numbers, np.float64)
        exponents = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        numbers = exponents / exponents.sum(axis=1, keepdims=True)
    sums = numbers.sum(axis=1, dtype=np.float64, keepdims=True)
    off = np.abs(sums - 1).max(initial=0)
    if numbers.dtype == np.float16 and off < HALF_PRECISION:
        numbers = numbers.astype(np.float32) / sums.astype(np.float32)
    elif SUM_TOLERANCE < off < _rounding(numbers):
        numbers = np.asarray(numbers, np.float64) / sums
        notes.append(f"Rows of {source} sum to one but for rounding; they were divided by their sums.")
    location = records.location if records is not None else "row {}".format
    check_distributions(numbers, source, name_of_row=location)
    return numbers, notes


def _rounding(numbers: Numbers) -> float:
    """Return how far rounding may take a row's sum from one, by their decimals; 0 with many."""
    for decimals in range(1, MOST_DECIMALS + 1):
        if np.allclose(numbers, np.round(numbers, decimals), rtol=0, atol=1e-7):
            return float(numbers.shape[1]) * 0.5 * 10.0**-decimals + 1e-6
    return 0.0


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
    """Return the file's columns in class order, or of two classes the one column of the second."""
    columns = [column for column in records.columns if column not in records.nested]
    for texts in (list(names), [str(label) for label in range(len(names))]):
        for before, behind in _affixes(texts[0], columns):
            found = _columns_of(texts, before, behind, columns)
            if found and not _further_classes(found, before, behind, columns):
                return found
    if len(names) == 2 and (single := _second_class(columns, names[1])):
        return [single]
    wanted = [f"p_{name}" for name in names]
    raise InputError(
        f"{records.source.name} does not have one column for each of {len(names)} classes, but columns"
        f" {', '.join(map(repr, records.columns))}.",
        expected=f"Expected {', '.join(wanted[:5])}{', ...' if len(wanted) > 5 else ''}.",
        remedy="Name them by class or by number, and classes without photos with --class-map.",
    )


def _affixes(text: str, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return the texts before and behind a class in column names: nothing, `p_`, then others by length."""
    others = set()
    for column in columns:
        start = column.casefold().find(text.casefold())
        while start >= 0:
            others.add((column[:start], column[start + len(text) :]))
            start = column.casefold().find(text.casefold(), start + 1)
    usual = [("", ""), ("p_", "")]
    return usual + sorted(others - set(usual), key=lambda affix: (len(affix[0] + affix[1]), affix))


def _columns_of(texts: Sequence[str], before: str, behind: str, columns: Sequence[str]) -> list[str]:
    """Return the column of each class, exactly or but for case; empty unless every class has its own."""
    wanted = [f"{before}{text}{behind}" for text in texts]
    if set(wanted) <= set(columns):
        return wanted
    by_case = {column.strip().casefold(): column for column in columns}
    if len(by_case) < len(columns):
        return []
    found = [by_case.get(text.strip().casefold(), "") for text in wanted]
    return found if all(found) and len(set(found)) == len(found) else []


def _further_classes(found: Sequence[str], before: str, behind: str, columns: Sequence[str]) -> bool:
    """Whether another column is named by the same scheme, as `p_5` beside `p_0` to `p_4`."""
    others = [column for column in columns if column not in found]
    if before or behind:
        return any(
            len(column) > len(before + behind) and column.startswith(before) and column.endswith(behind)
            for column in others
        )
    return all(column.isdecimal() for column in found) and any(column.isdecimal() for column in others)


SECOND_CLASS = (
    "{name}",
    "p_{name}",
    "1",
    "p_1",
    "probability",
    "prob",
    "score",
    "p",
    "pred_prob",
    "prediction",
)


def _second_class(columns: Sequence[str], name: str) -> str | None:
    """Return the only column that may hold the probability of the second class."""
    wanted = {text.format(name=name).casefold() for text in SECOND_CLASS}
    found = [column for column in columns if column.casefold() in wanted]
    return found[0] if len(found) == 1 else None


def _rows_by_id(records: Records, ids: Sequence[str], table: Table) -> tuple[NDArray[np.intp], list[str]]:
    """Return the row of the table for each row of the file, -1 for none, and notes on what did not match."""
    row_of = {image_id: row for row, image_id in enumerate(table.image_ids.tolist())}
    rows = np.fromiter((row_of.get(name, -1) for name in ids), np.intp, len(ids))
    if (rows >= 0).all():
        return rows, []
    names = [table.image_ids.tolist(), *([table.paths.tolist()] if any(table.paths) else [])]
    match = match_names(ids, *names)
    rows, source = np.maximum(match.rows, -1), records.source.name
    notes = [note] if (note := match.note("ids")) else []
    rows, repeated = _rows_of_repeats(ids, rows, names, source)
    notes += repeated
    unknown = sorted({name for name, row in zip(ids, rows, strict=True) if row < 0})
    num_found = len(set(rows[rows >= 0].tolist()))
    if num_found <= LEAST_MATCHED * min(len(table), len(set(ids))):
        missing = sorted(row_of.keys() - set(ids))
        raise InputError(
            f"The ids of {source} do not match the table: {len(missing):,} ids without a row"
            f" ({some(missing)}); {len(unknown):,} ids not in the table ({some(unknown)}).",
            remedy="Give predictions for these photos, with ids written as in the table.",
        )
    if unknown:
        notes.append(f"{len(unknown):,} ids of {source} are not in the table: {some(unknown)}.")
    return rows, notes


def _rows_of_repeats(
    ids: Sequence[str], rows: NDArray[np.intp], names: Sequence[Sequence[str]], source: str
) -> tuple[NDArray[np.intp], list[str]]:
    """Return the rows (M,) with those of ids that are a photo's id and a suffix, as of its mirror image."""
    unknown = dict.fromkeys(name for name, row in zip(ids, rows, strict=True) if row < 0)
    parts = without_suffixes(list(unknown))
    row_of = dict(zip(parts, match_names([base for base, _ in parts.values()], *names).rows, strict=True))
    suffixes = sorted({suffix for _, suffix in parts.values()})
    plain, suffixed = set(rows[rows >= 0].tolist()), set(row_of.values())
    is_complete = plain == suffixed if plain else len(suffixes) > 1
    if len(suffixed) < 2 or min(suffixed) < 0 or not is_complete:
        return rows, []
    rows = np.array([row_of.get(name, row) for name, row in zip(ids, rows, strict=True)], np.intp)
    note = f"{len(parts):,} ids of {source} are ids of the table with {some(suffixes)} behind."
    return rows, [note]
