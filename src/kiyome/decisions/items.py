"""The rows under review: those of a finished run, or of a sample for an audit.

N rows, K classes, D features. Everything is read once and never changes; decisions are kept elsewhere. For a
blind review they hold nothing that could bias the reviewer: no label, prediction, probability, neighbor or
name, only the split; and the rows are in a random order, since tables are often sorted by class.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.audit_folder import PHOTOS, AuditFolder, is_audit_folder, read_audit_folder
from kiyome.artifacts.escapes import safe_cell
from kiyome.artifacts.issues import read_issues
from kiyome.artifacts.leaks import read_leaks
from kiyome.artifacts.manifest import key_at
from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import map_array, reading
from kiyome.artifacts.table import ALL_BITS, SPLITS, Table, Texts
from kiyome.errors import InputError, StaleArtifact
from kiyome.images.depth import bits_in_use
from kiyome.reading.finished_run import FinishedRun, open_run

SECRET_FILE = "secret"  # noqa: S105 - a name


@dataclass(frozen=True, kw_only=True)
class Secret:
    """The key of a review, and what is derived from it; never shown.

    Examples
    --------
    >>> secret = Secret(key=b"k" * 32)
    >>> secret, secret.order(["a", "b", "c"]).tolist()
    (Secret(), [0, 1, 2])
    """

    key: bytes = field(repr=False)

    def order(self, image_ids: Sequence[str]) -> NDArray[np.intp]:
        """Return all rows (N,), sorted by a keyed digest of their ids: random without the key."""
        digests = [self._digest(image_id, "order") for image_id in image_ids]
        return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.intp)

    def name(self, fingerprint: str, *, blind: bool) -> str:
        """Return the name of a review, which shows nothing of its table; blind and open ones differ."""
        return self._digest(f"{fingerprint} {blind}", "review").hex()

    def word(self, reviewer: str) -> str:
        """Return the word that gives a name to a browser which did not use it first."""
        return self._digest(reviewer, "reviewer").hex()

    @property
    def visitors(self) -> bytes:
        """The key of the cookie of visitors with a token."""
        return self._digest("", "visitors")

    def browser(self, word: str) -> str:
        """Return the digest in the log of the browser that keeps a word."""
        return self._digest(word, "browser").hex()

    def _digest(self, text: str, purpose: str) -> bytes:
        return hashlib.blake2b(text.encode(), key=self.key, person=purpose.encode(), digest_size=16).digest()


def review_secret(folder: str | Path) -> Secret:
    """Return the secret in the folder of a review, created if absent; all processes get the same.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "review"
    >>> review_secret(folder) == review_secret(folder)
    True
    """
    return Secret(key=key_at(Path(folder) / SECRET_FILE))


ISSUES_FILE, FEATURES_FILE, DUPLICATES_FILE = "label_issues.parquet", "features.npy", "duplicates.csv"
ALONE = -1
"""The duplicate group of a row without duplicates."""

Labels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewItems:
    """The rows of one review. What a blind review may not show is None."""

    run: str
    """Name of the folder."""
    title: str
    """The heading of the page."""
    blind: bool
    audit: str | None
    """Name of the run that is audited; None where this is no audit."""
    image_ids: Sequence[str]
    """N ids, as in decisions."""
    shown_ids: Sequence[str]
    """N names to show: the ids, unless these may show the label."""
    class_names: tuple[str, ...]
    fingerprint: str
    """Of ids, order and class names; decisions belong to it."""
    table_content: str
    """Digest of the table."""
    photo_root: Path
    """The folder with all photos."""
    photo_paths: Sequence[str]
    """N full paths; empty where there is no photo."""
    deep_bits: int = ALL_BITS
    """Bits in use in photos with 16 bits a channel."""
    ranking: NDArray[np.intp]
    """(N,) rows, the most suspicious first; in a blind review simply all rows, in their random order."""
    given_labels: Labels | None = None
    """(N,)"""
    suggested_labels: Labels | None = None
    """(N,) the most probable class where a row is flagged, the given label elsewhere."""
    likely_labels: Labels | None = None
    """(N,) the most probable class of the model."""
    probability: NDArray[np.float64] | None = None
    """(N,) probability that the given label is wrong."""
    probability_none: NDArray[np.float64] | None = None
    """(N,) probability that the photo shows none of the classes."""
    is_label_issue: NDArray[np.bool_] | None = None
    """(N,) rows that are flagged."""
    pred_probs: NDArray[np.float32] | None = None
    """(N, K) out-of-fold probabilities, mapped from the disk."""
    features: NDArray[np.floating[Any]] | None = None
    """(N, D) mapped from the disk; None where the run kept none."""
    duplicate_groups: NDArray[np.int64] | None = None
    """(N,) rows with the same number show the same picture, `ALONE` has no duplicate; None if unknown."""
    copies: NDArray[np.int64] | None = None
    """(n, 2) rows of two splits that show one shot, those with two labels first; None if unknown."""
    splits: Texts | None = None
    """(N,) train, val, test or, in an audit, unlabeled; None where every row is train. It tells no label, so
    a blind review shows it."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def splits_in_use(self) -> tuple[str, ...]:
        """The splits that have rows, in the order of `SPLITS`; empty where every row is train."""
        known = set() if self.splits is None else set(self.splits.tolist())
        return tuple(name for name in SPLITS if name in known)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Image id -> row."""
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    @cached_property
    def label_of(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.class_names)}


def read_items(folder: str | Path, *, blind: bool = False, images: str | Path | None = None) -> ReviewItems:
    """Return the rows under review in the folder of a run or a sample, verified.

    A run needs `label_issues.parquet` and predictions, such as one of find; its unlabeled rows have no label
    to review and are left out. A sample of audit-sample is always blind. A blind review has only photos and
    their splits, in an order by the secret of the review, which is created if absent. `images` is
    the folder of the photos, as for `kiyome.artifacts.manifest.photos_of_run`.

    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=100)
    >>> run = find(folder / "digits", backbone="tiny", output=folder / "run", cache_folder=folder)
    >>> items = read_items(run.folder)
    >>> len(items), items.pred_probs.shape, read_items(run.folder, blind=True).given_labels
    (100, (100, 10), None)
    """
    if is_audit_folder(folder):
        return _of_sample(read_audit_folder(folder))
    run = open_run(folder, images=images)
    if not (run.path / ISSUES_FILE).is_file():
        raise InputError(
            f"{run.path}, a run of '{run.command}', has no {ISSUES_FILE} to review.",
            expected="Expected a run of kiyome find, or a sample of kiyome audit-sample.",
            remedy=f"Run: kiyome find {run.path / 'table.parquet'} --pred-probs {run.path / 'oof.parquet'}",
        )
    if blind:
        return _blinded(run, review_secret(review_folder(run.path)))
    return _of_run(run)


def _of_run(run: FinishedRun) -> ReviewItems:
    labeled = run.labeled()
    table, issues = labeled.table, read_issues(run.path / ISSUES_FILE, labeled.table)
    features = _features(run.path / FEATURES_FILE, len(run.table))
    if features is not None and labeled is not run:
        features = features[run.table.is_labeled]
    return ReviewItems(
        run=run.name,
        title=run.name,
        blind=False,
        audit=None,
        image_ids=table.image_ids.tolist(),
        shown_ids=table.image_ids.tolist(),
        class_names=table.class_names,
        fingerprint=run.table.fingerprint,
        table_content=run.table.content_digest,
        photo_root=table.root,
        photo_paths=table.photo_paths(),
        deep_bits=table.deep_bits,
        ranking=issues.ranking,
        given_labels=table.given_labels,
        suggested_labels=issues.suggested_labels,
        likely_labels=issues.likely_labels,
        probability=issues.probability,
        probability_none=issues.probability_none,
        is_label_issue=issues.is_label_issue,
        pred_probs=labeled.predictions.pred_probs,
        features=features,
        duplicate_groups=_duplicate_groups(run.path / DUPLICATES_FILE, table),
        copies=_copies(run.path, table),
        splits=table.splits,
    )


def _blinded(run: FinishedRun, secret: Secret) -> ReviewItems:
    """Return the photos of a run in a random order, under names without meaning."""
    table = run.labeled().table
    order = secret.order(table.image_ids.tolist())
    return ReviewItems(
        run=run.name,
        title=run.name,
        blind=True,
        audit=None,
        image_ids=table.image_ids[order].tolist(),
        shown_ids=[f"photo {number}" for number in range(1, len(table) + 1)],
        class_names=table.class_names,
        fingerprint=run.table.fingerprint,
        table_content=run.table.content_digest,
        photo_root=table.root,
        photo_paths=np.array(table.photo_paths(), dtype=object)[order].tolist(),
        deep_bits=table.deep_bits,
        ranking=np.arange(len(table)),
        splits=None if table.splits is None else table.splits[order],
    )


def _of_sample(sample: AuditFolder) -> ReviewItems:
    names, photos = sample.row_names, sample.folder.resolve() / PHOTOS
    split = sample.facts.get("split")
    rows = Table(
        root=photos,
        image_ids=np.array(names, dtype=object),
        paths=np.array(sample.photo_names, dtype=object),
        given_labels=np.zeros(len(names), dtype=np.int32),  # the true ones stay sealed
        class_names=sample.class_names,
    )
    return ReviewItems(
        run=sample.folder.resolve().name,
        title=sample.facts["source"],
        blind=True,
        audit=sample.facts["source"],
        image_ids=names,
        shown_ids=names,
        class_names=sample.class_names,
        fingerprint=rows.fingerprint,
        table_content=sample.manifest["table"]["content"],
        photo_root=photos,
        photo_paths=rows.photo_paths(),
        deep_bits=bits_in_use(rows.photo_paths()),
        ranking=np.arange(len(names)),
        splits=None if split is None else np.full(len(names), split, dtype=object),
    )


def _features(path: Path, num_rows: int) -> NDArray[np.floating[Any]] | None:
    """Return the features that `find` stored, one row each; None where it stored none."""
    if not path.is_file():
        return None
    with reading(path):
        features: NDArray[np.floating[Any]] = map_array(path)
    if features.ndim != 2 or len(features) != num_rows or features.dtype.kind != "f":
        raise StaleArtifact(
            f"The features in {path} have the shape {features.shape} and type {features.dtype}.",
            expected=f"Expected {num_rows} rows of floats, as in the table.",
            remedy="Run kiyome find again.",
        )
    return features


def _copies(folder: Path, table: Table) -> NDArray[np.int64] | None:
    """Return (n, 2) the pairs of copies in `leaks.csv`, in its order; None where there is no such file."""
    leaks = read_leaks(folder, table)
    return None if leaks is None else np.stack([leaks.first, leaks.second], axis=1)[leaks.shows_same]


def _duplicate_groups(path: Path, table: Table) -> NDArray[np.int64] | None:
    """Return the groups in `duplicates.csv`; None where there is no such file."""
    if not path.is_file():
        return None
    row_of = {safe_cell(image_id): row for row, image_id in enumerate(table.image_ids)}
    groups = np.full(len(table), ALONE, dtype=np.int64)
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["image_id"] in row_of:  # unreadable photos have no row
                groups[row_of[line["image_id"]]] = int(line["group"])
    return groups
