"""The talk's diary on cassava's out-of-fold predictions: each trick's number beside the talk's, paired.

    python benchmarks/cassava_diary.py [FOLDER]

FOLDER holds cassava_oof.npz (kozodoi/Kaggle_Leaf_Disease_Classification, MIT): probabilities of another
team's blend on its five folds. It is not part of the project. The talk's own models were others, so levels
differ; what can be compared is what a trick does.

Everything here is scored on all 21,397 rows against given labels, out of fold, unless a line says otherwise.
What cannot be done with these data: blends (there is one member), a clean model trained on photos, the
leaderboard. For the clean model a stand-in: a linear stack on the same probabilities that was fitted on the
rows of the other folds that confident learning does not flag there. It shares the photos' features with the
model of all rows, so that the two disagree less than two networks would.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kiyome.ensemble import (
    calibrate_pred_probs,
    correct_pred_probs,
    cross_fitted_stack,
    fit_stack,
    out_of_fold_flag_probability,
)
from kiyome.ensemble.validation import log_loss
from kiyome.estimates import proportion_of_rows
from kiyome.evaluation.compare import compare
from kiyome.evaluation.diagnostics import calibration_error
from kiyome.noise import find_label_issues, transition_matrix
from measured import SHARED_DATA, show


def read(folder: Path):
    """Given labels, probabilities and folds of the 21,397 rows."""
    with np.load(folder / "cassava_oof.npz") as stored:
        return stored["label"].astype(int), stored["probs"].astype(float), stored["fold"].astype(int)


def clean_stand_in(labels, probs, folds) -> np.ndarray:
    """Out-of-fold probabilities of a linear stack that was fitted on rows that are not flagged."""
    clean = np.empty_like(probs)
    for fold in np.unique(folds):
        rest = np.flatnonzero(folds != fold)
        kept = rest[~find_label_issues(labels[rest], probs[rest], method="confident_learning")]
        clean[folds == fold] = fit_stack(labels[kept], [probs[kept]], folds[kept]).predict(
            [probs[folds == fold]]
        )
    return clean


def score(labels, probs) -> str:
    return proportion_of_rows(probs.argmax(axis=1) == labels).as_percent(2)


def paired(labels, after, before) -> str:
    """Accuracy before and after, and the paired difference."""
    right = [probs.argmax(axis=1) == labels for probs in (before, after)]
    compared = compare(right[1], right[0])
    d = compared.difference
    return (
        f"{right[0].mean():.4f} -> {right[1].mean():.4f}, {100 * d.value:+.2f} points "
        f"({100 * d.low:+.2f} to {100 * d.high:+.2f}, n = {d.num_rows:,}), p = {compared.p_value:.2g}, "
        f"{compared.verdict}"
    )


def illusion(labels, probs) -> Iterator[str]:
    yield f"all rows: {score(labels, probs)}; the talk, other models: 0.8837"
    for method in ("confident_learning", "prune_by_noise_rate", "adaptive"):
        flagged = find_label_issues(labels, probs, method=method)
        relabeled = np.where(flagged, probs.argmax(axis=1), labels)
        yield f"kept rows only, {method} flags {flagged.sum():,}: {score(labels[~flagged], probs[~flagged])}"
        yield f"  flagged labels replaced by the prediction: {score(relabeled, probs)}"
    yield "  the same predictions, nothing improved; the talk's clean rows: 0.9206, leaderboard down"


def noise_classifier(labels, probs, folds) -> Iterator[str]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    flagged = find_label_issues(labels, probs)
    scores = {"1 - max probability": 1 - probs.max(axis=1)}
    for model in ("linear", "lightgbm"):
        scores[f"{model}, out of fold"] = out_of_fold_flag_probability(labels, [probs], folds, model=model)
    yield (
        "8 would a row be flagged? from probabilities alone; the talk, from photos: precision 0.22; "
        f"by chance {flagged.mean():.3f}"
    )
    for name, chance in scores.items():
        top = np.argsort(-chance, kind="stable")[: flagged.sum()]
        precision, average = proportion_of_rows(flagged[top]), average_precision_score(flagged, chance)
        yield (
            f"  {name:22} precision of as many rows as are flagged {precision.as_percent()}, "
            f"average precision {average:.3f}, AUC {roc_auc_score(flagged, chance):.3f}"
        )


def error_distribution(labels, probs, folds) -> Iterator[str]:
    clean = clean_stand_in(labels, probs, folds)
    given = {"estimates": "given", "direction": "given", "allow_double_noise": True}

    def corrected(name, **options) -> str:
        base = options.pop("base", probs)
        result = correct_pred_probs(labels, base, folds, **options)
        return f"{name}, {result.rows.sum():,} rows: {paired(labels, result.pred_probs, base)}"

    yield corrected("9a P(given | true) on all predictions (twice)", **given) + "; the talk 0.8924 -> 0.8335"
    T = transition_matrix(labels, probs)
    drawn = T[probs.argmax(axis=1), labels].mean()
    yield f"   expected of a draw from each predicted class's row, perhaps the talk's way: {drawn:.4f}"
    yield corrected("   P(true | given) on all predictions", estimates="given", direction="true")
    yield (
        corrected("9b on flagged rows only (leaks)", rows="flagged", **given) + "; the talk 0.8924 -> 0.8870"
    )
    yield f"9c the clean stand-in: {paired(labels, clean, probs)}"
    fixed = {"base": clean, "estimates": "true", "direction": "given", "noise_from": probs}
    yield corrected("   P(given | true) on it", **fixed)
    disagreeing = corrected(
        "9d where the stand-in disagrees", rows="disagree", clean_pred_probs=clean, **given
    )
    yield disagreeing + "; the talk, leaderboard 0.895 -> 0.894"


def stacks(labels, probs, folds) -> Iterator[str]:
    yield "10 stacks, against the predictions themselves; the talk 0.8997 without, 0.8991 with is_noisy"
    own = find_label_issues(labels, probs, method="confident_learning")
    for model in ("linear", "lightgbm"):
        made = {
            "without is_noisy": cross_fitted_stack(labels, [probs], folds, model=model),
            "is_noisy predicted": cross_fitted_stack(labels, [probs], folds, model=model, is_noisy=True),
            "is_noisy leaking": cross_fitted_stack(labels, [probs], folds, model=model, leaking_flags=own),
        }
        plain = made["without is_noisy"].pred_probs
        for name, stacked in made.items():
            loss = log_loss(labels, stacked.pred_probs)
            yield f"  {model:8} {name:18} log loss {loss:.4f}, {paired(labels, stacked.pred_probs, probs)}"
            if stacked.pred_probs is not plain:
                yield f"  {'':8} {'':18} against without: {paired(labels, stacked.pred_probs, plain)}"


def temperature(labels, probs, folds) -> Iterator[str]:
    fitted = calibrate_pred_probs(labels, probs, folds)
    for name, each in (("as they are", probs), ("temperature", fitted.pred_probs)):
        error = calibration_error(labels, each)
        yield (
            f"calibration, {name}: error {error.value:.4f} ({error.low:.4f} to {error.high:.4f}), "
            f"mean gap {error.mean_gap:.4f}, log loss {log_loss(labels, each):.4f}"
        )
    values = list(fitted.temperature_by_fold.values())
    yield f"  temperature {fitted.temperature:.3f}, by fold {min(values):.3f} to {max(values):.3f}"


def report(folder: Path) -> Iterator[str]:
    """The lines to print."""
    labels, probs, folds = read(folder)
    yield from illusion(labels, probs)
    for part in (noise_classifier, error_distribution, stacks, temperature):
        yield from part(labels, probs, folds)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cassava"
    show(__file__, report(folder), "numpy", "scikit-learn", "lightgbm")
