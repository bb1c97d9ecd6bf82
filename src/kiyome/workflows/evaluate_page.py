"""Files of an evaluation: evaluate.json, report.html and by_class.csv, from its result. K classes."""

import json
from collections.abc import Sequence

from kiyome.artifacts.storage import write_csv, write_text
from kiyome.estimates import Estimate
from kiyome.evaluation.metrics import Scores
from kiyome.evaluation.noisy_labels import SEEN_REPEATS
from kiyome.reading.finished_run import FinishedRun
from kiyome.report.charts import Interval
from kiyome.report.pages import EvaluateReport, write_evaluate_report
from kiyome.workflows.combine import reliability_bins
from kiyome.workflows.evaluate_result import EvaluateResult


def write_evaluation(result: EvaluateResult, main: FinishedRun, others: Sequence[FinishedRun]) -> None:
    """Write the files into the folder of the result."""
    folder, table = result.folder, main.table
    write_text(folder / "evaluate.json", json.dumps(result.findings(), indent=2))
    by_class = _by_class(result, table.class_names)
    write_csv(folder / "by_class.csv", by_class)
    report = EvaluateReport(
        title=result.run,
        answer=result.answer(),
        caveats=result.caveats,
        sentences=[*result.splits(), *result.describe(), *result.on_metric(), *result.on_unlabeled()],
        readings=_readings(result),
        sensitivity=[
            (each.repeats, each.true_accuracy.low, each.true_accuracy.value, each.true_accuracy.high)
            for each in result.under_noise.sensitivity
        ],
        seen_repeats=SEEN_REPEATS,
        scores=_scores(result.scores),
        compared=[*result.compared(), *result.compared_on_metric()],
        chosen=result.selection(),
        reliability={
            each.name: reliability_bins(table, each.predictions.pred_probs) for each in (main, *others)
        },
        by_class=by_class,
    )
    write_evaluate_report(report, folder / "report.html")


def _readings(result: EvaluateResult) -> list[Interval]:
    found, true = result.under_noise, result.scores.accuracy_on_true
    given, independent, top = found.accuracy_on_given, found.estimated_true_accuracy, found.ceiling
    rows = []
    if result.audit is not None:
        found_by_people = result.audit.score.accuracy_on_true
        rows.append(_interval(f"true, {found_by_people.num_rows:,} rows checked", found_by_people))
    rows += [
        _interval("on given labels", given),
        Interval(name="no assumption", low=found.bounds.low, high=found.bounds.high),
        _interval("if errors are independent", independent),
        Interval(name="plausible range", low=found.plausible.low, high=found.plausible.high),
        Interval(name="ceiling", low=top.low, value=top.value, high=top.high),
    ]
    if true is not None:
        rows.append(_interval(f"on {true.num_rows:,} true labels", true))
    return rows


def _interval(name: str, found: Estimate) -> Interval:
    return Interval(name=name, low=found.low, value=found.value, high=found.high)


def _scores(scores: Scores) -> list[tuple[str, str]]:
    error = scores.calibration_error
    values = {
        "accuracy on given labels": scores.accuracy_on_given,
        "accuracy on true labels, where known": scores.accuracy_on_true,
        "balanced accuracy": scores.balanced_accuracy,
        "macro F1": scores.macro_f1,
    }
    loss = scores.log_loss
    return [
        ("", "value, 95 % interval"),
        *((name, each.as_percent(2)) for name, each in values.items() if each is not None),
        ("log loss", f"{loss.value:.4f} ({loss.low:.4f} to {loss.high:.4f}, n = {loss.num_rows:,})"),
        ("calibration error", f"{error.value:.4f} ({error.low:.4f} to {error.high:.4f})"),
    ]


def _by_class(result: EvaluateResult, names: Sequence[str]) -> list[tuple[str, str, str]]:
    def cell(estimate: Estimate | None) -> str:
        return "no row" if estimate is None else estimate.as_percent()

    rows = [
        (name, cell(each.recall), cell(each.precision))
        for name, each in zip(names, result.scores.by_class, strict=True)
    ]
    return [("class", "of rows given it, predicted so", "of rows predicted so, given it"), *rows]
