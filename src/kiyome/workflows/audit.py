"""True accuracy, noise rate and transition matrix of all rows from the answers for a sample: `kiyome audit`.

audit.csv, or the review of the sample ─┐
sealed sample ──────────────────────────┴── checks ── estimates ── audit.json, report.html in its folder
"""

import json
from collections.abc import Sequence
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
from kiyome.evaluation.audit import (
    ENOUGH_ROWS,
    NONE_OF_THESE,
    AuditedLabels,
    AuditedScore,
    audited_accuracy,
)
from kiyome.reading.files import read_records
from kiyome.report.charts import Interval
from kiyome.report.pages import AuditReport, NoiseByClass, write_audit_report
from kiyome.workflows.audit_answers import answers_of_review, read_answers
from kiyome.workflows.audit_sample import COLUMNS, SealedSample, read_sample

RESULT_FILE = "audit.json"

MOST_SHARES = 10
"""So many classes are named in the sentence of class shares."""


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
        score, labels, drawn = self.score, self.score.labels, len(self.sample.design.rows)
        rows = f"{len(self.sample.predicted_labels):,} {self.sample.split or ''}".strip()
        sentences = [f"True accuracy on all {rows} rows: {score.accuracy_on_true.as_percent()}."]
        if self.sample.accuracy_on_given is not None and labels is not None:
            sentences += [
                f"Wrong labels: {labels.noise_rate.as_percent()}.",
                f"Accuracy on given labels: {self.sample.accuracy_on_given.as_percent()}.",
            ]
        else:
            sentences.append(describe_shares(self.sample.class_names, score.class_shares))
        if self.num_none:
            wrong = "the model counts" if labels is None else "label and model count"
            sentences.append(
                f"Of {score.num_checked} checked rows, {self.num_none} show none of the classes: {wrong} as"
                " wrong there."
            )
        if score.num_unsure:
            bounds = f"the true accuracy is {_percent_range(score.accuracy_bounds)} %"
            if labels is not None:
                bounds += f", and {_percent_range(labels.noise_bounds)} % of the labels are wrong"
            sentences.append(
                f"Unsure: {score.num_unsure} of {score.num_checked} rows, which count above as the others of"
                f" their stratum. Whatever they are, {bounds}."
            )
        if score.num_checked < drawn:
            sentences.append(
                f"{score.num_checked} of {drawn} rows are checked: still a random sample if nobody stopped"
                " because of what they saw."
            )
        if labels is not None and (few := int((~labels.transition.is_enough).sum())):
            sentences.append(
                f"{few} of {len(self.sample.class_names)} classes have fewer than {ENOUGH_ROWS} checked rows:"
                " their noise by class is very uncertain."
            )
        return sentences

    def summary(self) -> dict[str, Any]:
        """Return the estimates as JSON values, which `kiyome evaluate` reads."""
        score, names, given = self.score, self.sample.class_names, self.sample.accuracy_on_given
        noise = {} if score.labels is None else {"noise_rate": score.labels.noise_bounds}
        return {
            "folder": str(self.folder),
            "source": self.sample.source,
            "predictions": self.sample.predictions,
            "table": self.sample.fingerprint,
            "answers": self.digest,
            "accuracy_on_given": None if given is None else asdict(given),
            "accuracy_on_true": asdict(score.accuracy_on_true),
            "if_unsure_rows_are_all_wrong_or_all_right": {"accuracy_on_true": score.accuracy_bounds, **noise},
            "checked": score.num_checked,
            "unsure": score.num_unsure,
            "none_of_the_classes": self.num_none,
            "drawn": len(self.sample.design.rows),
            "confidence": score.confidence,
            "class_shares": {
                name: asdict(share) for name, share in zip(names, score.class_shares, strict=True)
            },
            **({} if score.labels is None else _noise_summary(score.labels, names)),
            "true_labels": self.answers.tolist(),
        }


def _noise_summary(labels: AuditedLabels, names: Sequence[str]) -> dict[str, Any]:
    """Return the noise of the given labels as JSON values."""
    transition = labels.transition
    return {
        "noise_rate": asdict(labels.noise_rate),
        "transition_matrix": {
            "classes": names,
            **{end: _listed(getattr(transition, end)) for end in ("value", "low", "high")},
            "rows_seen": transition.rows_seen.tolist(),
            "is_enough": transition.is_enough.tolist(),
        },
        "noise_by_given_class": {
            name: None if found is None else asdict(found)
            for name, found in zip(names, labels.noise_by_given_class, strict=True)
        },
    }


def describe_shares(names: Sequence[str], shares: Sequence[Estimate]) -> str:
    """Return the class shares in a sentence, the largest first.

    >>> shares = [Estimate(value=v, low=v - 0.05, high=v + 0.05, num_rows=200) for v in (0.3, 0.7)]
    >>> describe_shares(["cat", "dog"], shares)
    'Class shares: dog 70.0 % (65.0 to 75.0 %), cat 30.0 % (25.0 to 35.0 %).'
    """
    largest = sorted(zip(names, shares, strict=True), key=lambda each: -each[1].value)
    shown = [
        f"{name} {100 * share.value:.1f} % ({_percent_range((share.low, share.high))} %)"
        for name, share in largest[:MOST_SHARES]
    ]
    more = [f"{len(largest) - MOST_SHARES} more classes"] if len(largest) > MOST_SHARES else []
    return f"Class shares: {', '.join([*shown, *more])}."


def describe_unsure(score: AuditedScore) -> str:
    """Return in a sentence how far unsure rows could move the true accuracy."""
    return (
        f"People were unsure about {score.num_unsure} of {score.num_checked} rows; whatever these are, the"
        f" true accuracy is {_percent_range(score.accuracy_bounds)} %."
    )


def _percent_range(ends: tuple[float, float]) -> str:
    return "{:.1f} to {:.1f}".format(*(100 * end for end in ends))


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
    checked = sample.design.rows[: score.num_checked]
    seen = np.bincount(strata.stratum_of_row[checked], minlength=len(strata.sizes))
    intervals = [_interval("true accuracy", score.accuracy_on_true)]
    if sample.accuracy_on_given is not None:
        intervals.append(_interval("accuracy on given labels", sample.accuracy_on_given))
    if score.labels is not None:
        wrong = score.labels.noise_rate
        intervals.append(
            Interval(name="right labels", low=1 - wrong.high, value=1 - wrong.value, high=1 - wrong.low)
        )
    kinds = ("no label is given",) * 2 if score.labels is None else ("model and label disagree", "they agree")
    return AuditReport(
        title=sample.source,
        sentences=result.describe(),
        intervals=intervals,
        strata=[
            (
                kinds[stratum >= strata.num_disagreeing],
                int(strata.sizes[stratum]),
                int(seen[stratum]),
                float(strata.guesses[stratum]),
            )
            for stratum in range(len(strata.sizes))
        ],
        class_names=sample.class_names,
        class_shares=[each.as_percent() for each in score.class_shares],
        noise=None if score.labels is None else _noise_by_class(score.labels),
    )


def _noise_by_class(labels: AuditedLabels) -> NoiseByClass:
    transition = labels.transition
    return NoiseByClass(
        transition=(transition.value, transition.low, transition.high),
        rows_seen=transition.rows_seen.tolist(),
        is_enough=transition.is_enough.tolist(),
        by_given_class=[
            "none checked" if found is None else found.as_percent() for found in labels.noise_by_given_class
        ],
    )


def _interval(name: str, found: Estimate) -> Interval:
    return Interval(name=name, low=found.low, value=found.value, high=found.high)
