"""How much surer true classes are than given ones, and what probability may be stated. K classes.

    kappa        agreement of predictions and given labels beyond chance
    steady       share of labels that sure rows of a class steadily give to others (the anchors A)
    one_sided    the part of it that does not flow back

    log sharpness = BASE - AGREEMENT * log(1 - kappa) + STEADY * steady + ONE_SIDED * one_sided
    stated        = (1 - UNKNOWN * (1 - kappa) ** 2) * sigmoid(SHRINKAGE * logit(p))

Labels and predictions do not identify the sharpness: a predictor's doubt and photos that people label wrong
look alike. But doubt comes in some photos where noise comes in all, doubt between two classes goes both ways
where noise may not, and predictions that agree with nearly all labels leave little room for doubt. How much
each means was fitted on label sets with known truth (docs/noise.md). The sets scatter about the formula, and
so every log odds is shrunk towards one half. Predictions that agree little never allow near certainty.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kiyome.checks import Labels, Mask, Matrix

BASE, AGREEMENT, STEADY, ONE_SIDED = -0.4, 0.5, 4.6, 4.0
SHARPNESS_RANGE = 1.0, 6.0
SHRINKAGE = 0.74
UNKNOWN = 0.25
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

    @cached_property
    def sharpness(self) -> float:
        """Power of calibrated predictions that true classes are likely drawn from."""
        doubt = max(1 - self.kappa, 0.01)
        log = BASE - AGREEMENT * np.log(doubt) + STEADY * self.steady + ONE_SIDED * self.one_sided
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

    def stated(self, probability: Matrix) -> Matrix:
        """Return the probabilities that may be stated, where those at the estimated sharpness are given."""
        doubt = 1 - self.unmixing  # one-sided flows tell noise from doubt
        p = probability.clip(1e-12, 1 - 1e-12)
        likely = 1 / (1 + ((1 - p) / p) ** (1 - doubt * (1 - SHRINKAGE)))
        stated: Matrix = likely * (1 - doubt * UNKNOWN * min(1 - self.kappa, 1.0) ** 2)
        return stated


def noise_statistics(given: Labels, predicted: Labels, agrees: Mask, A: Matrix) -> NoiseStatistics:
    """Return the statistics of sampled rows (S,): labels, likeliest classes, whether none is likelier."""
    K, num_rows = len(A), len(given)
    shares = np.bincount(given, minlength=K) / num_rows
    by_chance = float(shares @ np.bincount(predicted, minlength=K)) / num_rows
    flows = shares[:, np.newaxis] * A * (1 - np.eye(K))
    into, out_of = flows.sum(axis=0), flows.sum(axis=1)
    not_back = np.abs(into - out_of).sum() / 2 - BY_CHANCE * np.sqrt((into + out_of) / num_rows).sum()
    return NoiseStatistics(
        kappa=1.0 if by_chance == 1 else (float(agrees.mean()) - by_chance) / (1 - by_chance),
        steady=float(flows.sum()),
        one_sided=max(float(not_back), 0.0),
    )
