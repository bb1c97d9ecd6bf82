"""Labels of a split without class folders, from a table in its folder or beside it.

val/images/1.jpg, val/val_annotations.txt (Tiny ImageNet)      Test/1.png, Test.csv (GTSRB)
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import UNLABELED
from kiyome.errors import TableError
from kiyome.reading.files import read_records
from kiyome.reading.guessed_columns import column_of_classes, guessed_id_column
from kiyome.reading.names import match_names
from kiyome.reading.split_folders import Place
from kiyome.reading.splits import split_of_name
from kiyome.reading.table_beside import ENDINGS, MOST_TABLES, names_photos


def with_labels_beside(root: Path, places: dict[str, Place], notes: list[str]) -> dict[str, Place]:
    """Return the places of photos with labels from tables, where a split has neither these nor class folders.

    A table counts if it names the photos and one of its columns holds classes of the other folders only, more
    than one: else it may be a sample submission.
    """
    classes = {place.class_folder for place in places.values()} - {""}
    without: dict[str, list[str]] = {}
    for path, place in places.items():
        if place.split == UNLABELED and "/" in path:
            without.setdefault(path.partition("/")[0], []).append(path)
    for upper, photos in without.items():
        split = split_of_name(text_of_path(upper))
        if split in (None, UNLABELED):
            continue
        for file in _tables(root, upper, split):
            if labels := _labels_in(file, photos, classes):
                places = places | {path: Place(split, label) for path, label in labels.items()}
                notes.append(f"Labels of {len(labels):,} photos in {upper} are those of {file.name}.")
                break
    return places


def _tables(root: Path, upper: str, split: str) -> Iterator[Path]:
    """Yield the tables in the folder of a split, and those beside it that are named for the split."""
    for folder in (root / upper, root):
        tables = (path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
        for path in sorted(tables)[:MOST_TABLES]:
            if folder != root or split_of_name(text_of_path(path.stem)) == split:
                yield path


def _labels_in(file: Path, photos: Sequence[str], classes: Collection[str]) -> dict[str, str]:
    """Return the class of each photo that a table names; empty where no column certainly holds classes."""
    if split_of_name(text_of_path(file.stem)) == UNLABELED or not names_photos(file, photos):
        return {}
    try:
        records = read_records(file)
        id_column = guessed_id_column(records, None)
        label_column = column_of_classes(records, id_column, classes)
        if id_column is None or label_column is None:
            return {}
        rows = match_names(photos, records.texts(id_column)).rows
        labels = records.texts(label_column)
    except TableError:
        return {}
    label_of = {path: labels[row] for path, row in zip(photos, rows.tolist(), strict=True) if row >= 0}
    label_of = {path: label for path, label in label_of.items() if label}
    return label_of if len(set(label_of.values())) > 1 else {}
