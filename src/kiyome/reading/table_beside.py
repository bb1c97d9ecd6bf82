"""A table beside folders of photos, which may say that the folders are no classes but parts of a download."""

import re
from collections.abc import Sequence
from pathlib import Path

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.storage import open_regular
from kiyome.artifacts.table import TEST, TRAIN, VAL
from kiyome.errors import TableError
from kiyome.reading.columns import some
from kiyome.reading.names import without_ending
from kiyome.reading.splits import split_of_name

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".txt")
HEAD_BYTES = 1 << 18
"""Of a table, which tell what it names."""
LEAST_NAMED = 5
"""Photos, or half of them, that a table of them names in its first lines."""
MOST_TABLES, MOST_PHOTOS = 20, 10_000
"""That are compared, of any number."""
SPLIT_LIST, PHOTO_LIST = "train_test_split.txt", "images.txt"
"""Of CUB: photos by number, and whether each is of train."""
ONLY_NUMBER = re.compile(r"\d{1,4}")


def check_folders_against_table(root: Path, folders: Sequence[str], photos: Sequence[str]) -> None:
    """Refuse folders as classes where a table beside them names the photos, but none of the folders."""
    inner = {path.split("/")[1] for path in photos if path.count("/") > 1}
    if not folders or len(inner) > 1:
        return
    if file := _table_of_photos(root, folders, photos):
        raise TableError(
            f"{root} has a table, {file.name}, that names its photos, and no class by the folders"
            f" {some(folders)}.",
            expected="Expected class folders, or a table.",
            remedy=f"Give the table: {file}. If the folders are classes, name every class with --class-map.",
        )


def note_on_lists(root: Path, photos: Sequence[str]) -> list[str]:
    """Return a note on lists near class folders that name photos of another split, and are not read."""
    for folder in (root, root.parent, root.parent / "meta"):
        lists = {split_of_name(text_of_path(path.stem)): path for path in sorted(folder.glob("*.txt"))}
        numbered = folder / PHOTO_LIST
        if (folder / SPLIT_LIST).is_file() and numbered.is_file() and names_photos(numbered, photos):
            return [_unused(folder / SPLIT_LIST, f"kiyome find {numbered} --images {root}")]
        train, other = lists.get(TRAIN), lists.get(TEST, lists.get(VAL))
        if train and other and _num_named(_head(other), photos) > 1:
            command = f"kiyome find {train} --images {root} --test {other}"
            has_labels = re.search(r"/|\S[\s,;]+\S", _head(train).partition("\n")[0])
            return [_unused(other, command if has_labels else "")]
    return []


def _unused(file: Path, command: str) -> str:
    note = f"{file} tells splits and is not used: all rows are for training."
    return f"{note} `{command}` keeps them apart." if command else note


def names_photos(file: Path, photos: Sequence[str]) -> bool:
    """Return whether a table has the names of photos in its first lines."""
    return _num_named(_head(file), photos) >= _least_named(photos)


def note_on_table_beside(root: Path, photos: Sequence[str]) -> list[str]:
    """Return a note on a table that names photos which are read without it."""
    file = _table_of_photos(root, (), photos)
    return [] if file is None else [f"{file.name} names these photos and is not read: give {file} to use it."]


def _table_of_photos(root: Path, folders: Sequence[str], photos: Sequence[str]) -> Path | None:
    """Return the table that names the most photos and none of several folders; of equals the smallest."""
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    texts = {file: _head(file) for file in tables[:MOST_TABLES]}
    named = {
        file: _num_named(text, photos)
        for file, text in texts.items()
        if len(folders) < 2 or not any(folder in text for folder in folders)
    }
    best = max(named, key=lambda file: (named[file], -file.stat().st_size), default=None)
    return None if best is None or named[best] < _least_named(photos) else best


def _head(file: Path) -> str:
    try:
        with open_regular(file) as content:
            return content.read(HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _least_named(photos: Sequence[str]) -> int:
    return min(LEAST_NAMED, -(-len(photos) // 2))


def _num_named(text: str, photos: Sequence[str]) -> int:
    """Return how many photos a text names as words, with or without endings; numbers are no names."""
    words = {word for word in re.split(r"[\s\"',;:|/\\\[\]{}]+", text) if not ONLY_NUMBER.fullmatch(word)}
    step = 1 + len(photos) // MOST_PHOTOS
    return sum(not words.isdisjoint(_names(path)) for path in photos[::step])


def _names(path: str) -> tuple[str, str]:
    name = path.rpartition("/")[2]
    return name, without_ending(name)
