"""What is reviewed: the rows of a finished run, or of a sample that was drawn for an audit.

N rows, K classes, D features. Everything is read once and never changes; decisions about it live elsewhere.
A blind subject holds nothing that could sway whoever looks: no label, guess, chance, neighbor or name, and
its rows lie in a random order, since tables are often sorted by class.
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
from kiyome.artifacts.issues import RankedIssues, read_issues
from kiyome.artifacts.manifest import key_at
from kiyome.artifacts.run import review_folder
from kiyome.artifacts.storage import map_array, reading
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, StaleArtifact
from kiyome.reading.finished_run import FinishedRun, open_run

SECRET_FILE = "secret"  # noqa: S105 - a name


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A key, and what is derived from it; nothing of it is ever shown.

    Examples
    --------
    >>> secret = Secret(key=b"k" * 32)
    >>> secret, secret.order(["a", "b", "c"]).tolist()
    (Secret(), [0, 1, 2])
    """

    key: bytes = field(repr=False)

    def order(self, image_ids: Sequence[str]) -> NDArray[np.intp]:
        """(N,) all rows, sorted by a keyed digest of their ids: random to who does not know the key."""
        digests = [self._digest(image_id, "order") for image_id in image_ids]
        return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.intp)

    def name(self, fingerprint: str, *, blind: bool) -> str:
        """The name of a review, which tells nothing of its table; a blind one numbers its rows otherwise."""
        return self._digest(f"{fingerprint} {blind}", "review").hex()

    def word(self, reviewer: str) -> str:
        """The word that gives a name to a browser which did not use it first."""
        return self._digest(reviewer, "reviewer").hex()

    @property
    def visitors(self) -> bytes:
        """The key of the cookie of all who came in with a token."""
        return self._digest("", "visitors")

    def browser(self, word: str) -> str:
        """What the log tells of the browser that keeps a word."""
        return self._digest(word, "browser").hex()

    def _digest(self, text: str, purpose: str) -> bytes:
        return hashlib.blake2b(text.encode(), key=self.key, person=purpose.encode(), digest_size=16).digest()


def review_secret(folder: str | Path) -> Secret:
    """The secret in the folder of a review, made with the folder if need be; all processes get the same.

    Raises
    ------
    StaleArtifact
        When the file was changed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "review"
    >>> review_secret(folder) == review_secret(folder)
    True
    """
    return Secret(key=key_at(Path(folder) / SECRET_FILE))


ISSUES_FILE, FEATURES_FILE, DUPLICATES_FILE = "label_issues.parquet", "features.npy", "duplicates.csv"
ALONE = -1
"""The duplicate group of a row that no other row looks like."""

Labels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The rows that people decide about. What a blind review may not show is None."""

    run: str
    """Name of the folder."""
    title: str
    """What the page is headed with."""
    blind: bool
    audit: str | None
    """Name of the run that is audited; None where the subject is no audit."""
    image_ids: Sequence[str]
    """N ids, as decisions name them."""
    shown_ids: Sequence[str]
    """N names to show: the ids, unless these may tell the label."""
    class_names: tuple[str, ...]
    fingerprint: str
    """Of ids, order and class names: decisions belong to it."""
    table_content: str
    """Digest of the table that the decisions are about."""
    photo_root: Path
    """The folder that no photo lies outside of."""
    photo_paths: Sequence[str]
    """N full paths; empty where there is no photo at hand."""
    ranking: NDArray[np.intp]
    """(N,) rows, the most suspicious first; in a blind review simply all rows, in their random order."""
    given_labels: Labels | None = None
    """(N,)"""
    suggested_labels: Labels | None = None
    """(N,) the likeliest class where a row is flagged, the given label elsewhere."""
    likely_labels: Labels | None = None
    """(N,) the model's likeliest class."""
    probability: NDArray[np.float64] | None = None
    """(N,) chance that the given label is wrong."""
    is_label_issue: NDArray[np.bool_] | None = None
    """(N,) rows that are flagged."""
    pred_probs: NDArray[np.float32] | None = None
    """(N, K) out-of-fold probabilities, mapped from the disk."""
    features: NDArray[np.floating[Any]] | None = None
    """(N, D) mapped from the disk; None where the run kept none."""
    duplicate_groups: NDArray[np.int64] | None = None
    """(N,) rows with the same number show the same picture, `ALONE` shows it alone; None if nobody looked."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Image id -> row."""
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    @cached_property
    def label_of(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.class_names)}


def read_subject(folder: str | Path, *, blind: bool = False, images: str | Path | None = None) -> Subject:
    """What a folder holds for review, verified.

    Parameters
    ----------
    folder
        Of a run that has `label_issues.parquet` and predictions, such as one of find; or of audit-sample,
        which is reviewed blind in any case.
    blind
        Leave out everything but the photos, and lay the rows in an order that the secret of the review
        draws; it is made in the folder if need be.
    images
        Where the photos of the run lie, as for `kiyome.artifacts.manifest.photos_of_run`.

    Raises
    ------
    InputError
        Where the run judged no labels.
    StaleArtifact
        Where a file of the run changed, or is missing.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> from kiyome.testing import write_digits
    >>> place = Path(tempfile.mkdtemp())
    >>> _ = write_digits(place / "digits", num_photos=100)
    >>> run = find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place)
    >>> subject = read_subject(run.folder)
    >>> len(subject), subject.pred_probs.shape, read_subject(run.folder, blind=True).given_labels
    (100, (100, 10), None)
    """
    if is_audit_folder(folder):
        return _of_sample(read_audit_folder(folder))
    run = open_run(folder, images=images)
    if not (run.path / ISSUES_FILE).is_file():
        raise InputError(
            "What is reviewed are labels that kiyome find judged.",
            came=f"a run of '{run.command}' in {run.path}, without {ISSUES_FILE}",
            remedy=f"Run: kiyome find {run.path / 'table.parquet'} --pred-probs {run.path / 'oof.parquet'}",
        )
    if blind:
        return _blinded(run, review_secret(review_folder(run.path)))
    return _of_run(run, read_issues(run.path / ISSUES_FILE, run.table))


def _of_run(run: FinishedRun, issues: RankedIssues) -> Subject:
    table = run.table
    return Subject(
        run=run.name,
        title=run.name,
        blind=False,
        audit=None,
        image_ids=table.image_ids.tolist(),
        shown_ids=table.image_ids.tolist(),
        class_names=table.class_names,
        fingerprint=table.fingerprint,
        table_content=table.content_digest,
        photo_root=table.root,
        photo_paths=table.photo_paths(),
        ranking=issues.ranking,
        given_labels=table.given_labels,
        suggested_labels=issues.suggested_labels,
        likely_labels=issues.likely_labels,
        probability=issues.probability,
        is_label_issue=issues.is_label_issue,
        pred_probs=run.predictions.pred_probs,
        features=_features(run.path / FEATURES_FILE, len(table)),
        duplicate_groups=_duplicate_groups(run.path / DUPLICATES_FILE, table),
    )


def _blinded(run: FinishedRun, secret: Secret) -> Subject:
    """The photos of a run in an order that says nothing, under names that say nothing."""
    table = run.table
    order = secret.order(table.image_ids.tolist())
    return Subject(
        run=run.name,
        title=run.name,
        blind=True,
        audit=None,
        image_ids=table.image_ids[order].tolist(),
        shown_ids=[f"photo {place}" for place in range(1, len(table) + 1)],
        class_names=table.class_names,
        fingerprint=table.fingerprint,
        table_content=table.content_digest,
        photo_root=table.root,
        photo_paths=np.array(table.photo_paths(), dtype=object)[order].tolist(),
        ranking=np.arange(len(table)),
    )


def _of_sample(drawn: AuditFolder) -> Subject:
    names, photos = drawn.row_names, drawn.folder.resolve() / PHOTOS
    rows = Table(
        root=photos,
        image_ids=np.array(names, dtype=object),
        paths=np.array(drawn.photo_names, dtype=object),
        given_labels=np.zeros(len(names), dtype=np.int32),  # the true ones stay sealed
        class_names=drawn.class_names,
    )
    return Subject(
        run=drawn.folder.resolve().name,
        title=drawn.facts["source"],
        blind=True,
        audit=drawn.facts["source"],
        image_ids=names,
        shown_ids=names,
        class_names=drawn.class_names,
        fingerprint=rows.fingerprint,
        table_content=drawn.manifest["table"]["content"],
        photo_root=photos,
        photo_paths=rows.photo_paths(),
        ranking=np.arange(len(names)),
    )


def _features(path: Path, num_rows: int) -> NDArray[np.floating[Any]] | None:
    """Features as `find` stored them, one row each; None where it had none."""
    if not path.is_file():
        return None
    with reading(path):
        features: NDArray[np.floating[Any]] = map_array(path)
    if features.ndim != 2 or len(features) != num_rows or features.dtype.kind != "f":
        raise StaleArtifact(
            f"Features have {num_rows} rows, as the table.",
            came=f"shape {features.shape}, {features.dtype} in {path}",
            remedy="Run kiyome find again.",
        )
    return features


def _duplicate_groups(path: Path, table: Table) -> NDArray[np.int64] | None:
    """Groups as `duplicates.csv` lists them; None where nobody looked at the photos."""
    if not path.is_file():
        return None
    row_of = {safe_cell(image_id): row for row, image_id in enumerate(table.image_ids)}
    groups = np.full(len(table), ALONE, dtype=np.int64)
    with reading(path), path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["image_id"] in row_of:  # photos that are set aside are no rows
                groups[row_of[line["image_id"]]] = int(line["group"])
    return groups
