"""Where files lie: class folders, a table in a folder, the folder of a table's photos."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import UNLABELED, SkippedFile, Table
from kiyome.errors import TableError
from kiyome.reading.columns import some
from kiyome.reading.photos import LINK_LEAVES, PhotoFinder, parquet_files, photos_in
from kiyome.reading.splits import WORDS

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


def image_folder(
    file: Path,
    photos: Sequence[str],
    images: str | Path | None,
    images_option: str = "--images",
    *,
    follow_links: bool,
) -> Path:
    """Return `images`, or the first likely folder that holds one of the first photos, or the likeliest."""
    if images is not None:
        if not Path(images).is_dir():
            raise TableError(
                f"There is no folder at {str(images)!r}.", remedy=f"Check the path of {images_option}."
            )
        return Path(images)
    stem = file.name.partition(".csv.gz")[0] if file.name.endswith(".csv.gz") else file.stem
    beside = [file.parent / name.format(stem=stem) for name in (*IMAGE_FOLDERS, FIFTYONE_FOLDER)]
    likely = [*(folder for folder in beside if folder.is_dir()), file.parent]
    for folder in likely:
        finder = PhotoFinder(folder, follow_links=follow_links)
        if any(finder.find(photo)[0] for photo in photos[:100]):
            return folder
    return likely[0]


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
