"""How many labels are wrong, with a band for what labels and predictions cannot decide. N rows, S sampled.

    value   mean chance of a wrong label over the sample, true classes believed SHARPNESS times as sure
    low     the same at the least believed sharpness, if that is less
    high    the larger of the value and LEARNED times the share of rows that the predictor disagrees with
    each end moved outward by chance: from a bootstrap over the sample's rows, and at least what none in S
    rows leaves open

The bootstrap alone held the truth in 2 to 44 % of simulations: it measures chance, and chance is the smaller
doubt. The band is no confidence interval but a range of assumptions; what it holds is in docs/noise.md.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from kiyome.noise.adaptive import Judgement, careful_curve, weakness_note
from kiyome.noise.latent_noise import SHARPNESS, latent_transition

LEARNED = 1.25  # the predictor has learned at most a fifth of the errors, which it then agrees with
NUM_DRAWS = 40  # a standard deviation within about a tenth of itself
ROUNDS_A_DRAW = 4  # of EM, starting where the whole sample ended

HOW = (
    "Mean chance of a wrong label, by expectation maximization over a hidden true class. The range is no"
    " confidence interval: it runs from little trust in the predictor to a quarter more rows than it"
    " disagrees with, and chance on top."
)


@dataclass(frozen=True, kw_only=True)
class NoiseRate:
    """An estimated share of wrong labels, and where it may lie."""

    value: float
    """The estimate, 0 to 1."""
    low: float
    """Lower end of the interval or band."""
    high: float
    """Upper end of it."""
    confidence: float
    """Of what chance of the rows adds to it: all of a sampling interval, the margins of a band."""
    num_rows: int
    """N, all rows."""
    num_placed: int
    """Rows that the estimate rests on: confidently placed in a class, or sampled."""
    method: str
    """What was estimated, and what the interval covers, in words for a report."""


def adaptive_noise_rate(judged: Judgement, *, confidence: float = 0.95, seed: int = 0) -> NoiseRate:
    """The rate of a judgement, with its band."""
    value, disagreement = judged.curve.mean, _disagreement(judged)
    chance = NormalDist().inv_cdf((1 + confidence) / 2) * sampling_deviation(judged, seed=seed)
    none_seen = 1 - (1 - confidence) ** (1 / len(judged.sample_suspicion))  # exact binomial bound
    margin = max(chance, none_seen)
    return NoiseRate(
        value=value,
        low=max(min(value, careful_curve(judged).mean) - margin, 0.0),
        high=min(max(value, LEARNED * disagreement) + margin, 1.0),
        confidence=confidence,
        num_rows=len(judged.suspicion),
        num_placed=len(judged.sample_suspicion),
        method=" ".join(filter(None, (HOW, weakness_note(judged)))),
    )


def sampling_deviation(judged: Judgement, *, seed: int = 0) -> float:
    """Standard deviation of the rate by chance of the sampled rows."""
    rng, num_sampled = np.random.default_rng(seed), len(judged.sample_suspicion)
    power, T = SHARPNESS * judged.model.power, judged.model.transition
    rates = []
    for _ in range(NUM_DRAWS):
        weights = rng.multinomial(num_sampled, np.full(num_sampled, 1 / num_sampled)).astype(np.float64)
        _, right = latent_transition(
            judged.sample, power, row_weights=weights, start=T, num_rounds=ROUNDS_A_DRAW
        )
        rates.append(1 - np.average(right, weights=weights))
    return float(np.std(rates, ddof=1))


def _disagreement(judged: Judgement) -> float:
    """Share of sampled rows where some class is likelier than the given one."""
    logs = judged.sample.logs
    return float((logs[1] > logs[0]).mean())
