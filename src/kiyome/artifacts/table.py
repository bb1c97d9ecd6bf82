"""The table: which photos there are, and what label each was given.

    row     image_id   path        given_label   label   true_label?   weight?   group?   fold?   split?
    0       cat/1.jpg  cat/1.jpg   0             0
    1       ...

N rows, K classes, F folds. A table never changes; `take` and the `with_...` methods give another one.
"""

import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.artifacts.escapes import is_unicode, stays_inside, texts_of_paths
from kiyome.errors import InputError, TableError, choose

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


class SkippedFile(NamedTuple):
    """A file in the data folder that is not a row of the table, and why. Folders end in a slash."""

    path: str
    reason: str


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
