"""Photos without labels: a test set, or whatever is to be predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kiyome.artifacts.label_columns import LABEL_COLUMNS
from kiyome.artifacts.names import text_of_path
from kiyome.artifacts.photo_files import walk_photos
from kiyome.artifacts.records import read_records
from kiyome.artifacts.sources import ID_COLUMNS, PATH_COLUMNS, find_photos, image_folder
from kiyome.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PhotoList:
    """N photos to predict, in the order in which they were given."""

    image_ids: tuple[str, ...]
    """As written in the sample submission, or paths below the folder."""
    paths: tuple[str, ...]
    """Full paths."""
    id_column: str = "image_id"
    label_column: str = "label"
    """How the sample submission calls its columns."""
    sample_labels: tuple[str, ...] = ()
    """What stands in the label column of the sample submission; empty without one."""


def read_photo_list(source: str | Path, *, images: str | Path | None = None) -> PhotoList:
    r"""Return the photos of a folder, or those that a file with an id column names, in its order.

    Parameters
    ----------
    source
        A folder, or a CSV or Parquet file such as Kaggle's sample_submission.csv.
    images
        The folder that a file's photos lie under; found by itself if near.

    Raises
    ------
    InputError
        Where there is no photo.
    TableError
        With file and line, where an id has no photo or stands twice.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "b.jpg").write_bytes(b""), (folder / "a.jpg").write_bytes(b"")
    >>> _ = (folder / "sample.csv").write_text("image_id,label\nb.jpg,4\na.jpg,4\n")
    >>> read_photo_list(folder).image_ids, read_photo_list(folder / "sample.csv").image_ids
    (('a.jpg', 'b.jpg'), ('b.jpg', 'a.jpg'))
    """
    source = Path(source)
    if not source.exists():
        raise InputError("The photos can be found.", came=f"nothing at {source}", remedy="Check the path.")
    if source.is_dir():
        found, _ = walk_photos(source)
        if not found:
            raise InputError("A folder holds photos.", came=f"none in {source}", remedy="Check the path.")
        return PhotoList(
            image_ids=tuple(map(text_of_path, found)), paths=tuple(f"{source}/{path}" for path in found)
        )
    records = read_records(source)
    id_column = records.require(None, ID_COLUMNS, option="id_column")
    ids = records.texts(id_column)
    _check_different(ids, source.name)
    path_column = records.pick(PATH_COLUMNS)
    names = records.texts(path_column) if path_column else ids
    root = image_folder(source, names, images)
    paths = find_photos(records, names, root, allow_missing=False, missing_list=None)
    label_column = records.pick(LABEL_COLUMNS)
    return PhotoList(
        image_ids=tuple(ids),
        paths=tuple(f"{root}/{path}" for path in paths),
        id_column=id_column,
        label_column=label_column or "label",
        sample_labels=tuple(records.texts(label_column)) if label_column else (),
    )


def _check_different(ids: Sequence[str], name: str) -> None:
    if len(set(ids)) < len(ids) or not ids:
        twice = next((each for place, each in enumerate(ids) if each in ids[:place]), "no rows")
        raise InputError(
            "Each photo to predict has an id of its own.", came=f"{twice!r} in {name}", remedy="Fix it."
        )
