"""The table: which photos there are, and what label each was given.

    row     image_id   path        given_label   label   true_label?   weight?   group?   fold?   split?
    0       cat/1.jpg  cat/1.jpg   0             0
    1       ...

N rows, K classes, F folds. A table never changes; `take` and the `with_...` methods give another one.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.escapes import is_unicode, paths_of_texts, stays_inside, texts_of_paths
from kiyome.artifacts.storage import is_machine_failure, write_csv_columns, write_parquet, write_text
from kiyome.errors import InputError, StaleArtifact, TableError, choose

Texts = NDArray[np.object_]
Labels = NDArray[np.int32]

ALL_BITS = 16
"""Bits a channel of the deepest photos."""
UNKNOWN = -1
"""The label of a row that has none, and the true label where it is not known."""
NO_FOLD = -1
"""The fold of a row outside `train`: every model predicts it, none learns from it."""

SPLITS = ("train", "val", "test", "unlabeled")
"""The splits of a table, in the order in which they are listed."""
TRAIN, VAL, TEST, UNLABELED = SPLITS

AS_GIVEN: Labels = np.empty(0, np.int32)
"""Placeholder for the given labels until a table is made."""

CLASS_NAMES_KEY = b"kiyome.class_names"
"""Metadata key of our Parquet files for the class map as JSON: names in order, or name -> [label text]."""


class SkippedFile(NamedTuple):
    """A file in the data folder that is not a row of the table, and why. Folders end in a slash."""

    path: str
    reason: str


DEEP_BITS_KEY = b"kiyome.deep_bits"
"""Metadata key of our Parquet files for `deep_bits`, where it is not 16."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Photos with their labels, one row a photo, in the order in which they were given.

    Arrays have N entries, are copied and read-only. TableError where a column breaks what is stated below.

    >>> table = Table(root=Path("."), image_ids=["007", "008"], paths=["007.jpg", "008.jpg"],
    ...               given_labels=[0, 1], class_names=("healthy", "blight"))
    >>> len(table), table.num_classes, table.take([1]).image_ids.tolist()
    (2, 2, ['008'])
    """

    root: Path
    """The photo folder."""
    image_ids: Texts
    """Unique, not empty, valid Unicode without NUL; leading zeros and spaces are kept."""
    paths: Texts
    """Relative to `root` and inside it, as Python opens them; empty for a row without a photo."""
    given_labels: Labels
    """Labels as received, possibly wrong, 0 to K - 1; -1 in rows of `unlabeled`, and only there."""
    class_names: tuple[str, ...]
    """K different names; a label is an index into them. A class may have no row."""
    label_texts: tuple[str, ...] = ()
    """K different texts for the classes in the source, `class_names` by default; submissions use them."""
    labels: Labels = field(default_factory=lambda: AS_GIVEN)
    """Labels that training uses now; `given_labels` by default."""
    true_labels: Labels | None = None
    """Right labels where known, -1 where not."""
    weights: NDArray[np.float32] | None = None
    """Finite, not negative."""
    groups: Texts | None = None
    """Rows with the same text belong together (a patient, a plant); an empty text is a row of its own."""
    folds: NDArray[np.int16] | None = None
    """The fold in which each row of `train` is held out, from 0; -1 in all other rows."""
    splits: Texts | None = None
    """The split of each row, one of `SPLITS`; None where every row is `train`."""
    deep_bits: int = ALL_BITS
    """Bits in use in photos with 16 bits a channel: their values are below ``2**deep_bits``."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files in the data folder that are not rows, and rows of the source that were set aside."""
    notes: tuple[str, ...] = ()
    """What was guessed or left out while the source was read, for people."""

    def __post_init__(self) -> None:
        if self.labels is AS_GIVEN:
            self._set("labels", self.given_labels)
        self._set("root", Path(self.root))
        self._set("class_names", tuple(self.class_names))
        self._set("label_texts", tuple(self.label_texts) or self.class_names)
        self._set("skipped", tuple(SkippedFile(*entry) for entry in self.skipped))
        for name, kind in COLUMN_TYPES.items():
            if (values := getattr(self, name)) is not None:
                self._set(name, _column(name, values, kind, len(self.image_ids)))
        _check_classes(self.class_names)
        _check_label_texts(self.label_texts, self.class_names)
        _check_ids(self.image_ids)
        _check_paths(self.paths)
        if self.splits is not None:
            _check_splits(self.splits)
            self._set("splits", None if (self.splits == TRAIN).all() else self.splits)
        for name in ("given_labels", "labels"):
            _check_labels(name, getattr(self, name), self.in_split(UNLABELED), self.num_classes)
        if self.true_labels is not None:
            _check_range("true_labels", self.true_labels, UNKNOWN, self.num_classes - 1)
        if self.folds is not None:
            _check_folds(self.folds, self.in_split(TRAIN))
        if self.weights is not None:
            _check_weights(self.weights)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def num_classes(self) -> int:
        """K, the number of class names."""
        return len(self.class_names)

    def in_split(self, *names: str) -> NDArray[np.bool_]:
        """Return an (N,) mask of the rows of these splits.

        >>> Table(root=".", image_ids=["a", "b"], paths=["", ""], given_labels=[0, -1],
        ...       class_names=("cat", "dog"), splits=["train", "unlabeled"]).in_split("unlabeled").tolist()
        [False, True]
        """
        for name in names:
            choose("split", name, SPLITS)
        if self.splits is None:
            return np.full(len(self), TRAIN in names)
        return np.isin(self.splits.astype(str), names)

    @cached_property
    def is_labeled(self) -> NDArray[np.bool_]:
        """(N,) mask of the rows that have a given label: all but those of `unlabeled`."""
        return ~self.in_split(UNLABELED)

    @cached_property
    def splits_in_use(self) -> tuple[str, ...]:
        """The splits that have rows, in the order of `SPLITS`."""
        return tuple(name for name in SPLITS if self.in_split(name).any())

    @cached_property
    def split_names(self) -> Texts:
        """(N,) split of each row, also where the table has no such column."""
        return np.full(len(self), TRAIN, dtype=object) if self.splits is None else self.splits

    @cached_property
    def given_names(self) -> Texts:
        """(N,) class name of each given label; an empty text for a row without a label."""
        return np.array([*self.class_names, ""], dtype=object)[self.given_labels]

    @cached_property
    def fold_numbers(self) -> NDArray[np.int16]:
        """(F,) the folds that hold out rows, ascending; empty without folds."""
        return np.empty(0, np.int16) if self.folds is None else np.unique(self.folds[self.folds >= 0])

    @cached_property
    def fingerprint(self) -> str:
        """Digest of image ids, their order and class names, which predictions must share."""
        return _digest("fingerprint", "\0".join(self.class_names), "\0".join(self.image_ids))

    @cached_property
    def content_digest(self) -> str:
        """Digest of rows and classes, not of `root`, `skipped` or `label_texts`: the input of a run."""
        parts = [self.fingerprint, *texts_of_paths(self.paths)]
        for name in COLUMN_TYPES:
            values = getattr(self, name)
            if values is not None and name not in ("image_ids", "paths"):
                content = values.tobytes().hex() if values.dtype != object else "\0".join(values)
                parts += [name, content]
        if self.deep_bits != ALL_BITS:
            parts.append(f"deep_bits {self.deep_bits}")
        return _digest("content", *parts)

    def take(self, rows: ArrayLike) -> "Table":
        """Return the table of these rows: a mask of N booleans, or indices, each at most once."""
        chosen = np.asarray(rows)
        if chosen.dtype != bool and chosen.size == 0:
            chosen = chosen.astype(np.intp)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            raise InputError(
                f"The mask has shape {chosen.shape}, but the table has {len(self)} rows.",
                remedy="Give a mask of this table, or indices.",
            )
        columns = {name: getattr(self, name) for name in COLUMN_TYPES}
        taken: dict[str, Any] = {n: v[chosen] for n, v in columns.items() if v is not None}
        return dataclasses.replace(self, **taken)

    def with_folds(self, folds: ArrayLike) -> "Table":
        """Return the same table with these folds (N,); -1 for rows outside `train`."""
        return dataclasses.replace(self, folds=np.asarray(folds))

    def with_labels(self, labels: ArrayLike) -> "Table":
        """Return the same table with other labels to train on; the given ones stay."""
        return dataclasses.replace(self, labels=np.asarray(labels))

    def photo_paths(self) -> list[str]:
        """Return N full paths in row order; empty for a row without a photo."""
        root = str(self.root)
        return [f"{root}/{path}" if path else "" for path in self.paths]


COLUMN_TYPES: dict[str, type] = {
    "image_ids": object,
    "paths": object,
    "given_labels": np.int32,
    "labels": np.int32,
    "true_labels": np.int32,
    "weights": np.float32,
    "groups": object,
    "folds": np.int16,
    "splits": object,
}


def write_table(table: Table, path: str | Path) -> None:
    """Write a CSV or Parquet file, by its ending; `read_table(path, images=table.root)` gives the same table.

    Labels are written as class names. A CSV cannot hold their order, nor a class without rows, so the class
    names are written beside it in `<stem>.classes.json`, with `label_texts` where they differ. Cells are
    exact: nothing is escaped for spreadsheets.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        write_text(path.with_suffix(".classes.json"), json.dumps(_class_map(table), ensure_ascii=False))
        write_csv_columns(path, _columns(table))
    elif path.suffix.lower() == ".parquet":
        write_parquet(path, _parquet_columns(table), _metadata(table))
    else:
        raise InputError(
            f"{path.name!r} ends neither in .csv nor in .parquet.", remedy="Choose such an ending."
        )


def load_table(path: str | Path) -> Table:
    """Return the table that `write_table` put into a Parquet file; its photo folder is that of the file.

    StaleArtifact where the file is not one of ours, or was changed.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> table = Table(root=folder, image_ids=["a", "b"], paths=["", ""], given_labels=[1, 0],
    ...               class_names=("cat", "dog"))
    >>> write_table(table, folder / "table.parquet")
    >>> load_table(folder / "table.parquet").content_digest == table.content_digest
    True
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        content = pq.read_table(path, page_checksum_verification=True)
        class_map = json.loads(content.schema.metadata[CLASS_NAMES_KEY])
        columns = {name: content[name].combine_chunks() for name in content.column_names}
        names = list(class_map)
        texts = [text for [text] in class_map.values()] if isinstance(class_map, dict) else names
        return Table(
            root=path.parent,
            image_ids=columns["image_id"].to_numpy(zero_copy_only=False),
            paths=paths_of_texts(columns["path"].to_numpy(zero_copy_only=False)),
            given_labels=_labels_of_names(columns["given_label"], names),
            labels=_labels_of_names(columns["label"], names),
            class_names=tuple(names),
            label_texts=tuple(texts),
            true_labels=_labels_of_names(columns["true_label"], names) if "true_label" in columns else None,
            weights=columns["weight"].to_numpy() if "weight" in columns else None,
            groups=columns["group"].to_numpy(zero_copy_only=False) if "group" in columns else None,
            folds=columns["fold"].to_numpy() if "fold" in columns else None,
            splits=columns["split"].to_numpy(zero_copy_only=False) if "split" in columns else None,
            deep_bits=int(content.schema.metadata.get(DEEP_BITS_KEY, ALL_BITS)),
        )
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        if is_machine_failure(error):
            raise
        raise StaleArtifact(
            f"{path} is no table that kiyome wrote ({error}).", remedy="Run the command again."
        ) from error


def _metadata(table: Table) -> dict[bytes, str]:
    metadata = {CLASS_NAMES_KEY: json.dumps(_class_map(table))}
    return metadata if table.deep_bits == ALL_BITS else metadata | {DEEP_BITS_KEY: str(table.deep_bits)}


def _labels_of_names(cells: Any, names: Sequence[str]) -> Labels:
    """Return the label of each cell with a class name; -1 for an empty cell."""
    import pyarrow as pa
    import pyarrow.compute as pc

    labels = pc.index_in(cells, pa.array(names, pa.string()))
    if labels.null_count > cells.null_count:
        raise ValueError(f"a class that is not among {', '.join(names[:5])}")
    found: Labels = labels.fill_null(UNKNOWN).to_numpy().astype(np.int32)
    return found


def _class_map(table: Table) -> Any:
    """Return the class names in order, each with its label text where the source wrote other texts."""
    if table.label_texts == table.class_names:
        return table.class_names
    return {name: [text] for name, text in zip(table.class_names, table.label_texts, strict=True)}


def _columns(table: Table) -> dict[str, NDArray[Any]]:
    """Return the columns as in a file: texts and class names, None where nothing is known."""
    names = np.array([*table.class_names, None], dtype=object)
    columns = {
        "image_id": table.image_ids,
        "path": texts_of_paths(table.paths),
        "given_label": names[table.given_labels],
        "label": names[table.labels],
    }
    if table.true_labels is not None:
        columns["true_label"] = names[table.true_labels]
    if table.weights is not None:
        columns["weight"] = table.weights
    if table.groups is not None:
        columns["group"] = table.groups
    if table.folds is not None:
        columns["fold"] = table.folds
    if table.splits is not None:
        columns["split"] = table.splits
    return columns


def _parquet_columns(table: Table) -> dict[str, Any]:
    import pyarrow as pa

    types = {"weight": pa.float32(), "fold": pa.int16()}
    return {name: pa.array(v, types.get(name, pa.string())) for name, v in _columns(table).items()}


def _digest(kind: str, *texts: str) -> str:
    """Return a digest of parts joined by NULs, which no text may hold, so different parts never collide."""
    return hashlib.sha256("\0\0".join([f"kiyome table {kind} 1", *texts]).encode()).hexdigest()


def _column(name: str, values: ArrayLike, kind: type, num_rows: int) -> NDArray[Any]:
    """Return a read-only copy of one column with its shape and type checked."""
    array = np.array(values, dtype=object) if kind is object else np.asarray(values)
    if array.shape != (num_rows,):
        raise TableError(
            f"{name} has shape {array.shape}, but there are {num_rows} rows.",
            remedy=f"Give {num_rows} entries.",
        )
    whole = np.issubdtype(array.dtype, np.integer)
    if np.issubdtype(kind, np.integer) and not whole and array.size:
        raise TableError(
            f"{name} has the type {array.dtype}.",
            expected="Expected whole numbers.",
            remedy="Round or map them.",
        )
    if whole and np.issubdtype(kind, np.integer):
        _check_range(name, array, int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    column: NDArray[Any] = array.astype(kind)
    column.flags.writeable = False
    return column


def _check_classes(names: tuple[str, ...]) -> None:
    for name in names:
        _check_text("A class name", name)
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise TableError(f"The class name {twice!r} occurs twice.", remedy="Merge the two classes.")


def _check_label_texts(texts: tuple[str, ...], names: tuple[str, ...]) -> None:
    for text in filter(None, texts):
        _check_text("A label text", text)
    if len(set(texts)) < len(texts) or len(texts) != len(names):
        raise TableError(
            f"There are {len(set(texts))} different label texts for {len(names)} classes.",
            remedy="Give one for each class name, or none at all.",
        )


def _check_ids(ids: Texts) -> None:
    if len(ids) == 0:
        raise TableError("The table has no rows.", remedy="Give some photos.")
    if not _all_are_names(ids):  # row by row only to name the row
        for row, image_id in enumerate(ids):
            _check_text(f"The image id of row {row}", image_id)
    if len(set(ids)) < len(ids):
        [(twice, count)] = Counter(ids.tolist()).most_common(1)
        raise TableError(f"The image id {twice!r} occurs {count} times.", remedy="Keep one row a photo.")


def _all_are_names(texts: Texts) -> bool:
    joined = _joined(texts)
    return joined is not None and all(texts) and is_unicode(joined)


def _joined(texts: Texts) -> str | None:
    """Return all texts with NULs between them; None where one holds a NUL or is not text."""
    try:
        joined = "\0".join(texts)
    except TypeError:
        return None
    return joined if joined.count("\0") == len(texts) - 1 else None


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not text or "\0" in text or not is_unicode(text):
        raise TableError(
            f"{name} is {text!r}.",
            expected="Expected text: not empty, valid Unicode, without NUL.",
            remedy="Rename it.",
        )


def _check_paths(paths: Texts) -> None:
    joined = _joined(paths)
    if joined is not None and ".." not in joined and "\0/" not in f"\0{joined}":
        return
    for row, path in enumerate(paths):
        if not isinstance(path, str) or "\0" in path or not stays_inside(path):
            raise TableError(
                f"The path {path!r} in row {row} leads out of the data folder.",
                expected="Expected a path relative to the data folder, inside it.",
                remedy="Name photos by their path below the data folder.",
            )


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
        raise TableError(
            f"{name} has {values[outside[0]]} in row {outside[0]}, outside {low}..{high}.",
            remedy=f"Correct {outside.size} such rows.",
        )


def _check_splits(splits: Texts) -> None:
    for name in set(splits.tolist()) - set(SPLITS):
        raise TableError(
            f"The split in row {splits.tolist().index(name)} is {name!r}.",
            expected=f"Expected one of {', '.join(SPLITS)}.",
            remedy="Correct such rows.",
        )


def _check_labels(name: str, labels: Labels, is_unlabeled: NDArray[np.bool_], num_classes: int) -> None:
    _check_range(name, np.where(is_unlabeled, 0, labels), 0, num_classes - 1)
    labeled = np.flatnonzero(is_unlabeled & (labels != UNKNOWN))
    if labeled.size:
        raise TableError(
            f"{name} has {labels[labeled[0]]} in row {labeled[0]}, whose split is {UNLABELED!r}.",
            expected=f"Expected {UNKNOWN} there.",
            remedy=f"Give {labeled.size} such rows another split, or no label.",
        )


def _check_folds(folds: NDArray[np.int16], is_train: NDArray[np.bool_]) -> None:
    _check_range("folds", np.where(is_train, folds, 0), 0, 32767)
    in_fold = np.flatnonzero(~is_train & (folds != NO_FOLD))
    if in_fold.size:
        raise TableError(
            f"folds has {folds[in_fold[0]]} in row {in_fold[0]}, which is not of the split {TRAIN!r}.",
            expected=f"Expected {NO_FOLD} there.",
            remedy=f"Correct {in_fold.size} such rows.",
        )


def _check_weights(weights: NDArray[np.float32]) -> None:
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        raise TableError(
            f"The weight in row {bad[0]} is {weights[bad[0]]}.",
            expected="Weights must be finite and not negative.",
            remedy=f"Correct {bad.size} such rows.",
        )
