"""Several models' predictions as one, or one model's predictions adjusted: arrays in, arrays out, no torch.

blend         means, fitted weights, contributions of members
selection     members beside a first one, each only if it helps
stack         a final estimator on out-of-fold probabilities
classifiers   the two final estimators, written as text
adjust        temperature; label-error distribution applied or removed
validation    checks of members and folds

Everything that is fitted on labels here is fitted for each fold on the other folds.
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
from kiyome.ensemble.selection import Selection, select_members
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
    "Selection",
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
    "select_members",
]
