"""What `find` found, and how it is put on disk. N rows, K classes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.predictions import write_out_of_fold
from kiyome.artifacts.storage import write_text, writing
from kiyome.artifacts.table import Table, write_table
from kiyome.folds import join_groups
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.noise import NoiseRate, posterior_of, transition_of
from kiyome.progress import Progress
from kiyome.recipes.check import write_photo_lists
from kiyome.recipes.evidence import Evidence
from kiyome.report.find_report import FindReport, Repeats, write_report

REPORT_SIDE = 256
"""Photos are decoded at about this short side for the thumbnails of the report."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FindResult:
    """What `find` found; everything here is in the run folder, too. N rows, K classes."""

    folder: Path
    evidence: Evidence
    method: str
    is_label_issue: NDArray[np.bool_]
    """(N,) rows that are flagged."""
    label_quality: NDArray[Any]
    """(N,) 0 to 1, low is suspicious."""
    probability: NDArray[Any]
    """(N,) chance that the given label is wrong."""
    ranking: NDArray[np.int64]
    """All N rows: flagged ones first, the most suspicious at the head."""
    confident_joint: NDArray[np.int64]
    """(K, K) [true, given] rows that the predictions place with confidence, calibrated to all rows."""
    expected_joint: NDArray[np.float64]
    """(K, K) [true, given] expected counts under the adaptive method: what the report shows."""
    noise_rate: NoiseRate

    @property
    def table(self) -> Table:
        """The N rows that have a score."""
        return self.evidence.table

    @property
    def pred_probs(self) -> NDArray[np.float32]:
        """(N, K) out-of-fold probabilities."""
        return self.evidence.predictions.pred_probs

    @property
    def num_issues(self) -> int:
        """How many rows are flagged."""
        return int(self.is_label_issue.sum())

    @property
    def expected_precision(self) -> float | None:
        """Mean chance to be wrong of the flagged rows; None where no row is flagged."""
        return float(self.probability[self.is_label_issue].mean()) if self.num_issues else None

    @property
    def predicted_labels(self) -> NDArray[np.int64]:
        """(N,) likeliest class of each row."""
        labels: NDArray[np.int64] = self.pred_probs.argmax(axis=1)
        return labels

    @property
    def suggested_labels(self) -> NDArray[np.int64]:
        """(N,) the likeliest class where a row is flagged, the given label elsewhere."""
        return np.where(self.is_label_issue, self.predicted_labels, self.table.given_labels)

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """The answer, wherever the run folder lies."""
        return {
            "rows": len(self.table),
            "flagged": self.num_issues,
            "expected_precision": self.expected_precision,
            "method": self.method,
            "noise_rate": vars(self.noise_rate),
            "class_names": list(self.table.class_names),
            "confident_joint": self.confident_joint.tolist(),
            "expected_joint": self.expected_joint.tolist(),
            "transition_matrix": transition_of(self.confident_joint).tolist(),
            "posterior_matrix": posterior_of(self.confident_joint).tolist(),
            "made_by": dict(self.evidence.facts),
            "notes": list(self.evidence.notes),
            **self.evidence.photo_summary(),
        }


def write_found(result: FindResult, *, title: str, seed: int, on_progress: Progress) -> None:
    """Put everything that was found into its run folder."""
    folder, evidence = result.folder, result.evidence
    if evidence.photos is not None and evidence.whole_table is not None:
        write_photo_lists(folder, evidence.whole_table, evidence.photos)
    if evidence.features is not None:
        with writing(folder / "features.npy") as file:
            np.save(file, evidence.features, allow_pickle=False)
    for name in ("table.csv", "table.parquet"):
        write_table(result.table, folder / name)
    evidence.predictions.save(folder / "predictions")
    write_out_of_fold(evidence.predictions, result.table, folder)
    write_issue_files(
        folder,
        result.table,
        is_label_issue=result.is_label_issue,
        label_quality=result.label_quality,
        predicted_labels=result.predicted_labels,
        suggested_labels=result.suggested_labels,
        probability=result.probability,
        ranked_rows=result.ranking,
    )
    write_text(folder / "noise.json", json.dumps(result.findings(), indent=2))
    write_report(_as_report(result, title, seed), folder / "report.html", on_progress=on_progress)


def _as_report(result: FindResult, title: str, seed: int) -> FindReport:
    table, rate, photos = result.table, result.noise_rate, result.evidence.photos
    whole = result.evidence.whole_table or table
    paths = table.photo_paths()
    facts = (
        *result.evidence.facts,
        ("flagged by", result.method),
        ("seed", str(seed)),
        ("table", table.fingerprint[:16]),
    )
    return FindReport(
        title=title,
        class_names=table.class_names,
        image_ids=table.image_ids.tolist(),
        given_labels=table.given_labels,
        suggested_labels=result.predicted_labels,
        label_quality=result.label_quality,
        probability=result.probability,
        is_label_issue=result.is_label_issue,
        ranking=result.ranking[: result.num_issues],
        likely_true_joint=result.expected_joint,
        noise_rate=rate.value,
        noise_rate_low=rate.low,
        noise_rate_high=rate.high,
        noise_rate_how=rate.method,
        set_aside=[(whole.image_ids[row], reason) for row, reason in photos.set_aside.items()]
        if photos
        else (),
        findings=photos.finding_counts if photos else {},
        duplicates=_repeats(photos.duplicates.groups[photos.readable], table) if photos else None,
        groups=None if table.groups is None else _repeats(join_groups(table.groups), table),
        facts=facts,
        photo=_PhotosOf(paths) if all(paths) else None,
    )


@dataclass(frozen=True)
class _PhotosOf:
    """Pixels of a row, decoded when asked for."""

    paths: Sequence[str]

    def __call__(self, row: int) -> NDArray[np.uint8]:
        return decode_photo(read_photo_file(self.paths[row]), shrink_to=REPORT_SIDE).pixels


def _repeats(groups: NDArray[np.int64], table: Table) -> Repeats:
    """How many groups of rows there are, and pairs in them whose labels differ."""
    order = np.argsort(groups, kind="stable")
    first_of = np.r_[True, groups[order][1:] != groups[order][:-1]]
    runs = [
        rows
        for rows in np.split(order, np.flatnonzero(first_of)[1:])
        if len(rows) > 1 and groups[rows[0]] >= 0
    ]
    differing = [rows for rows in runs if len(set(table.given_labels[rows].tolist())) > 1]
    pairs = [
        (int(rows[0]), int(rows[table.given_labels[rows] != table.given_labels[rows[0]]][0]))
        for rows in differing
    ]
    return Repeats(num_groups=len(runs), num_differing=len(differing), pairs=pairs)
