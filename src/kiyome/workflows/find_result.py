"""The result of `find`, and its run folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.storage import write_text, writing
from kiyome.artifacts.table import Table
from kiyome.features import save_heads
from kiyome.noise import posterior_of, transition_of
from kiyome.progress import Progress, no_progress
from kiyome.report.find_report import write_report
from kiyome.report.label_findings import LabelFindings
from kiyome.workflows.outputs import write_photo_lists, write_scored_table, write_skipped
from kiyome.workflows.scored_table import ScoredTable
from kiyome.workflows.shift import SplitComparison, write_shift
from kiyome.workflows.split_findings import SplitFindings


@dataclass(frozen=True, kw_only=True, eq=False)
class FindResult(LabelFindings):
    """Result of `find`; all of it is in the run folder, too. N rows, K classes.

    `is_label_issue`, `label_quality`, `probability`, `probability_none`, `predicted_labels` (N,) are of all
    rows that have a score; `ranking` (N,) starts with the flagged ones; `expected_joint` (K, K) is
    [true, given]; `noise_rate` has a value and a range. All are of all splits; rows of `unlabeled` are never
    flagged, and have NaN for quality and probability.
    """

    folder: Path
    scored: ScoredTable
    method: str
    confident_joint: NDArray[np.int64]
    """(K, K) [true, given] rows that the predictions place with confidence, calibrated to all rows."""
    by_split: Mapping[str, SplitFindings]
    """Findings of each split that has labels, train first."""
    shift: Mapping[str, SplitComparison]
    """Each other split against train: whether photos and class shares differ."""

    @property
    def table(self) -> Table:
        """The N rows that have a score."""
        return self.scored.table

    @property
    def pred_probs(self) -> NDArray[np.float32]:
        """(N, K) out-of-fold probabilities."""
        return self.scored.predictions.pred_probs

    @property
    def expected_precision(self) -> float | None:
        """Mean probability that a flagged row is wrong; None where no row is flagged."""
        return float(self.probability[self.is_label_issue].mean()) if self.num_issues else None

    @property
    def suggested_labels(self) -> NDArray[np.int64]:
        """(N,) the likeliest class of an unlabeled row or a flagged one that shows one, else the given one.

        Rows that show none of the classes keep the given label.
        """
        suggests = (self.is_label_issue & ~self.shows_none) | ~self.table.is_labeled
        return np.where(suggests, self.predicted_labels, self.given_labels)

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """The result without the place of its folder."""
        return {
            "rows": len(self.table),
            "flagged": self.num_issues,
            "none_of_the_classes": int(self.shows_none.sum()),
            "expected_precision": self.expected_precision,
            "method": self.method,
            "noise_rate": vars(self.noise_rate),
            "class_names": list(self.class_names),
            "confident_joint": self.confident_joint.tolist(),
            "expected_joint": self.expected_joint.tolist(),
            "transition_matrix": transition_of(self.confident_joint).tolist(),
            "posterior_matrix": posterior_of(self.confident_joint).tolist(),
            **self._of_splits(),
            "made_by": dict(self.scored.facts),
            **({"with": [asdict(each) for each in self.scored.others]} if self.scored.others else {}),
            "notes": list(self.scored.notes),
            **self.scored.photo_summary(),
        }

    def _of_splits(self) -> dict[str, Any]:
        """The findings of each split; empty where all rows are train."""
        if self.table.splits is None:
            return {}
        return {
            "by_split": {name: split.summary() for name, split in self.by_split.items()},
            "shift": {name: compared.summary() for name, compared in self.shift.items()},
        }


def write_find(result: FindResult, *, on_progress: Progress = no_progress) -> None:
    """Write the result into its run folder."""
    folder, scored = result.folder, result.scored
    if scored.photos is not None and scored.whole_table is not None:
        write_photo_lists(folder, scored.whole_table, scored.photos, scored.leaks)
    elif result.table.skipped:
        write_skipped(folder, result.table)
    if scored.features is not None:
        with writing(folder / "features.npy") as file:
            np.save(file, scored.features, allow_pickle=False)
    if scored.heads is not None and scored.head_facts is not None:
        save_heads(scored.heads, scored.head_facts, folder)
    write_scored_table(folder, result.table, scored.predictions)
    write_issue_files(
        folder,
        result.table,
        is_label_issue=result.is_label_issue,
        label_quality=result.label_quality,
        predicted_labels=result.predicted_labels,
        suggested_labels=result.suggested_labels,
        probability=result.probability,
        probability_none=result.probability_none,
        ranked_rows=result.ranking,
    )
    write_shift(folder, result.table, result.shift)
    write_text(folder / "noise.json", json.dumps(result.findings(), indent=2))
    write_report(result, folder / "report.html", on_progress=on_progress)
