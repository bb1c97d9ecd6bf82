"""Folders of splits above the class folders or below them: `train/cat/1.jpg`, `cat/train/1.jpg`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import TRAIN, UNLABELED
from kiyome.errors import TableError
from kiyome.reading.columns import some
from kiyome.reading.splits import IGNORE, split_of_name


class Place(NamedTuple):
    """The split and the class folder of a photo; no class folder is an empty text."""

    split: str
    class_folder: str


def place_of(path: str) -> Place:
    """Return the place of a photo where the upper folders are the classes."""
    return Place(TRAIN, path.partition("/")[0] if "/" in path else "")


def places_in_splits(root: Path, photos: Sequence[str]) -> dict[str, Place]:
    """Return the place of each photo; empty unless all upper folders are splits and train has two classes.

    Photos of another split are unlabeled where none of them lies in a class folder. TableError where its
    folders are others than the classes of train.

    >>> list(places_in_splits(Path(), ["train/cat/1.jpg", "train/dog/2.jpg", "test/3.jpg"]).values())
    [Place(split='train', class_folder='cat'), Place(split='train', class_folder='dog'), \
Place(split='unlabeled', class_folder='')]
    """
    split_of = split_of_upper_folders(photos)
    if not split_of:
        return places_below_classes(photos)
    below: dict[str, list[str]] = {upper: [] for upper in split_of}
    for path in photos:
        if "/" in path:
            below[path.partition("/")[0]].append(path)
    places: dict[str, Place] = {}
    classes: set[str] = set()
    for upper in sorted(below, key=lambda each: split_of[each] != TRAIN):
        split = split_of[upper]
        if split != TRAIN and len(classes) < 2:
            return {}
        folders = _class_folders(below[upper], classes)
        found = set(folders.values()) - {""}
        if split == TRAIN:
            classes |= found
        elif not found or split == UNLABELED:
            split, folders = UNLABELED, dict.fromkeys(folders, "")
        elif not found & classes:
            raise TableError(
                f"{root / upper} has none of the class folders of train ({some(sorted(classes))}), but"
                f" {some(sorted(found))}.",
                remedy=f"Give them the names of train, or move the photos into {root / upper} itself if"
                f" they have no label. {IGNORE}",
            )
        places |= {path: Place(split, folder) for path, folder in folders.items()}
    return places


def split_of_upper_folders(photos: Sequence[str]) -> dict[str, str]:
    """Return the split of each upper folder; empty unless all of them name splits, and several.

    >>> split_of_upper_folders(["train/1.jpg", "test/1.jpg"]), split_of_upper_folders(["train/1.jpg"])
    ({'train': 'train', 'test': 'test'}, {})
    """
    uppers = dict.fromkeys(path.partition("/")[0] for path in photos if "/" in path)
    named = {upper: split_of_name(text_of_path(upper)) for upper in uppers}
    split_of = {upper: split for upper, split in named.items() if split is not None}
    return split_of if len(split_of) == len(named) and len(set(split_of.values())) > 1 else {}


def places_below_classes(photos: Sequence[str]) -> dict[str, Place]:
    """Return the place of each photo where all folders in the class folders are splits, train among them."""
    nested = [path for path in photos if "/" in path]
    first = nested[0].split("/") if nested else []
    if len(first) < 3 or split_of_name(text_of_path(first[1])) is None:
        return {}
    parts = {path: path.split("/") for path in nested}
    if not all(len(each) > 2 for each in parts.values()):
        return {}
    named = {inner: split_of_name(text_of_path(inner)) for inner in {each[1] for each in parts.values()}}
    in_train = {each[0] for each in parts.values() if named[each[1]] == TRAIN}
    if None in named.values() or len(set(named.values())) < 2 or len(in_train) < 2:
        return {}
    splits = {path: named[each[1]] or TRAIN for path, each in parts.items()}
    return {
        path: Place(splits[path], "" if splits[path] == UNLABELED else each[0])
        for path, each in parts.items()
    }


def _class_folders(paths: Sequence[str], classes: set[str]) -> dict[str, str]:
    """Return the class folder of each photo below one split, under folders that hold all of its photos."""
    parts = [path.split("/") for path in paths]
    depth = 1
    while True:
        inner = {each[depth] for each in parts if len(each) > depth + 1}
        if len(inner) != 1 or inner <= classes or any(len(each) == depth + 1 for each in parts):
            names = [each[depth] if len(each) > depth + 1 else "" for each in parts]
            return dict(zip(paths, names, strict=True))
        depth += 1
