"""Scores of a run on labels that may be wrong: `kiyome evaluate`. N rows, K classes.

finished run ─► scores, accuracy under noise ─┐
its audits   ─► true accuracy, verdicts ──────┤
other runs   ─► paired verdicts ──────────────┼─► RUN-evaluate/: evaluate.json, report.html, by_class.csv
the diary    ─► caveats, selection bias ──────┘
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table import TRAIN, UNKNOWN, UNLABELED
from kiyome.errors import InputError, choose
from kiyome.estimates import Estimate, proportion, proportion_of_rows
from kiyome.evaluation.compare import compare, difference_under_noise
from kiyome.evaluation.compare_many import compare_many
from kiyome.evaluation.metric_on_given import METRICS, compare_on_metric
from kiyome.evaluation.metric_under_noise import metric_under_noise
from kiyome.evaluation.metrics import score_predictions
from kiyome.evaluation.noisy_labels import accuracy_under_noise
from kiyome.experiments import DIARY, Entry, read_diary
from kiyome.noise import transition_matrix
from kiyome.reading.finished_run import FinishedRun, check_same_folds, open_run
from kiyome.workflows.audit_scores import AuditRecord, audits_of, audits_on_rows_of, caveats_of_audits
from kiyome.workflows.candidates import (
    Candidate,
    candidates_of,
    choice_by_public_scores,
    lottery_of_public_part,
    rows_left_for_private,
)
from kiyome.workflows.caveats import caveats_of, leaks_of
from kiyome.workflows.evaluate_page import write_evaluation
from kiyome.workflows.evaluate_result import EvaluateResult, MetricScore, RunComparison
from kiyome.workflows.leak_score import score_of_leaks
from kiyome.workflows.review_score import score_of_review
from kiyome.workflows.unlabeled_score import score_of_unlabeled

ENOUGH_MEASURED = 30
"""Random rows of a review from which its noise rate is used in the other estimates."""


def evaluate(
    run: Path | str,
    *,
    against: Sequence[Path | str] = (),
    measured_errors: str | None = None,
    split: str | None = None,
    metric: str | None = None,
    public_rows: int | None = None,
    private_rows: int | None = None,
    leaks: Path | str | None = None,
    output: Path | str | None = None,
    seed: int = 0,
) -> EvaluateResult:
    """Evaluate a run on labels that may be wrong, and compare it with others.

    Parameters
    ----------
    run
        The folder of a finished run that predicts every row of a table. It is only read.
    against
        Other such runs, on the same rows, given labels and folds.
    measured_errors
        "WRONG/CHECKED", such as "12/200": wrong labels among labels drawn at random that people checked. It
        replaces the estimated noise rate.
    split
        The rows to evaluate, "test", "val" or "train" (out of fold); noise, audits and comparisons are of
        these rows alone. If not given, test where the table has such rows, else val, else train. An audit of
        unlabeled rows is reported with any of them.
    metric
        A further metric, as for `kiyome.metric_under_noise`: "balanced_accuracy", "macro_f1", "log_loss",
        "auc" or "quadratic_kappa".
    public_rows
        Rows of the public part of a contest's test set. The submission to choose is then found as by
        `kiyome.choose_submission`, among the experiments of which the diary notes a score ``public``; all
        numbers are of train rows. With the split "test" or "val", whose labels are known, the result says how
        far scores on so many of these rows lie from those on the rest, as `kiyome.public_part` does.
    private_rows
        Rows of the private part; the test and unlabeled rows of the table that are not public, if not given.
    leaks
        The folder of a `kiyome.check` with a list of rows that lie in train, too, ``leaks.csv``; the run's
        own if not given. The score is also reported without these rows.
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
        Runs that differ in rows, labels or folds; predictions that are not out of fold; a `measured_errors`
        of another form; a split without rows; an unknown metric; no list of leaks; `public_rows` with fewer
        than two public scores, or two experiments; `private_rows` without use.
    StaleArtifact
        A run that was cut off or changed, or whose predictions belong to another table.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.workflows.find import find
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_digits(folder / "digits", num_photos=200)
    >>> _ = find(folder / "digits", backbone="tiny", output=folder / "a", cache_folder=folder)
    >>> result = evaluate(folder / "a")
    >>> found = result.under_noise
    >>> found.bounds.low <= found.plausible.low < found.plausible.high <= found.bounds.high
    True
    """
    if metric is not None:
        choose("metric", metric, METRICS)
    if private_rows is not None and (public_rows is None or split not in (None, TRAIN) or private_rows < 1):
        raise InputError(
            f"private_rows={private_rows} with public_rows={public_rows} and the split {split!r}.",
            expected="Expected one row or more, beside those of the public part, whose scores the diary has.",
            remedy="Add --public-rows, and leave out --split.",
        )
    whole = open_run(run)
    chosen = whole.scored_split(TRAIN if split is None and public_rows is not None else split)
    wholes = [open_run(other) for other in against]
    main, others = _rows_of(chosen, whole, wholes)
    measured = None if measured_errors is None else _proportion_of(measured_errors)
    audits = _audits(main, others)
    audit = next((each for each in audits if each.is_for(main)), None)
    if audit is not None and measured is None:
        measured = audit.noise_rate
    reviewed = score_of_review(whole, chosen)
    if reviewed is not None and measured is None and reviewed[0].num_measured >= ENOUGH_MEASURED:
        measured = reviewed[0].noise_rate
    beside = main.path.resolve().parent
    target = Path(output) if output else beside / f"{main.name}-evaluate"
    runs = [
        {
            "path": os.path.relpath(each.path.resolve(), target.resolve().parent),
            "predictions_sha256": sha256_of_file(each.path / "predictions" / ARRAY_FILE),
        }
        for each in (main, *others)
    ]
    of_splits = {} if whole.table.splits is None else _audits_by_split(whole)
    unlabeled = score_of_unlabeled(whole, wholes)
    of_unlabeled = [] if unlabeled is None else [unlabeled.audit]
    answers = [each.digest for each in (*audits, *of_splits.values(), *of_unlabeled)]
    config: dict[str, Any] = {
        "runs": runs,
        "wrong": measured_errors,
        "seed": seed,
        **({"audits": answers} if answers else {}),
        **({} if whole.table.splits is None else {"split": chosen}),
        **({} if metric is None else {"metric": metric}),
        **({} if reviewed is None else {"review": reviewed[1]}),
    }
    without_leaks = score_of_leaks(whole, chosen, leaks, seed=seed)
    if without_leaks is not None:
        config["leaks"] = without_leaks[1]
    experiments = _experiments(main)
    candidates = candidates_of(main, others, experiments, chosen)
    submission, lottery = None, None
    if public_rows is not None and chosen == TRAIN:
        private_rows = private_rows or rows_left_for_private(whole.table, public_rows)
        submission = choice_by_public_scores(
            main, candidates, experiments, num_public=public_rows, num_private=private_rows, seed=seed
        )
        config["public"] = {
            "rows": public_rows,
            **({} if private_rows is None else {"private_rows": private_rows}),
            "probabilities": dict(submission.probability_best),
        }
    elif public_rows is not None:
        lottery = lottery_of_public_part(main, candidates, num_public=public_rows, seed=seed)
        config["public"] = {"rows": public_rows, "experiments": list(candidates)}
    folder = RunFolder.create_or_reopen(
        target, command="evaluate", config=config, table=main.table, named_by_user=output is not None
    )
    with folder as opened:
        result = replace(
            _result(opened.path, main, others, audits, experiments, candidates, measured, seed),
            split=chosen,
            by_split=_by_split(whole, seed),
            noise_by_audit={name: rate for name, each in of_splits.items() if (rate := each.noise_rate)},
            metric=None if metric is None else _metric(metric, main, others, measured, seed),
            leak_score=None if without_leaks is None else without_leaks[0],
            submission=submission,
            public_part=lottery,
            review=None if reviewed is None else reviewed[0],
            unlabeled=unlabeled,
        )
        write_evaluation(result, main, others)
    return result


def _rows_of(
    split: str, run: FinishedRun, against: Sequence[FinishedRun]
) -> tuple[FinishedRun, list[FinishedRun]]:
    """Return the runs with the rows of one split alone, which must be the same out-of-fold rows in all."""
    main, others = run.in_split(split), [other.in_split(split) for other in against]
    check_same_folds([main, *others])
    for each in (main, *others):
        if each.predictions.kind != "out_of_fold":
            raise InputError(
                f"{each.path} has predictions of kind {each.predictions.kind!r}.",
                expected="Expected out-of-fold predictions.",
                remedy="Name another run.",
            )
    return main, others


def _proportion_of(measured_errors: str) -> Estimate:
    counts = measured_errors.split("/")
    if len(counts) != 2 or not all(each.strip().isdecimal() for each in counts):
        raise InputError(
            f"{measured_errors!r} is not a count of wrong and checked labels.",
            expected="Expected WRONG/CHECKED.",
            remedy="Pass 12/200, for example.",
        )
    return proportion(*(int(each) for each in counts))


def _experiments(main: FinishedRun) -> tuple[Entry, ...]:
    """Return the diary's entries on the run's rows, the newest of each name; none without a diary."""
    folder = main.path.resolve().parent
    if not (folder / DIARY).is_file():
        return ()
    entries = [entry for entry in read_diary(folder) if entry.accuracy_on_given is not None]
    ours = [entry.rows for entry in entries if entry.run == main.name]
    newest = {entry.run: entry for entry in entries if ours and entry.rows == ours[-1]}
    return tuple(newest.values())


def _result(
    folder: Path,
    main: FinishedRun,
    others: Sequence[FinishedRun],
    audits: Sequence[AuditRecord],
    experiments: Sequence[Entry],
    candidates: Mapping[str, Candidate],
    measured: Estimate | None,
    seed: int,
) -> EvaluateResult:
    table, probs = main.table, main.predictions.pred_probs
    labels = table.given_labels.astype(np.intp)
    honest = {name: each.right for name, each in candidates.items() if not each.leaks}
    of_audits = [*caveats_of_audits(main, audits), *_unused([main, *others], audits, experiments)]
    return EvaluateResult(
        folder=folder,
        run=main.name,
        scores=score_predictions(
            labels, probs, true_labels=table.true_labels, groups=table.groups, seed=seed
        ),
        audit=next((each for each in audits if each.is_for(main)), None),
        under_noise=accuracy_under_noise(labels, probs, measured=measured, groups=table.groups, seed=seed),
        against=_against_each(main, others, audits, experiments, seed) if others else {},
        chosen=None if len(honest) < 2 else compare_many(honest, groups=table.groups, seed=seed),
        leaking={
            name: (proportion_of_rows(each.right, groups=table.groups, seed=seed), each.leaks)
            for name, each in candidates.items()
            if each.leaks
        },
        caveats=(*caveats_of(main, others, experiments), *of_audits),
    )


def _by_split(run: FinishedRun, seed: int) -> dict[str, Estimate]:
    """Return the accuracy on given labels of each split that has labels."""
    parts = {name: run.in_split(name) for name in run.table.splits_in_use if name != UNLABELED}
    return {
        name: proportion_of_rows(part.right_on_given, groups=part.table.groups, seed=seed)
        for name, part in parts.items()
    }


def _audits_by_split(run: FinishedRun) -> dict[str, AuditRecord]:
    """Return the audit of each split of which people checked a sample."""
    splits = [name for name in run.table.splits_in_use if name != UNLABELED]
    audits = {name: audits_of(run.in_split(name)) for name in splits}
    return {name: found[0] for name, found in audits.items() if found}


def _metric(
    metric: str, main: FinishedRun, others: Sequence[FinishedRun], measured: Estimate | None, seed: int
) -> MetricScore:
    labels, groups = main.table.given_labels.astype(np.intp), main.table.groups
    probs = main.predictions.pred_probs
    return MetricScore(
        under_noise=metric_under_noise(metric, labels, probs, measured=measured, groups=groups, seed=seed),
        against={
            other.name: compare_on_metric(
                metric, labels, probs, other.predictions.pred_probs, groups=groups, seed=seed
            )
            for other in others
        },
    )


def _audits(main: FinishedRun, others: Sequence[FinishedRun]) -> tuple[AuditRecord, ...]:
    """Return all audits of these rows beside any of the runs, most checked rows first."""
    found = {each.sample.folder.resolve(): each for run in (main, *others) for each in audits_on_rows_of(run)}
    return tuple(sorted(found.values(), key=lambda each: -len(each.answers)))


def _audit_of_both(
    main: FinishedRun, other: FinishedRun, audits: Sequence[AuditRecord], experiments: Sequence[Entry]
) -> AuditRecord | None:
    """Return an audit that leaked into neither run: drawn for the first, else the second, else any."""
    fit = [each for each in audits if not any(_leaks_into(run, each, experiments) for run in (main, other))]
    return min(fit, key=lambda each: (not each.is_for(main), not each.is_for(other)), default=None)


def _leaks_into(run: FinishedRun, audit: AuditRecord, experiments: Sequence[Entry]) -> bool:
    """Return whether the run was trained on answers, and has leaks that may carry them to their own rows."""
    return bool(audit.num_relabeled_as_answered(run) and leaks_of(run, experiments))


def _unused(
    runs: Sequence[FinishedRun], audits: Sequence[AuditRecord], experiments: Sequence[Entry]
) -> list[str]:
    return [
        f"{each.name} is not used to compare: {run.name} was trained on its answers and has leaks"
        for run in runs
        for each in audits
        if _leaks_into(run, each, experiments)
    ]


def _against_each(
    main: FinishedRun,
    others: Sequence[FinishedRun],
    audits: Sequence[AuditRecord],
    experiments: Sequence[Entry],
    seed: int,
) -> dict[str, RunComparison]:
    labels = main.table.given_labels.astype(np.intp)
    T = transition_matrix(labels, main.predictions.pred_probs, method="adaptive")
    return {
        other.name: _against(main, other, _audit_of_both(main, other, audits, experiments), T, seed)
        for other in others
    }


def _against(
    main: FinishedRun, other: FinishedRun, audit: AuditRecord | None, T: NDArray[np.float64], seed: int
) -> RunComparison:
    table = main.table
    predicted = [each.predictions.pred_probs.argmax(axis=1) for each in (main, other)]
    true, on_true = table.true_labels, None
    if true is not None and (known := true != UNKNOWN).any():
        groups = None if table.groups is None else table.groups[known]
        right = [(each == true)[known] for each in predicted]
        on_true = compare(right[0], right[1], groups=groups, seed=seed)
    return RunComparison(
        on_given=compare(main.right_on_given, other.right_on_given, groups=table.groups, seed=seed),
        audited=None if audit is None else audit.difference(main, other),
        under_noise=difference_under_noise(
            table.given_labels, predicted[0], predicted[1], transition_matrix=T, groups=table.groups
        ),
        on_true=on_true,
    )
