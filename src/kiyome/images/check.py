"""What is wrong with a set of photos before anything is learned from it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.images.duplicates import SIGNATURE_BYTES, DuplicateGroups, duplicate_groups
from kiyome.images.reader import PhotoRecord, read_photos
from kiyome.progress import Progress, no_progress

CHECK_SIDE = 256
"""Photos are checked at this short side or larger; JPEG data is read whole all the same."""


@dataclass(frozen=True, kw_only=True)
class PhotoCheck:
    """What one pass over N photos found; every row is readable or set aside."""

    records: tuple[PhotoRecord[Any], ...]
    """N records: reason, findings, size, format and sha256 of each row."""
    duplicates: DuplicateGroups
    """Rows that show the same picture."""
    labels: tuple[str, ...] | None
    """N labels, where they were given."""

    @property
    def num_photos(self) -> int:
        """N."""
        return len(self.records)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) mask of the rows that have pixels."""
        return np.array([record.facts is not None for record in self.records], bool)

    @property
    def set_aside(self) -> dict[int, str]:
        """Row and reason of each photo that cannot be read."""
        return {record.row: record.reason for record in self.records if record.reason is not None}

    @property
    def finding_counts(self) -> dict[str, int]:
        """Number of photos with each kind of finding, the most frequent first."""
        kinds = Counter(kind for record in self.records for kind in {_kind(text) for text in record.findings})
        return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))

    @property
    def class_counts(self) -> dict[str, tuple[int, int]]:
        """Readable photos and photos set aside of each label; empty without labels."""
        if self.labels is None:
            return {}
        readable = Counter(np.array(self.labels, object)[self.readable].tolist())
        every = Counter(self.labels)
        return {label: (readable[label], every[label] - readable[label]) for label in sorted(every)}

    @property
    def conflicting_groups(self) -> dict[int, tuple[int, ...]]:
        """Rows of each duplicate group that carries more than one label; empty without labels."""
        if self.labels is None:
            return {}
        rows: dict[int, list[int]] = {}
        for row in np.flatnonzero(self.duplicates.groups >= 0).tolist():
            rows.setdefault(int(self.duplicates.groups[row]), []).append(row)
        labels = self.labels
        return {
            group: tuple(members)
            for group, members in sorted(rows.items())
            if len({labels[row] for row in members}) > 1
        }


def check_photos(
    paths: Sequence[str | PathLike[str]],
    *,
    labels: Sequence[str] | None = None,
    num_threads: int | None = None,
    on_progress: Progress = no_progress,
) -> PhotoCheck:
    """Return what is wrong with these photos; reads each once, changes none, stops at none.

    Parameters
    ----------
    paths
        N files.
    labels
        N labels, as names; with them, duplicates that carry different labels are found.
    num_threads
        Threads that read and decode; by default one for each core that this process may use.
    on_progress
        Hears ``("read photos", done, total)``, then ``("find duplicates", done, total)``.

    Examples
    --------
    >>> check = check_photos(["no/such.jpg", "/"], labels=["cat", "dog"])
    >>> check.set_aside, check.class_counts
    ({0: 'no such file', 1: 'a folder'}, {'cat': (0, 1), 'dog': (0, 1)})
    """
    _require_one_label_each(len(paths), labels)
    records: Iterable[PhotoRecord[None]] = read_photos(
        paths, shrink_to=CHECK_SIDE, num_threads=num_threads, on_progress=on_progress
    )
    return check_records(tuple(records), labels=labels, on_progress=on_progress)


def check_records(
    records: Sequence[PhotoRecord[Any]],
    *,
    labels: Sequence[str] | None = None,
    on_progress: Progress = no_progress,
) -> PhotoCheck:
    """Return the same check from records of a pass already made, such as the one that made features.

    >>> check_records([]).num_photos
    0
    """
    _require_one_label_each(len(records), labels)
    signatures = np.zeros((len(records), SIGNATURE_BYTES), np.uint8)
    for record in records:
        if record.facts is not None:
            signatures[record.row] = record.facts.signature
    pixels_sha256 = [record.facts.pixels_sha256 if record.facts else None for record in records]
    return PhotoCheck(
        records=tuple(records),
        duplicates=duplicate_groups(signatures, pixels_sha256, on_progress=on_progress),
        labels=None if labels is None else tuple(labels),
    )


def _require_one_label_each(num_photos: int, labels: Sequence[str] | None) -> None:
    if labels is not None and len(labels) != num_photos:
        raise InputError(
            "There is one label for each photo.",
            came=f"{len(labels)} labels for {num_photos} photos",
            remedy="Give both in the order of the same table.",
        )


def _kind(finding: str) -> str:
    """Return a finding without its figures: 'tiny (1 x 1)' is of the kind 'tiny'."""
    return finding.partition(" (")[0]
