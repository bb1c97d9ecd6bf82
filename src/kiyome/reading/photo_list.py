"""Photos without labels: a test set, or other photos to predict."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kiyome.artifacts.escapes import text_of_path
from kiyome.errors import InputError, TableError
from kiyome.reading.columns import SHOWN, Records
from kiyome.reading.files import read_records
from kiyome.reading.layout import IMAGE_FOLDERS
from kiyome.reading.photos import PhotoFinder, has_photo_suffix, walk_photos
from kiyome.reading.table_photos import ID_COLUMNS, PATH_COLUMNS

TEST_FOLDERS = ("{stem}_images", "test_images", "test")


@dataclass(frozen=True, kw_only=True)
class PhotoList:
    """N photos to predict, in the order in which they were given."""

    image_ids: tuple[str, ...]
    """As written in the sample submission, or paths below the folder."""
    paths: tuple[str, ...]
    """Full paths."""
    id_column: str = "image_id"
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Every column of the sample submission in its order, with N texts; empty for a folder."""
    source: Path | None = None
    """The sample submission, if there is one."""
    notes: tuple[str, ...] = ()


def read_photo_list(
    source: str | Path,
    *,
    images: str | Path | None = None,
    near: Sequence[Path] = (),
    images_option: str | None = "--images",
) -> PhotoList:
    r"""Return the photos of a folder, or those that a file with an id column names, in its order.

    The file is a CSV or Parquet file such as Kaggle's sample_submission.csv. Ids are in a column of a usual
    name or in the first one, whichever names photos, with or without the ending of the file. Its photos are
    in `images`; without it, in `<stem>_images`, `test_images`, `test`, `images` or `<stem>` beside the file,
    the file's own folder, or one of the first three in a folder of `near`, whichever holds one of the first
    photos. `images_option` is the command-line name of `images` for messages, None where there is none.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "b.jpg").write_bytes(b""), (folder / "a.jpg").write_bytes(b"")
    >>> _ = (folder / "sample.csv").write_text("image_id,label\nb.jpg,4\na.jpg,4\n")
    >>> read_photo_list(folder).image_ids, read_photo_list(folder / "sample.csv").image_ids
    (('a.jpg', 'b.jpg'), ('b.jpg', 'a.jpg'))
    """
    source = Path(source)
    if not source.exists():
        raise InputError(
            f"There are no photos at {source}: no such file or folder.", remedy="Check the path."
        )
    if source.is_dir():
        found, _ = walk_photos(source)
        if not found:
            raise InputError(f"The folder {source} holds no photos.", remedy="Check the path.")
        return PhotoList(
            image_ids=tuple(map(text_of_path, found)), paths=tuple(f"{source}/{path}" for path in found)
        )
    if images is not None and not Path(images).is_dir():
        raise InputError(
            f"{images} is not a folder.",
            expected=f"Expected the photos of {source.name}.",
            remedy="Check the path.",
        )
    records = read_records(source)
    likely = [Path(images)] if images else _likely_folders(source, near)
    id_column, name_column, root = _where_photos_are(records, likely)
    ids = records.texts(id_column)
    _check_ids(records, ids)
    paths = _find_photos(records, name_column, root, images_option)
    not_shown = {*records.nested, name_column} - {id_column}
    return PhotoList(
        image_ids=tuple(ids),
        paths=tuple(f"{root}/{path}" for path in paths),
        id_column=id_column,
        columns={name: records.texts(name) for name in records.columns if name not in not_shown},
        source=source,
    )


def _likely_folders(source: Path, near: Sequence[Path]) -> list[Path]:
    """Return the folders to search; near training data only those named for test photos."""
    names = dict.fromkeys([*TEST_FOLDERS, *IMAGE_FOLDERS])
    folders = [source.parent / name.format(stem=source.stem) for name in names]
    folders.append(source.parent)
    folders += [folder / name.format(stem=source.stem) for folder in near for name in TEST_FOLDERS]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _where_photos_are(records: Records, likely: Sequence[Path]) -> tuple[str, str, Path]:
    """Return the column of ids, the column that names photos, and their folder.

    Ids are in a column of a usual name, unless only the first column holds different ids that name photos.
    """
    usual, first = records.pick(ID_COLUMNS), next(iter(records.columns), None)
    candidates = [column for column in (usual, first) if column is not None]
    if not candidates:
        raise TableError(
            f"{records.source.name} has no column with a name.",
            remedy="Begin the file with a line of column names.",
        )
    by_path = records.pick(PATH_COLUMNS)
    options = [(column, by_path or column, folder) for column in candidates for folder in likely]
    different = {column for column in candidates if len(set(records.texts(column))) == len(records)}
    fitting = (each for each in options if each[0] in different and _holds(each[2], records.texts(each[1])))
    return next(fitting, options[0])


def _holds(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder holds one of the first photos."""
    finder = PhotoFinder(folder)
    return any(_path_of(finder, name) for name in names[:100])


def _find_photos(records: Records, column: str, root: Path, images_option: str | None) -> list[str]:
    """Return the path below `root` of each photo in a column; no photo may serve two rows."""
    finder, names = PhotoFinder(root), records.texts(column)
    paths = [_path_of(finder, name) for name in names]
    counts = Counter(paths)
    reasons = {
        row: finder.find(name)[1]
        for row, name in enumerate(names)
        if not paths[row] or counts[paths[row]] > 1
    }
    if missing := [row for row, reason in reasons.items() if reason]:
        shown = ", ".join(f"{names[row]!r} ({reasons[row]})" for row in missing[:SHOWN])
        point = f"Name their folder with {images_option}" if images_option else "Give the folder instead"
        similar = finder.similar(names[missing[0]])
        end = ", ..." if len(missing) > SHOWN else "."
        raise TableError(
            f"{len(missing):,} of {len(names):,} photos in column {column!r} of {records.source.name} are not"
            f" in {root}: {shown}{end}",
            remedy=f"{point}, or delete these rows." + (f" There is a {similar!r}." if similar else ""),
        )
    return paths


def _path_of(finder: PhotoFinder, name: str) -> str:
    """Return the path of the photo with this name; or without spaces around it; or without its ending."""
    stripped = name.strip()
    stem, _ = os.path.splitext(stripped)  # noqa: PTH122
    ways = dict.fromkeys([name, stripped, stem if has_photo_suffix(stripped) else name])
    return next((path for way in ways if way and (path := finder.find(way)[0])), "")


def _check_ids(records: Records, ids: Sequence[str]) -> None:
    if not ids:
        raise TableError(
            f"{records.source.name} has no rows.", expected="Expected photos to predict.", remedy="Check it."
        )
    if twice := [image_id for image_id, count in Counter(ids).items() if count > 1]:
        rows = [row for row, image_id in enumerate(ids) if image_id == twice[0]]
        records.fail(
            "an id more than once", rows, describe=lambda row: repr(ids[row]), remedy="Keep one row an id."
        )
