"""The list of leaks across splits, as a file: photos that lie in two splits, and groups that do. n pairs."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import safe_cell
from kiyome.artifacts.storage import reading, write_csv
from kiyome.artifacts.table import TRAIN, Table

LEAKS_FILE = "leaks.csv"
SAME_GROUP = "same group"
SAME_PIXELS = "same pixels"

COLUMNS = (
    "image_id",
    "split",
    "given_label",
    "other_image_id",
    "other_split",
    "other_label",
    "kind",
    "similarity",
    "labels_differ",
    "pixels",
    "other_pixels",
    "exif",
    "other_exif",
)
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
Labels = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaks:
    """n pairs of rows in two splits: copies with two labels first, then the most similar, then groups."""

    first: Rows
    """(n,) row in the later split, such as test."""
    second: Rows
    """(n,) row in the earlier split, such as train."""
    kinds: tuple[str, ...]
    """n texts such as `same pixels`, `mirrored, cropped` or `same group`."""
    similarity: NDArray[np.float32]
    """(n,) agreement of the details; NaN for rows of one group."""
    labels_differ: NDArray[np.bool_]
    """(n,) whether they are copies with two given labels."""
    pixels: NDArray[np.int64]
    """(n, 2) number of pixels of both photos."""
    has_exif: NDArray[np.bool_]
    """(n, 2) whether the files hold EXIF, as those of cameras do and copies often do not."""

    @property
    def shows_same(self) -> NDArray[np.bool_]:
        """(n,) whether both photos show one shot, rather than being of one group only."""
        return np.array([kind != SAME_GROUP for kind in self.kinds], bool)

    def copies_in(self, splits: NDArray[np.object_], split: str, *, least: float = 0) -> Mask:
        """Return (N,) the rows of a split that lie in train, or for `train`, that lie in another split.

        `splits` (N,) are of all rows; pairs with a similarity below `least` do not count.
        """
        pairs = self.shows_same & (self.similarity >= least) & (splits[self.second] == TRAIN)
        rows = self.second if split == TRAIN else self.first
        chosen = rows[pairs & (splits[rows] == split)]
        mask: Mask = np.bincount(chosen, minlength=len(splits)) > 0
        return mask

    def worse_copies(
        self, splits: NDArray[np.object_], labels: Labels, out_of_fold: Labels, *, least: float = 0
    ) -> Mask:
        """Return (N,) the worse row of each copy that lies in train: the smaller photo of the two.

        Of equal size it is the one without EXIF if the other has it, else the one whose label the prediction
        of the row of train denies, `out_of_fold` (N,), else the row of train. `labels` and `splits` (N,) are
        of all rows.
        """
        pairs = self.shows_same & (self.similarity >= least) & (splits[self.second] == TRAIN)
        first, second = self.first[pairs], self.second[pairs]
        (size, other_size), (exif, other_exif) = self.pixels[pairs].T, self.has_exif[pairs].T
        expected = out_of_fold[second]
        denied = (labels[first] != expected) & (labels[second] == expected) & self.labels_differ[pairs]
        by_file = np.where(size != other_size, size < other_size, exif < other_exif)
        first_is_worse = np.where((size == other_size) & (exif == other_exif), denied, by_file)
        mask: Mask = np.bincount(np.where(first_is_worse, first, second), minlength=len(splits)) > 0
        return mask


def write_leaks(folder: Path, table: Table, leaks: Leaks) -> None:
    """Write the list of leaks for people and machines."""
    ids, names, splits = table.image_ids, table.given_names, table.split_names

    def row(number: int) -> list[object]:
        one, other = int(leaks.first[number]), int(leaks.second[number])
        similarity = float(leaks.similarity[number])
        cells = (
            ids[one],
            splits[one],
            names[one],
            ids[other],
            splits[other],
            names[other],
            leaks.kinds[number],
        )
        return [
            *map(safe_cell, cells),
            "" if np.isnan(similarity) else f"{similarity:.3f}",
            bool(leaks.labels_differ[number]),
            *leaks.pixels[number].tolist(),
            *leaks.has_exif[number].tolist(),
        ]

    write_csv(folder / LEAKS_FILE, [COLUMNS, *map(row, range(len(leaks.kinds)))])


def read_leaks(folder: Path, table: Table) -> Leaks | None:
    """Return the leaks of a run for the rows of its table; None where the run has no such list."""
    path = folder / LEAKS_FILE
    if not path.is_file():
        return None
    row_of = {safe_cell(image_id): row for row, image_id in enumerate(table.image_ids)}
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        lines = [
            line
            for line in csv.DictReader(file)
            if line["image_id"] in row_of and line["other_image_id"] in row_of  # others have no predictions
        ]
    return Leaks(
        first=np.array([row_of[line["image_id"]] for line in lines], np.int64),
        second=np.array([row_of[line["other_image_id"]] for line in lines], np.int64),
        kinds=tuple(line["kind"] for line in lines),
        similarity=np.array([line["similarity"] or "nan" for line in lines], np.float32),
        labels_differ=np.array([line["labels_differ"] == "True" for line in lines], bool),
        pixels=np.array([(line["pixels"], line["other_pixels"]) for line in lines], np.int64).reshape(-1, 2),
        has_exif=np.array(
            [[line.get(name) == "True" for name in ("exif", "other_exif")] for line in lines], bool
        ).reshape(-1, 2),
    )
