"""The files that run folders have in common: the table with its predictions, and the lists of photos."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.escapes import safe_cell, text_of_path
from kiyome.artifacts.leaks import Leaks, write_leaks
from kiyome.artifacts.predictions import Predictions, write_out_of_fold
from kiyome.artifacts.storage import write_csv
from kiyome.artifacts.table import Table
from kiyome.artifacts.table_files import write_table
from kiyome.images.check import PhotoCheck
from kiyome.workflows.leaks import leak_summary


def write_table_files(folder: Path, table: Table) -> None:
    """Write the table as CSV and as Parquet."""
    for name in ("table.csv", "table.parquet"):
        write_table(table, folder / name)


def write_scored_table(folder: Path, table: Table, predictions: Predictions) -> None:
    """Write the table and its out-of-fold predictions, for programs and for people."""
    write_table_files(folder, table)
    predictions.save(folder / "predictions")
    write_out_of_fold(predictions, table, folder)


def photo_summary(table: Table, photos: PhotoCheck, leaks: Leaks | None = None) -> dict[str, Any]:
    """Return counts of photos; every file and every row is in one of them."""
    return {
        "photos": photos.num_photos,
        **({"splits": count_splits(table)} if table.splits is not None else {}),
        "readable": int(photos.readable.sum()),
        "set_aside": len(photos.set_aside),
        "reasons": dict(Counter(photos.set_aside.values()).most_common()),
        "findings": photos.finding_counts,
        "files_that_are_no_row": len(table.skipped),
        "duplicate_groups": _num_groups(photos),
        "photos_with_the_same_pixels": int(photos.duplicates.exact.sum()),
        "duplicate_groups_with_different_labels": len(photos.conflicting_groups),
        **({} if leaks is None else {"leaks": leak_summary(table, leaks)}),
        "classes": {
            name: {"readable": readable, "set_aside": aside}
            for name, (readable, aside) in photos.class_counts.items()
        },
    }


def count_splits(table: Table) -> dict[str, int]:
    """Return the number of rows of each split that has some."""
    return {name: int(table.in_split(name).sum()) for name in table.splits_in_use}


def lost_classes(photos: PhotoCheck) -> tuple[str, ...]:
    """Return a note for each class all of whose photos are set aside."""
    return tuple(
        f"no photo of class {name!r} can be used: all {aside:,} are set aside, so nothing is learned of it"
        for name, (readable, aside) in photos.class_counts.items()
        if aside and not readable
    )


def set_aside_note(photos: PhotoCheck) -> tuple[str, ...]:
    """Return a note that counts the photos that are set aside, with their reasons; empty without any."""
    if not photos.set_aside:
        return ()
    reasons = Counter(photos.set_aside.values()).most_common()
    counts = "; ".join(f"{count:,} {reason}" for reason, count in reasons[:MOST_REASONS])
    more = f"; {len(reasons) - MOST_REASONS:,} other reasons" if len(reasons) > MOST_REASONS else ""
    total = (
        f"{len(photos.set_aside):,} of {photos.num_photos:,} photos are set aside, listed in set_aside.csv"
    )
    return (f"{total}: {counts}{more}",)


MOST_REASONS = 5


def _num_groups(photos: PhotoCheck) -> int:
    return int(photos.duplicates.groups.max(initial=-1)) + 1


def write_photo_lists(folder: Path, table: Table, photos: PhotoCheck, leaks: Leaks | None = None) -> None:
    """Write lists of all photos, those set aside, duplicates, leaks, and files not in the table."""
    write_csv(folder / "photos.csv", _photo_rows(table, photos))
    aside = ((table.image_ids[row], reason) for row, reason in photos.set_aside.items())
    write_csv(folder / "set_aside.csv", _safe([("image_id", "reason"), *aside]))
    write_csv(folder / "duplicates.csv", _safe(_duplicate_rows(table, photos)))
    if leaks is not None:
        write_leaks(folder, table, leaks)
    write_skipped(folder, table)


def write_skipped(folder: Path, table: Table) -> None:
    """Write the list of files and rows that are not in the table, with reasons."""
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
        *(["split"] if table.splits is not None else []),
    )
    for record, image_id, path, label, split in zip(
        photos.records, table.image_ids, table.paths, table.given_names, table.split_names, strict=True
    ):
        facts = record.facts
        size = (facts.width, facts.height, facts.format) if facts else ("", "", "")
        texts = (image_id, text_of_path(path), label)
        state = "read" if facts else "set aside"
        yield (
            *map(safe_cell, texts),
            state,
            record.reason or "",
            *size,
            record.sha256 or "",
            "; ".join(record.findings),
            *([split] if table.splits is not None else []),
        )


def _duplicate_rows(table: Table, photos: PhotoCheck) -> Iterator[tuple[object, ...]]:
    yield "group", "image_id", "given_label", "kind", "labels_differ"
    duplicates, differing = photos.duplicates, photos.conflicting_groups
    members = np.flatnonzero(duplicates.groups >= 0)
    for row in members[np.argsort(duplicates.groups[members], kind="stable")].tolist():
        group = int(duplicates.groups[row])
        kind = "same pixels" if duplicates.exact[row] else "nearly the same"
        yield group, table.image_ids[row], table.given_names[row], kind, group in differing


def _safe(rows: Any) -> Iterator[list[object]]:
    for row in rows:
        yield [safe_cell(cell) if isinstance(cell, str) else cell for cell in row]
