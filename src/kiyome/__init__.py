"""Image classification when the labels are wrong, in the training set and in the test set.

The front door: arrays in, arrays out from `noise`; whole flows on data from `recipes`.
"""

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
from kiyome.recipes.check import CheckResult, check
from kiyome.recipes.demo import DemoResult, demo
from kiyome.recipes.export import ExportResult, export
from kiyome.recipes.find import find
from kiyome.recipes.found import FindResult
from kiyome.recipes.predict import PredictResult, predict
from kiyome.recipes.train import TrainResult, train

__all__ = [
    "CheckResult",
    "DemoResult",
    "ExportResult",
    "FindResult",
    "NoiseRate",
    "PredictResult",
    "TrainResult",
    "check",
    "combine_pred_probs",
    "confident_joint",
    "demo",
    "export",
    "find",
    "find_label_issues",
    "label_issue_probability",
    "label_quality",
    "noise_rate",
    "posterior_matrix",
    "predict",
    "rank_label_issues",
    "train",
    "transition_matrix",
]
