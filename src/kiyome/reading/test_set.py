"""A test set in a file or folder of its own: its rows join the table of the rows to learn from."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import COLUMN_TYPES, NO_FOLD, TEST, TRAIN, UNKNOWN, UNLABELED, Table
from kiyome.reading.classes import class_map_from
from kiyome.reading.files import read_records
from kiyome.reading.guessed_columns import column_of_classes, guessed_id_column
from kiyome.reading.label_forms import LABEL_COLUMNS
from kiyome.reading.layout import table_in_folder
from kiyome.reading.name_labels import compiled, label_in_name
from kiyome.reading.photos import walk_photos
from kiyome.reading.read_table import NO_LABEL, read_table, unlabeled_folder
from kiyome.reading.splits import ids_in_splits, note_on_splits, note_on_unseen_classes, split_of_name

LEAST_ROWS = 20
"""Rows of one and the same label that are a sample submission rather than a test set."""
WITHOUT = {"true_labels": UNKNOWN, "groups": "", "folds": NO_FOLD, "weights": 1.0}
"""What a column holds for rows that do not have it."""


def with_test_set(
    train: Table, source: str | Path, *, images: Path | str | None = None, **options: Any
) -> Table:
    r"""Return the table of `train` with the rows of a file or folder added as test rows.

    Labels are those of `train`. Rows without one are unlabeled, and so are those of a sample submission: of a
    file of that name, or with one label throughout. A file named for validation holds rows of `val`.
    `options` are those that `read_table` had for `train`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.csv").write_text("image_id,label\n1.jpg,cat\n2.jpg,dog\n")
    >>> _ = (folder / "test.csv").write_text("image_id,label\n3.jpg,dog\n1.jpg,\n")
    >>> train = read_table(folder / "train.csv", allow_missing=True)
    >>> table = with_test_set(train, folder / "test.csv", allow_missing=True)
    >>> dict(zip(table.image_ids, table.split_names, strict=True))
    {'1.jpg': 'train', '2.jpg': 'train', '3.jpg': 'test', 'unlabeled/1.jpg': 'unlabeled'}
    """
    source = Path(source)
    texts = {name: [text] for name, text in zip(train.class_names, train.label_texts, strict=True)}
    classes = replace(class_map_from(texts), origin="the classes of train")
    options, notes = _known_columns(source, options | {"split_column": None})
    options["label_column"] = options.get("label_column") or _label_column(source, train, notes)
    options |= {"class_map": classes, "need_labels": False, "ignore_splits": True}
    options |= {"images_option": "--test-images"}
    by_name = options.get("label_from_name")
    read = None if _has_labels(source, train, by_name) else unlabeled_folder(source)
    read = read or read_table(source, images=images, **options)
    notes += read.notes
    name, split = source.name, split_of_name(text_of_path(source.stem))
    if split is None and (split := split_of_name(text_of_path(source.parent.name))) is not None:
        name = f"{text_of_path(source.parent.name)}/{name}"
    split = TEST if split in (None, TRAIN) else split
    labels = np.where(read.given_names == NO_LABEL, np.int32(UNKNOWN), read.given_labels)
    if len(labels) >= LEAST_ROWS and len(set(labels.tolist()) - {UNKNOWN}) == 1 and (labels != UNKNOWN).all():
        notes.append(f"All {len(labels):,} rows of {source.name} have one label: it is a sample submission.")
        split = UNLABELED
    splits = np.where(labels == UNKNOWN, UNLABELED, split).astype(object)
    labels = np.where(splits == UNLABELED, np.int32(UNKNOWN), labels)
    test = replace(
        read,
        given_labels=labels,
        labels=labels,
        splits=splits,
        folds=None,
        weights=None,
        class_names=train.class_names,
        label_texts=train.label_texts,
        notes=tuple(notes),
    )
    return _joined(train, test, name)


def is_labeled_test_set(source: str | Path, train: Table) -> bool:
    r"""Return whether a file has labels of several classes of train, or a folder has their folders.

    A sample submission, by its name or with one label throughout, has none.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.csv").write_text("image_id,label\n1.jpg,cat\n2.jpg,dog\n")
    >>> _ = (folder / "sample_submission.csv").write_text("image_id,label\n3.jpg,dog\n4.jpg,cat\n")
    >>> train = read_table(folder / "train.csv", allow_missing=True)
    >>> [is_labeled_test_set(folder / name, train) for name in ("train.csv", "sample_submission.csv")]
    [True, False]
    """
    source = Path(source)
    file = table_in_folder(source) if source.is_dir() else source
    if file is None:
        return _has_labels(source, train, None)
    if not file.is_file() or split_of_name(file.stem) == UNLABELED:
        return False
    records, classes = read_records(file), {*train.class_names, *train.label_texts}
    column = column_of_classes(records, guessed_id_column(records, None), classes)
    return column is not None and len(set(records.columns[column]) - {""}) > 1


def tables_in_splits(folder: Path) -> list[Path]:
    """Return the tables in folders of splits, that of train first; empty where there is none of train."""
    if not folder.is_dir() or table_in_folder(folder) is not None:
        return []
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and split_of_name(path.name))
    tables = [table for path in folders if (table := table_in_folder(path)) is not None]
    tables.sort(key=lambda table: split_of_name(table.parent.name) != TRAIN)
    return tables if tables and split_of_name(tables[0].parent.name) == TRAIN else []


def note_on_unread(source: Path) -> list[str]:
    """Return a note on tables of other splits that lie beside one of train, which may be in a folder."""
    file = table_in_folder(source) if source.is_dir() else source
    if file is None or split_of_name(file.stem) != TRAIN:
        return []
    beside = {
        path: _verb_of_rows(path.stem) for path in sorted(file.parent.glob(f"*{file.suffix or '.csv'}"))
    }
    return [
        f"{path.name} beside the table is not read. `kiyome find {file} --test {path}` {verb} its rows, too."
        for path, verb in beside.items()
        if verb
    ]


def _verb_of_rows(stem: str) -> str:
    """Return what `find` does with rows of a file, by its name; empty for train and own submissions."""
    split = split_of_name(stem)
    if split == UNLABELED:
        return "predicts" if "sample" in stem.lower() else ""
    return "" if split in (None, TRAIN) else "judges"


def _label_column(source: Path, train: Table, notes: list[str]) -> str | None:
    """Return the only column of a list that holds classes of train, where none has a usual name."""
    if not source.is_file():
        return None
    records = read_records(source)
    id_column = guessed_id_column(records, None)
    if id_column is None or records.pick(LABEL_COLUMNS):
        return None
    column = column_of_classes(records, id_column, {*train.class_names, *train.label_texts})
    if column is not None:
        notes.append(f"Labels of {source.name} are those of column {column!r}, which holds classes of train.")
    return column


def _has_labels(source: Path, train: Table, label_from_name: str | None) -> bool:
    """Return whether a source is a table, or has class folders of train or labels in the names of photos."""
    if not source.is_dir() or table_in_folder(source) is not None:
        return True
    if label_from_name is not None:
        expression = compiled(label_from_name)
        return any(label_in_name(path, expression) for path in walk_photos(source)[0])
    return any((source / name).is_dir() for name in {*train.class_names, *train.label_texts})


def _known_columns(source: Path, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the options without columns that the test set lacks, and a note for each."""
    if not source.is_file():
        return {name: value for name, value in options.items() if not name.endswith("_column")}, []
    columns = read_records(source).columns
    lacking = {
        name: value
        for name, value in options.items()
        if name.endswith("_column") and value and value not in columns
    }
    notes = [f"{source.name} has no column {value!r}." for value in lacking.values()]
    return {name: value for name, value in options.items() if name not in lacking}, notes


def _joined(train: Table, test: Table, name: str) -> Table:
    """Return one table of both, the rows of train first; their photos are below a common folder."""
    roots = [os.path.realpath(each.root) for each in (train, test)]
    root = os.path.commonpath(roots)
    below = [f"{os.path.relpath(each, root)}/".removeprefix("./") for each in roots]
    columns: dict[str, Any] = {}
    for column in COLUMN_TYPES:
        values = [getattr(each, column) for each in (train, test)]
        if column not in WITHOUT or any(value is not None for value in values):
            columns[column] = np.concatenate(
                [
                    np.full(len(each), WITHOUT.get(column)) if value is None else value
                    for each, value in zip((train, test), values, strict=True)
                ]
            )
    columns["splits"] = np.concatenate([train.split_names, test.split_names])
    columns["paths"] = np.array(
        [
            prefix + path if path else ""
            for each, prefix in zip((train, test), below, strict=True)
            for path in each.paths
        ],
        dtype=object,
    )
    notes: list[str] = []
    columns["image_ids"] = np.array(
        ids_in_splits(columns["image_ids"].tolist(), columns["splits"], notes), dtype=object
    )
    skipped = {
        prefix + entry.path: entry
        for each, prefix in zip((train, test), below, strict=True)
        for entry in each.skipped
    }
    for path in columns["paths"]:
        skipped.pop(text_of_path(path), None)
    table = replace(train, root=Path(root), skipped=tuple(skipped.values()), **columns)
    told = (note_on_splits(f"{name} beside the table", table.split_names), *notes)
    return replace(table, notes=(*train.notes, *test.notes, *told, *note_on_unseen_classes(table)))
