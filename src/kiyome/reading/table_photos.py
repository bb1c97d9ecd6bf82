"""The ids and photos of a file's rows: the columns that name them, their folder, and the file of each."""

from pathlib import Path
from typing import NamedTuple, NoReturn

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.storage import write_csv
from kiyome.artifacts.table import TRAIN, Texts
from kiyome.errors import TableError
from kiyome.progress import Progress
from kiyome.reading.columns import Records
from kiyome.reading.layout import FOLLOW_LINKS, image_folder
from kiyome.reading.names import AMBIGUOUS, match_names
from kiyome.reading.photos import ABSENT, LEAVES, LINK_LEAVES, PhotoFinder, unpack_photos, walk_photos
from kiyome.reading.splits import split_of_name

PATH_COLUMNS = ("path", "file_name", "filename", "image_path", "filepath", "file")
ID_COLUMNS = (
    *("image_id", "id", "file_name", "filename", "image", "path", "image_path", "filepath", "file"),
    *("image_name", "imageid", "image id", "image index", "id_code", "img", "img_name", "img_path"),
)
MOST_MISSING = 0.5
"""Share of the photos: with as many missing, the folder is the wrong one."""


def photo_texts(records: Records, id_column: str | None) -> list[str]:
    """Return the texts that name the photos of a file; empty where the photos are inside."""
    column = records.pick(PATH_COLUMNS) or id_column or records.pick(ID_COLUMNS)
    return [] if column is None or records.photo_column else records.columns[column]


def ids_and_photos(
    records: Records,
    id_column: str | None,
    images: str | Path | None,
    unpack_to: str | Path | None,
    on_progress: Progress,
    *,
    splits: Texts,
    follow_links: bool,
    images_option: str,
) -> tuple[list[str], list[str], Path, bool]:
    """Return ids, the texts that name the photos, their folder, and whether they were inside the file.

    Ids may be those of rows of other `splits` (N,).
    """
    file = records.source
    if records.photo_column is None:
        ids = records.texts(records.require(id_column, ID_COLUMNS, option="--id-column"))
        path_column = records.pick(PATH_COLUMNS)
        photos = records.texts(path_column) if path_column else ids
        return (
            ids,
            photos,
            image_folder(file, photos, images, images_option, follow_links=follow_links),
            False,
        )
    if unpack_to is None:
        raise TableError(
            f"Column {records.photo_column!r} of {file.name} holds photos.",
            expected="They need a folder to be unpacked into.",
            remedy="Name it with unpack_to=.",
        )
    names, own_paths = unpack_photos(file, records.photo_column, Path(unpack_to), on_progress=on_progress)
    if id_column or records.pick(ID_COLUMNS):
        ids = records.texts(records.require(id_column, ID_COLUMNS, option="--id-column"))
    elif all(own_paths) and len({*zip(own_paths, splits, strict=True)}) == len(own_paths):
        ids = own_paths
    else:
        ids = [f"row-{row:07d}" for row in range(len(records))]
    if any(names) or not any(own_paths):
        return ids, names, Path(unpack_to), True
    return (
        ids,
        own_paths,
        image_folder(file, own_paths, images, images_option, follow_links=follow_links),
        False,
    )


class FoundPhotos(NamedTuple):
    """The photo of each row, by its path below the data folder; empty where there is none."""

    paths: list[str]
    missing: dict[int, str]
    """Rows without their photo, and the reasons."""
    notes: list[str]


def find_photos(
    records: Records,
    photos: list[str],
    root: Path,
    *,
    allow_missing: bool,
    missing_list: str | Path | None,
    follow_links: bool = False,
    images_option: str = "--images",
) -> FoundPhotos:
    """Find the photo of each row below `root`: by its name, else one to one by the matcher of names.

    TableError where a row means a photo outside the folder, or most photos are missing.
    """
    finder = PhotoFinder(root, follow_links=follow_links)
    if allow_missing and not finder.may_find(photos):
        return FoundPhotos([""] * len(photos), {}, [])
    found = [finder.find(photo) if photo else ("", "no path") for photo in photos]
    is_photo_folder = root != records.source.parent or any(path for path, _ in found)
    notes = _match_the_rest(finder, photos, found) if is_photo_folder or not allow_missing else []
    if allow_missing:
        return FoundPhotos([path for path, _ in found], {}, notes)
    if leaving := [row for row, (_, reason) in enumerate(found) if reason in (LEAVES, LINK_LEAVES)]:
        links = any(found[row][1] == LINK_LEAVES for row in leaving)
        records.fail(
            f"photos outside the data folder {root}",
            leaving,
            describe=lambda row: repr(photos[row]),
            expected="Links are not followed out of the folder." if links else "",
            remedy=FOLLOW_LINKS if links else f"Give paths relative to {images_option}, without '..'.",
        )
    missing = {row: reason for row, (path, reason) in enumerate(found) if not path}
    if len(missing) >= MOST_MISSING * len(found):
        _fail_for_missing(records, photos, missing, root, missing_list, finder, images_option)
    return FoundPhotos([path for path, _ in found], missing, notes)


def _match_the_rest(finder: PhotoFinder, photos: list[str], found: list[tuple[str, str]]) -> list[str]:
    """Match texts that are no names of files with the photos in the folder; return a note where some fit."""
    rest = [row for row, (path, reason) in enumerate(found) if reason in (ABSENT, LEAVES) and photos[row]]
    if not rest:
        return []
    paths, _ = walk_photos(Path(finder.root), follow_links=finder.follow_links)
    names = [text_of_path(path) or text for (path, _), text in zip(found, photos, strict=True)]
    match = match_names(names, [text_of_path(path) for path in paths])
    for row in rest:
        if match.rows[row] >= 0:
            found[row] = paths[match.rows[row]], ""
        elif match.rows[row] == AMBIGUOUS and found[row][1] == ABSENT:
            found[row] = "", "no such file; several files or rows have a name like it"
    note = match.note("names in the table", "the photos")
    return [note] if note else []


def _fail_for_missing(
    records: Records,
    photos: list[str],
    missing: dict[int, str],
    root: Path,
    missing_list: str | Path | None,
    finder: PhotoFinder,
    images_option: str,
) -> NoReturn:
    remedy = f"Correct the names, or name the right folder with {images_option}."
    if missing_list is not None:
        rows = [[records.row_numbers[row], photos[row], reason] for row, reason in missing.items()]
        Path(missing_list).parent.mkdir(parents=True, exist_ok=True)
        write_csv(missing_list, [[records.unit, "photo", "reason"], *rows])
        remedy += f" All are listed in {missing_list}."
    packed = sorted(records.source.parent.glob("*.zip"), key=lambda path: split_of_name(path.stem) != TRAIN)
    if packed and len(missing) == len(photos):
        remedy += f" If they are in {packed[0].name}, add {images_option} {packed[0]}."
    if similar := finder.similar(photos[min(missing)]):
        remedy += f" There is a {similar!r}."
    records.fail(
        f"photos that are not in {root}",
        missing,
        describe=lambda row: f"{photos[row]!r} ({missing[row]})",
        remedy=remedy,
    )
