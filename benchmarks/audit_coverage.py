"""Whether an audit's intervals hold the truth, and how much checking they save over a plain sample.

    python benchmarks/audit_coverage.py [REPEATS]

Simulated: 60 truths, the model right on 0.6 to 0.999 of the rows, errors where they are expected or where
they are not. Real: out-of-fold predictions of three networks on CIFAR-10N (people's errors), and two
injections of the Confident Learning paper; the truth is known and kept from the audit. Each audit is drawn
again 1,000 times (simulated truths and matrices: a quarter of that). Standard errors and widths stand beside
those of a plain sample of as many rows with Wilson's interval, coverage beside that of the estimate plus or
minus 1.96 standard errors (Wald).
"""

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kiyome.estimates import proportion
from kiyome.evaluation.audit import audited_accuracy
from kiyome.evaluation.audit_design import (
    AuditDesign,
    Strata,
    probability_right,
    rows_by_stratum,
    rows_for,
    shrink_log_odds,
    strata_of,
)
from kiyome.evaluation.stratified import prediction_powered_proportion, stratified_proportion
from measured import SHARED_DATA, show
from noise_sets import LabelSet, human_sets, paper_sets

SEED = 2027
NUM_TRUTHS = 60
NUM_ROWS = (100, 200, 300, 500)


class Seen(NamedTuple):
    """Many estimates of one truth."""

    truth: float
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def covered(self) -> np.ndarray:
        """Which intervals hold the truth."""
        return (self.low <= self.truth) & (self.truth <= self.high)

    def describe(self) -> str:
        """Bias, spread, width and coverage."""
        bias, width = 100 * (self.value.mean() - self.truth), 100 * (self.high - self.low).mean()
        below, above = (self.high < self.truth).mean(), (self.low > self.truth).mean()
        return (
            f"bias {bias:+.3f} points, se {100 * self.value.std():.2f}, width {width:.2f},"
            f" covers {self.covered.mean():.1%} (below {below:.1%}, above {above:.1%})"
        )


def report(repeats: int) -> Iterator[str]:
    """The lines to print."""
    yield from simulated(repeats)
    cifar10 = SHARED_DATA / "cifar10"
    if not cifar10.is_dir():
        yield "no CIFAR-10N here"
        return
    sets = [*human_sets(cifar10), *paper_sets(cifar10)]
    for each in sets:
        yield from of_set(each, repeats)
    yield from by_class(sets[0], repeats // 4)
    yield from with_wrong_guesses(sets[0], repeats)
    yield from before_anyone_starts(sets)


def simulated(repeats: int) -> Iterator[str]:
    """Coverage over many truths, each with strata of its own."""
    rng = np.random.default_rng(SEED)
    truths = [one_truth(place, rng) for place in range(NUM_TRUTHS)]
    yield f"simulated, {NUM_TRUTHS} truths, {repeats // 4} audits each"
    for n in (100, 200, 500):
        seen = [(*audits_of(truth, n, repeats // 4, rng), truth) for truth in truths]
        for name, chosen in (("all", slice(0, 2)), ("above 0.97", slice(0.97, 2)), ("below", slice(0, 0.97))):
            some = [each for each in seen if chosen.start <= each[0].truth < chosen.stop]
            ours, wald = (np.array([each[place].covered.mean() for each in some]) for place in (0, 1))
            yield (
                f"  n = {n}, truth {name} ({len(some)}): covers {ours.mean():.1%}"
                f" (10th to 90th of truths {np.quantile(ours, 0.1):.1%} to {np.quantile(ours, 0.9):.1%},"
                f" least {ours.min():.1%}); Wald {wald.mean():.1%}, least {wald.min():.1%}"
            )


def one_truth(place: int, rng: np.random.Generator) -> tuple[Strata, np.ndarray]:
    """Strata as guessed, and how many of their rows the model really gets right."""
    num_strata = int(rng.choice([1, 4, 8]))
    sizes = np.maximum((rng.dirichlet(np.full(num_strata, 1.5)) * 20_000).astype(int), 50)
    level = (0.05, 0.2, 0.5, 1.0)[place % 4]  # of all errors
    errors = level * np.sort(rng.beta(0.4, 1.6, num_strata))[::-1].clip(0.002, 0.95)
    guessed = errors if place % 3 else rng.permutation(errors)  # a third is guessed in the wrong order
    guesses = 1 - np.sqrt(guessed).clip(0.01, 0.7)
    strata = Strata(
        stratum_of_row=np.repeat(np.arange(num_strata), sizes).astype(np.int8),
        num_disagreeing=0,
        guesses=guesses,
        spreads=np.sqrt(guesses * (1 - guesses)),
    )
    return strata, np.rint(sizes * (1 - errors)).astype(int)


def audits_of(
    truth: tuple[Strata, np.ndarray], n: int, repeats: int, rng: np.random.Generator
) -> tuple[Seen, Seen]:
    """Our intervals and Wald's, of audits drawn again and again."""
    strata, right = truth
    sizes, rows = strata.sizes, rows_by_stratum(strata, n)
    hits = rng.hypergeometric(right, sizes - right, rows, size=(repeats, len(rows)))
    return seen_in(hits, rows, sizes, right.sum() / sizes.sum()), wald_in(
        hits, rows, sizes, right.sum() / sizes.sum()
    )


def seen_in(hits: np.ndarray, rows: np.ndarray, sizes: np.ndarray, truth: float) -> Seen:
    distinct, place = np.unique(hits, axis=0, return_inverse=True)
    found = [stratified_proportion(each, rows, sizes) for each in distinct]
    columns = np.array([(each.value, each.low, each.high) for each in found])[place.ravel()].T
    return Seen(truth, *columns)


def wald_in(hits: np.ndarray, rows: np.ndarray, sizes: np.ndarray, truth: float) -> Seen:
    weights, shares = sizes / sizes.sum(), hits / rows
    value = shares @ weights
    spread = 1.96 * np.sqrt((shares * (1 - shares)) @ (weights**2 / np.maximum(rows - 1, 1)))
    return Seen(truth, value, value - spread, value + spread)


def of_set(data: LabelSet, repeats: int) -> Iterator[str]:
    """The audit of one set, for the model and for the labels."""
    rng = np.random.default_rng(SEED)
    strata = strata_of(data.labels, data.pred_probs)
    predicted = data.pred_probs.argmax(axis=1)
    right, wrong = predicted == data.true_labels, data.labels != data.true_labels
    guesses = shrink_log_odds(probability_right(data.labels, data.pred_probs))
    yield (
        f"{data.name}: N = {len(right):,}, agrees with given labels {np.mean(predicted == data.labels):.4f},"
        f" right {right.mean():.4f}, labels wrong {wrong.mean():.4f}; {repeats:,} audits each"
    )
    for n in NUM_ROWS:
        rows = rows_by_stratum(strata, n)
        for name, hits in (("accuracy_on_true", right), ("noise_rate", wrong)):
            true = np.bincount(strata.stratum_of_row, hits).astype(int)
            drawn = rng.hypergeometric(true, strata.sizes - true, rows, size=(repeats, len(rows)))
            seen = seen_in(drawn, rows, strata.sizes, hits.mean())
            wald = wald_in(drawn, rows, strata.sizes, hits.mean())
            plain = plain_sample(hits, n, repeats, rng)
            yield f"  {name}, n = {n}: {seen.describe()}"
            yield (
                f"    plain sample: se {100 * plain.value.std():.2f}, covers {plain.covered.mean():.1%};"
                f" se {1 - seen.value.std() / plain.value.std():.0%} lower, width"
                f" {1 - (seen.high - seen.low).mean() / (plain.high - plain.low).mean():.0%} lower;"
                f" Wald covers {wald.covered.mean():.1%}"
            )
        powered, both = with_guesses(right, guesses, strata, n, repeats, rng)
        yield f"    prediction-powered alone, n = {n}: {powered.describe()}"
        yield f"    strata and predictions, n = {n}: se {100 * both.std():.2f}"


def plain_sample(hits: np.ndarray, n: int, repeats: int, rng: np.random.Generator) -> Seen:
    counts = rng.hypergeometric(hits.sum(), (~hits).sum(), n, size=repeats)
    found = [proportion(int(count), n) for count in counts]
    return Seen(hits.mean(), *np.array([(each.value, each.low, each.high) for each in found]).T)


def with_guesses(
    hits: np.ndarray, guesses: np.ndarray, strata: Strata, n: int, repeats: int, rng: np.random.Generator
) -> tuple[Seen, np.ndarray]:
    """PPI++ of a plain sample, and the stratified estimate moved by guesses as the sample says."""
    plain, moved = [], []
    rows, weights = rows_by_stratum(strata, n), strata.sizes / len(hits)
    members = [np.flatnonzero(strata.stratum_of_row == stratum) for stratum in range(len(rows))]
    means = np.array([guesses[each].mean() for each in members])
    for _ in range(repeats):
        drawn = rng.choice(len(hits), n, replace=False, shuffle=False)
        found = prediction_powered_proportion(hits[drawn], guesses[drawn], guesses)
        plain.append((found.value, found.low, found.high))
        samples = [rng.choice(each, k, replace=False) for each, k in zip(members, rows, strict=True)]
        pairs = [np.array([hits[s], guesses[s]], float) for s in samples]
        spread = sum(w**2 / k * np.cov(pair) for pair, w, k in zip(pairs, weights, rows, strict=True))
        pull = spread[0, 1] / spread[1, 1]
        value = [pair[0].mean() + pull * (m - pair[1].mean()) for pair, m in zip(pairs, means, strict=True)]
        moved.append(weights @ value)
    return Seen(hits.mean(), *np.array(plain).T), np.array(moved)


def by_class(data: LabelSet, repeats: int) -> Iterator[str]:
    """Coverage of the transition matrix and of the noise of each given class."""
    rng, K = np.random.default_rng(SEED), data.pred_probs.shape[1]
    strata, predicted = strata_of(data.labels, data.pred_probs), data.pred_probs.argmax(axis=1)
    joint = np.zeros((K, K))
    np.add.at(joint, (data.true_labels, data.labels), 1)
    T, noise = joint / joint.sum(axis=1, keepdims=True), 1 - np.diag(joint) / joint.sum(axis=0)
    members = [np.flatnonzero(strata.stratum_of_row == stratum) for stratum in range(len(strata.sizes))]
    for n in (200, 500):
        cells: dict[str, list[tuple[bool, float]]] = {}

        def note(kind: str, low: float, high: float, truth: float, cells=cells) -> None:
            cells.setdefault(kind, []).append((low <= truth <= high, high - low))

        for seed in range(repeats):
            drawn = [
                rng.choice(each, k, replace=False)
                for each, k in zip(members, rows_by_stratum(strata, n), strict=True)
            ]
            design = AuditDesign(rows=rng.permutation(np.concatenate(drawn)), strata=strata, seed=seed)
            score = audited_accuracy(
                design, data.true_labels[design.rows], data.labels, predicted, num_classes=K
            )
            for (t, g), truth in np.ndenumerate(T):
                kind = (
                    "diagonal" if t == g else "cells of 1 % or more" if truth >= 0.01 else "cells below 1 %"
                )
                if score.labels.transition.rows_seen[t]:
                    note(kind, score.labels.transition.low[t, g], score.labels.transition.high[t, g], truth)
            for k, found in enumerate(score.labels.noise_by_given_class):
                if found is not None:
                    note("noise by given class", found.low, found.high, noise[k])
        for kind, notes in cells.items():
            covered, widths = np.array(notes).T
            yield (
                f"{data.name}, transition, n = {n}, {kind}: covers {covered.mean():.1%} of"
                f" {len(notes):,}, mean width {100 * widths.mean():.1f} points"
            )


def with_wrong_guesses(data: LabelSet, repeats: int) -> Iterator[str]:
    """Strata from another row's predictions: of no use, and still unbiased."""
    rng = np.random.default_rng(SEED)
    shuffled = data.pred_probs[rng.permutation(len(data.labels))]
    strata = strata_of(data.labels, shuffled)
    right = data.pred_probs.argmax(axis=1) == data.true_labels
    true = np.bincount(strata.stratum_of_row, right).astype(int)
    for n in (100, 300):
        rows = rows_by_stratum(strata, n)
        drawn = rng.hypergeometric(true, strata.sizes - true, rows, size=(repeats, len(rows)))
        seen = seen_in(drawn, rows, strata.sizes, right.mean())
        yield f"{data.name}, strata from other rows' predictions, n = {n}: {seen.describe()}"


def before_anyone_starts(sets: list[LabelSet]) -> Iterator[str]:
    """What `rows_to_audit` promises, against the half width that audits of as many rows have."""
    for data in sets:
        strata, rng = strata_of(data.labels, data.pred_probs), np.random.default_rng(SEED)
        right = data.pred_probs.argmax(axis=1) == data.true_labels
        true = np.bincount(strata.stratum_of_row, right).astype(int)
        for half in (0.02, 0.01):
            n = rows_for(strata, half)
            rows = rows_by_stratum(strata, n)
            drawn = rng.hypergeometric(true, strata.sizes - true, rows, size=(50, len(rows)))
            seen = seen_in(drawn, rows, strata.sizes, right.mean())
            plain = 1.96**2 * right.mean() * (1 - right.mean()) / half**2
            yield (
                f"{data.name}: +-{100 * half:.0f} point said to need {n:,} rows; they gave"
                f" +-{50 * (seen.high - seen.low).mean():.2f}; a plain sample needs {plain:,.0f}"
            )


if __name__ == "__main__":
    show(__file__, report(int(sys.argv[1]) if len(sys.argv) > 1 else 1000), "numpy", "scipy")
