"""Losses that expect wrong labels: ``loss_fn(logits, targets) -> (N,)``, one number per sample.

Logits are (N, K) scores of any floating type, computed in float32 at least; targets are (N,) labels or (N, K)
probabilities. Shapes that do not fit and options out of range are an InputError.

per_sample       shared by all: float32, shapes, hard and soft targets; OUSM, a mask of samples to learn from
cross_entropies  cross entropy with label smoothing, focal, bootstrap, CORES2, Taylor softmax
bounded          absolute error, generalized, Taylor, reverse, symmetric, normalized, active-passive,
                 bi-tempered
correction       forward and backward correction with a known T[true, given]
early_learning   ELR, with a memory of every row
by_name          the LOSSES and SHORT_NAMES dicts, for recipes; links from logits to probabilities
"""

from kiyome.losses.bounded import (
    active_passive,
    bi_tempered,
    generalized_cross_entropy,
    mean_absolute_error,
    normalized_cross_entropy,
    normalized_focal,
    reverse_cross_entropy,
    symmetric_cross_entropy,
    taylor_cross_entropy,
    tempered_softmax,
)
from kiyome.losses.by_name import (
    LOSSES,
    SHORT_NAMES,
    SOFTMAX,
    Link,
    LossFunction,
    full_name,
    link_of_loss,
    loss_options,
    make_loss,
    stored_link,
)
from kiyome.losses.correction import backward_correction, forward_correction
from kiyome.losses.cross_entropies import (
    bootstrap,
    confidence_regularized,
    cross_entropy,
    focal,
    polynomial_softmax,
    taylor_softmax,
)
from kiyome.losses.early_learning import EarlyLearning, early_learning_penalty
from kiyome.losses.per_sample import keep_small_losses

__all__ = [
    "LOSSES",
    "SHORT_NAMES",
    "SOFTMAX",
    "EarlyLearning",
    "Link",
    "LossFunction",
    "active_passive",
    "backward_correction",
    "bi_tempered",
    "bootstrap",
    "confidence_regularized",
    "cross_entropy",
    "early_learning_penalty",
    "focal",
    "forward_correction",
    "full_name",
    "generalized_cross_entropy",
    "keep_small_losses",
    "link_of_loss",
    "loss_options",
    "make_loss",
    "mean_absolute_error",
    "normalized_cross_entropy",
    "normalized_focal",
    "polynomial_softmax",
    "reverse_cross_entropy",
    "stored_link",
    "symmetric_cross_entropy",
    "taylor_cross_entropy",
    "taylor_softmax",
    "tempered_softmax",
]
