"""Predictions of several models as one, or of one model made better: arrays in, arrays out, no torch.

checked              the one place that checks members and folds
blend                means, fitted weights, what members are worth
stack                a final estimator on out-of-fold probabilities
classifiers          the two of them, written as text
calibrate            temperature
error_distribution   predictions carried from the truth to given labels, or back

Whatever is fitted on labels here is fitted for each fold on the other folds.
"""

from kiyome.ensemble.adjust import (
    Calibration,
    Correction,
    apply_error_distribution,
    at_temperature,
    calibrate_pred_probs,
    correct_pred_probs,
    fit_temperature,
)
from kiyome.ensemble.blend import (
    BlendFit,
    Diversity,
    blend_pred_probs,
    cross_fitted_blend,
    diversity,
    fit_weights,
)
from kiyome.ensemble.stack import (
    Stack,
    StackFit,
    cross_fitted_stack,
    fit_stack,
    out_of_fold_flag_probability,
)

__all__ = [
    "BlendFit",
    "Calibration",
    "Correction",
    "Diversity",
    "Stack",
    "StackFit",
    "apply_error_distribution",
    "at_temperature",
    "blend_pred_probs",
    "calibrate_pred_probs",
    "correct_pred_probs",
    "cross_fitted_blend",
    "cross_fitted_stack",
    "diversity",
    "fit_stack",
    "fit_temperature",
    "fit_weights",
    "out_of_fold_flag_probability",
]
