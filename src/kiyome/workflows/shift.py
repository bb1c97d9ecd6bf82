"""Whether the other splits of a table look like train: photos, class shares, confidence. N rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import safe_cells
from kiyome.artifacts.storage import write_csv_columns
from kiyome.artifacts.table import TRAIN, Table
from kiyome.estimates import Estimate
from kiyome.evaluation.class_shares import ClassShares, compare_class_shares
from kiyome.evaluation.metrics import mean_of_rows
from kiyome.evaluation.shift import Shift, compare_splits
from kiyome.folds import join_groups

MOST_LISTED = 1000
"""Rows of each split in `shift.csv`."""
MOST_NAMED = 3
"""Classes that a sentence names."""
WEAKER = "photos were not compared, which needs features (`kiyome find` on photos, or --features)."


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitComparison:
    """One split against train."""

    split: str
    class_names: tuple[str, ...]
    photos: Shift | None
    """None without features."""
    class_shares: ClassShares | None
    """None where one of the two has no labels."""
    confidence: tuple[Estimate, Estimate] | None
    """Mean of the largest probability in train and in the split; None without predictions."""
    rows: NDArray[np.intp]
    """(n,) rows of both in the table."""

    def describe(self) -> list[str]:
        """Return what was found in sentences, the advice first."""
        compared = f"{self.split} against train: {WEAKER}"
        lines = [compared if self.photos is None else self.photos.advice(self.split)]
        if self.photos is not None and self.photos.differing_classes:
            auc = self.photos.class_auc
            named = [(k, f"{found.value:.3f}") for k in self.photos.differing_classes if (found := auc[k])]
            lines.append(f"Classes whose photos differ most: {self._some(named, 'AUC ')}.")
        if self.photos is not None and self.photos.auc is not None and self.photos.auc.low > 0.5:
            lines.append("The rows that tell them apart most are in shift.csv.")
        if self.class_shares is not None:
            lines.append(self._describe_shares(self.class_shares))
        if self.photos is None and self.confidence is not None:
            train, other = (each.as_percent() for each in self.confidence)
            lines.append(f"Mean confidence: {train} in train, {other} in {self.split}.")
        return lines

    def _describe_shares(self, shares: ClassShares) -> str:
        differing = shares.differing_classes
        if not differing:
            return "Class shares do not differ by more than luck."
        named = [
            (k, "{:.1f} → {:.1f} %".format(*(100 * of[k].value for of in (shares.train, shares.test))))
            for k in differing
        ]
        return f"Class shares differ by more than luck: {self._some(named)}."

    def _some(self, named: list[tuple[int, str]], prefix: str = "") -> str:
        texts = [f"{self.class_names[k]} ({prefix}{text})" for k, text in named[:MOST_NAMED]]
        more = len(named) - len(texts)
        return ", ".join(texts) + (f" and {more} more" if more else "")

    def summary(self) -> dict[str, Any]:
        """The comparison as JSON can hold it."""
        photos, shares = self.photos, self.class_shares
        return {
            "sentences": self.describe(),
            "verdict": None if photos is None else photos.verdict,
            "auc": _values(None if photos is None else photos.auc),
            "auc_within_classes": _values(None if photos is None else photos.auc_within_classes),
            "confidence": None if self.confidence is None else [*map(_values, self.confidence)],
            "classes": {
                name: {
                    "auc": _values(photos.class_auc[k] if photos and photos.class_auc else None),
                    "share_in_train": _values(shares.train[k] if shares else None),
                    "share": _values(shares.test[k] if shares else None),
                    "difference": _values(shares.difference[k] if shares else None),
                }
                for k, name in enumerate(self.class_names)
            },
        }


def compare_with_train(
    table: Table,
    *,
    features: NDArray[np.floating[Any]] | None = None,
    pred_probs: NDArray[np.floating[Any]] | None = None,
    alike: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> dict[str, SplitComparison]:
    """Return each split but train against train; empty where the table lacks train or has nothing else.

    `features` (N, D) and `pred_probs` (N, K) are of its rows, each by one model that did not learn from the
    row; `alike` (N,) numbers rows that show the same, -1 for none.
    """
    others = [name for name in table.splits_in_use if name != TRAIN]
    if TRAIN not in table.splits_in_use:
        return {}
    groups = join_groups(
        *(each for each in (np.full(len(table), -1), alike, table.groups) if each is not None)
    )
    return {
        name: _compare(
            name, np.flatnonzero(table.in_split(TRAIN, name)), table, features, pred_probs, groups, seed
        )
        for name in others
    }


def _compare(
    split: str,
    rows: NDArray[np.intp],
    table: Table,
    features: NDArray[np.floating[Any]] | None,
    pred_probs: NDArray[np.floating[Any]] | None,
    groups: NDArray[np.integer],
    seed: int,
) -> SplitComparison:
    in_test, labels = table.in_split(split)[rows], table.given_labels[rows]
    common: dict[str, Any] = {"num_classes": table.num_classes, "groups": groups[rows], "seed": seed}
    confidence = None
    if pred_probs is not None:
        largest = pred_probs[rows].max(axis=1)
        train, other = (
            mean_of_rows(largest[side], groups=groups[rows][side]) for side in (~in_test, in_test)
        )
        confidence = train, other
    if features is not None and len(rows) < len(table):
        features = features[rows]
    return SplitComparison(
        split=split,
        class_names=table.class_names,
        photos=None if features is None else compare_splits(features, in_test, labels=labels, **common),
        class_shares=compare_class_shares(labels, in_test, **common) if table.num_classes > 1 else None,
        confidence=confidence,
        rows=rows,
    )


def write_shift(folder: Path, table: Table, found: Mapping[str, SplitComparison]) -> None:
    """Write `shift.csv`: the rows that tell each split from train most; nothing without features."""
    listed = [_most_telling(each, table) for each in found.values() if each.photos is not None]
    if listed:
        rows, scores, against = (np.concatenate(each) for each in zip(*listed, strict=True))
        write_csv_columns(
            folder / "shift.csv",
            {
                "image_id": safe_cells(table.image_ids[rows]),
                "split": table.split_names[rows],
                "against": against,
                "given_label": safe_cells(table.given_names[rows]),
                "unlike": scores.round(4),
            },
        )


def _most_telling(
    found: SplitComparison, table: Table
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[Any]]:
    """Return rows of the split, then of train, the most telling first; their scores; what they are unlike."""
    assert found.photos is not None  # noqa: S101 - the caller has looked
    scores, in_test = found.photos.row_scores, table.in_split(found.split)[found.rows]
    chosen = [_highest(found.photos, side) for side in (in_test, ~in_test)]
    against = np.repeat(np.array([TRAIN, found.split], dtype=object), [*map(len, chosen)])
    order = np.concatenate(chosen)
    return found.rows[order], scores[order], against


def _highest(photos: Shift, side: NDArray[np.bool_]) -> NDArray[np.intp]:
    compared = np.flatnonzero(side & ~np.isnan(photos.row_scores))
    order = np.lexsort((-photos.row_margins[compared], -photos.row_scores[compared]))
    return compared[order][:MOST_LISTED]


def describe_shift(found: Mapping[str, SplitComparison]) -> Iterator[str]:
    """Yield sentences on all comparisons."""
    for each in found.values():
        first, *rest = each.describe()
        yield first
        yield from (f"  {sentence}" for sentence in rest)


def _values(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else vars(found)
