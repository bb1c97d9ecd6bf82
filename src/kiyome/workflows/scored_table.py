"""A table with out-of-fold predictions, from photos or from the user. N rows, K classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.leaks import Leaks
from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.table import TRAIN, Table
from kiyome.features import HeadFacts, HeadFit, Heads, cross_fit_head, extract_features
from kiyome.images.check import PhotoCheck, check_records
from kiyome.models import Backbone
from kiyome.progress import Progress, no_progress
from kiyome.reading.features_file import read_features
from kiyome.reading.finished_run import FinishedRun, check_folds_of
from kiyome.reading.predictions import read_out_of_fold
from kiyome.workflows.leaks import find_leaks, leak_note
from kiyome.workflows.outputs import lost_classes, photo_summary
from kiyome.workflows.run_folds import RunFolds, usable_photos

BLOCK = 4096
SOFT_LABELS_LEAK = (
    "Heads were taught soft labels, which came from models that saw the labels of all folds. The score is too"
    " high, the more so the closer heads fit."
)


@dataclass(frozen=True, kw_only=True)
class OtherRun:
    """A run whose predictions were tried beside those of `find`."""

    run: str
    """Name of its folder."""
    weight: float
    """Its share of the blend, mean over rows; 0 where it was left out."""
    gain: float
    """Nats by which the log loss of held-out rows falls if only this run joins."""
    standard_error: float
    helps: bool
    """Whether that is two standard errors and 3 % or more."""

    def describe(self) -> str:
        """Return the weight, and what the test said.

        >>> OtherRun(run="a", weight=0.6, gain=0.042, standard_error=0.003, helps=True).describe()
        'weight 0.60: log loss 0.0420 lower (standard error 0.0030)'
        """
        change = f"log loss {abs(self.gain):.4f} {'lower' if self.gain > 0 else 'higher'}"
        tested = f"{change} (standard error {self.standard_error:.4f})"
        if self.weight:
            return f"weight {self.weight:.2f}: {tested}"
        why = "but not beside the other runs" if self.helps else "where 2 standard errors and 3 % count"
        return f"left out: {tested}, {why}"


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredTable:
    """Rows of a table with their out-of-fold predictions. N rows, K classes."""

    table: Table
    """The N rows that have a score, with folds if the predictions are ours."""
    predictions: Predictions
    photos: PhotoCheck | None = None
    """Check of all rows, unreadable ones included; None for predictions of the user."""
    whole_table: Table | None = None
    """The table of `photos`, before rows were set aside."""
    leaks: Leaks | None = None
    """Photos of the whole table that lie in two splits; None where all rows are in one split."""
    features: NDArray[np.floating[Any]] | None = None
    """(N, D) features of the backbone, or the user's."""
    heads: Heads | None = None
    """Heads of all folds, for new photos; None for predictions of the user."""
    head_facts: HeadFacts | None = None
    others: tuple[OtherRun, ...] = ()
    """Other runs that were tried beside the predictions."""
    before_blend: NDArray[np.float32] | None = None
    """(N, K) the run's own predictions, where those of other runs joined them."""
    of_one_head: NDArray[np.float32] | None = None
    """(M, K) of the rows outside all folds, each by the head of one; None for predictions of the user."""
    judging_probs: NDArray[np.float32] | None = None
    """(N, K) what judges the labels, where heads of a split's own have a say; it predicts nothing else."""
    facts: tuple[tuple[str, str], ...] = ()
    """Origin of the predictions, for people."""
    notes: tuple[str, ...] = ()
    """Warnings for people."""

    @property
    def judging(self) -> NDArray[np.float32]:
        """(N, K) probabilities that judge the labels: the predictions, unless a split is cross-fitted."""
        return self.predictions.pred_probs if self.judging_probs is None else self.judging_probs

    @property
    def by_one_model(self) -> NDArray[np.float32]:
        """(N, K) the run's own predictions, by one model a row also outside the folds, if it has heads."""
        probs = self.predictions.pred_probs if self.before_blend is None else self.before_blend
        if self.of_one_head is None or self.table.folds is None:
            return probs
        probs = probs.copy()
        probs[self.table.folds < 0] = self.of_one_head
        return probs

    @property
    def alike(self) -> NDArray[np.integer[Any]] | None:
        """(N,) one number for rows that show the same, -1 for a row alone; None where nobody looked."""
        if self.photos is not None:
            return self.photos.duplicates.groups[self.photos.readable]
        return None if self.features is None else equal_rows(self.features)

    def photo_summary(self) -> dict[str, Any]:
        """Counts of photos and findings; empty for predictions of the user."""
        if self.photos is None or self.whole_table is None:
            return {}
        return photo_summary(self.whole_table, self.photos, self.leaks)


def read_scored_table(pred_probs: Path | str, table: Table, *, scale: str = "probabilities") -> ScoredTable:
    """Return the rows of the table that have out-of-fold predictions in the user's file."""
    read = read_out_of_fold(pred_probs, table, scale=scale)
    facts = (("predictions", Path(pred_probs).name),)
    return ScoredTable(table=read.table, predictions=read.predictions, facts=facts, notes=read.notes)


def cross_fit_features(
    path: Path | str,
    table: Table,
    *,
    run_folds: RunFolds,
    softened: FinishedRun | None = None,
    on_progress: Progress = no_progress,
) -> ScoredTable:
    """Return out-of-fold predictions of a head that is cross-fitted on the user's features.

    Rows with equal features stay in one fold. The table with its folds is written into the run folder.
    """
    features, read_notes = read_features(path, table)
    scored = run_folds.assign_rows(table, equal_rows(features))
    run_folds.keep(scored)
    head = cross_fit_head(
        features,
        scored.labels,
        np.asarray(scored.folds),
        num_classes=scored.num_classes,
        weights=scored.weights,
        soft_labels=_soft_labels(scored, softened, run_folds.run),
        on_progress=on_progress,
    )
    name = Path(path).name
    new_folds = f"--folds {run_folds.num_folds} or --seed {run_folds.seed}"
    predictions = Predictions(
        pred_probs=head.pred_probs,
        kind="out_of_fold",
        source=f"{name}, cross-fitted logistic and kernel ridge regression",
        table_fingerprint=scored.fingerprint,
    )
    return ScoredTable(
        table=scored,
        predictions=predictions,
        features=features,
        of_one_head=head.of_one_head,
        facts=(
            ("features", f"{name}, {features.shape[1]:,} a row"),
            *_head_facts(head, num_folds=int(np.asarray(scored.folds).max()) + 1, alike="equal rows"),
        ),
        notes=(*read_notes, *run_folds.note(scored, say=new_folds), *_soft_labels_note(softened)),
    )


def _soft_labels(scored: Table, softened: FinishedRun | None, run: Path) -> NDArray[np.float32] | None:
    """Return the targets (N, K) in a run on the same rows, labels and folds; None where there is none."""
    if softened is None:
        return None
    check_folds_of(run, scored, softened)
    return softened.predictions.pred_probs


def _soft_labels_note(softened: FinishedRun | None) -> list[str]:
    return [] if softened is None else [f"taught the soft labels of {softened.name}. {SOFT_LABELS_LEAK}"]


def equal_rows(features: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return (N,) one number for rows with equal features; -1 for a row that has no equal."""
    num_rows, width = features.shape
    factors = np.random.default_rng(0).integers(1, 2**63, width, dtype=np.uint64)
    blocks = (features[start : start + BLOCK] for start in range(0, num_rows, BLOCK))
    sums = np.concatenate([_bits(block).astype(np.uint64) @ factors for block in blocks])
    _, inverse, counts = np.unique(sums, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(counts[inverse] > 1)  # equal rows, and hardly any other
    bits = _bits(features[alike]).view(np.dtype((np.void, width * features.itemsize))).ravel()
    _, first, inverse, counts = np.unique(bits, return_index=True, return_inverse=True, return_counts=True)
    groups = np.full(num_rows, -1)
    groups[alike] = np.where(counts[inverse] > 1, alike[first[inverse]], -1)
    return groups


def _bits(features: NDArray[np.floating[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    return np.ascontiguousarray(features).view(f"u{features.itemsize}")


def embed_and_cross_fit(
    table: Table,
    backbone: Backbone,
    *,
    run_folds: RunFolds,
    softened: FinishedRun | None = None,
    weights: Path | str | None = None,
    cache_folder: Path | str | None = None,
    on_progress: Progress = no_progress,
) -> ScoredTable:
    """Return out-of-fold predictions of a head that is cross-fitted on features of the photos.

    The table with its folds is written into the run folder of `run_folds`.
    """
    features = extract_features(
        table.photo_paths(), backbone, cache_folder=cache_folder, on_progress=on_progress
    )
    names = table.given_names.tolist()
    check = check_records(features.records, labels=names, on_progress=on_progress)
    photos = usable_photos(table, check)
    scored = run_folds.assign(table, photos)
    values = features.values[photos.readable[check.readable]]
    leaks = find_leaks(table, photos, features=values, on_progress=on_progress)
    run_folds.keep(scored)
    head = cross_fit_head(
        values,
        scored.labels,
        np.asarray(scored.folds),
        num_classes=scored.num_classes,
        weights=scored.weights,
        soft_labels=_soft_labels(scored, softened, run_folds.run),
        on_progress=on_progress,
    )
    predictions = Predictions(
        pred_probs=head.pred_probs,
        kind="out_of_fold",
        source=f"{backbone.name} frozen, cross-fitted logistic and kernel ridge regression",
        table_fingerprint=scored.fingerprint,
    )
    earlier = run_folds.note(scored, say=f"--folds {run_folds.num_folds} or --seed {run_folds.seed}")
    return ScoredTable(
        table=scored,
        predictions=predictions,
        photos=photos,
        whole_table=table,
        leaks=leaks,
        features=values,
        heads=head.heads,
        of_one_head=head.of_one_head,
        head_facts=HeadFacts(
            backbone=backbone.name,
            weights=None if weights is None else str(Path(weights).resolve()),
            weights_sha256=backbone.weights_sha256,
            engine=backbone.engine,
            num_features=backbone.num_features,
            num_rows=int(scored.in_split(TRAIN).sum()),
            accuracy_on_given=head.accuracy_on_given,
            log_loss=head.log_loss,
        ),
        facts=_facts(backbone, head, num_folds=int(np.asarray(scored.folds).max()) + 1),
        notes=tuple(
            filter(
                None,
                (
                    *lost_classes(photos),
                    *leak_note(table, leaks),
                    *earlier,
                    *_soft_labels_note(softened),
                    backbone.note,
                    *features.notes,
                ),
            )
        ),
    )


def _facts(backbone: Backbone, head: HeadFit, *, num_folds: int) -> tuple[tuple[str, str], ...]:
    return (
        ("backbone", f"{backbone.name}, {backbone.num_features:,} features at {backbone.size} px"),
        ("weights", backbone.source),
        ("engine", backbone.engine),
        *_head_facts(head, num_folds=num_folds, alike="near duplicates"),
    )


def _head_facts(head: HeadFit, *, num_folds: int, alike: str) -> tuple[tuple[str, str], ...]:
    return (
        ("folds", f"{num_folds}, {alike} kept together"),
        ("regularization C of each fold", ", ".join(f"{c:g}" for c in head.regularization)),
        ("kernel ridge penalty of each fold", ", ".join(f"{each:g}" for each in head.penalty)),
        ("log loss on given labels, out of fold", f"{head.log_loss:.4f}"),
    )
