"""Faults in a set of photos, found before training."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import ALL_BITS
from kiyome.errors import InputError
from kiyome.images.duplicates import SIGNATURE_BYTES, DuplicateGroups, duplicate_groups
from kiyome.images.reader import PhotoRecord, read_photos
from kiyome.progress import Progress, no_progress

CHECK_SIDE = 256
"""Photos are checked at this short side or larger; JPEG data is read in full."""


@dataclass(frozen=True, kw_only=True)
class PhotoCheck:
    """The result of one pass over N photos; every row is readable or unreadable."""

    records: tuple[PhotoRecord[Any], ...]
    """N records: reason, findings, size, format and sha256 of each row."""
    duplicates: DuplicateGroups
    """Rows that show the same picture."""
    labels: tuple[str, ...] | None
    """N labels, if given."""

    @property
    def num_photos(self) -> int:
        """N, the number of photos."""
        return len(self.records)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) mask of the rows that have pixels."""
        return np.array([record.facts is not None for record in self.records], bool)

    @cached_property
    def signatures(self) -> NDArray[np.uint8]:
        """(N, SIGNATURE_BYTES) signatures; zeros for an unreadable photo."""
        return _signatures(self.records)

    @property
    def pixels_sha256(self) -> list[str | None]:
        """N digests of the pixels; None for an unreadable photo."""
        return [record.facts.pixels_sha256 if record.facts else None for record in self.records]

    @property
    def num_pixels(self) -> NDArray[np.int64]:
        """(N,) width times height; 0 for an unreadable photo."""
        sizes = [record.facts.width * record.facts.height if record.facts else 0 for record in self.records]
        return np.array(sizes, np.int64)

    @property
    def set_aside(self) -> dict[int, str]:
        """Row and reason of each unreadable photo."""
        return {record.row: record.reason for record in self.records if record.reason is not None}

    @property
    def finding_counts(self) -> dict[str, int]:
        """Number of photos with each kind of finding, the most frequent first."""
        kinds = Counter(kind for record in self.records for kind in {_kind(text) for text in record.findings})
        return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))

    @property
    def class_counts(self) -> dict[str, tuple[int, int]]:
        """Readable and unreadable photos of each label; empty without labels."""
        if self.labels is None:
            return {}
        readable = Counter(np.array(self.labels, object)[self.readable].tolist())
        every = Counter(filter(None, self.labels))
        return {label: (readable[label], every[label] - readable[label]) for label in sorted(every)}

    @property
    def conflicting_groups(self) -> dict[int, tuple[int, ...]]:
        """Rows of each duplicate group with more than one label; empty without labels."""
        if self.labels is None:
            return {}
        rows: dict[int, list[int]] = {}
        for row in np.flatnonzero(self.duplicates.groups >= 0).tolist():
            rows.setdefault(int(self.duplicates.groups[row]), []).append(row)
        labels = self.labels
        return {
            group: tuple(members)
            for group, members in sorted(rows.items())
            if len({labels[row] for row in members} - {""}) > 1
        }


def check_photos(
    paths: Sequence[str | PathLike[str]],
    *,
    labels: Sequence[str] | None = None,
    deep_bits: int = ALL_BITS,
    num_threads: int | None = None,
    on_progress: Progress = no_progress,
) -> PhotoCheck:
    """Return the faults of these photos; each is read once, none is changed, none ends the pass.

    With N `labels`, duplicates of different labels are found; an empty text is no label. `on_progress` is
    called with ``("read photos", done, total)``, then ``("find duplicates", done, total)``.

    >>> check = check_photos(["no/such.jpg", "/"], labels=["cat", "dog"])
    >>> check.set_aside, check.class_counts
    ({0: 'no such file', 1: 'a folder'}, {'cat': (0, 1), 'dog': (0, 1)})
    """
    _check_num_labels(len(paths), labels)
    records: Iterable[PhotoRecord[None]] = read_photos(
        paths, shrink_to=CHECK_SIDE, deep_bits=deep_bits, num_threads=num_threads, on_progress=on_progress
    )
    return check_records(tuple(records), labels=labels, on_progress=on_progress)


def check_records(
    records: Sequence[PhotoRecord[Any]],
    *,
    labels: Sequence[str] | None = None,
    on_progress: Progress = no_progress,
) -> PhotoCheck:
    """Return the same check for records of an earlier pass, such as the one for features.

    >>> check_records([]).num_photos
    0
    """
    _check_num_labels(len(records), labels)
    pixels_sha256 = [record.facts.pixels_sha256 if record.facts else None for record in records]
    return PhotoCheck(
        records=tuple(records),
        duplicates=duplicate_groups(_signatures(records), pixels_sha256, on_progress=on_progress),
        labels=None if labels is None else tuple(labels),
    )


def _signatures(records: Sequence[PhotoRecord[Any]]) -> NDArray[np.uint8]:
    signatures = np.zeros((len(records), SIGNATURE_BYTES), np.uint8)
    for record in records:
        if record.facts is not None:
            signatures[record.row] = record.facts.signature
    return signatures


def _check_num_labels(num_photos: int, labels: Sequence[str] | None) -> None:
    if labels is not None and len(labels) != num_photos:
        raise InputError(
            f"There are {len(labels)} labels for {num_photos} photos.",
            remedy="Give one label for each photo, both in the order of the table.",
        )


def _kind(finding: str) -> str:
    """Return a finding without its figures: 'tiny (1 x 1)' is of the kind 'tiny'."""
    return finding.partition(" (")[0]
