"""Splits: what people call the rows to learn from, to tune on, to score and to predict. N rows.

A column counts when an option names it, when kiyome wrote the file, or when its name and all its values leave
no doubt; a note says which was used and how many rows each split has.
"""

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import SPLITS, TEST, TRAIN, UNKNOWN, UNLABELED, VAL, Labels, Table, Texts
from kiyome.reading.columns import Records, some

WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), VAL),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("unlabeled", "unlabelled", "pred", "predict", "prediction", "submission"), UNLABELED),
}
"""The split of each word that names one."""
SPLIT_COLUMNS = ("split", "usage", "subset", "partition", "set", "phase")
TRUE, FALSE = frozenset(["true", "1", "1.0", "yes"]), frozenset(["false", "0", "0.0", "no", ""])
IGNORE = "To use all rows for training, add --ignore-splits."


def split_of_name(name: str) -> str | None:
    """Return the split that the words of a name mean; None where they mean none, or several.

    >>> [split_of_name(name) for name in ("seg_train", "Testing", "PublicTest", "latest", "train_val")]
    ['train', 'test', 'test', None, None]
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    meant = {WORDS[word.lower()] for word in words if word.lower() in WORDS}
    return meant.pop() if len(meant) == 1 else None


def splits_of(records: Records, wanted: str | None, notes: list[str], *, ignore: bool = False) -> Texts:
    """Return the split of each row: `train` where splits are ignored or no column certainly has them."""
    all_train = np.full(len(records), TRAIN, dtype=object)
    if ignore:
        return all_train
    column = records.require(wanted, (), option="--split-column") if wanted else records.pick(SPLIT_COLUMNS)
    if column is None:
        notes += _note_on_flags(records)
        return all_train
    texts = records.texts(column)
    meaning = _meaning(column, set(texts))
    if unknown := set(texts) - meaning.keys():
        if not wanted and column.lower() != SPLIT_COLUMNS[0]:
            return all_train
        records.fail(
            f"values in column {column!r} that name no split",
            [row for row, text in enumerate(texts) if text in unknown],
            describe=lambda row: repr(texts[row]),
            expected=f"Known are {', '.join(WORDS)}.",
            remedy=f"Correct these, or name another column with --split-column. {IGNORE}",
        )
    splits = np.array([meaning[text] for text in texts], dtype=object)
    if not records.is_ours and set(splits) != {TRAIN}:
        origin = "the names of files" if records.source.is_dir() else f"column {column!r}"
        notes.append(note_on_splits(origin, splits))
    return splits


def _meaning(column: str, texts: Iterable[str]) -> dict[str, str]:
    """Return the split of each text that means one; in a column such as `is_test`, of true and false."""
    named = split_of_name(column)
    meaning = {text: split for text in texts if (split := split_of_name(text))}
    if named is not None and not meaning:
        other = TEST if named == TRAIN else TRAIN
        meaning |= {text: named for text in texts if text.strip().lower() in TRUE}
        meaning |= {text: other for text in texts if text.strip().lower() in FALSE}
    return meaning


def tells_split(records: Records, column: str) -> bool:
    """Return whether a column is of splits by its name and all its values, or true and false of one."""
    if column in records.nested:
        return False
    is_named = column.lower() in SPLIT_COLUMNS
    texts = records.columns[column]
    return _is_flag(column, texts) or (is_named and all(map(split_of_name, set(texts))))


def _is_flag(column: str, texts: Iterable[str]) -> bool:
    """Return whether a column of true and false is named for a split, such as `is_test`."""
    is_named = column.lower().startswith("is_") and split_of_name(column) is not None
    return is_named and {text.strip().lower() for text in texts} <= TRUE | FALSE


def _note_on_flags(records: Records) -> list[str]:
    """Return a note on a column of true and false that is named for a split: its meaning is not guessed."""
    for column in records.columns:
        if column not in records.nested and _is_flag(column, records.columns[column]):
            remedy = f"If it tells the split, add --split-column {column}."
            return [f"Column {column!r} was not used: all rows are for training. {remedy}"]
    return []


def note_on_splits(origin: str, splits: Texts) -> str:
    """Return a note on where splits come from, with the rows of each.

    >>> note_on_splits("folders", np.array(["test", "train", "train"], dtype=object))
    'Splits from folders: 2 train, 1 test.'
    """
    counts = Counter(splits.tolist())
    listed = ", ".join(f"{counts[name]:,} {name}" for name in SPLITS if counts[name])
    return f"Splits from {origin}: {listed}."


def ids_in_splits(ids: list[str], splits: Texts, notes: list[str]) -> list[str]:
    """Return the ids, with the split before those that several splits have, but for train.

    >>> ids_in_splits(["1", "1", "2"], np.array(["train", "test", "test"], object), [])
    ['1', 'test/1', '2']
    """
    if len(set(ids)) == len(ids):
        return ids
    counts = Counter(image_id for image_id, _ in {*zip(ids, splits.tolist(), strict=True)})
    shared = {image_id for image_id, count in counts.items() if count > 1} - {""}
    if shared:
        notes.append(
            f"{len(shared):,} ids are in several splits, such as {min(shared)!r}: outside train, the split"
            " stands before them."
        )
    return [
        f"{split}/{image_id}" if image_id in shared and split != TRAIN else image_id
        for image_id, split in zip(ids, splits.tolist(), strict=True)
    ]


def note_on_unseen_classes(table: Table) -> list[str]:
    """Return a note on classes that have rows, but none in train."""
    given, is_train = table.given_labels, table.in_split(TRAIN)
    unseen = np.setdiff1d(given[table.is_labeled & ~is_train], given[is_train])
    names = [table.class_names[label] for label in unseen]
    return [f"{len(names)} classes have no row in train, so no model learns them: {some(names)}."][
        : len(names)
    ]


def unlabeled_apart(
    splits: Texts, labels: dict[str, Labels], notes: list[str]
) -> tuple[Texts, dict[str, Labels]]:
    """Return splits and labels in which rows of `val` and `test` without a given label are `unlabeled`.

    A label in a row of `unlabeled` is left out. Rows of `train` stay as they are.
    """
    given = labels["given_label"]
    without: NDArray[np.bool_] = (given == UNKNOWN) & (splits != TRAIN) & (splits != UNLABELED)
    counts = Counter(splits[without].tolist())
    notes += [f"{num:,} rows of {name} have no label: they are unlabeled." for name, num in counts.items()]
    splits = np.where(without, UNLABELED, splits)
    is_unlabeled = splits == UNLABELED
    if (ignored := int((is_unlabeled & (given != UNKNOWN)).sum())) > 0:
        notes.append(f"The labels of {ignored:,} unlabeled rows are left out.")
    apart = {
        kind: np.where(is_unlabeled, np.int32(UNKNOWN), labels[kind]) for kind in ("given_label", "label")
    }
    return splits, labels | apart
