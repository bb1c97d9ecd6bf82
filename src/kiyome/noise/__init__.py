"""Label noise from labels and out-of-fold predictions: arrays in, arrays out, no torch.

label_issues     which rows: a mask, or indices with the most suspicious first
label_quality    one score a row, low is suspicious
noise_rate       the share of wrong labels, with its range
rate_difference  how much noisier one set of labels is than another, by one predictor
none_of_the_classes  photos of something else, or of a class without a name
confident_joint  how often class `given` seems to be `true`
transition       transition and posterior matrices; noise and predictions with known truth
files            predictions in many files, or in Parquet and Arrow

adaptive         the fit behind the default of the functions above; several predictors as one
noise_model      calibration, anchors, the hidden true class
sharpness        how far doubt and errors can be told apart, and which probability may be stated
suspicion        suspicion of each row under the model; its probability, masks
pruning          which rows of each pair of classes to flag; tables in chunks
top_classes      the one read of N x K, which checks it: blocks, threads, mapped files
kernels          the passes compiled (needs numba), with the same results
"""

from kiyome.noise.adaptive import combine_pred_probs, label_issue_probability
from kiyome.noise.confident_joint import confident_joint, confident_thresholds
from kiyome.noise.files import as_memmap, find_label_issues_in_files, read_blocks
from kiyome.noise.label_issues import (
    find_label_issues,
    find_label_issues_in_chunks,
    rank_label_issues,
)
from kiyome.noise.label_quality import label_quality
from kiyome.noise.noise_rate import NoiseRate, noise_rate
from kiyome.noise.none_of_the_classes import probability_none
from kiyome.noise.transition import (
    class_dependent_transition,
    inject_label_noise,
    joint_from_posterior,
    joint_from_transition,
    posterior_from_transition,
    posterior_matrix,
    posterior_of,
    simulate_pred_probs,
    transition_from_posterior,
    transition_matrix,
    transition_of,
)

__all__ = [
    "NoiseRate",
    "as_memmap",
    "class_dependent_transition",
    "combine_pred_probs",
    "confident_joint",
    "confident_thresholds",
    "find_label_issues",
    "find_label_issues_in_chunks",
    "find_label_issues_in_files",
    "inject_label_noise",
    "joint_from_posterior",
    "joint_from_transition",
    "label_issue_probability",
    "label_quality",
    "noise_rate",
    "posterior_from_transition",
    "posterior_matrix",
    "posterior_of",
    "probability_none",
    "rank_label_issues",
    "read_blocks",
    "simulate_pred_probs",
    "transition_from_posterior",
    "transition_matrix",
    "transition_of",
]
