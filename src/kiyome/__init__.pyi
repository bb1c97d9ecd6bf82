from .estimates import Estimate
from .evaluation.audit import AuditedScore, audited_accuracy
from .evaluation.audit_design import AuditDesign, draw_audit, rows_to_audit
from .evaluation.audited_difference import AuditedDifference, audited_difference
from .evaluation.class_shares import ClassShares, compare_class_shares
from .evaluation.compare import Comparison, compare
from .evaluation.compare_many import Lottery, ManyCompared, compare_many, lottery
from .evaluation.metric_under_noise import MetricUnderNoise, metric_under_noise
from .evaluation.metrics import Scores, score_predictions
from .evaluation.noisy_labels import AccuracyUnderNoise, accuracy_under_noise
from .evaluation.public_part import PublicPart, public_part
from .evaluation.shift import Shift, compare_splits
from .evaluation.submission import SubmissionChoice, choose_submission
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
    probability_none,
    rank_label_issues,
    transition_matrix,
)
from .workflows.audit import AuditResult, audit
from .workflows.audit_sample import SealedSample, audit_sample
from .workflows.blend import blend, calibrate, stack
from .workflows.check import CheckResult, check
from .workflows.clean_and_retrain import CleanAndRetrainResult, clean_and_retrain
from .workflows.combine import CombinedResult
from .workflows.correct import correct
from .workflows.curate import CurateResult, curate
from .workflows.decisions import (
    DecisionsResult,
    backup_decisions,
    export_decisions,
    import_decisions,
    repair_decisions,
    restore_decisions,
    show_decisions,
)
from .workflows.demo import DemoResult, demo
from .workflows.diary import DiaryResult, diary
from .workflows.evaluate import evaluate
from .workflows.evaluate_result import EvaluateResult
from .workflows.export import ExportResult, export
from .workflows.find import find
from .workflows.find_result import FindResult
from .workflows.noise_classifier import NoiseClassifierResult, noise_classifier
from .workflows.predict import PredictResult, predict
from .workflows.review import review
from .workflows.train import train
from .workflows.train_result import TrainResult

__all__ = [
    "AccuracyUnderNoise",
    "AuditDesign",
    "AuditResult",
    "AuditedDifference",
    "AuditedScore",
    "CheckResult",
    "ClassShares",
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
    "MetricUnderNoise",
    "NoiseClassifierResult",
    "NoiseRate",
    "PredictResult",
    "PublicPart",
    "Scores",
    "SealedSample",
    "Shift",
    "SubmissionChoice",
    "TrainResult",
    "accuracy_under_noise",
    "audit",
    "audit_sample",
    "audited_accuracy",
    "audited_difference",
    "backup_decisions",
    "blend",
    "calibrate",
    "check",
    "choose_submission",
    "clean_and_retrain",
    "combine_pred_probs",
    "compare",
    "compare_class_shares",
    "compare_many",
    "compare_splits",
    "confident_joint",
    "correct",
    "curate",
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
    "metric_under_noise",
    "noise_classifier",
    "noise_rate",
    "note_scores",
    "posterior_matrix",
    "predict",
    "probability_none",
    "public_part",
    "rank_label_issues",
    "read_diary",
    "repair_decisions",
    "restore_decisions",
    "review",
    "rows_to_audit",
    "score_predictions",
    "show_decisions",
    "stack",
    "train",
    "transition_matrix",
]
