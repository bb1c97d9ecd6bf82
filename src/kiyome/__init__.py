"""Image classification when the labels are wrong, in the training set and in the test set.

The front door: arrays in, arrays out from `noise`; whole flows on data from `recipes`.
"""

from kiyome.diary import read_diary
from kiyome.evaluate.compare import Comparison, compare
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
from kiyome.recipes.blend import blend
from kiyome.recipes.calibrate import calibrate
from kiyome.recipes.check import CheckResult, check
from kiyome.recipes.clean_and_retrain import CleanAndRetrainResult, clean_and_retrain
from kiyome.recipes.combined import CombinedResult
from kiyome.recipes.correct import correct
from kiyome.recipes.curate import CurateResult, curate
from kiyome.recipes.demo import DemoResult, demo
from kiyome.recipes.export import ExportResult, export
from kiyome.recipes.find import find
from kiyome.recipes.found import FindResult
from kiyome.recipes.noise_classifier import NoiseClassifierResult, noise_classifier
from kiyome.recipes.predict import PredictResult, predict
from kiyome.recipes.stack import stack
from kiyome.recipes.train import TrainResult, train

__all__ = [
    "CheckResult",
    "CleanAndRetrainResult",
    "CombinedResult",
    "Comparison",
    "CurateResult",
    "DemoResult",
    "ExportResult",
    "FindResult",
    "NoiseClassifierResult",
    "NoiseRate",
    "PredictResult",
    "TrainResult",
    "blend",
    "calibrate",
    "check",
    "clean_and_retrain",
    "combine_pred_probs",
    "compare",
    "confident_joint",
    "correct",
    "curate",
    "demo",
    "export",
    "find",
    "find_label_issues",
    "label_issue_probability",
    "label_quality",
    "noise_classifier",
    "noise_rate",
    "posterior_matrix",
    "predict",
    "rank_label_issues",
    "read_diary",
    "stack",
    "train",
    "transition_matrix",
]
