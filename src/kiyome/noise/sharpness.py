"""How much surer true classes are than given ones, and what probability may be stated. K classes.

    kappa        agreement of predictions and given labels beyond chance
    steady       share of labels that sure rows of a class steadily give to others (the anchors A)
    unforeseen   disagreement in the surer half of each predicted class, beyond the doubt there
    uneven       spread of the largest probability within a predicted class: 0 all alike, 1 sure or not at all
    one_sided    the part of `steady` that does not flow back

    log sharpness = BASE - AGREEMENT * log(1 - kappa) + STEADY * sqrt(steady)
                    + UNFORESEEN * unforeseen - UNEVEN * uneven
    stated        = (1 - UNKNOWN * (1 - kappa)) * sigmoid(SHRINKAGE * logit(p))

Labels and predictions do not identify the sharpness: a predictor's doubt and photos that people label wrong
look alike. But doubt comes in some photos where noise comes in all, doubt between two classes goes both ways
where noise may not, labels that disagree with sure predictions were not doubted, and predictions that agree
with nearly all labels leave little room for doubt. How much each means was fitted on label sets with known
truth (docs/noise.md). The sets scatter about the formula, and so every log odds is shrunk towards one half,
less so the more disagreement is unforeseen. Predictions that agree little allow near certainty only where
much of it is.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kiyome.checks import Labels, Mask, Matrix

BASE, AGREEMENT, STEADY, UNFORESEEN, UNEVEN = -0.17, 0.23, 3.2, 1.4, 1.2
SHARPNESS_RANGE = 1.0, 6.0
SHRINKAGE, LESS_SHRINKAGE = 0.74, 0.25
UNKNOWN = 0.45  # with it, of rows stated at 0.9 and more 85 % were wrong in every set of people's labels
PLAIN_NOISE = 0.25  # unforeseen disagreement from which nothing is unknown
FEW = 5  # disagreeing rows that count as foreseen: of few, the surer half tells little
SPREAD = 1.75  # a factor: with it the band held the truth in 97 % of the sets of the fit
WEAK_KAPPA = 0.65  # below it, doubt and errors cannot be told apart
ONE_SIDED_RANGE = 0.02, 0.05  # of labels: between them, predictions are unmixed by part
BY_CHANCE = 0.4  # of the deviations of flows
STRONG_NOISE = 0.2  # of labels, steadily: noise that flows so strongly goes into few classes


@dataclass(frozen=True, kw_only=True)
class NoiseStatistics:
    """Statistics of a sample that tell noise from doubt as far as it goes."""

    kappa: float
    """Agreement of the likeliest class with the given one beyond chance: 1 is always, 0 is by chance."""
    steady: float
    """Share of labels that rows surely of a class steadily give to another."""
    one_sided: float
    """Share of labels that flow into classes without flowing back, less what chance alone would show."""
    unforeseen: float = 0.0
    """Disagreement of the surer half of rows over that of all, less the same of the predictor's doubt."""
    uneven: float = 0.0
    """Variance of the largest probability within predicted classes over the largest variance possible."""

    @cached_property
    def sharpness(self) -> float:
        """Power of calibrated predictions that true classes are likely drawn from."""
        doubt = max(1 - self.kappa, 0.01)
        log = BASE - AGREEMENT * np.log(doubt) + STEADY * np.sqrt(self.steady)
        log += UNFORESEEN * self.unforeseen - UNEVEN * self.uneven
        return float(np.clip(np.exp(log), *SHARPNESS_RANGE))

    @property
    def is_weak(self) -> bool:
        """Whether the predictor's doubt and people's errors cannot be told apart."""
        return self.kappa < WEAK_KAPPA

    @property
    def unmixing(self) -> float:
        """0 where flows may be doubt, which goes both ways, 1 where they are surely noise."""
        low, high = ONE_SIDED_RANGE
        return float(np.clip((self.one_sided - low) / (high - low), 0, 1))

    @property
    def flow(self) -> float:
        """0 where little noise is steady, 1 where as much is as where noise flows into few classes."""
        return min(self.steady / STRONG_NOISE, 1.0) ** 2

    @property
    def shrinkage(self) -> float:
        """Factor of log odds: how far a probability may be taken at its word."""
        shrinkage = min(SHRINKAGE + LESS_SHRINKAGE * self.unforeseen, 1)
        return shrinkage + (1 - shrinkage) * self.unmixing  # one-sided flows tell noise from doubt

    @property
    def most(self) -> float:
        """The largest probability that may be stated."""
        doubt = float(np.clip(1 - self.unforeseen / PLAIN_NOISE, 0, 1)) * (1 - self.unmixing)
        return 1 - doubt * UNKNOWN * min(1 - self.kappa, 1)

    def stated(self, probability: Matrix) -> Matrix:
        """Return the probabilities that may be stated, where those at the estimated sharpness are given."""
        p = probability.clip(1e-12, 1 - 1e-12)
        stated: Matrix = self.most / (1 + ((1 - p) / p) ** self.shrinkage)
        return stated


def noise_statistics(
    given: Labels, predicted: Labels, sureness: Matrix, agrees: Mask, A: Matrix
) -> NoiseStatistics:
    """Return the statistics of sampled rows (S,): labels, likeliest classes and how likely, and agreement."""
    K, num_rows = len(A), len(given)
    shares = np.bincount(given, minlength=K) / num_rows
    flows = shares[:, np.newaxis] * A * (1 - np.eye(K))
    into, out_of = flows.sum(axis=0), flows.sum(axis=1)
    not_back = np.abs(into - out_of).sum() / 2 - BY_CHANCE * np.sqrt((into + out_of) / num_rows).sum()
    return NoiseStatistics(
        kappa=agreement(given, predicted, float(agrees.mean()), K),
        steady=float(flows.sum()),
        one_sided=max(float(not_back), 0.0),
        unforeseen=_unforeseen(predicted, sureness, ~agrees),
        uneven=_uneven(predicted, sureness),
    )


def agreement(given: Labels, predicted: Labels, share: float, num_classes: int) -> float:
    """Return kappa, where labels and likeliest classes agree in this share of rows."""
    shares = np.bincount(given, minlength=num_classes) / len(given)
    by_chance = float(shares @ np.bincount(predicted, minlength=num_classes)) / len(given)
    return 1.0 if by_chance == 1 else (share - by_chance) / (1 - by_chance)


def _unforeseen(predicted: Labels, sureness: Matrix, disagrees: Mask) -> float:
    order = np.lexsort((sureness, predicted))
    counts = np.bincount(predicted)
    firsts = (counts.cumsum() - counts)[predicted]
    sure = sureness >= sureness[order][firsts + counts[predicted] // 2]  # than half of its class
    doubt, num_disagreeing = 1 - sureness, np.count_nonzero(disagrees)
    if not num_disagreeing or not doubt.any():
        return 0.0
    found = disagrees[sure].mean() / disagrees.mean() - doubt[sure].mean() / doubt.mean()
    return float(found * num_disagreeing / (num_disagreeing + FEW))


def _uneven(predicted: Labels, sureness: Matrix) -> float:
    counts = np.bincount(predicted).clip(min=1)
    means = np.bincount(predicted, sureness) / counts
    largest = float((counts * means * (1 - means)).sum())
    return float(((sureness - means[predicted]) ** 2).sum()) / largest if largest > 0 else 0.0
