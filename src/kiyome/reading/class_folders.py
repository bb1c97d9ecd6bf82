"""Folders that are the classes, also in folders of splits; what lies otherwise is refused with its remedy."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import TRAIN, UNKNOWN, UNLABELED, SkippedFile, Table
from kiyome.errors import TableError
from kiyome.reading.classes import ClassMap, ClassMapSource, class_map_from, similar_names
from kiyome.reading.columns import SHOWN, some
from kiyome.reading.layout import FOLLOW_LINKS, SPLITS, note_on_links
from kiyome.reading.name_labels import note_on_names, places_by_name, proposed_labels
from kiyome.reading.photos import LINK_LEAVES, walk_photos
from kiyome.reading.split_folders import Place, place_of, places_below_classes, places_in_splits
from kiyome.reading.split_labels import with_labels_beside
from kiyome.reading.splits import note_on_splits, note_on_unseen_classes, split_of_name
from kiyome.reading.table_beside import check_folders_against_table, note_on_lists


def read_class_folders(
    root: Path,
    *,
    class_map: ClassMapSource | None = None,
    label_from_name: str | None = None,
    ignore_splits: bool = False,
    follow_links: bool = False,
) -> Table:
    """Return the table of a folder whose folders are the classes; rows sorted by path, ids are the paths.

    The class folders may lie in folders of splits, `train` among them, or hold these. Hidden files, files
    that are no photos and links that lead away are listed in `Table.skipped`, so that rows and skipped files
    add up to the files in the folder. `class_map` may order, rename or merge folders. With `label_from_name`,
    classes are in the names of photos.
    """
    photos, skipped = walk_photos(root, follow_links=follow_links)
    uppers = sorted({path.partition("/")[0] for path in photos if "/" in path})
    named = set() if class_map is None else class_map_from(class_map).lookup(uppers).keys() & uppers
    notes: list[str] = []
    outside = "lies outside the class folders"
    if label_from_name is not None:
        in_splits = places_by_name(photos, label_from_name)
        outside = "no class in its name"
    else:
        in_splits = places_below_classes(photos) if named else places_in_splits(root, photos)
        in_splits = with_labels_beside(root, in_splits, notes)
    places = {path: in_splits.get(path, place_of("") if in_splits else place_of(path)) for path in photos}
    if label_from_name is not None:
        notes.append(note_on_names(label_from_name, (place.class_folder for place in places.values())))
    if ignore_splits:
        places = {path: Place(TRAIN, place.class_folder) for path, place in places.items()}
    loose = {path for path, place in places.items() if not place.class_folder and place.split != UNLABELED}
    walked, photos = photos, [path for path in photos if path not in loose]
    skipped += [SkippedFile(text_of_path(path), outside) for path in sorted(loose)]
    folders = sorted({places[path].class_folder for path in photos} - {""})
    if class_map is None and not in_splits:
        check_folders_against_table(root, folders, photos)
    _check_folders(root, folders, walked, skipped)
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
        notes=(*notes, *note_on_links(skipped)),
    )
    if table.splits is None:
        unused = [] if ignore_splits else note_on_lists(root, photos)
        return replace(table, notes=(*table.notes, *unused))
    told = (note_on_splits("folders", table.splits), *table.notes, *note_on_unseen_classes(table))
    return replace(table, notes=told)


def _check_folders(
    root: Path, folders: Sequence[str], photos: Sequence[str], skipped: Sequence[SkippedFile]
) -> None:
    if not folders:
        shown = sorted(skipped, key=lambda entry: entry.reason != LINK_LEAVES)[:1]
        first = "".join(f", such as {entry.path!r} ({entry.reason})" for entry in shown)
        tables = [entry.path for entry in skipped if entry.path.endswith((".csv", ".parquet", ".json"))]
        links = any(entry.reason == LINK_LEAVES for entry in skipped)
        by_name = proposed_labels(photos)
        sort = "Sort the photos into class folders, or give the file that lists them with their labels"
        raise TableError(
            f"{root} has no class folder with photos; it holds {len(skipped)} other files{first}.",
            expected="Expected one folder of photos for each class, or a table of the photos.",
            remedy=FOLLOW_LINKS
            if links
            else by_name or (f"{sort}: {root / tables[0]}" if tables else f"{sort}."),
        )
    if len(folders) == 1:
        inner, is_deeper = _down_to_classes(root / folders[0], root, photos)
        deeper = f"If its folders are the classes, give {inner}."
        by_name = proposed_labels(photos)
        raise TableError(
            f"{root} has photos of one class only, {folders[0]!r}.",
            expected="Expected at least two classes.",
            remedy=deeper
            if is_deeper
            else by_name or "Put the photos of each class into a folder of its own.",
        )


def _check_upper_folders(root: Path, folders: Sequence[str], photos: Sequence[str]) -> None:
    """Refuse folders that are splits, or parents of the classes: none of them is silently a class."""
    splits = [folder for folder in folders if is_split(folder)]
    shared = _folders_below_several(folders, photos)
    named = {folder.lower() for folder in splits} & SPLITS
    inner = _inner_folders(folders, photos)
    holds_splits = [folder for folder in folders if _are_splits(inner[folder])]
    others = [folder for folder in folders if folder.lower() != "train"]
    has_classes = "train" in inner and len(inner["train"]) > 1 and not any(inner[each] for each in others)
    are_classes = (named == {"train"} and not has_classes) or not named  # a train is also a vehicle
    if not shared and len(splits) < 2 and are_classes and not holds_splits:
        return
    as_classes = "If these folders are classes, name every class with --class-map."
    training = _training_folder(root, splits or folders, photos)
    if len(splits) == len(folders):
        tables = sorted(path.name for path in root.glob("*.csv") if "submission" not in path.name.lower())
        labels = f", or the table of labels: {root / tables[0]}" if tables else ""
        one = f"Give one of the splits: {training}{labels}"
        raise TableError(
            f"{root} holds only splits: {', '.join(folders)}.",
            expected="Expected class folders.",
            remedy=one if labels or any(inner.values()) else proposed_labels(photos) or one,
        )
    if shared:
        raise TableError(
            f"{root} has the same folders below several others ({some(folders)}): {some(sorted(shared))}."
            " Those are probably the classes.",
            expected="Expected class folders.",
            remedy=f"Give one folder of class folders, such as {training}. {as_classes}",
        )
    if holds_splits or has_classes:
        whole = holds_splits[0] if holds_splits else "train"
        kind = "splits" if holds_splits else "class folders"
        raise TableError(
            f"{root} has a folder of {kind}, {whole!r}, beside others: {some(sorted({*folders} - {whole}))}.",
            expected="Expected class folders only.",
            remedy=f"Give {root / whole}. {as_classes}",
        )
    raise TableError(
        f"{root} has folders that are named like splits beside others: {some(splits)}.",
        expected="Expected class folders only.",
        remedy=f"{_both_splits(root, splits, inner) or f'Move them out of {root}.'} {as_classes}",
    )


def _both_splits(root: Path, splits: Sequence[str], inner: dict[str, set[str]]) -> str:
    """Return the paths to give for a folder of train with class folders and one of another split."""
    train = [folder for folder in splits if split_of_name(folder) == TRAIN and len(inner[folder]) > 1]
    others = [folder for folder in splits if split_of_name(folder) not in (None, TRAIN)]
    return f"Give {root / train[0]} --test {root / others[0]}." if train and others else ""


def _inner_folders(folders: Sequence[str], photos: Sequence[str]) -> dict[str, set[str]]:
    """Return the names of the folders in each folder; empty for one that holds photos itself, too."""
    inner: dict[str, set[str]] = {folder: set() for folder in folders}
    holds_photos = set()
    for path in photos:
        upper, _, rest = path.partition("/")
        name, slash, _ = rest.partition("/")
        inner[upper].add(name) if slash else holds_photos.add(upper)
    return {folder: set() if folder in holds_photos else names for folder, names in inner.items()}


def _are_splits(names: Iterable[str]) -> bool:
    """Return whether folders are splits, train among them."""
    found = {split_of_name(text_of_path(name)) for name in names}
    return TRAIN in found and len(found) > 1 and None not in found


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
