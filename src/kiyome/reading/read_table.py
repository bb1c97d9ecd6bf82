"""Read what people have, a folder or a file, as a table.

    a folder of class folders               layout ───────────────────────────────────────────────────► Table
    a CSV with an image folder (Kaggle)     ┐
    a Parquet file, photos inside or not    ├ files ─► label_forms ─► photos ─► classes ─► roles ─────► Table
    metadata.csv | jsonl | parquet          ┘

Order is kept; ids and labels are text exactly as written. A row that cannot be used is set aside, counted in
a note and listed; a contradiction is an error that names the file, the line and the remedy.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import text_of_path, texts_of_paths
from kiyome.artifacts.table import NO_FOLD, TRAIN, UNKNOWN, UNLABELED, Labels, SkippedFile, Table
from kiyome.artifacts.table_files import load_table
from kiyome.errors import InputError, TableError
from kiyome.progress import Progress, no_progress
from kiyome.reading.class_folders import read_class_folders
from kiyome.reading.classes import ClassMapSource, label_columns, read_labels
from kiyome.reading.columns import SHOWN, Records, some
from kiyome.reading.files import read_records
from kiyome.reading.guessed_columns import columns_but_classes, guessed_id_column, guessed_label_column
from kiyome.reading.label_forms import LABEL, LABEL_COLUMNS, with_column, with_label_column
from kiyome.reading.layout import (
    image_folder,
    note_on_shards,
    photos_without_row,
    table_in_folder,
    with_real_files,
)
from kiyome.reading.lists import with_labels_of_folders, with_splits_beside
from kiyome.reading.name_labels import compiled, label_in_name, note_on_names, proposed_labels
from kiyome.reading.photos import PhotoFinder, walk_photos
from kiyome.reading.roles import (
    GROUP_COLUMNS,
    folds_of,
    groups_of,
    note_on_ids,
    note_on_true_labels,
    weights_of,
)
from kiyome.reading.splits import (
    ids_in_splits,
    note_on_unseen_classes,
    splits_of,
    unlabeled_apart,
)
from kiyome.reading.table_beside import note_on_table_beside
from kiyome.reading.table_photos import ID_COLUMNS, find_photos, ids_and_photos, photo_texts

MOST_SINGLES = 10
"""Classes of one photo each, of which a table may consist."""

NO_LABEL = "(no label)"
"""The class of photos without a label, where labels are not needed."""


def read_table(
    source: str | Path,
    *,
    images: str | Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    label_from_name: str | None = None,
    group_column: str | None = None,
    weight_column: str | None = None,
    split_column: str | None = None,
    ignore_splits: bool = False,
    class_map: ClassMapSource | None = None,
    follow_links: bool = False,
    unpack_to: str | Path | None = None,
    allow_missing: bool = False,
    need_labels: bool = True,
    missing_list: str | Path | None = None,
    images_option: str = "--images",
    on_progress: Progress = no_progress,
) -> Table:
    r"""Return the table of photos and labels that a folder or a file describes.

    Parameters
    ----------
    source : str or Path
        A folder of class folders; a folder with `train.csv` or a `metadata` file in it; or a file of rows of
        a kind in `files.READERS`, also with columns `fold`, `group` or `patient_id`, `weight`, `true_label`,
        `split`.
    images : str or Path, optional
        The folder of a file's photos. Without it: `<stem>_images`, `images` or `<stem>` beside the file, or
        the file's own folder, whichever holds one of the first photos.
    id_column, label_column : str, optional
        Columns to use; without them the first of `ID_COLUMNS` and of `LABEL_COLUMNS`, or one column of 0 and
        1 for each class.
    label_from_name : str, optional
        A regular expression for the names of photos without their ending, whose only group is the class, such
        as ``(.+)_\\d+``; instead of class folders or a column.
    group_column, weight_column : str, optional
        Columns of groups, whose rows stay in one fold, and of weights in training. Without them, `group` or
        `patient_id` and `weight` are used where their content leaves no doubt.
    split_column : str, optional
        The column of splits; without it `split` and the like, where all values name one. Rows of `val` and
        `test` without a label are `unlabeled`.
    ignore_splits : bool
        Whether every row is `train`, whatever the data say.
    class_map : path, mapping or list of names, optional
        See `classes.py`. Without it, a map beside the file (`label_num_to_disease_map.json`), names inside a
        Parquet file, or the labels that occur.
    follow_links : bool
        Follow links that leave the data folder; a file that several lead to counts once.
    unpack_to : str or Path, optional
        The folder for photos inside a Parquet file.
    allow_missing : bool
        Allow rows without a photo, as with predictions from elsewhere.
    need_labels : bool
        Whether rows without a label are set aside; else they are of the class `NO_LABEL`.
    missing_list : str or Path, optional
        A CSV file for the list of all missing photos.
    images_option : str
        The command-line name of `images`, for messages.

    Returns
    -------
    Table
        Its `notes` say what was guessed and left out; rows that were set aside are in `skipped`.

    Raises
    ------
    TableError
        With file, line and remedy: no rows, one class, unknown labels, an id with two labels, most photos
        missing or some outside the folder, class names that are nearly equal, a file that is no table.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.csv").write_text("image_id,label\n007.jpg,cat\n008.jpg,dog\n009.jpg,\n")
    >>> table = read_table(folder / "train.csv", allow_missing=True)
    >>> table.image_ids.tolist(), table.class_names, table.notes
    (['007.jpg', '008.jpg'], ('cat', 'dog'), ("1 row was set aside: without a label ('009.jpg').",))
    """
    source = Path(source)
    if not source.exists():
        raise TableError(f"There is no folder or table at {str(source)!r}.", remedy="Check the path.")
    file = table_in_folder(source) if source.is_dir() else source
    if file is None:
        if images or id_column or label_column or group_column or weight_column or split_column:
            raise InputError(
                f"The folder {source} has no table: no train.csv and no metadata file.",
                expected="--images and options that name columns need one.",
                remedy="Give the file that lists the photos.",
            )
        is_labeled = need_labels or class_map or label_from_name
        table = None if is_labeled else unlabeled_folder(source, follow_links=follow_links)
        table = table or read_class_folders(
            source,
            class_map=class_map,
            label_from_name=label_from_name,
            ignore_splits=ignore_splits,
            follow_links=follow_links,
        )
        return with_real_files(table) if follow_links else table
    records = with_splits_beside(read_records(file))
    if not len(records):
        raise TableError(f"{file} has no rows.", remedy="Check the file.")
    notes: list[str] = []
    id_column = id_column or guessed_id_column(records, label_column)
    if label_from_name is not None:
        if label_column is not None:
            raise InputError(
                "--label-column and --label-from-name are given.", remedy="Leave out one of them."
            )
        expression = compiled(label_from_name)
        labels_in_names = [label_in_name(text, expression) for text in photo_texts(records, id_column)]
        notes.append(note_on_names(label_from_name, labels_in_names))
        records, label_column = with_column(records, LABEL, labels_in_names), LABEL
    records, label_column = with_label_column(records, label_column, columns_but_classes(records, id_column))
    if label_column is None:
        records = with_labels_of_folders(records, id_column, class_map, notes)
    label_column = label_column or guessed_label_column(records, id_column, notes)
    if not need_labels and label_column is None and records.pick(LABEL_COLUMNS) is None:
        records, label_column = with_column(records, LABEL, [""] * len(records)), LABEL
    columns = label_columns(records, label_column)
    given = records.texts(columns["given_label"])
    named = {*columns.values(), *filter(None, (id_column, label_column, group_column, weight_column))}
    splits = splits_of(
        records,
        split_column,
        notes,
        ignore=ignore_splits,
        others=named,
        photos=photo_texts(records, id_column),
    )
    ids, photos, root, from_inside = ids_and_photos(
        records,
        id_column,
        images,
        unpack_to,
        on_progress,
        splits=splits,
        follow_links=follow_links,
        images_option=images_option,
    )
    ids = ids_in_splits(ids, splits, notes)
    aside = _without_own_id(records, ids, given)
    if not (allow_missing or any(photos)):
        photos = ids  # a table of our own, made without photos
    found = find_photos(
        records,
        photos,
        root,
        allow_missing=allow_missing,
        missing_list=missing_list,
        follow_links=follow_links,
        images_option=images_option,
    )
    names, label_texts, labels = read_labels(records, columns, class_map)
    folds = folds_of(records, notes)
    groups = groups_of(records, group_column, notes)
    weights = weights_of(records, weight_column, notes)
    splits, labels = unlabeled_apart(splits, labels, notes)
    is_train, is_labeled = splits == TRAIN, splits != UNLABELED
    notes += note_on_true_labels(records, columns.get("true_label"))
    if group_column is None and groups is None:
        used = {*columns.values(), *filter(None, (id_column, records.pick(ID_COLUMNS), weight_column))}
        notes += note_on_ids(records, {*used, *GROUP_COLUMNS}, given)
    for row, reason in found.missing.items():
        aside.setdefault(row, f"no photo: {reason}")
    if need_labels:
        without = (labels["given_label"] == UNKNOWN) | (labels["label"] == UNKNOWN)
        for row in np.flatnonzero(without & is_labeled).tolist():
            aside.setdefault(row, "without a label" + (f", {given[row]!r}" if given[row].strip() else ""))
    elif (labels["given_label"][is_labeled] == UNKNOWN).any():
        names, label_texts = (*names, NO_LABEL), (*label_texts, NO_LABEL)
        labels = labels | {
            kind: np.where(is_labeled, _or_class(labels[kind], len(names) - 1), UNKNOWN)
            for kind in ("given_label", "label")
        }
    if folds is not None:
        folds = np.where(is_train, folds, NO_FOLD)
        for row in np.flatnonzero((folds == NO_FOLD) & is_train).tolist():
            aside.setdefault(row, "in no fold (-1)")
    kept = np.ones(len(records), bool)
    kept[list(aside)] = False
    if need_labels:
        _check_classes(records, labels["given_label"], kept & is_labeled, names, aside)
    notes = [
        *note_on_shards(file),
        *found.notes,
        *_notes_on_rows(records, ids, aside, labels["given_label"], kept, names),
        *notes,
    ]
    without_row = [] if from_inside else photos_without_row(root, found.paths, file.name)
    table = Table(
        root=root,
        image_ids=np.array(ids, dtype=object)[kept],
        paths=np.array(found.paths, dtype=object)[kept],
        given_labels=labels["given_label"][kept],
        labels=labels["label"][kept],
        class_names=names,
        label_texts=label_texts,
        true_labels=labels["true_label"][kept] if "true_label" in labels else None,
        weights=None if weights is None else weights[kept],
        groups=None if groups is None else groups[kept],
        folds=None if folds is None else folds[kept],
        splits=splits[kept],
        skipped=(*without_row, *_skipped_rows(records, ids, aside)),
        notes=tuple(notes),
    )
    table = replace(table, notes=(*table.notes, *note_on_unseen_classes(table)))
    return with_real_files(table) if follow_links else table


def unlabeled_folder(root: Path, *, follow_links: bool = False) -> Table | None:
    """The photos of one folder, of the class `NO_LABEL`; None where several folders hold photos."""
    photos, skipped = walk_photos(root, follow_links=follow_links)
    if not photos or len({path.partition("/")[0] for path in photos if "/" in path}) > 1:
        return None
    return Table(
        root=root,
        image_ids=np.array([text_of_path(path) for path in photos], dtype=object),
        paths=np.array(photos, dtype=object),
        given_labels=np.zeros(len(photos), np.int32),
        class_names=(NO_LABEL,),
        skipped=tuple(skipped),
        notes=tuple(filter(None, [proposed_labels(photos), *note_on_table_beside(root, photos)])),
    )


def _or_class(labels: Labels, label: int) -> Labels:
    return np.where(labels == UNKNOWN, label, labels).astype(np.int32)


def _check_classes(
    records: Records, given: Labels, kept: NDArray[np.bool_], names: Sequence[str], aside: dict[int, str]
) -> None:
    """Raise TableError where fewer than two classes have rows that are kept."""
    left = np.unique(given[kept])
    if len(left) == kept.sum() > MOST_SINGLES:
        raise TableError(
            f"Each of {len(left):,} rows of {records.source.name} has a label of its own:"
            f" {some([names[label] for label in left])}.",
            expected="Expected classes of several photos.",
            remedy="Name the column of labels with --label-column.",
        )
    if len(left) > 1:
        return
    reasons = Counter(aside.values()).most_common(SHOWN)
    but = f"; {', '.join(f'{count} were set aside: {reason}' for reason, count in reasons)}" if aside else ""
    only = f"have the label {names[left[0]]!r}" if len(left) else "can be used"
    raise TableError(
        f"{'All' if len(left) else 'None of'} {kept.sum() or len(kept)} rows of {records.source.name}"
        f" {only}{but}.",
        expected="Expected at least two classes.",
        remedy="Give photos of another class, check which column holds the labels, or name the classes with"
        " --class-map.",
    )


def _notes_on_rows(
    records: Records,
    ids: Sequence[str],
    aside: dict[int, str],
    given: Labels,
    kept: NDArray[np.bool_],
    names: Sequence[str],
) -> list[str]:
    """Notes on rows that were set aside, by reason, and on classes that lost all their rows."""
    rows_of: dict[str, list[int]] = {}
    for row, reason in sorted(aside.items()):
        rows_of.setdefault(reason, []).append(row)
    notes = [
        f"{len(rows):,} {'row was' if len(rows) == 1 else 'rows were'} set aside: {reason}"
        f" ({some([ids[row] or records.location(row) for row in rows])})."
        for reason, rows in rows_of.items()
    ]
    empty = sorted(set(given[given >= 0].tolist()) - set(given[kept].tolist()))
    if empty:
        notes.append(f"NO ROW IS LEFT of {len(empty)} classes: {some([names[label] for label in empty])}.")
    return notes


def _skipped_rows(records: Records, ids: Sequence[str], aside: dict[int, str]) -> list[SkippedFile]:
    return [
        SkippedFile(ids[row], f"row set aside: {reason} ({records.location(row)})")
        for row, reason in sorted(aside.items())
    ]


def read_own_table(path: str | Path, *, images: str | Path | None = None) -> Table:
    """Return the table in `table.parquet` of a run, with photos from `images` or a likely folder nearby."""
    table = load_table(path)
    if not any(table.paths):
        return table if images is None else replace(table, root=Path(images))
    root = image_folder(Path(path), table.paths[:100].tolist(), images, follow_links=False)
    finder = PhotoFinder(root)
    found = [finder.find(photo)[0] if photo else "" for photo in texts_of_paths(table.paths)]
    return replace(table, root=root, paths=np.array(found, dtype=object))


def _without_own_id(records: Records, ids: list[str], labels: list[str]) -> dict[int, str]:
    """Return the rows without an id and the repeats of a row, with reasons; an id may have one label only."""
    if len(set(ids)) == len(ids) and "" not in ids:
        return {}
    rows_of: dict[str, list[int]] = {}
    for row, image_id in enumerate(ids):
        rows_of.setdefault(image_id, []).append(row)
    nameless = dict.fromkeys(rows_of.pop("", []), "without an id")
    if conflicting := [rows for rows in rows_of.values() if len({labels[row] for row in rows}) > 1]:
        rows = conflicting[0]
        locations = " and ".join(records.location(row) for row in rows[:SHOWN])
        kinds = " and ".join(sorted({repr(labels[row]) for row in rows}))
        raise TableError(
            f"{records.source.name} has {len(conflicting)} ids with different labels, such as"
            f" {ids[rows[0]]!r} in {locations}, labels {kinds}.",
            remedy="Keep one row a photo.",
        )
    return nameless | {row: "repeat of a row" for rows in rows_of.values() for row in rows[1:]}
