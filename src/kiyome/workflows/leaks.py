"""Leaks across the splits of a table: copies of a photo, and photos of one group or patient."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.leaks import SAME_GROUP, SAME_PIXELS, Leaks
from kiyome.artifacts.table import SPLITS, TRAIN, Table
from kiyome.folds import join_groups
from kiyome.images.check import CHECK_SIDE, PhotoCheck
from kiyome.images.copies import find_copies, read_thumbnails
from kiyome.images.decode import holds_exif
from kiyome.progress import Progress, no_progress

Rows = NDArray[np.int64]


def find_leaks(
    table: Table,
    photos: PhotoCheck,
    *,
    features: NDArray[np.floating[Any]] | None = None,
    on_progress: Progress = no_progress,
) -> Leaks | None:
    """Return the pairs of rows that leak from one split into another; None where all rows are in one split.

    `photos` is the check of the N rows, `features` (R, D) are of its R readable photos. Rows of one group are
    listed once each, with a row of the other split, unless they are copies.
    """
    if len(table.splits_in_use) < 2:
        return None
    splits = np.array([SPLITS.index(name) for name in table.split_names], np.int64)
    rows = np.flatnonzero(photos.readable)
    paths = np.array(table.photo_paths(), dtype=object)[rows]
    copies = find_copies(
        photos.signatures[rows],
        [photos.pixels_sha256[row] for row in rows],
        splits[rows],
        lambda some: read_thumbnails(
            paths[some].tolist(), shrink_to=CHECK_SIDE, deep_bits=table.deep_bits, on_progress=on_progress
        ),
        features=features,
        on_progress=on_progress,
    )
    first, second = rows[copies.first], rows[copies.second]
    grouped = _pairs_of_groups(table, splits, set(zip(first.tolist(), second.tolist(), strict=True)))
    first, second = (
        np.concatenate([one, other]) for one, other in zip((first, second), grouped.T, strict=True)
    )
    similarity = np.concatenate([copies.similarity, np.full(len(grouped), np.nan, np.float32)])
    kinds = np.array([*copies.kinds, *[SAME_GROUP] * len(grouped)], dtype=object)
    labeled, labels = table.is_labeled, table.given_labels
    is_copy = np.arange(len(first)) < len(copies.kinds)
    differ = is_copy & labeled[first] & labeled[second] & (labels[first] != labels[second])
    order = np.lexsort((second, first, -np.nan_to_num(similarity, nan=-1), ~differ))
    return Leaks(
        first=first[order],
        second=second[order],
        kinds=tuple(kinds[order].tolist()),
        similarity=similarity[order],
        labels_differ=differ[order],
        pixels=np.stack([photos.num_pixels[first], photos.num_pixels[second]], axis=1)[order],
        has_exif=_with_exif(table, np.stack([first, second], axis=1)[order]),
    )


def _with_exif(table: Table, pairs: Rows) -> NDArray[np.bool_]:
    """Return (n, 2) whether the files of the photos hold EXIF; each is opened once."""
    rows, numbers = np.unique(pairs, return_inverse=True)
    paths = table.photo_paths()
    found: NDArray[np.bool_] = np.array([holds_exif(paths[row]) for row in rows.tolist()], bool)[numbers]
    return found.reshape(-1, 2)


def _pairs_of_groups(table: Table, splits: Rows, known: set[tuple[int, int]]) -> Rows:
    """Return (m, 2) each row with the first row of its group in a lower split, where that is no copy."""
    if table.groups is None:
        return np.empty((0, 2), np.int64)
    groups = join_groups(table.groups)
    order = np.lexsort((np.arange(len(groups)), splits, groups))
    number = np.unique(groups, return_inverse=True)[1]
    first_of = order[np.r_[0, np.flatnonzero(np.diff(groups[order])) + 1]]
    lowest = first_of[number]
    rows = np.flatnonzero(splits > splits[lowest])
    pairs = [(row, other) for row, other in zip(rows.tolist(), lowest[rows].tolist(), strict=True)]
    return np.array([pair for pair in pairs if pair not in known], np.int64).reshape(-1, 2)


def leak_summary(table: Table, leaks: Leaks) -> dict[str, Any]:
    """Return counts of leaks, as JSON can hold them."""
    copies = leaks.shows_same
    in_train = copies & (table.split_names[leaks.second] == TRAIN)
    return {
        "pairs": int(copies.sum()),
        "pairs_with_different_labels": int(leaks.labels_differ.sum()),
        "rows_that_lie_in_train": _rows_by_split(table, leaks.first[in_train]),
        "rows_of_a_group_in_an_earlier_split": _rows_by_split(table, leaks.first[~copies]),
        "kinds": dict(
            Counter(kind for kind, copy in zip(leaks.kinds, copies, strict=True) if copy).most_common()
        ),
    }


def _rows_by_split(table: Table, rows: Rows) -> dict[str, int]:
    """Return the number of different rows of each split."""
    return dict(Counter(table.split_names[np.unique(rows)].tolist()))


def leak_note(table: Table, leaks: Leaks | None) -> tuple[str, ...]:
    """Return a note on photos that lie in train and in another split; empty without any."""
    if leaks is None:
        return ()
    summary, notes = leak_summary(table, leaks), []
    if counts := summary["rows_that_lie_in_train"]:
        same, differing = summary["kinds"].get(SAME_PIXELS, 0), summary["pairs_with_different_labels"]
        notes.append(
            f"{_listed(counts, 'photos')} probably lie in train, too (leaks.csv: {same:,} pairs of the same"
            f" pixels, the others to be looked at; {differing:,} with two labels): a score of them says what"
            " the model remembers"
        )
    if counts := summary["rows_of_a_group_in_an_earlier_split"]:
        notes.append(f"{_listed(counts, 'rows')} share a group with rows of an earlier split (leaks.csv)")
    return tuple(notes)


def _listed(counts: dict[str, int], what: str) -> str:
    return ", ".join(f"{count:,} {what} of {name}" for name, count in counts.items())
