"""The inputs of a workflow: its table, and the folder that it writes."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from kiyome.artifacts.manifest import MANIFEST, photos_of_run, refuse_photos_from_elsewhere
from kiyome.artifacts.storage import default_cache_folder
from kiyome.artifacts.table import ALL_BITS, Table
from kiyome.images.depth import bits_in_use
from kiyome.progress import Progress, no_progress
from kiyome.reading.elsewhere import bring_here, is_elsewhere
from kiyome.reading.read_table import read_table

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


def missing_list_path(run_folder: Path) -> Path:
    """Path of the list of missing photos, beside the run folder, which does not exist yet."""
    return run_folder.with_name(f"{run_folder.name}-missing.csv")


def open_table(
    data: Path | str,
    *,
    missing_list: Path,
    images: Path | str | None = None,
    on_progress: Progress = no_progress,
    **options: Any,
) -> Table:
    """Return the table in the data; archives, URLs and photos inside Parquet are unpacked into the cache.

    Photos of a table in a run folder are where that run found them, unless `images` is given.
    """
    data = _here(data, on_progress)
    images = None if images is None else _here(images, on_progress)
    if images is None and Path(data).is_file():
        refuse_photos_from_elsewhere(Path(data).parent)
        images = photos_of_run(Path(data).parent)
    name = sha256(str(Path(data).resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    unpack_to = default_cache_folder() / f"photos-{name}"
    table = read_table(
        data,
        images=images,
        unpack_to=unpack_to,
        missing_list=missing_list,
        on_progress=on_progress,
        **options,
    )
    if table.deep_bits != ALL_BITS:
        return table
    return replace(table, deep_bits=bits_in_use(table.photo_paths()))


def _here(source: Path | str, on_progress: Progress) -> Path | str:
    """The source itself, or where its content lies on this disk."""
    return (
        bring_here(source, default_cache_folder(), on_progress=on_progress)
        if is_elsewhere(source)
        else source
    )
