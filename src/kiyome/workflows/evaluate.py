"""What the score of a run is worth: `kiyome evaluate`.

    finished run ─► scores, accuracy under noise ─┐
    its audits   ─► accuracy, verdicts in truth ──┤
    other runs   ─► paired verdicts ──────────────┼─► RUN-evaluate/: evaluate.json, report.html, by_class.csv
    the diary    ─► marks, luck of the choice ────┘

The run that is judged is read, never written. N rows, K classes.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import sha256_of_file, write_csv, write_text
from kiyome.artifacts.table import UNKNOWN
from kiyome.errors import InputError, KiyomeError
from kiyome.estimates import Estimate, proportion, proportion_of_rows
from kiyome.evaluation.compare import compare, difference_under_noise
from kiyome.evaluation.compare_many import compare_many
from kiyome.evaluation.metrics import Scores, score_predictions
from kiyome.evaluation.noisy_labels import SEEN_REPEATS, accuracy_under_noise
from kiyome.experiments import DIARY, Entry, origin_of, read_diary
from kiyome.noise import transition_matrix
from kiyome.reading.finished_run import FinishedRun, check_same_folds, open_run
from kiyome.report.charts import Interval
from kiyome.report.pages import EvaluateReport, write_evaluate_report
from kiyome.workflows.audit_scores import AuditRecord, audits_on_rows_of, caveats_of_audits
from kiyome.workflows.caveats import FROM_FILE, caveats_of, leaks_of
from kiyome.workflows.combine import reliability_bins
from kiyome.workflows.evaluate_result import EvaluateResult, RunComparison


class Candidate(NamedTuple):
    """An experiment among which one could choose."""

    right: NDArray[np.bool_]
    """(N,) rows whose likeliest class is the given label."""
    leaks: tuple[str, ...]


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
    judged, others = _opened(run, against)
    measured = None if wrong is None else _measured(wrong)
    audits = _audits(judged, others)
    beside = judged.path.resolve().parent
    place = Path(output) if output else beside / f"{judged.name}-evaluate"
    runs = [
        {
            "path": os.path.relpath(each.path.resolve(), place.resolve().parent),
            "predictions_sha256": sha256_of_file(each.path / "predictions" / ARRAY_FILE),
        }
        for each in (judged, *others)
    ]
    told = [each.answers for each in audits]
    config = {"runs": runs, "wrong": wrong, "seed": seed, **({"audits": told} if told else {})}
    experiments = _experiments(judged)
    folder = RunFolder.create_or_reopen(
        place, command="evaluate", config=config, table=judged.table, named_by_user=output is not None
    )
    with folder as held:
        result = _result(held.path, judged, others, audits, experiments, measured, seed)
        _write(result, judged, others)
    return result


def _opened(run: Path | str, against: Sequence[Path | str]) -> tuple[FinishedRun, list[FinishedRun]]:
    judged, others = open_run(run), [open_run(other) for other in against]
    check_same_folds([judged, *others])
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
    return proportion(*(int(each) for each in counts))


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
    audits: Sequence[AuditRecord],
    experiments: Sequence[Entry],
    measured: Estimate | None,
    seed: int,
) -> EvaluateResult:
    table, probs = judged.table, judged.predictions.pred_probs
    labels = table.given_labels.astype(np.intp)
    T = transition_matrix(labels, probs, method="adaptive")
    audit = next((each for each in audits if each.judges(judged)), None)
    if audit is not None and measured is None:
        measured = audit.score.noise_rate
    tried = _tried(judged, others, experiments)
    honest = {name: each.right for name, each in tried.items() if not each.leaks}
    marks = [*caveats_of_audits(judged, audits), *_refused([judged, *others], audits, experiments)]
    return EvaluateResult(
        folder=folder,
        run=judged.name,
        scores=score_predictions(
            labels, probs, true_labels=table.true_labels, groups=table.groups, seed=seed
        ),
        audit=audit,
        under_noise=accuracy_under_noise(labels, probs, measured=measured, groups=table.groups, seed=seed),
        against={
            other.name: _against(judged, other, _audit_of_both(judged, other, audits, experiments), T, seed)
            for other in others
        },
        chosen=None if len(honest) < 2 else compare_many(honest, groups=table.groups, seed=seed),
        leaking={
            name: (proportion_of_rows(each.right, groups=table.groups, seed=seed), each.leaks)
            for name, each in tried.items()
            if each.leaks
        },
        marks=(*caveats_of(judged, others, experiments), *marks),
    )


def _audits(judged: FinishedRun, others: Sequence[FinishedRun]) -> tuple[AuditRecord, ...]:
    """All audits of these rows, beside any of the runs, most rows checked first."""
    found = {
        each.sample.folder.resolve(): each for run in (judged, *others) for each in audits_on_rows_of(run)
    }
    return tuple(sorted(found.values(), key=lambda each: -len(each.said)))


def _audit_of_both(
    judged: FinishedRun, other: FinishedRun, audits: Sequence[AuditRecord], experiments: Sequence[Entry]
) -> AuditRecord | None:
    """One whose rows neither run could learn from: drawn for the first, else for the second, else for any."""
    fit = [each for each in audits if not any(_leaks_into(run, each, experiments) for run in (judged, other))]
    return min(fit, key=lambda each: (not each.judges(judged), not each.judges(other)), default=None)


def _leaks_into(run: FinishedRun, audit: AuditRecord, experiments: Sequence[Entry]) -> bool:
    """Whether the run was taught answers, and has leaks by which they may have reached their own rows."""
    return bool(audit.num_relabeled_as_answered(run) and leaks_of(run, experiments))


def _refused(
    runs: Sequence[FinishedRun], audits: Sequence[AuditRecord], experiments: Sequence[Entry]
) -> list[str]:
    return [
        f"{each.name} is not used to compare: {run.name} was taught its answers and has leaks"
        for run in runs
        for each in audits
        if _leaks_into(run, each, experiments)
    ]


def _against(
    judged: FinishedRun, other: FinishedRun, audit: AuditRecord | None, T: NDArray[np.float64], seed: int
) -> RunComparison:
    table = judged.table
    choices = [each.predictions.pred_probs.argmax(axis=1) for each in (judged, other)]
    true, on_true = table.true_labels, None
    if true is not None and (known := true != UNKNOWN).any():
        groups = None if table.groups is None else table.groups[known]
        right = [(choice == true)[known] for choice in choices]
        on_true = compare(right[0], right[1], groups=groups, seed=seed)
    return RunComparison(
        on_given=compare(judged.right_on_given, other.right_on_given, groups=table.groups, seed=seed),
        audited=None if audit is None else audit.difference(judged, other),
        under_noise=difference_under_noise(
            table.given_labels, choices[0], choices[1], transition_matrix=T, groups=table.groups
        ),
        on_true=on_true,
    )


def _tried(
    judged: FinishedRun, others: Sequence[FinishedRun], experiments: Sequence[Entry]
) -> dict[str, Candidate]:
    """Each experiment on these rows that is still there, once: each was part of the choice."""
    beside = judged.path.resolve().parent
    noted = {beside / entry.run for entry in experiments}
    places: dict[str, Path] = {}
    for origin in [origin_of(entry, experiments) for entry in experiments]:
        places.setdefault(origin.result, beside / origin.run)
    unnoted = [path for each in (judged, *others) if (path := each.path.resolve()) not in noted]
    tried = {}
    for place in (*places.values(), *unnoted):
        try:
            run = open_run(place)
        except KiyomeError:
            continue  # gone or changed since; marks count it all the same
        leaks = [mark for mark in leaks_of(run, experiments) if mark != FROM_FILE]
        tried[run.name] = Candidate(right=run.right_on_given, leaks=tuple(leaks))
    return tried


def _write(result: EvaluateResult, judged: FinishedRun, others: Sequence[FinishedRun]) -> None:
    folder, table = result.folder, judged.table
    write_text(folder / "evaluate.json", json.dumps(result.findings(), indent=2))
    by_class = _by_class(result, table.class_names)
    write_csv(folder / "by_class.csv", by_class)
    report = EvaluateReport(
        title=result.run,
        answer=result.answer(),
        caveats=result.marks,
        sentences=result.describe(),
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
    rows = []
    if result.audit is not None:
        found_by_people = result.audit.score.accuracy_on_true
        rows.append(_interval(f"in truth, {found_by_people.num_rows:,} rows checked", found_by_people))
    rows += [
        _interval("on given labels", given),
        Interval(name="in truth, any mistakes", low=found.bounds.low, high=found.bounds.high),
        _interval("in truth, errors apart", apart),
        Interval(name="in truth, plausible", low=found.plausible.low, high=found.plausible.high),
        Interval(name="ceiling of the score", low=top.low, value=top.value, high=top.high),
    ]
    if true is not None:
        rows.append(_interval(f"on {true.num_rows:,} true labels", true))
    return rows


def _interval(name: str, found: Estimate) -> Interval:
    return Interval(name=name, low=found.low, value=found.value, high=found.high)


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
