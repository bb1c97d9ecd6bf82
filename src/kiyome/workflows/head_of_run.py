"""The heads of a `find` run, used on new photos: with the backbone that they were fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table_files import load_table
from kiyome.errors import InputError, StaleArtifact
from kiyome.estimates import proportion
from kiyome.features import HeadFacts, Heads, extract_features, load_heads
from kiyome.models import Backbone, load_backbone
from kiyome.progress import Progress, no_progress


class HeadOfRun(NamedTuple):
    """Heads of all folds with their backbone."""

    heads: Heads
    facts: HeadFacts
    backbone: Backbone
    notes: tuple[str, ...]
    """Warnings for people."""


class HeadPredictions(NamedTuple):
    """Predictions of N photos. K classes."""

    pred_probs: NDArray[np.float32]
    """(N, K); the mean of the other rows for a photo that cannot be read."""
    set_aside: dict[int, str]
    """Row and reason of each photo that cannot be read."""
    num_models: int
    notes: tuple[str, ...]


def open_head(run: Path) -> HeadOfRun:
    """Return the heads of a `find` run with the backbone that they were fitted on.

    Raises
    ------
    StaleArtifact
        If the run holds no heads, or the backbone has other weights here.
    """
    heads, facts = load_heads(run)
    backbone, notes = backbone_of(facts)
    deep_bits = load_table(run / "table.parquet").deep_bits
    return HeadOfRun(heads, facts, replace(backbone, deep_bits=deep_bits), notes)


def backbone_of(facts: HeadFacts) -> tuple[Backbone, tuple[str, ...]]:
    """Return the backbone that heads were fitted on, and a note if another engine computes it here."""
    backbone = load_backbone(facts.backbone, weights=facts.weights)
    found = backbone.weights_sha256, backbone.num_features
    if found != (facts.weights_sha256, facts.num_features):
        raise StaleArtifact(
            f"The backbone {facts.backbone} has other weights or features here than in the run.",
            remedy="Install the versions that made the run, or run `kiyome find` again.",
        )
    if backbone.engine == facts.engine:
        return backbone, ()
    return backbone, (f"features are computed by {backbone.engine}; those of the run by {facts.engine}",)


def predict_with_heads(
    run: Path, paths: Sequence[str], *, cache_folder: Path, on_progress: Progress = no_progress
) -> HeadPredictions:
    """Return the predictions of photos, with the out-of-fold score of the heads among the notes."""
    opened = open_head(run)
    features = extract_features(paths, opened.backbone, cache_folder=cache_folder, on_progress=on_progress)
    set_aside = {row: each.reason for row, each in enumerate(features.records) if each.reason}
    if not features.readable.any():
        reason = next(iter(set_aside.values()), "there are none")
        raise InputError(f"None of the photos can be read: {reason}.", remedy="Check the photos.")
    probs = np.empty((len(paths), opened.heads.num_classes), np.float32)
    probs[features.readable] = opened.heads.pred_probs(features.values)
    probs[~features.readable] = probs[features.readable].mean(axis=0)
    notes = (*opened.notes, *features.notes, describe_score(opened.facts))
    return HeadPredictions(probs, set_aside, len(opened.heads.of_folds), notes)


def describe_score(facts: HeadFacts) -> str:
    """Return the score of the heads on photos that they had not seen, as a sentence.

    >>> facts = HeadFacts(
    ...     backbone="tiny", weights=None, weights_sha256="", engine="numpy", num_features=768, num_rows=400,
    ...     accuracy_on_given=0.9, log_loss=0.31,
    ... )
    >>> describe_score(facts)
    'out of fold: 90.0 % of 400 given labels predicted (95 % interval 86.7 to 92.6), log loss 0.310'
    """
    right = proportion(round(facts.accuracy_on_given * facts.num_rows), facts.num_rows)
    return (
        f"out of fold: {100 * right.value:.1f} % of {facts.num_rows:,} given labels predicted"
        f" (95 % interval {100 * right.low:.1f} to {100 * right.high:.1f}), log loss {facts.log_loss:.3f}"
    )
