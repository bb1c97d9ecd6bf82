"""Common part of blend, stack, calibrate and correct: runs in, a run folder with an out-of-fold score out.

    finished runs on the same rows and folds ─► one array function of `ensemble` ─► run folder, score, report
                                                                   └─► VERB.json: for new photos

N rows, K classes, M members.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import formula_warnings
from kiyome.artifacts.manifest import MANIFEST, Manifest
from kiyome.artifacts.predictions import ARRAY_FILE, Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import reading, sha256_of_file, write_text
from kiyome.artifacts.table import TRAIN, Table
from kiyome.ensemble import (
    Stack,
    apply_error_distribution,
    at_temperature,
    blend_pred_probs,
)
from kiyome.ensemble.adjust import APPLY_TO, disagreeing
from kiyome.ensemble.classifiers import read_classifier
from kiyome.ensemble.validation import log_loss
from kiyome.errors import InputError, StaleArtifact
from kiyome.estimates import Estimate, proportion, proportion_of_rows
from kiyome.evaluation.compare import Comparison, compare
from kiyome.evaluation.diagnostics import CalibrationError, calibration_error, reliability_curve
from kiyome.experiments import note_run
from kiyome.features import has_heads
from kiyome.reading.finished_run import GIVE_FOLDS, FinishedRun, check_same_folds, open_run
from kiyome.report.charts import Reliability
from kiyome.report.pages import Cells, CombinedReport, write_combined_report
from kiyome.workflows.outputs import write_scored_table

Probs = NDArray[np.floating[Any]]

FINAL_TEXT, FLAGS_TEXT = "final.txt", "flags.txt"
FLAGGED = "flagged"
"""Rows selected by their own labels, which new photos do not have."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Scores of predictions on all rows, against given labels."""

    accuracy_on_given: Estimate
    log_loss: float
    calibration_error: CalibrationError


@dataclass(frozen=True, kw_only=True)
class FittedCombination:
    """The combination of members' predictions by one verb."""

    pred_probs: Probs
    """(N, K) out of fold."""
    predictor: Mapping[str, Any]
    """Parameters for new photos, as JSON values."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts for the run folder."""
    tables: Mapping[str, Cells] = field(default_factory=dict)
    """Tables of the report by title: rows of cells, the first one the head."""
    notes: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class CombinedResult:
    """The result of a combination, which its run folder holds, too. N rows, K classes."""

    folder: Path
    verb: str
    table: Table
    predictions: Predictions
    """Out of fold."""
    score: Score
    """Of all rows of train, against given labels."""
    inputs: Mapping[str, Score]
    """The same of each input run, by its folder's name."""
    best_input: str
    """The input that agrees with most given labels."""
    against_best: Comparison
    """The result against that input, row by row."""
    predictor: Mapping[str, Any]
    predicts_photos: bool
    """Whether `kiyome predict` can predict new photos with it."""
    leaks: tuple[str, ...] = ()
    """Leaks of labels into predictions that are scored on them, of this step and of all inputs."""
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return the result in a sentence."""
        if self.verb == "calibrate":  # predicted classes stay, and so does accuracy
            errors = [each.calibration_error for each in (self.score, self.inputs[self.best_input])]
            after, before = (f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})" for e in errors)
            return (
                f"Calibration error {after}, before {before}, n = {self.score.accuracy_on_given.num_rows:,}"
            )
        return f"Against {self.best_input}: {self.against_best.describe()}"

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """Return the result as JSON values without its folder."""
        return {
            "verb": self.verb,
            "rows": len(self.table),
            "score": asdict(self.score),
            "inputs": {name: asdict(score) for name, score in self.inputs.items()},
            "best_input": self.best_input,
            "against_best_input": {**asdict(self.against_best), "verdict": self.against_best.verdict},
            "for_new_photos": dict(self.predictor),
            "leaks": list(self.leaks),
            "notes": list(self.notes),
        }


def open_members(runs: Sequence[Path | str], *, needs_folds: bool = True) -> list[FinishedRun]:
    """Return finished runs with out-of-fold predictions on the same rows, given labels and folds."""
    if not runs:
        raise InputError("No run is named.", remedy="Name run folders of find or train.")
    opened = [open_run(run) for run in runs]
    check_same_folds(opened)
    paths = [run.path.resolve() for run in opened]
    twice = [run.path for n, run in enumerate(opened) if paths[n] in paths[:n]]
    if twice:
        raise InputError(f"{twice[0]} is named twice.", remedy="Leave one out.")
    for run in opened:
        if run.predictions.kind != "out_of_fold":
            raise InputError(
                f"{run.path} has predictions of kind {run.predictions.kind!r}.",
                expected="Expected out-of-fold predictions.",
                remedy="Name another run.",
            )
    if needs_folds and opened[0].table.folds is None:
        raise InputError(
            f"{opened[0].path} has no folds.",
            expected="A fit on labels needs them, to predict each fold without its labels.",
            remedy=GIVE_FOLDS,
        )
    return opened


def combine_runs(
    runs: Sequence[FinishedRun],
    verb: str,
    options: Mapping[str, Any],
    make: Callable[[NDArray[np.int32], list[Probs], Any], FittedCombination],
    *,
    output: Path | str | None,
) -> CombinedResult:
    """Combine the runs' predictions, score the result, and write a run folder beside the first run.

    `make` takes given labels (N,), M arrays (N, K) and folds (N,) or None, of train. The other rows are
    combined as new photos are.
    """
    first = runs[0]
    beside = first.path.parent if first.path.name else first.path.resolve().parent
    target = Path(output) if output else beside / f"{first.name}-{verb}"
    inputs = [
        {
            "path": os.path.relpath(run.path.resolve(), target.resolve().parent),
            "predictions_sha256": sha256_of_file(run.path / "predictions" / ARRAY_FILE),
        }
        for run in runs
    ]
    config = {**options, "runs": inputs}
    table, of_train = first.table, [run.in_split(TRAIN) for run in runs]
    # the work comes first, so that an error leaves no folder behind
    members = [each.predictions.pred_probs for each in of_train]
    combination = make(of_train[0].table.given_labels, members, of_train[0].table.folds)
    pred_probs = _with_other_rows(verb, combination, runs)
    folder = RunFolder.create_or_reopen(
        target, command=verb, config=config, table=table, named_by_user=output is not None
    )
    with folder as run:
        result = _result(run.path, verb, of_train, combination)
        predictions = replace(result.predictions, pred_probs=pred_probs, table_fingerprint=table.fingerprint)
        write_scored_table(run.path, table, predictions)
        _write(result, combination, of_train)
    note_run(result.folder, leaks=result.leaks)
    return replace(result, table=table, predictions=predictions)


def _with_other_rows(verb: str, combination: FittedCombination, runs: Sequence[FinishedRun]) -> Probs:
    """Return probabilities of all rows: those of train as fitted, the others combined as new photos are."""
    is_train = runs[0].table.in_split(TRAIN)
    if is_train.all():
        return combination.pred_probs
    if combination.predictor.get("rows") == FLAGGED:
        raise InputError(
            f"{runs[0].path} has rows outside train, which no correction of flagged rows covers.",
            remedy="Correct all rows, or those where two models disagree (--rows all or disagree).",
        )
    probs = np.empty((len(is_train), runs[0].table.num_classes), combination.pred_probs.dtype)
    probs[is_train] = combination.pred_probs
    probs[~is_train] = PREDICTORS[verb](
        combination.predictor,
        [run.predictions.pred_probs[~is_train] for run in runs],
        combination.files,
        lambda: [run.predictions.pred_probs[is_train] for run in runs],
    )
    return probs


def _result(
    folder: Path, verb: str, runs: Sequence[FinishedRun], combination: FittedCombination
) -> CombinedResult:
    table = runs[0].table
    predictions = Predictions(
        pred_probs=combination.pred_probs.astype(np.float32),
        kind="out_of_fold",
        source=f"{verb} of {', '.join(run.name for run in runs)}",
        table_fingerprint=table.fingerprint,
    )
    names = names_of(runs)
    best = max(range(len(runs)), key=lambda m: runs[m].right_on_given.sum())
    leaks = tuple(dict.fromkeys([*combination.leaks, *(leak for run in runs for leak in run.leaks)]))
    selected = ("the best input was selected on the rows that it is compared on, which favors it",)
    return CombinedResult(
        folder=folder,
        verb=verb,
        table=table,
        predictions=predictions,
        score=_score(table, predictions.pred_probs),
        inputs={
            name: _score(table, run.predictions.pred_probs) for name, run in zip(names, runs, strict=True)
        },
        best_input=names[best],
        against_best=compare(
            predictions.pred_probs.argmax(axis=1) == table.given_labels,
            runs[best].right_on_given,
            groups=table.groups,
        ),
        predictor=combination.predictor,
        predicts_photos=combination.predictor.get("rows") != FLAGGED and all(map(predicts_photos, runs)),
        leaks=leaks,
        notes=(
            *leaks,
            *combination.notes,
            *(selected if len(runs) > 1 else ()),
            *formula_warnings(table, ["oof.csv", "table.csv"]),
        ),
    )


def names_of(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the folders' names, or their paths where two have the same name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _score(table: Table, pred_probs: Probs) -> Score:
    labels = table.given_labels.astype(np.intp)
    return Score(
        accuracy_on_given=proportion_of_rows(pred_probs.argmax(axis=1) == labels, groups=table.groups),
        log_loss=log_loss(labels, pred_probs.astype(np.float64)),
        calibration_error=calibration_error(labels, pred_probs),
    )


def _write(result: CombinedResult, combination: FittedCombination, runs: Sequence[FinishedRun]) -> None:
    folder, table = result.folder, result.table
    for name, text in combination.files.items():
        write_text(folder / name, text)
    write_text(folder / f"{result.verb}.json", json.dumps(result.findings(), indent=2))
    best = next(run for run, name in zip(runs, result.inputs, strict=True) if name == result.best_input)
    curves = {result.verb: result.predictions.pred_probs, result.best_input: best.predictions.pred_probs}
    report = CombinedReport(
        title=folder.resolve().name,
        verb=result.verb,
        num_rows=result.score.accuracy_on_given.num_rows,
        scores={name: _cells(score) for name, score in {result.verb: result.score, **result.inputs}.items()},
        answer=result.describe(),
        reliability={name: reliability_bins(table, probs) for name, probs in curves.items()},
        tables=combination.tables,
        notes=result.notes,
    )
    write_combined_report(report, folder / "report.html")


def _cells(score: Score) -> tuple[str, str, str]:
    error = score.calibration_error
    return (
        score.accuracy_on_given.as_percent(2),
        f"{score.log_loss:.4f}",
        f"{error.value:.4f} ({error.low:.4f} to {error.high:.4f})",
    )


def reliability_bins(table: Table, pred_probs: Probs) -> list[Reliability]:
    """Return confidence and accuracy on given labels in bins, for a chart."""
    curve = reliability_curve(table.given_labels, pred_probs)
    shares = [
        proportion(int(hits), int(rows)) for hits, rows in zip(curve.num_right, curve.num_rows, strict=True)
    ]
    return [
        Reliability(confidence=float(c), accuracy=s.value, low=s.low, high=s.high, num_rows=s.num_rows)
        for c, s in zip(curve.confidence, shares, strict=True)
    ]


def inputs_of(run: Path, manifest: Manifest) -> list[Path]:
    """Return the folders of a combined run's inputs; they must have the same predictions as then."""
    with reading(run / MANIFEST):
        runs = [(each["path"], each["predictions_sha256"]) for each in manifest["config"]["runs"]]
        paths = [(run.resolve().parent / path, sha256) for path, sha256 in runs]
    for path, sha256 in paths:
        file = path / "predictions" / ARRAY_FILE
        if not file.is_file() or sha256_of_file(file) != sha256:
            raise StaleArtifact(
                f"{path}, an input of {run}, is missing or has changed.",
                remedy=f"Put it back, or make {run} again.",
            )
    return [path for path, _ in paths]


def predicts_photos(run: FinishedRun) -> bool:
    """Return whether a run, or each of its inputs, has models, so that it predicts new photos."""
    if run.command not in PREDICTORS:
        return run.command == "train" or has_heads(run.path)
    if run.manifest["config"].get("rows") == FLAGGED:
        return False
    return all(predicts_photos(open_run(path)) for path in inputs_of(run.path, run.manifest))


def check_predicts_photos(run: Path, manifest: Manifest) -> None:
    """Raise for a run that cannot predict photos without labels."""
    if manifest["config"].get("rows") == FLAGGED:
        raise InputError(
            f"{run} corrects flagged rows, and new photos have no labels to flag.",
            remedy="Correct all rows, or those where two models disagree (--rows all or disagree).",
        )


def predict_combined(run: Path, manifest: Manifest, members: Sequence[Probs]) -> Probs:
    """Return probabilities (N, K) of new photos: the run's combination of its members' predictions."""
    verb = manifest["command"]
    with reading(run / f"{verb}.json"):
        facts = json.loads((run / f"{verb}.json").read_bytes())["for_new_photos"]
        names = [name for name in (FINAL_TEXT, FLAGS_TEXT) if (run / name).exists()]
        texts = {name: (run / name).read_text("utf-8") for name in names}
        return PREDICTORS[verb](facts, members, texts, lambda: _known(run, manifest))


def _known(run: Path, manifest: Manifest) -> list[Probs]:
    """Return the predictions of each input for the rows of train."""
    return [open_run(path).in_split(TRAIN).predictions.pred_probs for path in inputs_of(run, manifest)]


Facts = Mapping[str, Any]
Texts = Mapping[str, str]
Known = Callable[[], list[Probs]]


def _blend_new(facts: Facts, members: Sequence[Probs], _: Texts, known: Known) -> Probs:
    if facts["how"] == "weights":
        return blend_pred_probs(members, weights=facts["weights"])
    if facts["how"] == "rank":
        return blend_pred_probs(members, how="rank", reference=known())
    return blend_pred_probs(members, how=facts["how"])


def _stack_new(facts: Facts, members: Sequence[Probs], texts: Texts, _: Known) -> Probs:
    read = {name: read_classifier(facts["model"], text) for name, text in texts.items()}
    stack = Stack(model=facts["model"], final=read[FINAL_TEXT], flags=read.get(FLAGS_TEXT))
    return stack.predict(members)


def _calibrate_new(facts: Facts, members: Sequence[Probs], _: Texts, __: Known) -> Probs:
    return at_temperature(members[0], facts["temperature"])


def _correct_new(facts: Facts, members: Sequence[Probs], _: Texts, __: Known) -> Probs:
    rows = disagreeing(*members) if facts["rows"] == "disagree" else np.ones(len(members[0]), np.bool_)
    replaced = members[APPLY_TO.index(facts.get("apply_to", "run"))]
    corrected = np.array(members[0], dtype=np.float64)
    corrected[rows] = apply_error_distribution(replaced[rows], facts["matrix"])
    return corrected


PREDICTORS: dict[str, Callable[[Facts, Sequence[Probs], Texts, Known], Probs]] = {
    "blend": _blend_new,
    "stack": _stack_new,
    "calibrate": _calibrate_new,
    "correct": _correct_new,
}
"""For each verb, the function of its facts, members' predictions of new photos, texts, and those of train."""
