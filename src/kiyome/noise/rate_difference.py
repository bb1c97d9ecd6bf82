"""The difference between the noise rates of two sets of labels, such as of train and test. K classes.

Both are read by one model of the predictor: true classes are drawn from its probabilities to the same power,
so that its doubt, which no data can tell from noise, is the same on both sides and mostly cancels.
"""

from dataclasses import dataclass
from math import copysign
from statistics import NormalDist

from kiyome.noise.adaptive import AdaptiveFit
from kiyome.noise.noise_model import latent_transition
from kiyome.noise.noise_rate import disagreement, sampling_deviation
from kiyome.noise.sharpness import SPREAD

REPEATED = 0.2
"""The largest share of wrong training labels that the predictor repeats."""


@dataclass(frozen=True, kw_only=True)
class RateDifference:
    """How much larger one noise rate is than another, and its range."""

    value: float
    """Second less first, -1 to 1: negative where the second labels are cleaner."""
    low: float
    """-1 where nothing bounds it."""
    high: float
    """1 where nothing bounds it."""
    is_certain: bool
    """Whether the range leaves out zero."""


def noise_rate_difference(
    first: AdaptiveFit, second: AdaptiveFit, *, confidence: float = 0.95, seed: int = 0
) -> RateDifference:
    """Return the noise rate of the second labels less that of the first, by one predictor of both.

    Neither set may have trained the models that predict it. The range runs over how sure true classes are,
    and up to a predictor that repeats a fifth of the first set's errors: then a right label of the second set
    looks wrong to it where a wrong one of the first looks right, and the difference looks 40 % smaller than
    it is. Where predictions agree weakly with the first labels, nobody knows what they repeat: that end is
    open (-1 or 1). They must agree with the second: a predictor that agrees with neither may be wrong itself.
    Sampling error is added to both ends. Photos of the second set that are harder look like noise.
    """
    model = first.model

    def rate(fit: AdaptiveFit, sharpness: float) -> float:
        _, right = latent_transition(fit.sample, sharpness * model.true_power)
        return float(model.statistics.stated(1 - right).mean())

    readings = [rate(second, factor) - rate(first, factor) for factor in (1 / SPREAD, 1.0, SPREAD)]
    seen = disagreement(second) - disagreement(first)
    readings += [seen, copysign(1, seen) if model.statistics.is_weak else seen / (1 - 2 * REPEATED)]
    deviations = [sampling_deviation(fit, seed=seed) for fit in (first, second)]
    half = NormalDist().inv_cdf((1 + confidence) / 2) * sum(each**2 for each in deviations) ** 0.5
    low, high = max(min(readings) - half, -1.0), min(max(readings) + half, 1.0)
    return RateDifference(value=readings[1], low=low, high=high, is_certain=low > 0 or high < 0)
