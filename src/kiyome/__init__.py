"""Image classification when the labels are wrong, in the training set and in the test set.

The front door: arrays in, values out from `noise` and `evaluate`; whole flows on data from `recipes`.
"""

from kiyome.diary import read_diary
from kiyome.evaluation.audit import AuditedScore, audited_accuracy
from kiyome.evaluation.audit_design import AuditDesign, draw_audit, rows_to_audit
from kiyome.evaluation.audited_difference import AuditedDifference, audited_difference
from kiyome.evaluation.compare import Comparison, compare
from kiyome.evaluation.compare_many import ManyCompared, compare_many
from kiyome.evaluation.lottery import Lottery, lottery
from kiyome.evaluation.metrics import Scores, score_predictions
from kiyome.evaluation.noisy_labels import AccuracyUnderNoise, accuracy_under_noise
from kiyome.evaluation.shares import Estimate
from kiyome.noise import (
    NoiseRate,
    combine_pred_probs,
    confident_joint,
    find_label_issues,
    label_issue_probability,
    label_quality,
    noise_rate,
    posterior_matrix,
    rank_label_issues,
    transition_matrix,
)
from kiyome.recipes.audit import AuditResult, audit
from kiyome.recipes.audit_sample import SealedSample, audit_sample
from kiyome.recipes.blend import blend
from kiyome.recipes.calibrate import calibrate
from kiyome.recipes.check import CheckResult, check
from kiyome.recipes.clean_and_retrain import CleanAndRetrainResult, clean_and_retrain
from kiyome.recipes.combined import CombinedResult
from kiyome.recipes.correct import correct
from kiyome.recipes.curate import CurateResult, curate
from kiyome.recipes.decisions import DecisionsResult, decisions, export_decisions, import_decisions
from kiyome.recipes.demo import DemoResult, demo
from kiyome.recipes.evaluate import evaluate
from kiyome.recipes.evaluated import EvaluateResult
from kiyome.recipes.export import ExportResult, export
from kiyome.recipes.find import find
from kiyome.recipes.found import FindResult
from kiyome.recipes.noise_classifier import NoiseClassifierResult, noise_classifier
from kiyome.recipes.predict import PredictResult, predict
from kiyome.recipes.review import review
from kiyome.recipes.stack import stack
from kiyome.recipes.train import train
from kiyome.recipes.trained import TrainResult

__all__ = [
    "AccuracyUnderNoise",
    "AuditDesign",
    "AuditResult",
    "AuditedDifference",
    "AuditedScore",
    "CheckResult",
    "CleanAndRetrainResult",
    "CombinedResult",
    "Comparison",
    "CurateResult",
    "DecisionsResult",
    "DemoResult",
    "Estimate",
    "EvaluateResult",
    "ExportResult",
    "FindResult",
    "Lottery",
    "ManyCompared",
    "NoiseClassifierResult",
    "NoiseRate",
    "PredictResult",
    "Scores",
    "SealedSample",
    "TrainResult",
    "accuracy_under_noise",
    "audit",
    "audit_sample",
    "audited_accuracy",
    "audited_difference",
    "blend",
    "calibrate",
    "check",
    "clean_and_retrain",
    "combine_pred_probs",
    "compare",
    "compare_many",
    "confident_joint",
    "correct",
    "curate",
    "decisions",
    "demo",
    "draw_audit",
    "evaluate",
    "export",
    "export_decisions",
    "find",
    "find_label_issues",
    "import_decisions",
    "label_issue_probability",
    "label_quality",
    "lottery",
    "noise_classifier",
    "noise_rate",
    "posterior_matrix",
    "predict",
    "rank_label_issues",
    "read_diary",
    "review",
    "rows_to_audit",
    "score_predictions",
    "stack",
    "train",
    "transition_matrix",
]
