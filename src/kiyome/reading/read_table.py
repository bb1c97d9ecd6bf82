"""The front gate: read what people have, a folder or a file, as a table.

    a folder of class folders               class_folders.py
    a CSV with an image folder (Kaggle)     ┐
    a Parquet file, photos inside or not    ├ records.py -> ids, labels, photos, the optional columns
    metadata.csv | jsonl | parquet          ┘

Nothing is guessed about a row: what is missing, unknown, doubled or out of place is an error that names the
file, the line and what to do. Order is kept; ids and labels are text exactly as written.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import text_of_path, texts_of_paths
from kiyome.artifacts.storage import write_csv
from kiyome.artifacts.table import SkippedFile, Table, Texts, load_table
from kiyome.errors import InputError, TableError
from kiyome.progress import Progress, no_progress
from kiyome.reading.classes import ClassMap, ClassMapSource, class_map_from, label_columns, read_labels, twins
from kiyome.reading.columns import SHOWN, Records
from kiyome.reading.files import read_records
from kiyome.reading.photos import LEAVES, PhotoFinder, photos_without_row, unpack_photos, walk_photos

SPLITS = frozenset(["train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"])


def read_class_folders(root: Path, *, class_map: ClassMapSource | None = None) -> Table:
    """Return the table of a folder whose folders are the classes; rows sorted by path, ids are the paths.

    Hidden files, files that are no photos and links that lead away are passed over and listed in
    `Table.skipped`, so that rows and skipped files add up to the files in the folder. `class_map` may order,
    rename or merge the folders.

    Raises
    ------
    TableError
        When there are no photos, fewer than two classes, only `train`, `val`, `test`, or two folders whose
        names differ only in case, spaces or Unicode form.
    """
    photos, skipped = walk_photos(root)
    loose = [path for path in photos if "/" not in path]
    photos = [path for path in photos if "/" in path]
    skipped += [SkippedFile(text_of_path(path), "lies outside the class folders") for path in loose]
    folders = sorted({path.split("/", 1)[0] for path in photos})
    _check_folders(root, folders, photos, skipped)
    class_of_photo = [text_of_path(path.split("/", 1)[0]) for path in photos]
    classes = _classes([text_of_path(folder) for folder in folders], class_map, root)
    label_of = classes.reading(class_of_photo)
    return Table(
        root=root,
        image_ids=np.array([text_of_path(path) for path in photos], dtype=object),
        paths=np.array(photos, dtype=object),
        given_labels=np.array([label_of[folder] for folder in class_of_photo], dtype=np.int32),
        class_names=classes.names,
        label_texts=classes.texts_of_classes(class_of_photo),
        skipped=tuple(sorted([*skipped, *_empty_folders(root, folders)])),
    )


def _check_folders(
    root: Path, folders: Sequence[str], photos: Sequence[str], skipped: Sequence[SkippedFile]
) -> None:
    if folders and SPLITS.issuperset(folder.lower() for folder in folders):
        raise TableError(
            "The folders of a data folder are its classes.",
            came=f"only {', '.join(folders)} in {root}",
            remedy=f"Point at one of them: {root / folders[0]}",
        )
    if not folders:
        first = f", such as {skipped[0].path!r} ({skipped[0].reason})" if skipped else ""
        raise TableError(
            "A data folder holds one folder of photos for each class, or a table of its photos.",
            came=f"no class folder with photos in {root}; {len(skipped)} other files{first}",
            remedy="Sort the photos into class folders, or give the file that lists them with their labels.",
        )
    if len(folders) == 1:
        inner = {path.split("/")[1] for path in photos if path.count("/") > 1}
        deeper = f"If its folders are the classes, point at {root / folders[0]}."
        raise TableError(
            "There are at least two classes.",
            came=f"photos in {folders[0]!r} only, in {root}",
            remedy=deeper if len(inner) > 1 else "Put the photos of each class into a folder of its own.",
        )


def _classes(folders: Sequence[str], source: ClassMapSource | None, root: Path) -> ClassMap:
    if source is not None:
        class_map = class_map_from(source)
        reading = class_map.reading(folders)
        if unknown := [folder for folder in folders if folder not in reading]:
            raise TableError(
                f"Every class folder is in {class_map.origin}.",
                came=f"{', '.join(unknown[:5])} in {root}",
                remedy="Add it to the class map, or move the folder away.",
            )
        return class_map
    if alike := twins(folders):
        raise TableError(
            "Class names differ in more than case, spaces or Unicode form.",
            came=f"folders {', '.join(map(repr, alike[0]))} in {root}",
            remedy="Merge the folders, or say with a class map which are one class.",
        )
    return class_map_from(folders)


def _empty_folders(root: Path, used: Sequence[str]) -> list[SkippedFile]:
    folders = (entry.name for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())
    unused = (name for name in folders if name not in used and not name.startswith("."))
    return [SkippedFile(f"{text_of_path(name)}/", "folder without photos") for name in unused]


ID_COLUMNS = ("image_id", "id", "file_name", "filename", "image", "path", "image_path", "filepath", "file")
PATH_COLUMNS = ("path", "file_name", "filename", "image_path", "filepath", "file")
GROUP_COLUMNS = ("group", "patient_id")
IMAGE_FOLDERS = ("{stem}_images", "images", "{stem}")
TABLES_IN_FOLDER = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "train.csv", "train.parquet")


def read_table(
    source: str | Path,
    *,
    images: str | Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    class_map: ClassMapSource | None = None,
    unpack_to: str | Path | None = None,
    allow_missing: bool = False,
    missing_list: str | Path | None = None,
    on_progress: Progress = no_progress,
) -> Table:
    r"""Return the table of photos and labels that a folder or a file describes.

    Parameters
    ----------
    source : str or Path
        A folder of class folders; a folder with `train.csv` or a `metadata` file in it; or a CSV, TSV, JSON
        Lines or Parquet file.
    images : str or Path, optional
        The folder that a file's photos lie under. Without it: `<stem>_images`, `images` or `<stem>` beside
        the file, or the file's own folder, whichever holds the first photos.
    id_column, label_column : str, optional
        Columns to use; without them the first of `ID_COLUMNS` and of `LABEL_COLUMNS`.
    class_map : path, mapping or list of names, optional
        What labels mean: see `class_map.py`. Without it, a map beside the file
        (`label_num_to_disease_map.json`), names inside a Parquet file, or the labels that occur.
    unpack_to : str or Path, optional
        The folder for photos that lie inside a Parquet file.
    allow_missing : bool
        Let rows be without a photo: for predictions that others made.
    missing_list : str or Path, optional
        A CSV file that is to list all missing photos.

    Returns
    -------
    table : Table
        The columns `fold`, `group` or `patient_id`, `weight` and `true_label` are used when present.

    Raises
    ------
    TableError
        With file, line and remedy: no rows, one class, labels that are missing or unknown, ids that are
        doubled, photos that are missing or lie outside, class names that are nearly the same, a file that
        is no table.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.csv").write_text("image_id,label\n007.jpg,cat\n008.jpg,dog\n")
    >>> table = read_table(folder / "train.csv", allow_missing=True)
    >>> table.image_ids.tolist(), table.class_names
    (['007.jpg', '008.jpg'], ('cat', 'dog'))
    """
    source = Path(source)
    if not source.exists():
        raise TableError("The data can be found.", came=f"nothing at {source}", remedy="Check the path.")
    file = _table_in_folder(source) if source.is_dir() else source
    if file is None:
        if images or id_column or label_column:
            raise InputError(
                "images=, id_column= and label_column= go with a table.",
                came=f"the folder {source} without train.csv or metadata",
                remedy="Give the file that lists the photos.",
            )
        return read_class_folders(source, class_map=class_map)
    records = read_records(file)
    if not len(records):
        raise TableError("A table has rows.", came=f"none in {file}", remedy="Check the file.")
    columns = label_columns(records, label_column)
    ids, photos, root, from_inside = _photos(records, id_column, images, unpack_to, on_progress)
    _check_ids(records, ids, records.texts(columns["given_label"]))
    if not (allow_missing or any(photos)):
        photos = ids  # a table of our own, made without photos
    paths = find_photos(records, photos, root, allow_missing=allow_missing, missing_list=missing_list)
    names, label_texts, labels = read_labels(records, columns, class_map)
    beside = [] if from_inside else photos_without_row(root, paths, file.name)
    return Table(
        root=root,
        image_ids=np.array(ids, dtype=object),
        paths=np.array(paths, dtype=object),
        given_labels=labels["given_label"],
        labels=labels["label"],
        class_names=names,
        label_texts=label_texts,
        true_labels=labels.get("true_label"),
        weights=_numbers(records, "weight", np.float32, "Weights are numbers, not negative."),
        groups=_groups(records),
        folds=fold_column(records),
        skipped=tuple(beside),
    )


def read_own_table(path: str | Path, *, images: str | Path | None = None) -> Table:
    """Return the table that a run wrote, with the photos that are at hand.

    Parameters
    ----------
    path
        ``table.parquet`` in the folder of the run.
    images
        The folder of the photos; likely ones near the file are tried if not given.

    Raises
    ------
    StaleArtifact
        As for `kiyome.artifacts.table.load_table`.
    """
    table = load_table(path)
    if not any(table.paths):
        return table if images is None else replace(table, root=Path(images))
    root = image_folder(Path(path), table.paths[:100].tolist(), images)
    finder = PhotoFinder(root)
    found = [finder.find(photo)[0] if photo else "" for photo in texts_of_paths(table.paths)]
    return replace(table, root=root, paths=np.array(found, dtype=object))


def _table_in_folder(folder: Path) -> Path | None:
    found = [folder / name for name in TABLES_IN_FOLDER if (folder / name).is_file()]
    if len(found) > 1:
        raise TableError(
            "One table describes a folder.",
            came=f"{' and '.join(path.name for path in found)} in {folder}",
            remedy=f"Point at one of them: {found[0]}",
        )
    return found[0] if found else None


def _photos(
    records: Records,
    id_column: str | None,
    images: str | Path | None,
    unpack_to: str | Path | None,
    on_progress: Progress,
) -> tuple[list[str], list[str], Path, bool]:
    """Ids, the texts that name the photos, the folder they lie under, and whether they came from inside."""
    file = records.source
    if records.photo_column is None:
        ids = records.texts(records.require(id_column, ID_COLUMNS, option="id_column"))
        path_column = records.pick(PATH_COLUMNS)
        photos = records.texts(path_column) if path_column else ids
        return ids, photos, image_folder(file, photos, images), False
    if unpack_to is None:
        raise TableError(
            "Photos inside a Parquet file are unpacked into a folder.",
            came=f"photos in column {records.photo_column!r} of {file.name}",
            remedy="Say where with unpack_to=.",
        )
    names, own_paths = unpack_photos(file, records.photo_column, Path(unpack_to), on_progress=on_progress)
    if id_column or records.pick(ID_COLUMNS):
        ids = records.texts(records.require(id_column, ID_COLUMNS, option="id_column"))
    elif all(own_paths) and len(set(own_paths)) == len(own_paths):
        ids = own_paths
    else:
        ids = [f"row-{row:07d}" for row in range(len(records))]
    if any(names) or not any(own_paths):
        return ids, names, Path(unpack_to), True
    return ids, own_paths, image_folder(file, own_paths, images), False


def image_folder(file: Path, photos: Sequence[str], images: str | Path | None) -> Path:
    """The folder that was named, or the first likely one that holds one of the first photos."""
    if images is not None:
        if not Path(images).is_dir():
            raise TableError("images= is a folder.", came=f"{images}", remedy="Check the path.")
        return Path(images)
    beside = [file.parent / name.format(stem=file.stem) for name in IMAGE_FOLDERS]
    likely = [folder for folder in beside if folder.is_dir()] + [file.parent]
    for folder in likely:
        finder = PhotoFinder(folder)
        if any(finder.find(photo)[0] for photo in photos[:100]):
            return folder
    return likely[0]


def _check_ids(records: Records, ids: list[str], labels: list[str]) -> None:
    if nameless := [row for row, image_id in enumerate(ids) if not image_id]:
        records.fail("Every row has an id.", nameless, remedy="Fill in or delete these rows.")
    if len(set(ids)) == len(ids):
        return
    rows_of: dict[str, list[int]] = {}
    for row, image_id in enumerate(ids):
        rows_of.setdefault(image_id, []).append(row)
    twice = [rows for rows in rows_of.values() if len(rows) > 1]
    differ = [rows for rows in twice if len({labels[row] for row in rows}) > 1]
    rows = (differ or twice)[0]
    places = " and ".join(records.place(row) for row in rows[:SHOWN])
    kinds = ", labels " + " and ".join(sorted({repr(labels[row]) for row in rows})) if differ else ""
    raise TableError(
        "Image ids are unique.",
        came=f"{ids[rows[0]]!r} in {records.source.name}, {places}{kinds}; "
        f"{len(twice)} ids more than once, {len(differ)} of them with labels that differ",
        remedy="Keep one row a photo.",
    )


def find_photos(
    records: Records, photos: list[str], root: Path, *, allow_missing: bool, missing_list: str | Path | None
) -> list[str]:
    """The path below `root` of each photo that a file names; empty ones only where they may be missing."""
    finder = PhotoFinder(root)
    if allow_missing and not finder.may_find(photos):
        return [""] * len(photos)
    found = [finder.find(photo) if photo else ("", "no path") for photo in photos]
    if allow_missing:
        return [path for path, _ in found]
    if leaving := [row for row, (_, reason) in enumerate(found) if reason == LEAVES]:
        records.fail(
            f"Photos lie in the data folder, {root}.",
            leaving,
            describe=lambda row: repr(photos[row]),
            remedy="Give paths relative to images=, without '..', and no links that lead out.",
        )
    if missing := [row for row, (path, _) in enumerate(found) if not path]:
        remedy = "Correct the names, or point at the right folder with images=."
        if missing_list is not None:
            rows = [[records.places[row], photos[row], found[row][1]] for row in missing]
            Path(missing_list).parent.mkdir(parents=True, exist_ok=True)
            write_csv(missing_list, [[records.unit, "photo", "reason"], *rows])
            remedy += f" All are listed in {missing_list}."
        if similar := finder.similar(photos[missing[0]]):
            remedy += f" There is a {similar!r}."
        records.fail(
            f"Every photo is a file in {root}.",
            missing,
            describe=lambda row: f"{photos[row]!r} ({found[row][1]})",
            remedy=remedy,
        )
    return [path for path, _ in found]


def _groups(records: Records) -> Texts | None:
    column = records.pick(GROUP_COLUMNS)
    return np.array(records.texts(column), dtype=object) if column else None


def fold_column(records: Records) -> NDArray[np.int16] | None:
    """Return the fold of each row of a file, from the column `fold`; None where it has none."""
    return _numbers(records, "fold", np.int16, "Folds are whole numbers from 0.")


def _numbers(records: Records, name: str, kind: type, must: str) -> NDArray[Any] | None:
    """An optional column of numbers that are not negative; `kind` says whether they are whole."""
    column = records.pick((name,))
    if column is None:
        return None
    values = records.numbers(column)
    high = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else np.finfo(kind).max
    good = (values >= 0) & (values <= high)
    if np.issubdtype(kind, np.integer):
        good &= values == np.floor(values)
    if not good.all():
        records.fail(
            must,
            np.flatnonzero(~good).tolist(),
            describe=lambda row: repr(records.texts(column)[row]),
            remedy=f"Correct these, or rename the column {column!r} if it means something else.",
        )
    return values.astype(kind)
