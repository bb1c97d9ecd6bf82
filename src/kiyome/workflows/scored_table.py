"""A table with out-of-fold predictions, from photos or from the user. N rows, K classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.table import Table
from kiyome.features import HeadFacts, HeadFit, Heads, cross_fit_head, extract_features
from kiyome.images.check import PhotoCheck, check_records
from kiyome.models import Backbone
from kiyome.progress import Progress, no_progress
from kiyome.reading.predictions import read_out_of_fold
from kiyome.workflows.outputs import lost_classes, photo_summary
from kiyome.workflows.split import Split, usable_photos


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
    features: NDArray[np.float16] | None = None
    """(N, D) features of the backbone."""
    heads: Heads | None = None
    """Heads of all folds, for new photos; None for predictions of the user."""
    head_facts: HeadFacts | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """Origin of the predictions, for people."""
    notes: tuple[str, ...] = ()
    """Warnings for people."""

    def photo_summary(self) -> dict[str, Any]:
        """Counts of photos and findings; empty for predictions of the user."""
        if self.photos is None or self.whole_table is None:
            return {}
        return photo_summary(self.whole_table, self.photos)


def read_scored_table(pred_probs: Path | str, table: Table, *, scale: str = "probabilities") -> ScoredTable:
    """Return the rows of the table that have out-of-fold predictions in the user's file."""
    read = read_out_of_fold(pred_probs, table, scale=scale)
    facts = (("predictions", Path(pred_probs).name),)
    return ScoredTable(table=read.table, predictions=read.predictions, facts=facts, notes=read.notes)


def embed_and_cross_fit(
    table: Table,
    backbone: Backbone,
    *,
    split: Split,
    weights: Path | str | None = None,
    cache_folder: Path | str | None = None,
    on_progress: Progress = no_progress,
) -> ScoredTable:
    """Return out-of-fold predictions of a head that is cross-fitted on features of the photos.

    The table with its folds is written into the run folder of the split.
    """
    features = extract_features(
        table.photo_paths(), backbone, cache_folder=cache_folder, on_progress=on_progress
    )
    names = np.array(table.class_names, object)[table.given_labels].tolist()
    check = check_records(features.records, labels=names, on_progress=on_progress)
    photos = usable_photos(table, check)
    scored = split.assign(table, photos)
    values = features.values[photos.readable[check.readable]]
    split.keep(scored)
    head = cross_fit_head(
        values,
        scored.labels,
        np.asarray(scored.folds),
        num_classes=scored.num_classes,
        weights=scored.weights,
        on_progress=on_progress,
    )
    predictions = Predictions(
        pred_probs=head.pred_probs,
        kind="out_of_fold",
        source=f"{backbone.name} frozen, cross-fitted logistic and kernel ridge regression",
        table_fingerprint=scored.fingerprint,
    )
    earlier = split.note(scored, say=f"--folds {split.num_folds} or --seed {split.seed}")
    return ScoredTable(
        table=scored,
        predictions=predictions,
        photos=photos,
        whole_table=table,
        features=values,
        heads=head.heads,
        head_facts=HeadFacts(
            backbone=backbone.name,
            weights=None if weights is None else str(Path(weights).resolve()),
            weights_sha256=backbone.weights_sha256,
            engine=backbone.engine,
            num_features=backbone.num_features,
            num_rows=len(scored),
            accuracy_on_given=head.accuracy_on_given,
            log_loss=head.log_loss,
        ),
        facts=_facts(backbone, head, num_folds=int(np.asarray(scored.folds).max()) + 1),
        notes=tuple(filter(None, (*lost_classes(photos), *earlier, backbone.note, *features.notes))),
    )


def _facts(backbone: Backbone, head: HeadFit, *, num_folds: int) -> tuple[tuple[str, str], ...]:
    return (
        ("backbone", f"{backbone.name}, {backbone.num_features:,} features at {backbone.size} px"),
        ("weights", backbone.source),
        ("engine", backbone.engine),
        ("folds", f"{num_folds}, near duplicates kept together"),
        ("regularization C of each fold", ", ".join(f"{c:g}" for c in head.regularization)),
        ("kernel ridge penalty of each fold", ", ".join(f"{each:g}" for each in head.penalty)),
        ("log loss on given labels, out of fold", f"{head.log_loss:.4f}"),
    )
