"""True accuracy, noise rate and transition matrix of all rows from the answers for a sample: `kiyome audit`.

audit.csv, or the review of the sample ─┐
sealed sample ──────────────────────────┴── checks ── estimates ── audit.json, report.html in its folder
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.audit_folder import AUDIT_FILE, is_audit_folder
from kiyome.artifacts.storage import sha256_of_file, write_text
from kiyome.decisions.agreement import Rule
from kiyome.errors import InputError
from kiyome.estimates import Estimate
from kiyome.evaluation.audit import ENOUGH_ROWS, NONE_OF_THESE, AuditedScore, audited_accuracy
from kiyome.reading.files import read_records
from kiyome.report.charts import Interval
from kiyome.report.pages import AuditReport, write_audit_report
from kiyome.workflows.audit_answers import answers_of_review, read_answers
from kiyome.workflows.audit_sample import COLUMNS, SealedSample, read_sample

RESULT_FILE = "audit.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditResult:
    """The estimates from people's answers for a sample, and its folder."""

    sample: SealedSample
    score: AuditedScore
    answers: NDArray[np.intp]
    """(n,) true labels in the blind order, -1 where people were unsure, -2 for none of the classes."""
    digest: str
    """Of the filled file, or of the decisions of a review."""

    @property
    def num_none(self) -> int:
        """Number of checked photos that show none of the classes."""
        return int((self.answers == NONE_OF_THESE).sum())

    @property
    def folder(self) -> Path:
        """The folder of the sample, ``audit.json`` and ``report.html``."""
        return self.sample.folder

    def describe(self) -> list[str]:
        """Return the estimates in sentences."""
        score, drawn = self.score, len(self.sample.design.rows)
        rows = f"{len(self.sample.labels):,} {self.sample.split or ''}".strip()
        sentences = [
            f"True accuracy on all {rows} rows: {score.accuracy_on_true.as_percent()}.",
            f"Wrong labels: {score.noise_rate.as_percent()}.",
            f"Accuracy on given labels: {self.sample.accuracy_on_given.as_percent()}.",
        ]
        if self.num_none:
            sentences.append(
                f"Of {score.num_checked} checked rows, {self.num_none} show none of the classes: label and"
                " model count as wrong there."
            )
        if score.num_unsure:
            low, high = (100 * end for end in score.accuracy_bounds)
            wrong_low, wrong_high = (100 * end for end in score.noise_bounds)
            sentences.append(
                f"Unsure: {score.num_unsure} of {score.num_checked} rows, which count above as the others of"
                f" their stratum. Whatever they are, the true accuracy is {low:.1f} to {high:.1f} %, and"
                f" {wrong_low:.1f} to {wrong_high:.1f} % of the labels are wrong."
            )
        if score.num_checked < drawn:
            sentences.append(
                f"{score.num_checked} of {drawn} rows are checked: still a random sample if nobody stopped"
                " because of what they saw."
            )
        if few := int((~score.transition.is_enough).sum()):
            sentences.append(
                f"{few} of {len(self.sample.class_names)} classes have fewer than {ENOUGH_ROWS} checked rows:"
                " their noise by class is very uncertain."
            )
        return sentences

    def summary(self) -> dict[str, Any]:
        """Return the estimates as JSON values, which `kiyome evaluate` reads."""
        score, names = self.score, self.sample.class_names
        transition = score.transition
        return {
            "folder": str(self.folder),
            "source": self.sample.source,
            "predictions": self.sample.predictions,
            "table": self.sample.fingerprint,
            "answers": self.digest,
            "accuracy_on_given": asdict(self.sample.accuracy_on_given),
            "accuracy_on_true": asdict(score.accuracy_on_true),
            "noise_rate": asdict(score.noise_rate),
            "if_unsure_rows_are_all_wrong_or_all_right": {
                "accuracy_on_true": score.accuracy_bounds,
                "noise_rate": score.noise_bounds,
            },
            "checked": score.num_checked,
            "unsure": score.num_unsure,
            "none_of_the_classes": self.num_none,
            "drawn": len(self.sample.design.rows),
            "confidence": score.confidence,
            "transition_matrix": {
                "classes": names,
                **{end: _listed(getattr(transition, end)) for end in ("value", "low", "high")},
                "rows_seen": transition.rows_seen.tolist(),
                "is_enough": transition.is_enough.tolist(),
            },
            "noise_by_given_class": {
                name: None if found is None else asdict(found)
                for name, found in zip(names, score.noise_by_given_class, strict=True)
            },
            "true_labels": self.answers.tolist(),
        }


def audit(
    answers: Path | str,
    *,
    sample: Path | str | None = None,
    confidence: float = 0.95,
    store: Path | str | None = None,
    rule: Rule = "unanimous",
    disputed_unsure: bool = False,
) -> AuditResult:
    """Estimate true accuracy and label noise of a run from a checked sample of its rows.

    Parameters
    ----------
    answers
        The file with the columns row and true_label (a class name, ``unsure``, or still empty), or its
        folder; answers may then also come from `kiyome review` of the folder.
    sample
        The folder that `audit_sample` wrote; the file's own if not given.
    confidence
        Of every interval.
    store
        Where the review keeps its decisions, as for `kiyome.review`.
    rule
        When reviewers agree: "unanimous", or "majority" (a third decides what two dispute).
    disputed_unsure
        Count rows that reviewers dispute as unsure.

    Returns
    -------
    AuditResult
        Its folder then holds ``audit.json`` and ``report.html``.

    Raises
    ------
    TableError
        Rows of another sample, listed twice or missing; unknown classes; gaps. The message names the line.
    InputError
        Rows that reviewers dispute; answers both in the file and in the review.
    StaleArtifact
        A sealed design that changed.
    """
    given = Path(answers)
    path = given / AUDIT_FILE if given.is_dir() else given
    if sample is None and not given.is_dir():
        _check_beside_sample(given)
    sealed = read_sample(path.parent if sample is None else sample)
    reviewed = None
    if path is not given:
        reviewed = answers_of_review(given, store=store, rule=rule, disputed_unsure=disputed_unsure)
    if reviewed is not None:
        _check_unfilled(path)
    true_labels, digest = reviewed or (read_answers(path, sealed), sha256_of_file(path))
    score = audited_accuracy(
        sealed.design,
        true_labels,
        sealed.labels,
        sealed.predicted_labels,
        num_classes=len(sealed.class_names),
        confidence=confidence,
    )
    result = AuditResult(sample=sealed, score=score, answers=true_labels, digest=digest)
    write_text(result.folder / RESULT_FILE, json.dumps(result.summary(), indent=2))
    write_audit_report(_report(result), result.folder / "report.html")
    return result


def _check_beside_sample(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            f"There is no file or folder at {path}.",
            expected="Expected a filled audit.csv, or the folder of a sample.",
            remedy="Check the path; `kiyome audit-sample RUN` draws a sample.",
        )
    if not is_audit_folder(path.parent):
        raise InputError(
            f"There is no sample beside {path}.",
            remedy="Name the folder that `kiyome audit-sample` wrote with --sample FOLDER.",
        )


def _check_unfilled(path: Path) -> None:
    """Raise where the file has answers, too: nobody would see a difference from those of the review."""
    if path.is_file() and any(text.strip() for text in read_records(path).texts(COLUMNS[-1])):
        raise InputError(
            f"There are answers both in {path} and in the review of {path.parent}.",
            remedy=f"Name the file to use the file's, or empty its column {COLUMNS[-1]}.",
        )


def _listed(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    """Return numbers as JSON values, NaN as null."""
    return [[None if np.isnan(x) else round(float(x), 6) for x in row] for row in matrix]


def _report(result: AuditResult) -> AuditReport:
    score, sample, strata = result.score, result.sample, result.sample.design.strata
    transition, wrong = score.transition, score.noise_rate
    checked = sample.design.rows[: score.num_checked]
    seen = np.bincount(strata.stratum_of_row[checked], minlength=len(strata.sizes))
    return AuditReport(
        title=sample.source,
        sentences=result.describe(),
        intervals=[
            _interval("true accuracy", score.accuracy_on_true),
            _interval("accuracy on given labels", sample.accuracy_on_given),
            Interval(name="right labels", low=1 - wrong.high, value=1 - wrong.value, high=1 - wrong.low),
        ],
        strata=[
            (
                "model and label disagree" if stratum < strata.num_disagreeing else "they agree",
                int(strata.sizes[stratum]),
                int(seen[stratum]),
                float(strata.guesses[stratum]),
            )
            for stratum in range(len(strata.sizes))
        ],
        class_names=sample.class_names,
        transition=(transition.value, transition.low, transition.high),
        rows_seen=transition.rows_seen.tolist(),
        is_enough=transition.is_enough.tolist(),
        noise_by_given_class=[
            "none checked" if found is None else found.as_percent() for found in score.noise_by_given_class
        ],
    )


def _interval(name: str, found: Estimate) -> Interval:
    return Interval(name=name, low=found.low, value=found.value, high=found.high)
