from .estimates import Estimate
from .evaluation.audit import AuditedScore, audited_accuracy
from .evaluation.audit_design import AuditDesign, draw_audit, rows_to_audit
from .evaluation.audited_difference import AuditedDifference, audited_difference
from .evaluation.compare import Comparison, compare
from .evaluation.compare_many import ManyCompared, compare_many
from .evaluation.lottery import Lottery, lottery
from .evaluation.metrics import Scores, score_predictions
from .evaluation.noisy_labels import AccuracyUnderNoise, accuracy_under_noise
from .experiments import Entry, note_scores, read_diary
from .noise import (
    NoiseRate,
    combine_pred_probs,
    confident_joint,
    find_label_issues,
    find_label_issues_in_files,
    label_issue_probability,
    label_quality,
    noise_rate,
    posterior_matrix,
    rank_label_issues,
    transition_matrix,
)
from .recipes.audit import AuditResult, audit
from .recipes.audit_sample import SealedSample, audit_sample
from .recipes.blend import blend
from .recipes.calibrate import calibrate
from .recipes.check import CheckResult, check
from .recipes.clean_and_retrain import CleanAndRetrainResult, clean_and_retrain
from .recipes.combined import CombinedResult
from .recipes.correct import correct
from .recipes.curate import CurateResult, curate
from .recipes.decisions import DecisionsResult, decisions, export_decisions, import_decisions
from .recipes.demo import DemoResult, demo
from .recipes.diary import DiaryResult, diary
from .recipes.evaluate import evaluate
from .recipes.evaluated import EvaluateResult
from .recipes.export import ExportResult, export
from .recipes.find import find
from .recipes.found import FindResult
from .recipes.noise_classifier import NoiseClassifierResult, noise_classifier
from .recipes.predict import PredictResult, predict
from .recipes.review import review
from .recipes.stack import stack
from .recipes.train import train
from .recipes.trained import TrainResult

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
    "DiaryResult",
    "Entry",
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
    "diary",
    "draw_audit",
    "evaluate",
    "export",
    "export_decisions",
    "find",
    "find_label_issues",
    "find_label_issues_in_files",
    "import_decisions",
    "label_issue_probability",
    "label_quality",
    "lottery",
    "noise_classifier",
    "noise_rate",
    "note_scores",
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
