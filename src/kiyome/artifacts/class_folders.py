"""A folder of class folders as a table: `leaves/healthy/1.jpg`, `leaves/blight/field/2.jpg`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kiyome.artifacts.class_map import ClassMap, ClassMapSource, class_map_from, twins
from kiyome.artifacts.names import text_of_path
from kiyome.artifacts.photo_files import walk_photos
from kiyome.artifacts.table import Skipped, Table
from kiyome.errors import TableError

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
    skipped += [Skipped(text_of_path(path), "lies outside the class folders") for path in loose]
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
        label_texts=classes.texts_written(class_of_photo),
        skipped=tuple(sorted([*skipped, *_empty_folders(root, folders)])),
    )


def _check_folders(
    root: Path, folders: Sequence[str], photos: Sequence[str], skipped: Sequence[Skipped]
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


def _empty_folders(root: Path, used: Sequence[str]) -> list[Skipped]:
    folders = (entry.name for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())
    unused = (name for name in folders if name not in used and not name.startswith("."))
    return [Skipped(f"{text_of_path(name)}/", "folder without photos") for name in unused]
