"""Read what people have, a folder or a file, as a table.

    a folder of class folders               walk_photos ──────────────────────────────────────► Table
    a CSV with an image folder (Kaggle)     ┐
    a Parquet file, photos inside or not    ├ files ─► columns ─► classes ─► photos ──────────► Table
    metadata.csv | jsonl | parquet          ┘

Nothing is guessed about a row: what is missing, unknown, repeated or out of place is an error that names the
file, the line and the remedy. Order is kept; ids and labels are text exactly as written.
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
from kiyome.reading.classes import (
    ClassMap,
    ClassMapSource,
    class_map_from,
    label_columns,
    read_labels,
    similar_names,
)
from kiyome.reading.columns import SHOWN, Records
from kiyome.reading.files import read_records
from kiyome.reading.photos import LEAVES, PhotoFinder, photos_without_row, unpack_photos, walk_photos

ID_COLUMNS = ("image_id", "id", "file_name", "filename", "image", "path", "image_path", "filepath", "file")
PATH_COLUMNS = ("path", "file_name", "filename", "image_path", "filepath", "file")
GROUP_COLUMNS = ("group", "patient_id")
IMAGE_FOLDERS = ("{stem}_images", "images", "{stem}")
TABLES_IN_FOLDER = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "train.csv", "train.parquet")
SPLITS = frozenset(["train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"])


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
        Lines or Parquet file, also with columns `fold`, `group` or `patient_id`, `weight`, `true_label`.
    images : str or Path, optional
        The folder of a file's photos. Without it: `<stem>_images`, `images` or `<stem>` beside the file, or
        the file's own folder, whichever holds one of the first photos.
    id_column, label_column : str, optional
        Columns to use; without them the first of `ID_COLUMNS` and of `LABEL_COLUMNS`.
    class_map : path, mapping or list of names, optional
        See `classes.py`. Without it, a map beside the file (`label_num_to_disease_map.json`), names inside a
        Parquet file, or the labels that occur.
    unpack_to : str or Path, optional
        The folder for photos inside a Parquet file.
    allow_missing : bool
        Allow rows without a photo, as with predictions from elsewhere.
    missing_list : str or Path, optional
        A CSV file for the list of all missing photos.

    Raises
    ------
    TableError
        With file, line and remedy: no rows, one class, missing or unknown labels, repeated ids, missing
        photos or photos outside the folder, class names that are nearly equal, a file that is no table.

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
        raise TableError(f"There is no folder or table at {str(source)!r}.", remedy="Check the path.")
    file = _table_in_folder(source) if source.is_dir() else source
    if file is None:
        if images or id_column or label_column:
            raise InputError(
                f"The folder {source} has no table: no train.csv and no metadata file.",
                expected="--images, --id-column and --label-column need one.",
                remedy="Give the file that lists the photos.",
            )
        return read_class_folders(source, class_map=class_map)
    records = read_records(file)
    if not len(records):
        raise TableError(f"{file} has no rows.", remedy="Check the file.")
    columns = label_columns(records, label_column)
    ids, photos, root, from_inside = _ids_and_photos(records, id_column, images, unpack_to, on_progress)
    _check_ids(records, ids, records.texts(columns["given_label"]))
    if not (allow_missing or any(photos)):
        photos = ids  # a table of our own, made without photos
    paths = find_photos(records, photos, root, allow_missing=allow_missing, missing_list=missing_list)
    names, label_texts, labels = read_labels(records, columns, class_map)
    without_row = [] if from_inside else photos_without_row(root, paths, file.name)
    return Table(
        root=root,
        image_ids=np.array(ids, dtype=object),
        paths=np.array(paths, dtype=object),
        given_labels=labels["given_label"],
        labels=labels["label"],
        class_names=names,
        label_texts=label_texts,
        true_labels=labels.get("true_label"),
        weights=_numbers(records, "weight", np.float32, "weights that are not numbers from 0"),
        groups=_groups(records),
        folds=fold_column(records),
        skipped=tuple(without_row),
    )


def read_own_table(path: str | Path, *, images: str | Path | None = None) -> Table:
    """Return the table in `table.parquet` of a run, with photos from `images` or a likely folder nearby."""
    table = load_table(path)
    if not any(table.paths):
        return table if images is None else replace(table, root=Path(images))
    root = _image_folder(Path(path), table.paths[:100].tolist(), images)
    finder = PhotoFinder(root)
    found = [finder.find(photo)[0] if photo else "" for photo in texts_of_paths(table.paths)]
    return replace(table, root=root, paths=np.array(found, dtype=object))


def read_class_folders(root: Path, *, class_map: ClassMapSource | None = None) -> Table:
    """Return the table of a folder whose folders are the classes; rows sorted by path, ids are the paths.

    Hidden files, files that are no photos and links that lead away are listed in `Table.skipped`, so that
    rows and skipped files add up to the files in the folder. `class_map` may order, rename or merge folders.
    """
    photos, skipped = walk_photos(root)
    loose = [path for path in photos if "/" not in path]
    photos = [path for path in photos if "/" in path]
    skipped += [SkippedFile(text_of_path(path), "lies outside the class folders") for path in loose]
    folders = sorted({path.split("/", 1)[0] for path in photos})
    _check_folders(root, folders, photos, skipped)
    class_of_photo = [text_of_path(path.split("/", 1)[0]) for path in photos]
    classes = _classes([text_of_path(folder) for folder in folders], class_map, root)
    label_of = classes.lookup(class_of_photo)
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
            f"{root} holds only splits: {', '.join(folders)}.",
            expected="Expected class folders.",
            remedy=f"Give one of the splits: {root / folders[0]}",
        )
    if not folders:
        first = f", such as {skipped[0].path!r} ({skipped[0].reason})" if skipped else ""
        raise TableError(
            f"{root} has no class folder with photos; it holds {len(skipped)} other files{first}.",
            expected="Expected one folder of photos for each class, or a table of the photos.",
            remedy="Sort the photos into class folders, or give the file that lists them with their labels.",
        )
    if len(folders) == 1:
        inner = {path.split("/")[1] for path in photos if path.count("/") > 1}
        deeper = f"If its folders are the classes, give {root / folders[0]}."
        raise TableError(
            f"{root} has photos of one class only, {folders[0]!r}.",
            expected="Expected at least two classes.",
            remedy=deeper if len(inner) > 1 else "Put the photos of each class into a folder of its own.",
        )


def _classes(folders: Sequence[str], source: ClassMapSource | None, root: Path) -> ClassMap:
    if source is not None:
        class_map = class_map_from(source)
        lookup = class_map.lookup(folders)
        if unknown := [folder for folder in folders if folder not in lookup]:
            raise TableError(
                f"{root} has class folders that are not in {class_map.origin}: {', '.join(unknown[:SHOWN])}.",
                remedy="Add them to the class map, or move the folders away.",
            )
        return class_map
    if alike := similar_names(folders):
        raise TableError(
            f"{root} has folders with nearly equal names: {', '.join(map(repr, alike[0]))}.",
            expected="Class names must differ in more than case, spaces or Unicode form.",
            remedy="Merge the folders, or name the class of each with --class-map.",
        )
    return class_map_from(folders)


def _empty_folders(root: Path, used: Sequence[str]) -> list[SkippedFile]:
    folders = (entry.name for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())
    unused = (name for name in folders if name not in used and not name.startswith("."))
    return [SkippedFile(f"{text_of_path(name)}/", "folder without photos") for name in unused]


def _table_in_folder(folder: Path) -> Path | None:
    found = [folder / name for name in TABLES_IN_FOLDER if (folder / name).is_file()]
    if len(found) > 1:
        raise TableError(
            f"{folder} has more than one table: {' and '.join(path.name for path in found)}.",
            remedy=f"Give one of them: {found[0]}",
        )
    return found[0] if found else None


def _ids_and_photos(
    records: Records,
    id_column: str | None,
    images: str | Path | None,
    unpack_to: str | Path | None,
    on_progress: Progress,
) -> tuple[list[str], list[str], Path, bool]:
    """Return ids, the texts that name the photos, their folder, and whether they were inside the file."""
    file = records.source
    if records.photo_column is None:
        ids = records.texts(records.require(id_column, ID_COLUMNS, option="--id-column"))
        path_column = records.pick(PATH_COLUMNS)
        photos = records.texts(path_column) if path_column else ids
        return ids, photos, _image_folder(file, photos, images), False
    if unpack_to is None:
        raise TableError(
            f"Column {records.photo_column!r} of {file.name} holds photos.",
            expected="They need a folder to be unpacked into.",
            remedy="Name it with unpack_to=.",
        )
    names, own_paths = unpack_photos(file, records.photo_column, Path(unpack_to), on_progress=on_progress)
    if id_column or records.pick(ID_COLUMNS):
        ids = records.texts(records.require(id_column, ID_COLUMNS, option="--id-column"))
    elif all(own_paths) and len(set(own_paths)) == len(own_paths):
        ids = own_paths
    else:
        ids = [f"row-{row:07d}" for row in range(len(records))]
    if any(names) or not any(own_paths):
        return ids, names, Path(unpack_to), True
    return ids, own_paths, _image_folder(file, own_paths, images), False


def _image_folder(file: Path, photos: Sequence[str], images: str | Path | None) -> Path:
    """Return `images`, or the first likely folder that holds one of the first photos."""
    if images is not None:
        if not Path(images).is_dir():
            raise TableError(f"There is no folder at {str(images)!r}.", remedy="Check the path of --images.")
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
        records.fail("rows without an id", nameless, remedy="Fill in or delete these rows.")
    if len(set(ids)) == len(ids):
        return
    rows_of: dict[str, list[int]] = {}
    for row, image_id in enumerate(ids):
        rows_of.setdefault(image_id, []).append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    conflicting = [rows for rows in repeated if len({labels[row] for row in rows}) > 1]
    rows = (conflicting or repeated)[0]
    locations = " and ".join(records.location(row) for row in rows[:SHOWN])
    kinds = ", labels " + " and ".join(sorted({repr(labels[row]) for row in rows})) if conflicting else ""
    raise TableError(
        f"{records.source.name} has {len(repeated)} ids more than once, {len(conflicting)} of them with"
        f" different labels, such as {ids[rows[0]]!r} in {locations}{kinds}.",
        remedy="Keep one row a photo.",
    )


def find_photos(
    records: Records, photos: list[str], root: Path, *, allow_missing: bool, missing_list: str | Path | None
) -> list[str]:
    """Return the path below `root` of each photo; empty paths only with `allow_missing`."""
    finder = PhotoFinder(root)
    if allow_missing and not finder.may_find(photos):
        return [""] * len(photos)
    found = [finder.find(photo) if photo else ("", "no path") for photo in photos]
    if allow_missing:
        return [path for path, _ in found]
    if leaving := [row for row, (_, reason) in enumerate(found) if reason == LEAVES]:
        records.fail(
            f"photos outside the data folder {root}",
            leaving,
            describe=lambda row: repr(photos[row]),
            remedy="Give paths relative to --images, without '..', and no links that lead out.",
        )
    if missing := [row for row, (path, _) in enumerate(found) if not path]:
        remedy = "Correct the names, or name the right folder with --images."
        if missing_list is not None:
            rows = [[records.row_numbers[row], photos[row], found[row][1]] for row in missing]
            Path(missing_list).parent.mkdir(parents=True, exist_ok=True)
            write_csv(missing_list, [[records.unit, "photo", "reason"], *rows])
            remedy += f" All are listed in {missing_list}."
        if similar := finder.similar(photos[missing[0]]):
            remedy += f" There is a {similar!r}."
        records.fail(
            f"photos that are not in {root}",
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
    return _numbers(records, "fold", np.int16, "folds that are not whole numbers from 0")


def _numbers(records: Records, name: str, kind: type, faults: str) -> NDArray[Any] | None:
    """Return an optional column of numbers from 0; they must be whole if `kind` is an integer type."""
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
            faults,
            np.flatnonzero(~good).tolist(),
            describe=lambda row: repr(records.texts(column)[row]),
            remedy=f"Correct these, or rename the column {column!r} if it means something else.",
        )
    return values.astype(kind)
