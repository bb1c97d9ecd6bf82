"""A table beside folders of photos, which may say that the folders are no classes but parts of a download."""

import re
from collections.abc import Sequence
from pathlib import Path

from kiyome.artifacts.storage import open_regular
from kiyome.errors import TableError
from kiyome.reading.columns import some
from kiyome.reading.names import without_ending

ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".txt")
HEAD_BYTES = 1 << 18
"""Of a table, which tell what it names."""
LEAST_NAMED = 5
"""Photos, or half of them, that a table of them names in its first lines."""
MOST_TABLES, MOST_PHOTOS = 20, 10_000
"""That are compared, of any number."""
ONLY_NUMBER = re.compile(r"\d{1,4}")


def check_folders_against_table(root: Path, folders: Sequence[str], photos: Sequence[str]) -> None:
    """Refuse folders as classes where a table beside them names the photos, but none of the folders."""
    inner = {path.split("/")[1] for path in photos if path.count("/") > 1}
    if not folders or len(inner) > 1:
        return
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
    for file in tables[:MOST_TABLES]:
        text = _head(file)
        names_folders = len(folders) > 1 and any(folder in text for folder in folders)
        if names_folders or not _names_photos(text, photos):
            continue
        raise TableError(
            f"{root} has a table, {file.name}, that names its photos, and no class by the folders"
            f" {some(folders)}.",
            expected="Expected class folders, or a table.",
            remedy=f"Give the table: {file}. If the folders are classes, name every class with --class-map.",
        )


def _head(file: Path) -> str:
    try:
        with open_regular(file) as content:
            return content.read(HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _names_photos(text: str, photos: Sequence[str]) -> bool:
    """Whether a text has the names of photos as words, with or without endings; numbers are no names."""
    words = {word for word in re.split(r"[\s\"',;:|/\\\[\]{}]+", text) if not ONLY_NUMBER.fullmatch(word)}
    step = 1 + len(photos) // MOST_PHOTOS
    named = (path for path in photos[::step] if not words.isdisjoint(_names(path)))
    wanted = min(LEAST_NAMED, -(-len(photos) // 2))
    return sum(1 for _, _ in zip(range(wanted), named, strict=False)) == wanted


def _names(path: str) -> tuple[str, str]:
    name = path.rpartition("/")[2]
    return name, without_ending(name)
