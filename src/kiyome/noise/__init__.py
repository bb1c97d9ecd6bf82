"""What labels and out-of-fold predictions say about wrong labels: arrays in, arrays out, no torch.

arrays           the one place that checks labels and pred_probs
confident_joint  how often class `given` seems to be `true`
transition       what labels become, and what they are worth
noise_rate       how many labels are probably wrong
label_quality    one score a row, low is suspicious
label_issues     which rows: a mask, or indices with the most suspicious first
combine          several predictors as one

row_evidence     what one read of pred_probs leaves behind; chunks merge
latent_noise     calibration, anchors and the hidden true class
suspicion        from a noise model to rows: suspicion, chance, masks
adaptive         these three in order: the default of the functions above
adaptive_rate    its noise rate, with a band

blocks           how N x K is gone through: blocks of rows, threads, mapped files
reading          the one read of N x K, which checks it
kernels          the passes compiled (needs numba), with the same results
pruning          which rows of each pair of classes to flag
chunks           a table in chunks whose answers add up
laid_out         Parquet, Arrow and iterators as one mapped array
in_files         a table in many files, each read where it is worked on

simulate         noise and predictions whose truth is known
"""

from kiyome.noise.adaptive import label_issue_probability
from kiyome.noise.combine import combine_pred_probs
from kiyome.noise.confident_joint import confident_joint, confident_thresholds
from kiyome.noise.files import find_label_issues_in_files, laid_out, read_blocks
from kiyome.noise.label_issues import (
    find_label_issues,
    find_label_issues_in_chunks,
    rank_label_issues,
)
from kiyome.noise.label_quality import label_quality
from kiyome.noise.noise_rate import NoiseRate, noise_rate
from kiyome.noise.simulate import class_dependent_transition, inject_label_noise, simulate_pred_probs
from kiyome.noise.transition import (
    joint_from_posterior,
    joint_from_transition,
    posterior_from_transition,
    posterior_matrix,
    posterior_of,
    transition_from_posterior,
    transition_matrix,
    transition_of,
)

__all__ = [
    "NoiseRate",
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
    "laid_out",
    "noise_rate",
    "posterior_from_transition",
    "posterior_matrix",
    "posterior_of",
    "rank_label_issues",
    "read_blocks",
    "simulate_pred_probs",
    "transition_from_posterior",
    "transition_matrix",
    "transition_of",
]
