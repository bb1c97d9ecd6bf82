"""Read every photo once and say what is wrong with the set, before anything is learned from it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.escapes import safe_cell, text_of_path
from kiyome.artifacts.manifest import MANIFEST, photos_of_run, refuse_photos_from_elsewhere
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import default_cache_folder, write_csv
from kiyome.artifacts.table import Table
from kiyome.images.check import PhotoCheck, check_photos
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.read_table import read_table

RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckResult:
    """What `check` found, and the run folder that lists it row by row."""

    folder: Path
    table: Table
    photos: PhotoCheck

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {"folder": str(self.folder), **photo_summary(self.table, self.photos)}


@shows_progress
def check(
    data: Path | str,
    *,
    images: Path | str | None = None,
    output: Path | str | None = None,
    class_map: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> CheckResult:
    """What is unreadable, odd, doubled, or labeled in two ways among these photos.

    Parameters
    ----------
    data, images, class_map, id_column, label_column
        As for `kiyome.reading.read_table.read_table`.
    output
        The run folder; the next free ``runs/NAME-check`` where not given.
    on_progress
        Called as ``on_progress(stage, done, total)``.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    CheckResult
        The run folder holds ``photos.csv`` (every row), ``set_aside.csv``, ``duplicates.csv`` and
        ``skipped.csv`` (files of the data folder that are no row). No photo is changed.

    Raises
    ------
    TableError
        With file, row and remedy, where the data are no table of photos and labels.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> true_labels = write_digits(folder / "digits", num_photos=60)
    >>> result = check(folder / "digits", output=folder / "run")
    >>> result.summary()["photos"], result.summary()["set_aside"]
    (60, 0)
    """
    place = run_place(data, output, "-check")
    options = {"class_map": class_map, "id_column": id_column, "label_column": label_column}
    table = open_table(
        data, images=images, missing_list=missing_list_of(place), on_progress=on_progress, **options
    )
    run_folder = RunFolder.create_or_reopen(
        place, command="check", config={}, table=table, named_by_user=output is not None
    )
    with run_folder as run:
        names = np.array(table.class_names, object)[table.given_labels].tolist()
        photos = check_photos(table.photo_paths(), labels=names, on_progress=on_progress)
        write_photo_lists(run.path, table, photos)
        return CheckResult(folder=run.path, table=table, photos=photos)


def run_place(data: Path | str, output: Path | str | None, ending: str = "") -> Path:
    """The folder that was asked for, else one below ``runs`` that is named after the data.

    A table that a run wrote has the run's name.

    >>> str(run_place("leaves/train.csv", None, "-train"))
    'runs/train-train'
    """
    if output is not None:
        return Path(output)
    source = Path(data).resolve()
    if source.stem == "table" and (source.parent / MANIFEST).is_file():
        return RUNS / f"{source.parent.name}{ending or '-find'}"
    return RUNS / f"{source.stem or 'data'}{ending}"


def missing_list_of(place: Path) -> Path:
    """Where missing photos are listed: beside the run folder, which does not exist yet."""
    return place.with_name(f"{place.name}-missing.csv")


def open_table(
    data: Path | str,
    *,
    missing_list: Path,
    images: Path | str | None = None,
    on_progress: Progress = no_progress,
    **options: Any,
) -> Table:
    """The table in the data; photos inside a Parquet file are unpacked into the cache.

    Photos of a table in a run folder are where that run found them, unless told otherwise.
    """
    if images is None and Path(data).is_file():
        refuse_photos_from_elsewhere(Path(data).parent)
        images = photos_of_run(Path(data).parent)
    name = sha256(str(Path(data).resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    unpack_to = default_cache_folder() / f"photos-{name}"
    return read_table(
        data,
        images=images,
        unpack_to=unpack_to,
        missing_list=missing_list,
        on_progress=on_progress,
        **options,
    )


def photo_summary(table: Table, photos: PhotoCheck) -> dict[str, Any]:
    """Counts for people and machines; every file and every row is in one of them."""
    return {
        "photos": photos.num_photos,
        "readable": int(photos.readable.sum()),
        "set_aside": len(photos.set_aside),
        "reasons": dict(Counter(photos.set_aside.values()).most_common()),
        "findings": photos.finding_counts,
        "files_that_are_no_row": len(table.skipped),
        "duplicate_groups": _num_groups(photos),
        "photos_with_the_same_pixels": int(photos.duplicates.exact.sum()),
        "duplicate_groups_with_different_labels": len(photos.conflicting_groups),
        "classes": {
            name: {"readable": readable, "set_aside": aside}
            for name, (readable, aside) in photos.class_counts.items()
        },
    }


def _num_groups(photos: PhotoCheck) -> int:
    return int(photos.duplicates.groups.max(initial=-1)) + 1


def write_photo_lists(folder: Path, table: Table, photos: PhotoCheck) -> None:
    """List every photo, those set aside, the duplicates, and the files that are no row."""
    write_csv(folder / "photos.csv", _photo_rows(table, photos))
    aside = ((table.image_ids[row], reason) for row, reason in photos.set_aside.items())
    write_csv(folder / "set_aside.csv", _safe([("image_id", "reason"), *aside]))
    write_csv(folder / "duplicates.csv", _safe(_duplicate_rows(table, photos)))
    skipped = ((text_of_path(path), reason) for path, reason in table.skipped)
    write_csv(folder / "skipped.csv", _safe([("file", "reason"), *skipped]))


def _photo_rows(table: Table, photos: PhotoCheck) -> Iterator[tuple[object, ...]]:
    yield (
        "image_id",
        "path",
        "given_label",
        "state",
        "reason",
        "width",
        "height",
        "format",
        "sha256",
        "findings",
    )
    for record, image_id, path, label in zip(
        photos.records, table.image_ids, table.paths, table.given_labels, strict=True
    ):
        facts = record.facts
        size = (facts.width, facts.height, facts.format) if facts else ("", "", "")
        texts = (image_id, text_of_path(path), table.class_names[label])
        state = "read" if facts else "set aside"
        yield (
            *map(safe_cell, texts),
            state,
            record.reason or "",
            *size,
            record.sha256 or "",
            "; ".join(record.findings),
        )


def _duplicate_rows(table: Table, photos: PhotoCheck) -> Iterator[tuple[object, ...]]:
    yield "group", "image_id", "given_label", "kind", "labels_differ"
    duplicates, differing = photos.duplicates, photos.conflicting_groups
    members = np.flatnonzero(duplicates.groups >= 0)
    for row in members[np.argsort(duplicates.groups[members], kind="stable")].tolist():
        group = int(duplicates.groups[row])
        label = table.class_names[table.given_labels[row]]
        kind = "same pixels" if duplicates.exact[row] else "nearly the same"
        yield group, table.image_ids[row], label, kind, group in differing


def _safe(rows: Any) -> Iterator[list[object]]:
    for row in rows:
        yield [safe_cell(cell) if isinstance(cell, str) else cell for cell in row]
