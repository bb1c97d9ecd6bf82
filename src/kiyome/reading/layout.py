"""Where files lie: class folders, a table in a folder, the folder of a table's photos."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import TRAIN, UNKNOWN, UNLABELED, SkippedFile, Table
from kiyome.errors import TableError
from kiyome.reading.classes import ClassMap, ClassMapSource, class_map_from, similar_names
from kiyome.reading.columns import SHOWN, some
from kiyome.reading.photos import LINK_LEAVES, PhotoFinder, parquet_files, photos_in, walk_photos
from kiyome.reading.split_folders import Place, place_of, places_in_splits
from kiyome.reading.splits import WORDS, note_on_splits, note_on_unseen_classes
from kiyome.reading.table_beside import check_folders_against_table

IMAGE_FOLDERS = ("{stem}_images", "images", "{stem}")
TABLES_IN_FOLDER = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "train.csv", "train.parquet")
FIFTYONE_FOLDER = "data"
TABLES_BESIDE_PHOTOS = ("labels.csv", "labels.json")
SPLITS = frozenset(word for word, split in WORDS.items() if split != UNLABELED)
FOLLOW_LINKS = "If you trust what they lead to, add --follow-links (in Python follow_links=True)."


def table_in_folder(folder: Path) -> Path | None:
    """Return the table in a folder; None where its folders are the classes."""
    found = [folder / name for name in TABLES_IN_FOLDER if (folder / name).is_file()]
    if not found and not _class_folders(folder):
        found = [folder / name for name in TABLES_BESIDE_PHOTOS if (folder / name).is_file()]
    if not found and not _class_folders(folder) and parquet_files(folder):
        return folder
    if len(found) > 1:
        raise TableError(
            f"{folder} has more than one table: {' and '.join(path.name for path in found)}.",
            remedy=f"Give one of them: {found[0]}",
        )
    return found[0] if found else None


def _class_folders(folder: Path) -> list[str]:
    """The folders that are not named for a split or for photos, as beside a table."""
    usual = SPLITS | {"images", "data"}
    folders = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [name for name in folders if name.lower() not in usual]


def image_folder(file: Path, photos: Sequence[str], images: str | Path | None, *, follow_links: bool) -> Path:
    """Return `images`, or the first likely folder that holds one of the first photos, or the likeliest."""
    if images is not None:
        if not Path(images).is_dir():
            raise TableError(f"There is no folder at {str(images)!r}.", remedy="Check the path of --images.")
        return Path(images)
    stem = file.name.partition(".csv.gz")[0] if file.name.endswith(".csv.gz") else file.stem
    beside = [file.parent / name.format(stem=stem) for name in (*IMAGE_FOLDERS, FIFTYONE_FOLDER)]
    likely = [*(folder for folder in beside if folder.is_dir()), file.parent]
    for folder in likely:
        finder = PhotoFinder(folder, follow_links=follow_links)
        if any(finder.find(photo)[0] for photo in photos[:100]):
            return folder
    return likely[0]


def read_class_folders(
    root: Path,
    *,
    class_map: ClassMapSource | None = None,
    ignore_splits: bool = False,
    follow_links: bool = False,
) -> Table:
    """Return the table of a folder whose folders are the classes; rows sorted by path, ids are the paths.

    The class folders may lie in folders of splits, `train` among them. Hidden files, files that are no photos
    and links that lead away are listed in `Table.skipped`, so that rows and skipped files add up to the files
    in the folder. `class_map` may order, rename or merge folders.
    """
    photos, skipped = walk_photos(root, follow_links=follow_links)
    uppers = sorted({path.partition("/")[0] for path in photos if "/" in path})
    named = set() if class_map is None else class_map_from(class_map).lookup(uppers).keys() & uppers
    in_splits = {} if named else places_in_splits(root, photos)
    places = {path: in_splits.get(path, place_of("") if in_splits else place_of(path)) for path in photos}
    if ignore_splits:
        places = {path: Place(TRAIN, place.class_folder) for path, place in places.items()}
    loose = {path for path, place in places.items() if not place.class_folder and place.split != UNLABELED}
    photos = [path for path in photos if path not in loose]
    skipped += [SkippedFile(text_of_path(path), "lies outside the class folders") for path in sorted(loose)]
    folders = sorted({places[path].class_folder for path in photos} - {""})
    if class_map is None and not in_splits:
        check_folders_against_table(root, folders, photos)
    _check_folders(root, folders, photos, skipped)
    if class_map is None and not in_splits:
        _check_upper_folders(root, folders, photos)
    class_of_photo = [text_of_path(places[path].class_folder) for path in photos]
    classes = _classes([text_of_path(folder) for folder in folders], class_map, root)
    label_of = classes.lookup(class_of_photo) | {"": UNKNOWN}
    table = Table(
        root=root,
        image_ids=np.array([text_of_path(path) for path in photos], dtype=object),
        paths=np.array(photos, dtype=object),
        given_labels=np.array([label_of[folder] for folder in class_of_photo], dtype=np.int32),
        class_names=classes.names,
        label_texts=classes.texts_of_classes(class_of_photo),
        splits=np.array([places[path].split for path in photos], dtype=object),
        skipped=tuple(sorted([*skipped, *_empty_folders(root, uppers)])),
        notes=tuple(note_on_links(skipped)),
    )
    if table.splits is None:
        return table
    notes = (note_on_splits("folders", table.splits), *table.notes, *note_on_unseen_classes(table))
    return replace(table, notes=notes)


def note_on_links(skipped: Sequence[SkippedFile]) -> list[str]:
    """Return a note on links that were not followed."""
    links = [entry.path for entry in skipped if entry.reason == LINK_LEAVES]
    return [f"{len(links):,} links leave the data folder and were skipped: {some(links)}. {FOLLOW_LINKS}"][
        : len(links)
    ]


def note_on_shards(source: Path) -> list[str]:
    """Return a note on Parquet shards without the name of a split beside others, which are not read."""
    if not source.is_dir():
        return []
    every = {*source.glob("*.parquet"), *source.glob("data/*.parquet")}
    others = sorted(path.name for path in every - set(parquet_files(source)))
    return [f"Shards without the name of a split are not read: {some(others)}."][: len(others)]


def _check_folders(
    root: Path, folders: Sequence[str], photos: Sequence[str], skipped: Sequence[SkippedFile]
) -> None:
    if not folders:
        shown = sorted(skipped, key=lambda entry: entry.reason != LINK_LEAVES)[:1]
        first = "".join(f", such as {entry.path!r} ({entry.reason})" for entry in shown)
        tables = [entry.path for entry in skipped if entry.path.endswith((".csv", ".parquet", ".json"))]
        links = any(entry.reason == LINK_LEAVES for entry in skipped)
        sort = "Sort the photos into class folders, or give the file that lists them with their labels"
        raise TableError(
            f"{root} has no class folder with photos; it holds {len(skipped)} other files{first}.",
            expected="Expected one folder of photos for each class, or a table of the photos.",
            remedy=FOLLOW_LINKS if links else f"{sort}: {root / tables[0]}" if tables else f"{sort}.",
        )
    if len(folders) == 1:
        inner = {path.split("/")[1] for path in photos if path.count("/") > 1}
        deeper = f"If its folders are the classes, give {root / folders[0]}."
        raise TableError(
            f"{root} has photos of one class only, {folders[0]!r}.",
            expected="Expected at least two classes.",
            remedy=deeper if len(inner) > 1 else "Put the photos of each class into a folder of its own.",
        )


def _check_upper_folders(root: Path, folders: Sequence[str], photos: Sequence[str]) -> None:
    """Refuse folders that are splits, or parents of the classes: none of them is silently a class."""
    splits = [folder for folder in folders if is_split(folder)]
    shared = _folders_below_several(folders, photos)
    named = {folder.lower() for folder in splits} & SPLITS
    are_classes = named == {"train"} or not named  # a train is also a vehicle
    if not shared and len(splits) < 2 and are_classes:
        return
    as_classes = "If these folders are classes, name every class with --class-map."
    training = _training_folder(root, splits or folders, photos)
    if len(splits) == len(folders):
        tables = sorted(path.name for path in root.glob("*.csv") if "submission" not in path.name.lower())
        labels = f", or the table of labels: {root / tables[0]}" if tables else ""
        raise TableError(
            f"{root} holds only splits: {', '.join(folders)}.",
            expected="Expected class folders.",
            remedy=f"Give one of the splits: {training}{labels}",
        )
    if shared:
        raise TableError(
            f"{root} has the same folders below several others ({some(folders)}): {some(sorted(shared))}."
            " Those are probably the classes.",
            expected="Expected class folders.",
            remedy=f"Give one folder of class folders, such as {training}. {as_classes}",
        )
    raise TableError(
        f"{root} has folders that are named like splits beside others: {some(splits)}.",
        expected="Expected class folders only.",
        remedy=f"Move them out of {root}. {as_classes}",
    )


def is_split(name: str) -> bool:
    """Return whether one of the words in a folder's name is the name of a split.

    >>> is_split("seg_train"), is_split("Test2"), is_split("latest"), is_split("testtube")
    (True, True, False, False)
    """
    return not SPLITS.isdisjoint(re.findall(r"[a-z]+", name.lower()))


def _folders_below_several(folders: Sequence[str], photos: Sequence[str]) -> set[str]:
    """Return the names of folders that hold most photos and lie below several upper ones, like classes."""
    parents: dict[str, set[str]] = {}
    name_of_photo = [path.rsplit("/", 2)[-2] if path.count("/") > 1 else "" for path in photos]
    for path, name in zip(photos, name_of_photo, strict=True):
        if name and not is_split(name):
            parents.setdefault(name, set()).add(path.split("/", 1)[0])
    shared = {name for name, above in parents.items() if len(above) > 1}
    covered = sum(name in shared for name in name_of_photo)
    kinds = {re.sub(r"\d", "", name) for name in shared}  # patient1 and patient2 are one kind, and no classes
    return shared if len(kinds) > 1 and len(folders) > 1 and 2 * covered > len(photos) else set()


def _training_folder(root: Path, folders: Sequence[str], photos: Sequence[str]) -> Path:
    """Return the folder to give instead: that for training if it has class folders, down to those."""
    ordered = sorted(folders, key=lambda folder: "train" not in folder.lower())
    found = [_down_to_classes(root / folder, root, photos) for folder in ordered]
    return next((path for path, is_several in found if is_several), found[0][0])


def _down_to_classes(path: Path, root: Path, photos: Sequence[str]) -> tuple[Path, bool]:
    """Return the folder below `path` that holds several folders or files, and whether these are folders."""
    while True:
        below = f"{path.relative_to(root)}/"
        inner = {each.removeprefix(below).partition("/")[0] for each in photos if each.startswith(below)}
        if len(inner) != 1 or not (path / min(inner)).is_dir():
            return path, any((path / name).is_dir() for name in inner)
        path /= min(inner)


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


def with_real_files(table: Table) -> Table:
    """Return the table with links replaced by the files that they lead to, below a folder of all of them."""
    real = [os.path.realpath(path) if path else "" for path in table.photo_paths()]
    root = os.path.realpath(table.root)
    if all(path.startswith(f"{root}/") for path in real if path):
        return table
    root = os.path.commonpath([root, *filter(None, real)])
    paths = [os.path.relpath(path, root) if path else "" for path in real]
    return replace(table, root=Path(root), paths=np.array(paths, dtype=object))


def photos_without_row(root: Path, paths: Sequence[str], table_name: str) -> list[SkippedFile]:
    """Return the photos in the folders of the rows' photos that belong to no row."""
    used = set(paths)
    folders = sorted({path.rpartition("/")[0] for path in used if path})
    beside = (
        f"{folder}/{name}" if folder else name for folder in folders for name in photos_in(f"{root}/{folder}")
    )
    return [SkippedFile(text_of_path(path), f"no row in {table_name}") for path in beside if path not in used]
