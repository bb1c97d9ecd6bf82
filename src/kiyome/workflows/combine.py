"""What blend, stack, calibrate and correct share: runs in, a run folder with an honest score out.

    finished runs on the same rows and folds ─► one array function of `ensemble` ─► run folder, score, report
                                                                   └─► VERB.json: how to do it with new photos

N rows, K classes, M members.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import formula_warnings
from kiyome.artifacts.manifest import MANIFEST, Manifest
from kiyome.artifacts.predictions import ARRAY_FILE, Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import reading, sha256_of_file, write_text
from kiyome.artifacts.table import Table
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
from kiyome.reading.finished_run import GIVE_FOLDS, FinishedRun, check_same_folds, open_run
from kiyome.report.intervals import Reliability
from kiyome.report.pages import Cells, CombinedReport, write_combined_report
from kiyome.workflows.outputs import write_scored_table

Probs = NDArray[np.floating[Any]]

FINAL_TEXT, FLAGS_TEXT = "final.txt", "flags.txt"
FLAGGED = "flagged"
"""Rows chosen by their own labels, which new photos do not have."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What predictions are worth on all rows, against the labels as given."""

    accuracy_on_given: Estimate
    log_loss: float
    calibration_error: CalibrationError


@dataclass(frozen=True, kw_only=True)
class FittedCombination:
    """What a verb made of its members' predictions."""

    pred_probs: Probs
    """(N, K) out of fold."""
    predictor: Mapping[str, Any]
    """What `predict_combined` needs to know, as JSON can hold it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Texts that go into the run folder."""
    tables: Mapping[str, Cells] = field(default_factory=dict)
    """What there is to see, for the report: title, then rows of cells, the first one the head."""
    notes: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class CombinedResult:
    """What a verb left behind; everything here is in the run folder, too. N rows, K classes."""

    folder: Path
    verb: str
    table: Table
    predictions: Predictions
    """Out of fold."""
    score: Score
    """Of all N rows, against given labels."""
    inputs: Mapping[str, Score]
    """The same of each input run, by its folder's name."""
    best_input: str
    """The input that agrees with most given labels."""
    against_best: Comparison
    """The result against that input, row by row."""
    predictor: Mapping[str, Any]
    predicts_photos: bool
    """Whether `kiyome predict` can go on with new photos."""
    leaks: tuple[str, ...] = ()
    """What the score owes to labels that it is judged on, of this step and of all inputs."""
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """A sentence for people."""
        if self.verb == "calibrate":  # choices stay, so that accuracy has nothing to tell
            errors = [each.calibration_error for each in (self.score, self.inputs[self.best_input])]
            after, before = (f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})" for e in errors)
            return f"Calibration error {after}, before {before}, n = {len(self.table):,}"
        return f"Against {self.best_input}: {self.against_best.describe()}"

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """The answer, wherever the run folder lies."""
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
    """Finished runs with out-of-fold predictions on the same rows, given labels and folds.

    Raises
    ------
    InputError
        Without a run; where one is named twice, predicted no table, or differs from the first, and in what.
    """
    if not runs:
        raise InputError("Some run is named.", came="none", remedy="Name run folders of find or train.")
    opened = [open_run(run) for run in runs]
    check_same_folds(opened)
    twice = [run.path for n, run in enumerate(opened) if run.path.resolve() in _places(opened[:n])]
    if twice:
        raise InputError("Each run is named once.", came=f"{twice[0]} twice", remedy="Leave one out.")
    for run in opened:
        if run.predictions.kind != "out_of_fold":
            came = f"predictions of kind {run.predictions.kind!r} in {run.path}"
            raise InputError("Runs predict their rows out of fold.", came=came, remedy="Name another run.")
    if needs_folds and opened[0].table.folds is None:
        raise InputError(
            "What is fitted on labels is fitted fold by fold, so the runs know their folds.",
            came=f"no folds in {opened[0].path}",
            remedy=GIVE_FOLDS,
        )
    return opened


def _places(runs: Sequence[FinishedRun]) -> set[Path]:
    return {run.path.resolve() for run in runs}


def combine_runs(
    runs: Sequence[FinishedRun],
    verb: str,
    options: Mapping[str, Any],
    make: Callable[[NDArray[np.int32], list[Probs], Any], FittedCombination],
    *,
    output: Path | str | None,
) -> CombinedResult:
    """Make something of the runs' predictions, score it, and put it into a run folder beside the first run.

    `make` gets given labels (N,), M arrays (N, K) and folds (N,) or None.
    """
    first = runs[0]
    beside = first.path.parent if first.path.name else first.path.resolve().parent
    place = Path(output) if output else beside / f"{first.name}-{verb}"
    inputs = [
        {
            "path": os.path.relpath(run.path.resolve(), place.resolve().parent),
            "predictions_sha256": sha256_of_file(run.path / "predictions" / ARRAY_FILE),
        }
        for run in runs
    ]
    config = {**options, "runs": inputs}
    table = first.table
    # first the work, so that what is refused leaves no folder behind
    made = make(table.given_labels, [each.predictions.pred_probs for each in runs], table.folds)
    folder = RunFolder.create_or_reopen(
        place, command=verb, config=config, table=table, named_by_user=output is not None
    )
    with folder as run:
        result = _result(run.path, verb, runs, made)
        _write(result, made, runs)
    note_run(result.folder, leaks=result.leaks)
    return result


def _result(folder: Path, verb: str, runs: Sequence[FinishedRun], made: FittedCombination) -> CombinedResult:
    table = runs[0].table
    predictions = Predictions(
        pred_probs=made.pred_probs.astype(np.float32),
        kind="out_of_fold",
        source=f"{verb} of {', '.join(run.name for run in runs)}",
        table_fingerprint=table.fingerprint,
    )
    names = names_of(runs)
    best = max(range(len(runs)), key=lambda m: runs[m].right_on_given.sum())
    leaks = tuple(dict.fromkeys([*made.leaks, *(leak for run in runs for leak in run.leaks)]))
    chosen = ("the best input was chosen on the rows that it is compared on, which favors it",)
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
        predictor=made.predictor,
        predicts_photos=made.predictor.get("rows") != FLAGGED and all(map(predicts_photos, runs)),
        leaks=leaks,
        notes=(
            *leaks,
            *made.notes,
            *(chosen if len(runs) > 1 else ()),
            *formula_warnings(table, ["oof.csv", "table.csv"]),
        ),
    )


def names_of(runs: Sequence[FinishedRun]) -> list[str]:
    """The folders' names, or their paths where two have the same name."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.path) for run in runs]


def _score(table: Table, pred_probs: Probs) -> Score:
    labels = table.given_labels.astype(np.intp)
    return Score(
        accuracy_on_given=proportion_of_rows(pred_probs.argmax(axis=1) == labels, groups=table.groups),
        log_loss=log_loss(labels, pred_probs.astype(np.float64)),
        calibration_error=calibration_error(labels, pred_probs),
    )


def _write(result: CombinedResult, made: FittedCombination, runs: Sequence[FinishedRun]) -> None:
    folder, table = result.folder, result.table
    write_scored_table(folder, table, result.predictions)
    for name, text in made.files.items():
        write_text(folder / name, text)
    write_text(folder / f"{result.verb}.json", json.dumps(result.findings(), indent=2))
    best = next(run for run, name in zip(runs, result.inputs, strict=True) if name == result.best_input)
    curves = {result.verb: result.predictions.pred_probs, result.best_input: best.predictions.pred_probs}
    report = CombinedReport(
        title=folder.resolve().name,
        verb=result.verb,
        num_rows=len(table),
        scores={name: _cells(score) for name, score in {result.verb: result.score, **result.inputs}.items()},
        answer=result.describe(),
        reliability={name: reliability_bins(table, probs) for name, probs in curves.items()},
        tables=made.tables,
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
    """Confidence and agreement with given labels, in bins, to draw."""
    curve = reliability_curve(table.given_labels, pred_probs)
    shares = [
        proportion(int(hits), int(rows)) for hits, rows in zip(curve.num_right, curve.num_rows, strict=True)
    ]
    return [
        Reliability(confidence=float(c), accuracy=s.value, low=s.low, high=s.high, num_rows=s.num_rows)
        for c, s in zip(curve.confidence, shares, strict=True)
    ]


def inputs_of(run: Path, manifest: Manifest) -> list[Path]:
    """The folders of the runs that a combined run was made of, as they were.

    Raises
    ------
    StaleArtifact
        Where one is gone, or predicts something else by now.
    """
    with reading(run / MANIFEST):
        runs = [(each["path"], each["predictions_sha256"]) for each in manifest["config"]["runs"]]
        paths = [(run.resolve().parent / path, sha256) for path, sha256 in runs]
    for path, sha256 in paths:
        file = path / "predictions" / ARRAY_FILE
        if not file.is_file() or sha256_of_file(file) != sha256:
            raise StaleArtifact(
                "The runs that a run was made of lie where they lay, unchanged.",
                came=f"another run, or none, in {path}",
                remedy=f"Put it back, or make {run} again.",
            )
    return [path for path, _ in paths]


def predicts_photos(run: FinishedRun) -> bool:
    """Whether a run, or each one that it was made of, holds models, so that it predicts new photos."""
    if run.command not in NEW:
        return run.command == "train"
    if run.manifest["config"].get("rows") == FLAGGED:
        return False
    return all(predicts_photos(open_run(path)) for path in inputs_of(run.path, run.manifest))


def check_for_new(run: Path, manifest: Manifest) -> None:
    """Refuse a run that cannot be made of photos without labels."""
    if manifest["config"].get("rows") == FLAGGED:
        raise InputError(
            "New photos have no labels, so none of them can be flagged.",
            came=f"a correction of flagged rows in {run}",
            remedy="Correct all rows, or those where two models disagree.",
        )


def predict_combined(run: Path, manifest: Manifest, members: Sequence[Probs]) -> Probs:
    """Probabilities (N, K) of new photos: what the run did with its members, done with theirs."""
    verb = manifest["command"]
    with reading(run / f"{verb}.json"):
        facts = json.loads((run / f"{verb}.json").read_bytes())["for_new_photos"]
        return NEW[verb](run, manifest, facts, members)


def _blend_new(run: Path, manifest: Manifest, facts: dict[str, Any], members: Sequence[Probs]) -> Probs:
    if facts["how"] == "weights":
        return blend_pred_probs(members, weights=facts["weights"])
    if facts["how"] == "rank":
        known = [open_run(path).predictions.pred_probs for path in inputs_of(run, manifest)]
        return blend_pred_probs(members, how="rank", reference=known)
    return blend_pred_probs(members, how=facts["how"])


def _stack_new(run: Path, _: Manifest, facts: dict[str, Any], members: Sequence[Probs]) -> Probs:
    texts = {
        name: (run / name).read_text("utf-8") for name in (FINAL_TEXT, FLAGS_TEXT) if (run / name).exists()
    }
    read = {name: read_classifier(facts["model"], text) for name, text in texts.items()}
    stack = Stack(model=facts["model"], final=read[FINAL_TEXT], flags=read.get(FLAGS_TEXT))
    return stack.predict(members)


def _calibrate_new(_: Path, __: Manifest, facts: dict[str, Any], members: Sequence[Probs]) -> Probs:
    return at_temperature(members[0], facts["temperature"])


def _correct_new(_: Path, __: Manifest, facts: dict[str, Any], members: Sequence[Probs]) -> Probs:
    rows = disagreeing(*members) if facts["rows"] == "disagree" else np.ones(len(members[0]), np.bool_)
    replaced = members[APPLY_TO.index(facts.get("apply_to", "run"))]
    corrected = np.array(members[0], dtype=np.float64)
    corrected[rows] = apply_error_distribution(replaced[rows], facts["matrix"])
    return corrected


NEW: dict[str, Callable[[Path, Manifest, dict[str, Any], Sequence[Probs]], Probs]] = {
    "blend": _blend_new,
    "stack": _stack_new,
    "calibrate": _calibrate_new,
    "correct": _correct_new,
}
"""How each verb goes on with new photos."""
