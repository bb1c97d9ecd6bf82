"""The inputs of a workflow: its table, and the folder that it writes."""

import io
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.manifest import MANIFEST, photos_of_run, refuse_photos_from_elsewhere
from kiyome.artifacts.storage import cache_errors, default_cache_folder, writing
from kiyome.artifacts.table import ALL_BITS, TRAIN, Table
from kiyome.errors import InputError
from kiyome.images.depth import bits_in_use
from kiyome.images.dicom import patient_groups
from kiyome.progress import Progress, no_progress
from kiyome.reading.elsewhere import bring_here, is_elsewhere
from kiyome.reading.read_table import read_table
from kiyome.reading.roles import are_few
from kiyome.reading.test_set import note_on_unread, tables_in_splits, with_test_set

RUNS = Path("runs")


def run_folder_path(data: Path | str, output: Path | str | None, ending: str = "") -> Path:
    """Return the given output folder, else one below ``runs`` that is named after the data.

    The table of a run is named after the run.

    >>> str(run_folder_path("leaves/train.csv", None, "-train"))
    'runs/train-train'
    """
    if output is not None:
        return Path(output)
    source = Path(data).resolve()
    if source.stem == "table" and (source.parent / MANIFEST).is_file():
        return RUNS / f"{source.parent.name}{ending or '-find'}"
    return RUNS / f"{source.stem or 'data'}{ending}"


def as_path(data: Any) -> Path | str:
    """Return the data's path; a frame of pandas or polars is written into the cache first, named by content.

    A mapping of splits to frames, such as a `DatasetDict` of Hugging Face, becomes a folder of files. Photos
    of a frame without `images` are below the current folder.
    """
    if isinstance(data, str | Path):
        return data
    frames = data if isinstance(data, Mapping) else {"": data}
    contents = {name: _as_parquet(frame) for name, frame in frames.items()}
    parts = (part for name, content in contents.items() for part in (str(name).encode(), content) if part)
    digest = sha256()
    for part in parts:
        digest.update(part)
    cache = default_cache_folder()
    path = cache / f"frame-{digest.hexdigest()[:16]}{'' if isinstance(data, Mapping) else '.parquet'}"
    with cache_errors(cache):
        for name, content in contents.items():
            each = path / f"{name}-00000-of-00001.parquet" if isinstance(data, Mapping) else path
            each.parent.mkdir(parents=True, exist_ok=True)
            with writing(each) as file:
                file.write(content)
    return path


def _as_parquet(frame: Any) -> bytes:
    """Return the content of a Parquet file of a frame."""
    content = io.BytesIO()
    if hasattr(frame, "write_parquet"):  # polars
        frame.write_parquet(content)
    elif hasattr(frame, "to_parquet"):  # pandas, and Dataset of Hugging Face
        frame.to_parquet(content)
    else:
        raise InputError(
            f"The data are of type {type(frame).__name__}.",
            expected="Expected a path, or a frame of pandas or polars.",
            remedy="Write a CSV or Parquet file, and give its path.",
        )
    return content.getvalue()


def refuse_splits(table: Table, command: str) -> None:
    """Raise InputError for a table with rows outside train, where a command would treat them as train."""
    others = [f"{table.in_split(name).sum():,} of {name}" for name in table.splits_in_use if name != TRAIN]
    if others:
        raise InputError(
            f"`kiyome {command}` works on rows of train only; the table has {', '.join(others)}.",
            remedy="Give the rows of train alone, or add --ignore-splits to use all rows for training.",
        )


def missing_list_path(run_folder: Path) -> Path:
    """Path of the list of missing photos, beside the run folder, which does not exist yet."""
    return run_folder.with_name(f"{run_folder.name}-missing.csv")


def open_table(
    data: Path | str,
    *,
    missing_list: Path,
    images: Path | str | None = None,
    test: Path | str | None = None,
    test_images: Path | str | None = None,
    on_progress: Progress = no_progress,
    **options: Any,
) -> Table:
    """Return the table in the data; archives, URLs and photos inside Parquet are unpacked into the cache.

    Photos of a table in a run folder are where that run found them, unless `images` is given. Rows of `test`
    join the table, with photos from `test_images`, which may be those of `images`.
    """
    if test_images is not None and test is None:
        raise InputError("--test-images is given without --test.", remedy="Give the table of these photos.")
    data = _here(data, on_progress)
    images = None if images is None else _here(images, on_progress)
    if images is None and _is_frame(data):
        images = Path()
    elif images is None and Path(data).is_file():
        refuse_photos_from_elsewhere(Path(data).parent)
        images = photos_of_run(Path(data).parent)
    options |= {"missing_list": missing_list, "on_progress": on_progress}
    others: list[Path | str] = [] if test is None else [_here(test, on_progress)]
    if test is None and not options.get("ignore_splits") and (tables := tables_in_splits(Path(data))):
        data, others = tables[0], [*tables[1:]]
    table = read_table(data, images=images, unpack_to=_folder_to_unpack(data), **options)
    images = images if test_images is None else _here(test_images, on_progress)
    for each in others:
        table = with_test_set(table, each, images=images, unpack_to=_folder_to_unpack(each), **options)
    if table.splits is None and not others:
        table = replace(table, notes=(*table.notes, *note_on_unread(Path(data))))
    if not any(table.paths):
        return table
    if table.groups is None:
        table = _with_patients(table)
    if table.deep_bits != ALL_BITS:
        return table
    return replace(table, deep_bits=bits_in_use(table.photo_paths()))


def _with_patients(table: Table) -> Table:
    """The table with the patients of DICOM files as groups, where several photos are of one patient."""
    groups = patient_groups(table.photo_paths())
    if groups is None or (num_patients := len(set(groups) - {""})) == np.count_nonzero(groups):
        return table
    if are_few(num_patients, len(table)):
        note = f"The {num_patients} patients named in DICOM files were not used to make folds: they are few."
        return replace(table, notes=(*table.notes, note))
    note = f"Photos of one patient stay in one fold: {num_patients:,} patients, named in DICOM files."
    return replace(table, groups=groups, notes=(*table.notes, note))


def _folder_to_unpack(data: Path | str) -> Path:
    """Return the folder in the cache for photos inside a file."""
    name = sha256(str(Path(data).resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return default_cache_folder() / f"photos-{name}"


def _is_frame(data: Path | str) -> bool:
    return Path(data).name.startswith("frame-") and Path(data).parent == default_cache_folder()


def _here(source: Path | str, on_progress: Progress) -> Path | str:
    """The source itself, or where its content lies on this disk."""
    return (
        bring_here(source, default_cache_folder(), on_progress=on_progress)
        if is_elsewhere(source)
        else source
    )
