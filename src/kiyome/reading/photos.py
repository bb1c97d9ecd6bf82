"""Photos that lie inside a Parquet file, unpacked once into a folder."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kiyome.artifacts.escapes import path_of_text, stays_inside, text_of_path
from kiyome.artifacts.storage import writing
from kiyome.artifacts.table import SkippedFile
from kiyome.progress import Progress, no_progress
from kiyome.reading.classes import plain_form

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".jp2", ".ppm", ".pgm"),  # rows too, to be set aside and said
)

SIGNATURES = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (4, b"ftypavif", ".avif"),
)


def suffix_of_photo(head: bytes) -> str:
    r"""The usual ending for a file that begins with these bytes; empty when it looks like no photo.

    >>> suffix_of_photo(b"\xff\xd8\xff\xe0"), suffix_of_photo(b"<html>")
    ('.jpg', '')
    """
    return next((suffix for at, mark, suffix in SIGNATURES if head.startswith(mark, at)), "")


def has_photo_suffix(name: str) -> bool:
    """Whether a file's name has the ending of a photo."""
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122  (a million names)


def walk_photos(root: Path) -> tuple[list[str], list[SkippedFile]]:
    """Every file below `root`: the photos, sorted, and all that is passed over with the reason.

    The two lists together count each file and link once. Folders are listed, with a slash at the end, only
    where they could not be read. Links to folders are not followed, so no photo is read twice.
    """
    photos: list[str] = []
    skipped: list[SkippedFile] = []
    real_root = os.path.realpath(root)
    for entry, path in _files_below(root, "", skipped):
        reason = _reason_to_skip(entry, path, real_root)
        if reason:
            skipped.append(SkippedFile(text_of_path(path), reason))
        else:
            photos.append(path)
    return sorted(photos), sorted(skipped)


def _files_below(
    root: Path, start: str, skipped: list[SkippedFile]
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """All entries that are no folder; a stack, since folders may nest deeper than Python's calls."""
    folders = [start]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{path}/")
                    else:
                        yield entry, path
        except OSError as error:
            skipped.append(
                SkippedFile(text_of_path(folder), f"folder that cannot be opened: {error.strerror}")
            )


def _reason_to_skip(entry: os.DirEntry[str], path: str, real_root: str) -> str:
    """Why a file is no photo of the data set; empty when it is one."""
    if any(part.startswith(".") for part in path.split("/")):
        return "hidden file, or in a hidden folder"
    if entry.is_symlink() and (reason := _reason_against_link(entry.path, real_root)):
        return reason
    if not entry.is_file():
        return "not a regular file"
    suffix = os.path.splitext(entry.name)[1]  # noqa: PTH122
    if suffix.lower() in PHOTO_SUFFIXES or (not suffix and _looks_like_photo(entry.path)):
        return ""
    return f"not a photo that kiyome reads ({suffix or 'no ending'})"


def _reason_against_link(path: str, real_root: str) -> str:
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"link to nothing: {error.strerror}"
    if os.path.commonpath([target, real_root]) != real_root:
        return "link that leaves the data folder"
    return "link to a folder, whose photos count where they lie" if Path(target).is_dir() else ""


def _looks_like_photo(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return bool(suffix_of_photo(file.read(16)))
    except OSError:
        return False


class PhotoFinder:
    """Finds the file that a table's text means, below one folder; remembers listings it has made.

    A text means the file of that name, or else the one file of that name with a photo's ending, or else
    the file whose escaped name it is (`names.text_of_path`).
    """

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._real_root = os.path.realpath(root)
        self._inside: dict[str, bool] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}

    def may_find(self, texts: Sequence[str]) -> bool:
        """Whether anything in the folder is named as some text begins: one look instead of one a text."""
        first = {text.partition("/")[0] for text in texts}
        first |= {path_of_text(text) for text in first if "%" in text}
        try:
            names = [name for entry in Path(self.root).iterdir() for name in (entry.name, entry.stem)]
        except OSError:
            return False
        return not first.isdisjoint(("", ".")) or not _folded(first).isdisjoint(_folded(names))

    def find(self, text: str) -> tuple[str, str]:
        """The path below the folder, and an empty reason; or an empty path and why there is none."""
        if not stays_inside(text):
            return "", LEAVES
        path, reason = self._at(text)
        if path and (escaped := path_of_text(text)) != text and self._at(escaped)[0]:
            return "", f"two files that may be meant, {text!r} and {escaped!r}"
        if path or reason != ABSENT:
            return path, reason
        folder, _, name = text.rpartition("/")
        endings = self._photos_by_stem(folder).get(name, [])
        if len(endings) > 1:
            return "", f"{len(endings)} files of that name: {', '.join(endings[:3])}"
        if endings:
            return self._at(f"{folder}/{endings[0]}" if folder else endings[0])
        escaped = path_of_text(text)
        return self._at(escaped) if escaped != text else ("", ABSENT)

    def similar(self, text: str) -> str:
        """A name in the same folder that differs only in case or Unicode form, if there is one."""
        folder, _, name = text.rpartition("/")
        names = (other for others in self._photos_by_stem(folder).values() for other in others)
        return next((other for other in names if plain_form(other) == plain_form(name)), "")

    def _at(self, path: str) -> tuple[str, str]:
        if not stays_inside(path):
            return "", LEAVES
        full = f"{self.root}/{path}"
        try:
            kind = os.lstat(full).st_mode
            inside = self._folder_is_inside(path.rpartition("/")[0])
            if stat.S_ISLNK(kind):
                inside = inside and self._is_inside(full)
                kind = os.stat(full).st_mode  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return "", ABSENT
        except (OSError, ValueError) as error:
            return "", f"a file that cannot be looked at: {error}"
        if not inside:
            return "", LEAVES
        return (path, "") if stat.S_ISREG(kind) else ("", "not a regular file")

    def _is_inside(self, full: str) -> bool:
        return os.path.commonpath([os.path.realpath(full), self._real_root]) == self._real_root

    def _folder_is_inside(self, folder: str) -> bool:
        if folder not in self._inside:
            self._inside[folder] = self._is_inside(f"{self.root}/{folder}")
        return self._inside[folder]

    def _photos_by_stem(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in photos_in(f"{self.root}/{folder}"):
                stems.setdefault(os.path.splitext(name)[0], []).append(name)  # noqa: PTH122
            self._stems[folder] = stems
        return self._stems[folder]


def _folded(names: Iterable[str]) -> set[str]:
    """The names as a file system sees them that minds neither case nor Unicode form; none holds a NUL."""
    return set(unicodedata.normalize("NFKC", "\0".join(names)).casefold().split("\0"))


ABSENT = "no such file"
LEAVES = "a path that leaves the data folder"


def photos_in(folder: str) -> list[str]:
    """Names in one folder, sorted, that have the ending of a photo; none when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if has_photo_suffix(entry.name))
    except OSError:
        return []


def photos_without_row(root: Path, paths: Sequence[str], table_name: str) -> list[SkippedFile]:
    """Photos that lie beside those of the rows and belong to no row."""
    used = set(paths)
    folders = sorted({path.rpartition("/")[0] for path in used if path})
    beside = (
        f"{folder}/{name}" if folder else name for folder in folders for name in photos_in(f"{root}/{folder}")
    )
    return [SkippedFile(text_of_path(path), f"no row in {table_name}") for path in beside if path not in used]


BATCH_ROWS = 64
"""So many photos are in memory at once."""


def unpack_photos(
    source: Path, column: str, folder: Path, *, on_progress: Progress = no_progress
) -> tuple[list[str], list[str]]:
    """Put each row's photo into `folder`; return the file names and the paths that the file itself gives.

    A name is made of the row number and a digest of the bytes, so no text from the file becomes a name,
    and a photo that lies there already, byte for byte, is left alone. Rows without a photo give "".
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    total = pq.ParquetFile(source).metadata.num_rows
    names: list[str] = []
    own_paths: list[str] = []
    for photo, own_path in _photos(source, column):
        names.append(_unpack(photo, len(names), folder) if photo else "")
        own_paths.append(own_path)
        on_progress("unpack photos", len(names), total)
    return names, own_paths


def _photos(source: Path, column: str) -> Iterator[tuple[bytes, str]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source, page_checksum_verification=True)
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
        for value in batch.column(0).to_pylist():
            if isinstance(value, dict):
                yield value.get("bytes") or b"", value.get("path") or ""
            else:
                yield value or b"", ""


def _unpack(photo: bytes, row: int, folder: Path) -> str:
    name = f"{row:07d}-{hashlib.sha256(photo).hexdigest()[:12]}{suffix_of_photo(photo[:16]) or '.bin'}"
    path = folder / name
    if path.is_symlink() or not path.is_file() or path.read_bytes() != photo:
        with writing(path, durable=False) as file:
            file.write(photo)
    return name
