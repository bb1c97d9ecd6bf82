"""Audits read back: what people said of rows of a table, and what that tells of any run on the same rows.

*/audit.json beside a run ── same table? ── sealed sample, as it was drawn ── answers ─► AuditRecord
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import reading
from kiyome.errors import InputError, StaleArtifact
from kiyome.estimates import Estimate
from kiyome.evaluation.audit import UNSURE, AuditedScore, audited_accuracy, check_answers
from kiyome.evaluation.audited_difference import AuditedDifference, audited_difference
from kiyome.reading.finished_run import FinishedRun, open_run
from kiyome.workflows.audit import RESULT_FILE
from kiyome.workflows.audit_sample import SealedSample, digest_of, read_sample


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditRecord:
    """A sample with its answers; every number is made anew from them, none is read."""

    sample: SealedSample
    said: NDArray[np.intp]
    """(n,) true labels in the blind order, -1 where people were unsure."""
    answers: str
    """Digest of what was read."""

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.sample.folder.resolve().name

    @cached_property
    def score(self) -> AuditedScore:
        """Of the predictions that the sample was drawn for."""
        return self._score(self.sample.predicted_labels)

    def score_of(self, run: FinishedRun) -> AuditedScore:
        """Of another run on the same rows: its strata are others', so its interval may be wider.

        Raises
        ------
        InputError
            When the run is of other rows or given labels, or its predictions are not out of fold.
        """
        self._check(run)
        return self._score(run.predictions.pred_probs.argmax(axis=1))

    def difference(self, first: FinishedRun, second: FinishedRun) -> AuditedDifference:
        """How much better the first run is in truth than the second, both on these rows.

        Raises
        ------
        InputError
            As `score_of`.
        """
        for run in (first, second):
            self._check(run)
        return audited_difference(
            self.sample.design,
            self.said,
            self.sample.labels,
            first.predictions.pred_probs,
            second.predictions.pred_probs,
        )

    def judges(self, run: FinishedRun) -> bool:
        """Whether the sample was drawn for the run's very predictions."""
        return self.sample.predictions == digest_of(run)

    def covers(self, run: FinishedRun) -> bool:
        """Whether the run's rows and given labels are those that the sample was drawn from."""
        same = run.table.fingerprint == self.sample.fingerprint
        return same and np.array_equal(run.table.given_labels, self.sample.labels)

    def num_relabeled_as_answered(self, run: FinishedRun) -> int:
        """Checked rows relabeled before the run as people said; none where the run was there before them."""
        if self.judges(run):
            return 0
        rows = self.sample.design.rows[: len(self.said)]
        labels, given = run.table.labels[rows], run.table.given_labels[rows]
        return int(((labels == self.said) & (labels != given)).sum())

    def summary(self) -> dict[str, Any]:
        """What `kiyome evaluate` tells of it."""
        return {
            "folder": self.name,
            "drawn_for": self.sample.source,
            "predictions": self.sample.predictions,
            "answers": self.answers,
            "checked": len(self.said),
            "unsure": int((self.said == UNSURE).sum()),
        }

    def _score(self, predicted: NDArray[np.intp]) -> AuditedScore:
        return audited_accuracy(
            self.sample.design,
            self.said,
            self.sample.labels,
            predicted,
            num_classes=len(self.sample.class_names),
        )

    def _check(self, run: FinishedRun) -> None:
        if not self.covers(run):
            raise InputError(
                "An audit tells of runs on the rows and given labels that it was drawn from.",
                came=f"other rows or given labels in {run.path} than in {self.sample.folder}",
                remedy="Draw a sample of this run with kiyome audit-sample.",
            )
        if run.predictions.kind != "out_of_fold":
            raise InputError(
                "An audit judges predictions of models that did not see the row.",
                came=f"predictions of kind '{run.predictions.kind}' in {run.path}",
                remedy="Name a run with out-of-fold predictions.",
            )


def read_audit(folder: Path | str) -> AuditRecord:
    """The audit in a folder, once its sample is as it was drawn and its answers fit.

    Raises
    ------
    StaleArtifact
        When a sealed file changed, or the answers belong to another sample.
    InputError
        When the folder holds no audit with answers.
    """
    folder = Path(folder)
    if not (folder / RESULT_FILE).is_file():
        raise InputError(
            "An audit has answers.",
            came=f"no {RESULT_FILE} in {folder}",
            remedy="Check its rows, then say kiyome audit.",
        )
    return _read(folder, _summary(folder / RESULT_FILE))


def audits_of(run: FinishedRun) -> tuple[AuditRecord, ...]:
    """Audits beside a run of its very predictions, the one with most rows checked first.

    Raises
    ------
    StaleArtifact
        When a sealed file of one changed.
    """
    return tuple(each for each in audits_on_rows_of(run) if each.judges(run))


def audits_on_rows_of(run: FinishedRun) -> tuple[AuditRecord, ...]:
    """Audits beside a run that were drawn from its rows, for whichever predictions, most rows checked first.

    Raises
    ------
    StaleArtifact
        When a sealed file of one changed.
    """
    beside = summaries_in(run.path.resolve().parent)
    same = (_read(folder, told) for folder, told in beside if told.get("table") == run.table.fingerprint)
    return tuple(sorted((each for each in same if each.covers(run)), key=lambda each: -len(each.said)))


def score_others(folder: Path | str, runs: Sequence[Path | str]) -> dict[str, Estimate]:
    """True accuracy of other runs by the rows of one audit, by name.

    Raises
    ------
    InputError
        Where a run is of other rows or given labels, or not out of fold.
    StaleArtifact
        Where a run or the sample changed.
    """
    if not runs:
        return {}
    audit, opened = read_audit(folder), [open_run(run) for run in runs]
    return {run.name: audit.score_of(run).accuracy_on_true for run in opened}


def audit_scores_in(folder: Path) -> dict[str, tuple[str, Estimate | None]]:
    """By digest of predictions: the folder of an audit and the true accuracy; None where it is refused."""
    found: dict[str, tuple[str, Estimate | None]] = {}
    for place, told in sorted(summaries_in(folder), key=lambda each: each[1].get("checked", 0)):
        try:
            score = _read(place, told).score.accuracy_on_true
        except (InputError, StaleArtifact):
            found.setdefault(str(told.get("predictions")), (place.name, None))
        else:
            found[str(told["predictions"])] = (place.name, score)
    return found


def caveats_of_audits(run: FinishedRun, audits: Sequence[AuditRecord]) -> list[str]:
    """What audits on a run's rows leave to say: those of other predictions, and answers that were taught."""
    marks = []
    for each in audits:
        if each.sample.source == run.name and not each.judges(run):
            marks.append(
                f"{each.name} judged other predictions of {run.name} than these: it is left out"
                f" (kiyome audit {each.name} --run {run.name} tells of these)"
            )
        if taught := each.num_relabeled_as_answered(run):
            marks.append(
                f"{taught:,} rows were taught what people said of them in {each.name}, to models of other"
                " folds"
            )
    if (own := sum(each.judges(run) for each in audits)) > 1:
        marks.append(f"{own} audits judged these predictions: the one with most rows checked is told")
    return marks


def summaries_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What audits in a folder of runs wrote, unverified, by folder."""
    for path in sorted(folder.glob(f"*/{RESULT_FILE}")):
        yield path.parent, _summary(path)


def _summary(path: Path) -> dict[str, Any]:
    with reading(path):
        return dict(json.loads(path.read_text("utf-8")))


def _read(folder: Path, told: dict[str, Any]) -> AuditRecord:
    sample = read_sample(folder)
    if told.get("predictions") != sample.predictions or "true_labels" not in told:
        raise StaleArtifact(
            f"{RESULT_FILE} holds the answers for the sample beside it.",
            came=f"answers for other rows in {folder}",
            remedy="Say kiyome audit once more.",
        )
    with reading(folder / RESULT_FILE):
        said = check_answers(told["true_labels"], sample.design, len(sample.class_names))
        return AuditRecord(sample=sample, said=said, answers=str(told["answers"]))
