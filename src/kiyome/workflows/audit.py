"""From what people said of a sample to true accuracy, noise rate and transition matrix of all rows.

audit.csv, or the review of the sample ─┐
sealed sample ──────────────────────────┴── checks ── estimates ── audit.json, report.html in its folder
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.audit_folder import AUDIT_FILE, UNSURE_WORD, is_audit_folder
from kiyome.artifacts.storage import sha256_of_file, write_text
from kiyome.decisions.agreement import Rule
from kiyome.errors import InputError
from kiyome.estimates import Estimate
from kiyome.evaluation.audit import ENOUGH_ROWS, UNSURE, AuditedScore, audited_accuracy
from kiyome.reading.columns import Records
from kiyome.reading.files import read_records
from kiyome.report.charts import Interval
from kiyome.report.pages import AuditReport, write_audit_report
from kiyome.workflows.audit_answers import answers_of_review
from kiyome.workflows.audit_sample import COLUMNS, SealedSample, read_sample

RESULT_FILE = "audit.json"
UNFILLED = -2


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditResult:
    """What people's answers say, and where it lies."""

    sample: SealedSample
    score: AuditedScore
    said: NDArray[np.intp]
    """(n,) true labels in the blind order, -1 where people were unsure."""
    answers: str
    """Digest of the filled file, or of what was decided in a review."""

    @property
    def folder(self) -> Path:
        """Of the sample, and of ``audit.json`` and ``report.html``."""
        return self.sample.folder

    def describe(self) -> list[str]:
        """Sentences for people."""
        score, drawn, rows = self.score, len(self.sample.design.rows), len(self.sample.labels)
        sentences = [
            f"The model is right on {score.accuracy_on_true.as_percent()} of {rows:,} rows.",
            f"Of the given labels, {score.noise_rate.as_percent()} are wrong.",
            f"It agrees with the given labels on {self.sample.accuracy_on_given.as_percent()}.",
        ]
        if score.num_unsure:
            low, high = (100 * end for end in score.accuracy_bounds)
            wrong_low, wrong_high = (100 * end for end in score.noise_bounds)
            sentences.append(
                f"Unsure: {score.num_unsure} of {score.num_checked} rows, which count above as the others of"
                f" their stratum. Whatever they are, the model is right on {low:.1f} to {high:.1f} %, and"
                f" {wrong_low:.1f} to {wrong_high:.1f} % of the labels are wrong."
            )
        if score.num_checked < drawn:
            sentences.append(
                f"{score.num_checked} of {drawn} rows are checked: a random sample too, if nobody stopped"
                " because of what they saw."
            )
        if few := int((~score.transition.is_enough).sum()):
            sentences.append(
                f"Of {few} of {len(self.sample.class_names)} classes fewer than {ENOUGH_ROWS} rows were seen:"
                " their noise by class says little."
            )
        return sentences

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it: what `kiyome evaluate` reads."""
        score, names = self.score, self.sample.class_names
        transition = score.transition
        return {
            "folder": str(self.folder),
            "source": self.sample.source,
            "predictions": self.sample.predictions,
            "table": self.sample.fingerprint,
            "answers": self.answers,
            "accuracy_on_given": asdict(self.sample.accuracy_on_given),
            "accuracy_on_true": asdict(score.accuracy_on_true),
            "noise_rate": asdict(score.noise_rate),
            "if_unsure_rows_are_all_wrong_or_all_right": {
                "accuracy_on_true": score.accuracy_bounds,
                "noise_rate": score.noise_bounds,
            },
            "checked": score.num_checked,
            "unsure": score.num_unsure,
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
            "true_labels": self.said.tolist(),
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
    """What a checked sample says of all rows of the run that it was drawn from.

    Parameters
    ----------
    answers
        The file with the columns row and true_label: a class name, ``unsure``, or nothing yet; or the folder
        that it lies in, where the answers may as well be those of `kiyome review`.
    sample
        The folder that `audit_sample` wrote; the file's own if not given.
    confidence
        Of every interval.
    store, rule, disputed_unsure
        Of answers of a review, as for `kiyome.workflows.audit_answers.answers_of_review`.

    Returns
    -------
    AuditResult
        Its folder then holds ``audit.json`` and ``report.html``.

    Raises
    ------
    TableError
        With the line: rows of another sample, twice or missing; unknown classes; gaps.
    InputError
        Where reviewers dispute a row, or answers are in the file and in the review.
    StaleArtifact
        When the sealed design changed.
    """
    place = Path(answers)
    path = place / AUDIT_FILE if place.is_dir() else place
    if sample is None and not place.is_dir():
        _check_beside_sample(place)
    sealed = read_sample(path.parent if sample is None else sample)
    reviewed = None
    if path is not place:
        reviewed = answers_of_review(place, store=store, rule=rule, disputed_unsure=disputed_unsure)
    if reviewed is not None:
        _check_unfilled(path)
    said, digest = reviewed or (read_answers(path, sealed), sha256_of_file(path))
    score = audited_accuracy(
        sealed.design,
        said,
        sealed.labels,
        sealed.predicted_labels,
        num_classes=len(sealed.class_names),
        confidence=confidence,
    )
    result = AuditResult(sample=sealed, score=score, said=said, answers=digest)
    write_text(result.folder / RESULT_FILE, json.dumps(result.summary(), indent=2))
    write_audit_report(_report(result), result.folder / "report.html")
    return result


def read_answers(path: Path, sample: SealedSample) -> NDArray[np.intp]:
    """True labels of the first rows of the sample, in the blind order, -1 where people were unsure.

    Raises
    ------
    TableError
        With the line, as for `audit`.
    """
    records = read_records(path)
    for column in (COLUMNS[0], COLUMNS[-1]):
        records.require(column, (), option=f"the name {column}")
    rows, answers = ([text.strip() for text in records.texts(column)] for column in (COLUMNS[0], COLUMNS[-1]))
    place_of = {name: place for place, name in enumerate(sample.row_names)}
    _check_rows(records, rows, place_of)
    code_of = {"": UNFILLED, UNSURE_WORD: UNSURE, **{n: k for k, n in enumerate(sample.class_names)}}
    if strange := [line for line, answer in enumerate(answers) if answer not in code_of]:
        records.fail(
            "true labels that are not classes",
            strange,
            expected=f"Expected the name of a class, or '{UNSURE_WORD}'.",
            describe=lambda line: repr(answers[line]),
            remedy=f"The classes are {', '.join(sample.class_names)}.",
        )
    order = np.argsort([place_of[name] for name in rows])
    said = np.array([code_of[answer] for answer in answers], dtype=np.intp)[order]
    _check_gaps(records, said, order)
    filled: NDArray[np.intp] = said[said != UNFILLED]
    return filled


def _check_beside_sample(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            "The answers of an audit are a file, or the folder of the sample.",
            came=f"nothing at {path}",
            remedy="Check the path; kiyome audit-sample RUN draws a sample.",
        )
    if not is_audit_folder(path.parent):
        raise InputError(
            "The sample lies beside the file of its answers, or is named.",
            came=f"{path}, with no sample in {path.parent}",
            remedy="Name the folder that kiyome audit-sample wrote with --sample FOLDER.",
        )


def _check_unfilled(path: Path) -> None:
    """Answers in two places may differ, and nobody would see it."""
    if path.is_file() and any(text.strip() for text in read_records(path).texts(COLUMNS[-1])):
        raise InputError(
            "The answers of an audit are in one place.",
            came=f"some in {path} and some in the review of {path.parent}",
            remedy=f"Name the file to take the file's, or empty its column {COLUMNS[-1]}.",
        )


def _check_rows(records: Records, rows: list[str], place_of: dict[str, int]) -> None:
    """Each row of the sample once, and no other."""
    if strange := [line for line, name in enumerate(rows) if name not in place_of]:
        records.fail(
            "rows that are not in the sample",
            strange,
            describe=lambda line: repr(rows[line]),
            remedy="Take the audit.csv that lies with this sample.",
        )
    counts = Counter(rows)
    if twice := [line for line, name in enumerate(rows) if counts[name] > 1]:
        records.fail(
            "rows with several answers", twice, describe=lambda line: rows[line], remedy="Keep one line."
        )
    if missing := [name for name in place_of if name not in counts]:
        raise InputError(
            "Every row of the sample stands in the file, with or without an answer.",
            came=f"{records.source.name} without {missing[0]}"
            + f" and {len(missing) - 1} more" * (len(missing) > 1),
            remedy="Put the lines back: rows that were left out are not left out at random.",
        )


def _check_gaps(records: Records, said: NDArray[np.intp], order: NDArray[np.intp]) -> None:
    """What is filled must be the first rows, as only these were drawn at random."""
    blank = np.flatnonzero(said == UNFILLED)
    if len(blank) == len(said):
        raise InputError(
            "An audit has answers.",
            came=f"an empty true_label in every line of {records.source.name}",
            remedy="Fill it from the top down.",
        )
    if len(blank) and (said[blank[0] :] != UNFILLED).any():
        later = blank[blank < np.flatnonzero(said != UNFILLED)[-1]]
        records.fail(
            "rows without an answer before answered ones",
            order[later].tolist(),
            expected="Answers must go from the top down: rows that someone picked are no random sample.",
            remedy=f"Fill these, with '{UNSURE_WORD}' where nobody can tell.",
        )


def _listed(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    """Numbers as JSON can hold them: no NaN."""
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
            _interval("right in truth", score.accuracy_on_true),
            _interval("agrees with given labels", sample.accuracy_on_given),
            Interval(name="labels right", low=1 - wrong.high, value=1 - wrong.value, high=1 - wrong.low),
        ],
        strata=[
            (
                "model and label disagree" if place < strata.num_disagreeing else "they agree",
                int(strata.sizes[place]),
                int(seen[place]),
                float(strata.guesses[place]),
            )
            for place in range(len(strata.sizes))
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
