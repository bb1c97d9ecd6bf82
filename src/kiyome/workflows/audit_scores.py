"""Finished audits, read back to score any run on the same rows.

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
from kiyome.artifacts.table import UNKNOWN
from kiyome.errors import InputError, StaleArtifact
from kiyome.estimates import Estimate
from kiyome.evaluation.audit import UNSURE, AuditedScore, audited_accuracy, check_answers
from kiyome.evaluation.audited_difference import AuditedDifference, audited_difference
from kiyome.reading.finished_run import FinishedRun, open_run
from kiyome.workflows.audit import RESULT_FILE
from kiyome.workflows.audit_sample import SealedSample, digest_of, read_sample


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditRecord:
    """A sample with its answers; every number is computed from them, none is read."""

    sample: SealedSample
    answers: NDArray[np.intp]
    """(n,) true labels in the blind order, -1 where people were unsure."""
    digest: str
    """Of the filled file, or of the decisions of a review."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.sample.folder.resolve().name

    @cached_property
    def score(self) -> AuditedScore:
        """Score of the predictions that the sample was drawn for."""
        return self._score(self.sample.predicted_labels)

    @property
    def noise_rate(self) -> Estimate | None:
        """Share of wrong labels of all rows; None where they have no label."""
        return None if self.score.labels is None else self.score.labels.noise_rate

    def score_of(self, run: FinishedRun) -> AuditedScore:
        """Return the score of another run on the same rows, with a wider interval than by its own strata."""
        if self.sample.split is not None:
            run = run.in_split(self.sample.split)
        self._check(run)
        return self._score(run.predictions.pred_probs.argmax(axis=1))

    def difference(self, first: FinishedRun, second: FinishedRun) -> AuditedDifference:
        """Return the true difference of two runs on these rows."""
        for run in (first, second):
            self._check(run)
        return audited_difference(
            self.sample.design,
            self.answers,
            self.sample.labels,
            first.predictions.pred_probs,
            second.predictions.pred_probs,
        )

    def is_for(self, run: FinishedRun) -> bool:
        """Return whether the sample was drawn for these predictions of the run."""
        return self.sample.predictions == digest_of(run)

    def covers(self, run: FinishedRun) -> bool:
        """Return whether the run has the rows and given labels that the sample was drawn from."""
        same, labels = run.table.fingerprint == self.sample.fingerprint, self.sample.labels
        return same and bool((run.table.given_labels == (UNKNOWN if labels is None else labels)).all())

    def num_relabeled_as_answered(self, run: FinishedRun) -> int:
        """Return the number of checked rows that were relabeled as answered before the run was trained."""
        if self.is_for(run):
            return 0
        rows = self.sample.design.rows[: len(self.answers)]
        labels, given = run.table.labels[rows], run.table.given_labels[rows]
        return int(((labels == self.answers) & (labels != given)).sum())

    def summary(self) -> dict[str, Any]:
        """Return the audit as JSON values, for `kiyome evaluate`."""
        return {
            "folder": self.name,
            "drawn_for": self.sample.source,
            "predictions": self.sample.predictions,
            "answers": self.digest,
            "checked": len(self.answers),
            "unsure": int((self.answers == UNSURE).sum()),
        }

    def _score(self, predicted: NDArray[np.intp]) -> AuditedScore:
        return audited_accuracy(
            self.sample.design,
            self.answers,
            self.sample.labels,
            predicted,
            num_classes=len(self.sample.class_names),
        )

    def _check(self, run: FinishedRun) -> None:
        if not self.covers(run):
            raise InputError(
                f"{run.path} has other rows or given labels than the audit {self.sample.folder}.",
                expected="Expected those that the sample was drawn from.",
                remedy="Draw a sample of this run with `kiyome audit-sample`.",
            )
        if run.predictions.kind != "out_of_fold":
            raise InputError(
                f"{run.path} has predictions of kind '{run.predictions.kind}'.",
                expected="Expected out-of-fold predictions.",
                remedy="Name another run.",
            )


def read_audit(folder: Path | str) -> AuditRecord:
    """Return the audit in a folder; its sample must be unchanged, and the answers must fit it."""
    folder = Path(folder)
    if not (folder / RESULT_FILE).is_file():
        raise InputError(
            f"{folder} has no finished audit (no {RESULT_FILE}).",
            remedy="Check its rows, then run `kiyome audit`.",
        )
    return _read(folder, _summary(folder / RESULT_FILE))


def audits_of(run: FinishedRun) -> tuple[AuditRecord, ...]:
    """Return the audits beside a run of these predictions, most checked rows first."""
    return tuple(each for each in audits_on_rows_of(run) if each.is_for(run))


def audits_on_rows_of(run: FinishedRun) -> tuple[AuditRecord, ...]:
    """Return the audits beside a run on its rows, for any predictions, most checked rows first."""
    beside = summaries_in(run.path.resolve().parent)
    same = (_read(folder, facts) for folder, facts in beside if facts.get("table") == run.table.fingerprint)
    return tuple(sorted((each for each in same if each.covers(run)), key=lambda each: -len(each.answers)))


def score_others(folder: Path | str, runs: Sequence[Path | str]) -> dict[str, Estimate]:
    """Return the true accuracy of other runs, by name, from the rows of one audit."""
    if not runs:
        return {}
    audit, opened = read_audit(folder), [open_run(run) for run in runs]
    return {run.name: audit.score_of(run).accuracy_on_true for run in opened}


def audit_scores_in(folder: Path) -> dict[str, tuple[str, Estimate | None]]:
    """Return audit name and true accuracy by digest of predictions; None for an audit that has changed."""
    scores: dict[str, tuple[str, Estimate | None]] = {}
    for path, facts in sorted(summaries_in(folder), key=lambda each: each[1].get("checked", 0)):
        try:
            score = _read(path, facts).score.accuracy_on_true
        except (InputError, StaleArtifact):
            scores.setdefault(str(facts.get("predictions")), (path.name, None))
        else:
            scores[str(facts["predictions"])] = (path.name, score)
    return scores


def caveats_of_audits(run: FinishedRun, audits: Sequence[AuditRecord]) -> list[str]:
    """Return caveats of audits on a run's rows: other predictions, and answers that it was trained on."""
    caveats = []
    for each in audits:
        if each.sample.source == run.name and not each.is_for(run):
            caveats.append(
                f"{each.name} is an audit of other predictions of {run.name}, so it is not used here"
                f" (`kiyome audit {each.name} --run {run.name}` scores these)"
            )
        if relabeled := each.num_relabeled_as_answered(run):
            caveats.append(
                f"models of other folds were trained on the answers of {each.name} for {relabeled:,} rows"
            )
    if (number := sum(each.is_for(run) for each in audits)) > 1:
        caveats.append(f"{number} audits of these predictions exist: the one with most checked rows is used")
    return caveats


def summaries_in(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and unverified content of each audit in a folder of runs."""
    for path in sorted(folder.glob(f"*/{RESULT_FILE}")):
        yield path.parent, _summary(path)


def _summary(path: Path) -> dict[str, Any]:
    with reading(path):
        return dict(json.loads(path.read_text("utf-8")))


def _read(folder: Path, facts: dict[str, Any]) -> AuditRecord:
    sample = read_sample(folder)
    if facts.get("predictions") != sample.predictions or "true_labels" not in facts:
        raise StaleArtifact(
            f"{folder / RESULT_FILE} has answers for another sample than the one beside it.",
            remedy="Run `kiyome audit` again.",
        )
    with reading(folder / RESULT_FILE):
        answers = check_answers(facts["true_labels"], sample.design, len(sample.class_names))
        return AuditRecord(sample=sample, answers=answers, digest=str(facts["answers"]))
