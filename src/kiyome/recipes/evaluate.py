"""What the score of a run is worth: `kiyome evaluate`.

    finished run ─► scores, accuracy under noise ─┐
    other runs   ─► paired verdicts ──────────────┼─► RUN-evaluate/: evaluate.json, report.html, by_class.csv
    the diary    ─► marks, luck of the choice ────┘

The run that is judged is read, never written. N rows, K classes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.finished_run import FinishedRun, check_one_deal, open_run
from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import sha256_of_file, write_csv, write_text
from kiyome.artifacts.table import UNKNOWN
from kiyome.diary import DIARY, Entry, read_diary
from kiyome.errors import InputError, KiyomeError
from kiyome.evaluation.compare import Comparison, compare
from kiyome.evaluation.compare_many import ManyCompared, compare_many
from kiyome.evaluation.metrics import Scores, score_predictions
from kiyome.evaluation.noisy_difference import DifferenceUnderNoise, difference_under_noise
from kiyome.evaluation.noisy_labels import SEEN_REPEATS, AccuracyUnderNoise, accuracy_under_noise
from kiyome.evaluation.shares import Estimate, share
from kiyome.noise import transition_matrix
from kiyome.recipes.combined import reliability_bins
from kiyome.recipes.marks import marks_of
from kiyome.report.evaluate_report import EvaluateReport, write_evaluate_report
from kiyome.report.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class Against:
    """A run against another, row by row."""

    on_given: Comparison
    under_noise: DifferenceUnderNoise
    on_true: Comparison | None
    """Of the rows whose true label is known."""

    def in_words(self, name: str) -> tuple[str, ...]:
        """Sentences for people."""
        noisy = self.under_noise
        low, high = 100 * noisy.bounds.low, 100 * noisy.bounds.high
        undone = noisy.estimated_true_difference
        in_truth = (
            f"In truth {100 * undone.value:+.2f} points ({100 * undone.low:+.2f} to {100 * undone.high:+.2f})"
            f" if models and labels err apart; {low:+.2f} to {high:+.2f} whatever the mistakes are like."
        )
        said = (f"Against {name}, on given labels: {self.on_given.in_words()}.", in_truth)
        return said if self.on_true is None else (*said, f"On true labels: {self.on_true.in_words()}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluateResult:
    """What a run's score is worth; everything here is in the folder, too."""

    folder: Path
    run: str
    scores: Scores
    under_noise: AccuracyUnderNoise
    against: Mapping[str, Against]
    chosen: ManyCompared | None
    """All experiments of the diary on these rows; None where there is no other."""
    marks: tuple[str, ...]
    """What makes the numbers mean less than they seem."""

    def answer(self) -> str:
        """The shortest honest sentence."""
        found = self.under_noise
        return (
            f"Agrees with {found.accuracy_on_given.as_percent()} of the given labels; right in"
            f" {found.plausible.as_percent()}, as far as these labels can tell."
        )

    def compared(self) -> tuple[str, ...]:
        """Verdicts against the other runs, in sentences."""
        return tuple(line for name, each in self.against.items() for line in each.in_words(name))

    def luck(self) -> tuple[str, ...]:
        """What choosing among experiments is worth, in sentences."""
        return () if self.chosen is None else self.chosen.in_words()

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """The answer, wherever the folder lies."""
        chosen = None
        if self.chosen is not None:
            pairs = [
                {"first": a, "second": b, **_compared(each)} for (a, b), each in self.chosen.pairs.items()
            ]
            chosen = {
                "scores": {name: asdict(each) for name, each in self.chosen.scores.items()},
                "best": self.chosen.best,
                "optimism": self.chosen.optimism,
                "best_corrected": asdict(self.chosen.best_corrected),
                "not_told_from_best": list(self.chosen.not_told_from_best),
                "pairs": pairs,
            }
        return {
            "run": self.run,
            "answer": self.answer(),
            "marks": list(self.marks),
            "scores": asdict(self.scores),
            "under_noise": {**asdict(self.under_noise), "in_words": list(self.under_noise.in_words())},
            "against": {name: _against_findings(each) for name, each in self.against.items()},
            "chosen": chosen,
        }


def evaluate(
    run: Path | str,
    *,
    against: Sequence[Path | str] = (),
    wrong: str | None = None,
    output: Path | str | None = None,
    seed: int = 0,
) -> EvaluateResult:
    """What a run's score is worth on labels that may be wrong, and whether it beats others by more than luck.

    Parameters
    ----------
    run
        The folder of a finished run that predicts every row of a table. It is not written to.
    against
        Other such runs, on the same rows, given labels and folds.
    wrong
        "WRONG/CHECKED", such as "12/200": of labels drawn at random that people checked, those that were
        wrong. It takes the place of the estimate of how many are.
    output
        The run folder; ``RUN-evaluate`` beside the run if not given.
    seed
        Of all bootstraps.

    Returns
    -------
    EvaluateResult
        Its folder holds ``evaluate.json``, ``report.html`` and ``by_class.csv``.

    Raises
    ------
    InputError
        Runs that differ in rows, labels or folds, named with what differs; predictions that are not out of
        fold; a `wrong` that is no share.
    StaleArtifact
        Where a run was cut off or changed, or its predictions belong to another table.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.recipes.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=200)
    >>> _ = find(folder / "digits", backbone="tiny", output=folder / "a", cache_folder=folder)
    >>> result = evaluate(folder / "a")
    >>> found = result.under_noise
    >>> found.bounds.low <= found.plausible.low < found.plausible.high <= found.bounds.high
    True
    """
    judged, others = _opened(run, against)
    measured = None if wrong is None else _measured(wrong)
    beside = judged.path.resolve().parent
    place = Path(output) if output else beside / f"{judged.name}-evaluate"
    runs = [
        {
            "path": os.path.relpath(each.path.resolve(), place.resolve().parent),
            "predictions_sha256": sha256_of_file(each.path / "predictions" / ARRAY_FILE),
        }
        for each in (judged, *others)
    ]
    config = {"runs": runs, "wrong": wrong, "seed": seed}
    experiments = _experiments(judged)
    folder = RunFolder.create_or_reopen(
        place, command="evaluate", config=config, table=judged.table, named_by_user=output is not None
    )
    with folder as held:
        result = _result(held.path, judged, others, experiments, measured, seed)
        _write(result, judged, others)
    return result


def _opened(run: Path | str, against: Sequence[Path | str]) -> tuple[FinishedRun, list[FinishedRun]]:
    judged, others = open_run(run), [open_run(other) for other in against]
    check_one_deal([judged, *others])
    for each in (judged, *others):
        if each.predictions.kind != "out_of_fold":
            raise InputError(
                "What is judged was predicted out of fold.",
                came=f"predictions of kind {each.predictions.kind!r} in {each.path}",
                remedy="Name another run.",
            )
    return judged, others


def _measured(wrong: str) -> Estimate:
    counts = wrong.split("/")
    if len(counts) != 2 or not all(each.strip().isdecimal() for each in counts):
        raise InputError(
            "Checked labels are given as WRONG/CHECKED.", came=repr(wrong), remedy="Say 12/200, for example."
        )
    return share(*(int(each) for each in counts))


def _experiments(judged: FinishedRun) -> tuple[Entry, ...]:
    """What the diary tells of the run's rows, the newest of each name; nothing where there is no diary."""
    folder = judged.path.resolve().parent
    if not (folder / DIARY).is_file():
        return ()
    entries = [entry for entry in read_diary(folder) if entry.accuracy_on_given is not None]
    ours = [entry.rows for entry in entries if entry.run == judged.name]
    newest = {entry.run: entry for entry in entries if ours and entry.rows == ours[-1]}
    return tuple(newest.values())


def _result(
    folder: Path,
    judged: FinishedRun,
    others: Sequence[FinishedRun],
    experiments: Sequence[Entry],
    measured: Estimate | None,
    seed: int,
) -> EvaluateResult:
    table, probs = judged.table, judged.predictions.pred_probs
    labels = table.given_labels.astype(np.intp)
    T = transition_matrix(labels, probs, method="adaptive")
    return EvaluateResult(
        folder=folder,
        run=judged.name,
        scores=score_predictions(
            labels, probs, true_labels=table.true_labels, groups=table.groups, seed=seed
        ),
        under_noise=accuracy_under_noise(labels, probs, measured=measured, groups=table.groups, seed=seed),
        against={other.name: _against(judged, other, T, seed) for other in others},
        chosen=_chosen(judged, others, experiments, seed),
        marks=marks_of(judged, others, experiments),
    )


def _against(judged: FinishedRun, other: FinishedRun, T: NDArray[np.float64], seed: int) -> Against:
    table = judged.table
    choices = [each.predictions.pred_probs.argmax(axis=1) for each in (judged, other)]
    true, on_true = table.true_labels, None
    if true is not None and (known := true != UNKNOWN).any():
        groups = None if table.groups is None else table.groups[known]
        right = [(choice == true)[known] for choice in choices]
        on_true = compare(right[0], right[1], groups=groups, seed=seed)
    return Against(
        on_given=compare(judged.right_on_given, other.right_on_given, groups=table.groups, seed=seed),
        under_noise=difference_under_noise(
            table.given_labels, choices[0], choices[1], transition_matrix=T, groups=table.groups
        ),
        on_true=on_true,
    )


def _chosen(
    judged: FinishedRun, others: Sequence[FinishedRun], experiments: Sequence[Entry], seed: int
) -> ManyCompared | None:
    """All experiments on these rows that are still there: each was part of the choice."""
    rights = {each.name: each.right_on_given for each in (judged, *others)}
    for entry in experiments:
        try:
            run = open_run(judged.path.resolve().parent / entry.run)
        except KiyomeError:
            continue  # gone or changed since; marks count it all the same
        rights.setdefault(run.name, run.right_on_given)
    if len(rights) < 2:
        return None
    return compare_many(rights, groups=judged.table.groups, seed=seed)


def _write(result: EvaluateResult, judged: FinishedRun, others: Sequence[FinishedRun]) -> None:
    folder, table = result.folder, judged.table
    write_text(folder / "evaluate.json", json.dumps(result.findings(), indent=2))
    by_class = _by_class(result, table.class_names)
    write_csv(folder / "by_class.csv", by_class)
    report = EvaluateReport(
        title=result.run,
        answer=result.answer(),
        marks=result.marks,
        told=result.under_noise.in_words(),
        readings=_readings(result),
        sensitivity=[
            (each.repeats, each.true_accuracy.low, each.true_accuracy.value, each.true_accuracy.high)
            for each in result.under_noise.sensitivity
        ],
        seen_repeats=SEEN_REPEATS,
        scores=_scores(result.scores),
        compared=result.compared(),
        chosen=result.luck(),
        reliability={
            each.name: reliability_bins(table, each.predictions.pred_probs) for each in (judged, *others)
        },
        by_class=by_class,
    )
    write_evaluate_report(report, folder / "report.html")


def _readings(result: EvaluateResult) -> list[Interval]:
    found, true = result.under_noise, result.scores.accuracy_on_true
    given, apart, top = found.accuracy_on_given, found.estimated_true_accuracy, found.ceiling
    rows = [
        Interval(name="on given labels", low=given.low, value=given.value, high=given.high),
        Interval(name="in truth, any mistakes", low=found.bounds.low, high=found.bounds.high),
        Interval(name="in truth, errors apart", low=apart.low, value=apart.value, high=apart.high),
        Interval(name="in truth, plausible", low=found.plausible.low, high=found.plausible.high),
        Interval(name="ceiling of the score", low=top.low, value=top.value, high=top.high),
    ]
    if true is not None:
        name = f"on {true.num_rows:,} true labels"
        rows.append(Interval(name=name, low=true.low, value=true.value, high=true.high))
    return rows


def _scores(scores: Scores) -> list[tuple[str, str]]:
    error = scores.calibration_error
    shares = {
        "accuracy on given labels": scores.accuracy_on_given,
        "accuracy on true labels, where known": scores.accuracy_on_true,
        "balanced accuracy": scores.balanced_accuracy,
        "macro F1": scores.macro_f1,
    }
    loss = scores.log_loss
    return [
        ("", "value, 95 % interval"),
        *((name, each.as_percent(2)) for name, each in shares.items() if each is not None),
        ("log loss", f"{loss.value:.4f} ({loss.low:.4f} to {loss.high:.4f}, n = {loss.num_rows:,})"),
        ("calibration error", f"{error.value:.4f} ({error.low:.4f} to {error.high:.4f})"),
    ]


def _by_class(result: EvaluateResult, names: Sequence[str]) -> list[tuple[str, str, str]]:
    def said(estimate: Estimate | None) -> str:
        return "no row" if estimate is None else estimate.as_percent()

    rows = [
        (name, said(each.recall), said(each.precision))
        for name, each in zip(names, result.scores.by_class, strict=True)
    ]
    return [("class", "of rows given it, predicted so", "of rows predicted so, given it"), *rows]


def _compared(compared: Comparison) -> dict[str, Any]:
    return {**asdict(compared), "verdict": compared.verdict}


def _against_findings(each: Against) -> dict[str, Any]:
    return {
        "on_given": _compared(each.on_given),
        "under_noise": asdict(each.under_noise),
        "on_true": None if each.on_true is None else _compared(each.on_true),
    }
