"""Splits: what people call the rows to learn from, to tune on, to score and to predict. N rows.

A column counts when an option names it, when kiyome wrote the file, or when all its values name splits; else
folders in the paths of photos count. A note says what was used and how many rows each split has, and what may
tell splits but was not used.
"""

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import SPLITS, TEST, TRAIN, UNKNOWN, UNLABELED, VAL, Labels, Table, Texts
from kiyome.reading.columns import Records, some

WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval"), VAL),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout", "evaluation"), TEST),
    **dict.fromkeys(
        (
            *("unlabeled", "unlabelled", "pred", "predict", "prediction", "predictions", "submission"),
            *("submissions", "inference"),
        ),
        UNLABELED,
    ),
}
"""The split of each word that names one."""
ABBREVIATIONS = {"tr": TRAIN, "va": VAL, "te": TEST, "ts": TEST}
"""That are whole values of a column of splits; folders of such names are too often something else."""
NUMBERS = {digits: dict(zip(digits, (TRAIN, VAL, TEST), strict=True)) for digits in ("012", "123")}
"""Splits by number, as in CelebA and WILDS, which count only where an option names the column."""
SPLIT_COLUMNS = ("split", "usage", "subset", "partition", "set", "phase")
TRUE = frozenset(["true", "t", "1", "1.0", "yes", "y"])
FALSE = frozenset(["false", "f", "0", "0.0", "no", "n", ""])
FLAG = re.compile(r"(?i:is|in|for)(?=[A-Z_ -])[_ -]?|(?i:is)(?=(?i:train|test|val))")
SHOWN_CELLS = 100
"""Of a column, which tell whether it may be one of splits."""
IGNORE = "To use all rows for training, add --ignore-splits."


def split_of_name(name: str) -> str | None:
    """Return the split that the words of a name mean; None where they mean none, or several.

    >>> [split_of_name(name) for name in ("seg_train", "PublicTest", "held-out", "trainset", "latest")]
    ['train', 'test', 'test', 'train', None]
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.sub(r"(?i)(hold|held)[\W_]out", r"\1out", name))
    meant = {split for word in words if (split := WORDS.get(word.lower().removesuffix("set")))}
    return meant.pop() if len(meant) == 1 else None


def splits_of(
    records: Records,
    wanted: str | None,
    notes: list[str],
    *,
    ignore: bool = False,
    others: Collection[str] = (),
    photos: Sequence[str] = (),
) -> Texts:
    """Return the split of each row: `train` where splits are ignored or nothing certainly tells them.

    `others` are columns of another meaning, `photos` the texts that name the photos.
    """
    all_train = np.full(len(records), TRAIN, dtype=object)
    if ignore:
        return all_train
    if wanted is not None:
        records.require(wanted, (), option="--split-column")
    column = wanted or _column_of_splits(records, others, notes)
    if column is None:
        by_folder = None if records.is_ours else _splits_of_paths(photos)
        if by_folder is None:
            notes += _notes_on_unused(records, others)
            return all_train
        notes.append(note_on_splits("the folders of photos", by_folder))
        return by_folder
    texts = records.texts(column)
    meaning = _meaning(column, set(texts), by_number=wanted is not None)
    if unknown := set(texts) - meaning.keys():
        records.fail(
            f"values in column {column!r} that name no split",
            [row for row, text in enumerate(texts) if text in unknown],
            describe=lambda row: repr(texts[row]),
            expected="Expected train, val, test, unlabeled, or another word for one of these.",
            remedy=f"{_about_numbers(column, unknown)}Correct these, or name another column with"
            f" --split-column. {IGNORE}",
        )
    splits = np.array([meaning[text] for text in texts], dtype=object)
    if not records.is_ours and set(splits) != {TRAIN}:
        origin = "the names of files" if records.source.is_dir() else f"column {column!r}"
        notes.append(note_on_splits(origin, splits))
    return splits


def _column_of_splits(records: Records, others: Collection[str], notes: list[str]) -> str | None:
    """Return the column `split`, else the first that tells splits; a note names further ones."""
    split = records.pick(SPLIT_COLUMNS[:1])
    if records.is_ours:
        return split
    told = [name for name in _open_columns(records, others) if tells_split(records, name, flags=False)]
    order = {name: number for number, name in enumerate(SPLIT_COLUMNS)}
    told.sort(key=lambda name: order.get(name.lower(), len(order)))
    column = next(iter(told), None) if split is None or split in others else split
    further = [name for name in told if name != column]
    notes += [f"Column {name!r} names splits, too, and was not used." for name in further]
    return column


def _open_columns(records: Records, others: Collection[str]) -> list[str]:
    return [name for name in records.columns if name not in {*others, *records.nested}]


def _splits_of_paths(paths: Sequence[str]) -> Texts | None:
    """Return the split of each path by the first folder in which they differ; None where one names none.

    >>> _splits_of_paths(["a/train/1.jpg", "a/test/1.jpg"]).tolist(), _splits_of_paths(["a/train.jpg"])
    (['train', 'test'], None)
    """
    if not any("/" in path or "\\" in path for path in paths[:1]):
        return None
    first, last = (path.replace("\\", "/") for path in (min(paths), max(paths)))
    common = os.path.commonprefix((first, last)).rpartition("/")[0]  # noqa: RUF071
    depth = common.count("/") + bool(common)
    if not all(split_of_name(each.split("/")[depth]) for each in (first, last)):
        return None
    paths = [path.replace("\\", "/") for path in paths]
    folders = [path.split("/")[depth] if path.count("/") > depth else "" for path in paths]
    meaning = {folder: split_of_name(folder) for folder in set(folders)}
    found = set(meaning.values())
    if None in found or TRAIN not in found or len(found) < 2:
        return None
    return np.array([meaning[folder] for folder in folders], dtype=object)


def _meaning(column: str, texts: Collection[str], *, by_number: bool = False) -> dict[str, str]:
    """Return the split of each text that means one; in a column such as `is_test`, of true and false."""
    named = split_of_name(FLAG.sub("", column, count=1))
    meaning = {text: split for text in texts if (split := split_of_name(text))}
    if not meaning:
        meaning = {text: ABBREVIATIONS[text.lower()] for text in texts if text.lower() in ABBREVIATIONS}
    if named is not None and not meaning:
        other = TEST if named == TRAIN else TRAIN
        meaning |= {text: named for text in texts if text.strip().lower() in TRUE}
        meaning |= {text: other for text in texts if text.strip().lower() in FALSE}
    if by_number and not meaning:
        meaning = _by_number(texts)
    return meaning


def _by_number(texts: Collection[str]) -> dict[str, str]:
    """Return the split of each text where they are 0, 1 and 2, or 1, 2 and 3; else nothing."""
    whole = {text: text.removesuffix(".0") for text in texts}
    known = NUMBERS.get("".join(sorted(whole.values())), {})
    return {text: known[digit] for text, digit in whole.items()} if known else {}


def _about_numbers(column: str, texts: Collection[str]) -> str:
    """Return the option to use where numbers may be splits; empty where they are no such numbers."""
    meant = {split: text for text, split in _by_number(texts).items()}
    if not meant:
        return ""
    listed = f"{meant[TRAIN]} is train, {meant[VAL]} val and {meant[TEST]} test"
    return f"If {listed}, add --split-column {column}. "


def tells_split(records: Records, column: str, *, flags: bool = True) -> bool:
    """Return whether all values of a column name splits, or with `flags`, are true and false of one.

    A column of a name that is not in `SPLIT_COLUMNS` must hold nothing but words of several splits.
    """
    if column in records.nested:
        return False
    texts = records.columns[column]
    if column.lower() in SPLIT_COLUMNS:
        distinct = set(texts)
        return _meaning("", distinct).keys() == distinct
    if texts and all(_is_word(text) for text in texts[:SHOWN_CELLS]):
        distinct = set(texts)
        found = {split_of_name(text) for text in distinct}
        return all(map(_is_word, distinct)) and TRAIN in found and len(found) > 1
    return flags and FLAG.match(column) is not None and _is_flag(records, column)


def _is_word(text: str) -> bool:
    """Return whether a text is a word that names a split, and nothing else."""
    return text.strip().lower().removesuffix("set").rstrip("_- ") in WORDS


def _is_flag(records: Records, column: str) -> bool:
    """Return whether a column named for a split, such as `is_test` or `test`, has both true and false."""
    words = FLAG.sub("", column, count=1)
    if split_of_name(words) in (None, UNLABELED) or not (FLAG.match(column) or _is_word(words)):
        return False
    found = {text.strip().lower() for text in records.columns[column]}
    return found <= TRUE | FALSE and not found.isdisjoint(TRUE) and not found.isdisjoint(FALSE)


def _notes_on_unused(records: Records, others: Collection[str]) -> list[str]:
    """Return notes on columns that may tell splits, whose meaning is not guessed."""
    notes = []
    for column in _open_columns(records, others):
        if _is_flag(records, column):
            remedy = f"If it tells the split, add --split-column {column}."
        elif column.lower() in SPLIT_COLUMNS:
            distinct = set(records.columns[column])
            known = _meaning("", distinct)
            remedy = _about_numbers(column, distinct)
            if TRAIN in known.values():
                remedy = f"Of its values, {some(sorted(distinct - known.keys()))} name no split."
        else:
            continue
        if remedy:
            notes.append(f"Column {column!r} was not used: all rows are for training. {remedy.strip()}")
    return notes


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
