"""Whether the audited difference of two models holds the truth, and what it saves over plain ways.

    python benchmarks/audit_difference.py [REPEATS]

Pairs, in both orders: three networks on CIFAR-10N's majority labels (out of fold), and eight networks on
CIFAR-10's test photos with one person's vote as label; near-equal ones, where the second is the first moved a
little toward a third; and the first with guesses turned round, the worst that guesses can be. Each audit is
drawn for the first of the pair, again and again (400 times if not said; of eight networks a quarter of that).
Beside the standard error stands that of the weighted mean of the checked rows alone (Horvitz-Thompson), of
its ratio form (Hajek), and of a plain sample of as many rows.
"""

import sys
from collections.abc import Iterator
from itertools import permutations
from typing import NamedTuple

import numpy as np

from kiyome.evaluation.audit import CheckedSample
from kiyome.evaluation.audit_design import Strata, draw_from, strata_of
from kiyome.evaluation.audited_difference import difference_estimate, expected_difference
from measured import SHARED_DATA, show
from noise_sets import human_sets

NUM_ROWS = (100, 200, 300, 500)
NEAR = (0.05, 0.2)
"""How far the second of a near-equal pair is moved toward another network."""


class Pair(NamedTuple):
    """Two models on rows whose truth is known."""

    labels: np.ndarray
    truth: np.ndarray
    first: np.ndarray
    second: np.ndarray


class Seen(NamedTuple):
    """Of one pair and n."""

    error: np.ndarray
    half: np.ndarray
    weighted: float
    ratio: float
    plain: float
    difference: float
    differing: float


def report(repeats: int) -> Iterator[str]:
    """The lines to print."""
    cifar10 = SHARED_DATA / "cifar10"
    if not cifar10.is_dir():
        yield "no CIFAR-10N here"
        return
    people = [
        Pair(sets[0].labels, sets[0].true_labels, a.pred_probs, b.pred_probs)
        for sets in [list(human_sets(cifar10))]
        for a, b in permutations(sets, 2)
    ]
    votes = list(voted_pairs(cifar10))
    near = [
        pair._replace(second=(1 - step) * pair.first + step * pair.second)
        for step in NEAR
        for pair in (*people, *votes[::7])
    ]
    kinds = {
        "people's majority labels": (people, repeats, False),
        "one person's vote": (votes, max(repeats // 4, 50), False),
        "near-equal": (near, max(repeats // 2, 50), False),
        "people's, guesses turned round": (people, repeats, True),
        "one vote, guesses turned round": (votes, max(repeats // 4, 50), True),
    }
    for name, (pairs, draws, turned) in kinds.items():
        yield f"{name}: {len(pairs)} pairs, {draws} audits each"
        for n in NUM_ROWS:
            rng = np.random.default_rng(n)
            yield in_words(n, [seen_in(pair, n, draws, rng, turned=turned) for pair in pairs])


def voted_pairs(cifar10) -> Iterator[Pair]:
    """Eight networks by twos, and a vote drawn for each photo."""
    with np.load(cifar10 / "cifar10_test_humans.npz") as people:
        truth, votes = people["label"].astype(int), people["cifar10h_counts"].astype(float)
    steps = votes.cumsum(axis=1) / votes.sum(axis=1, keepdims=True)
    labels = (steps > np.random.default_rng(0).random((len(votes), 1))).argmax(axis=1)
    with np.load(cifar10 / "cifar10_test_logits_8models.npz") as stored:
        scores = [np.exp(stored[name] - stored[name].max(axis=1, keepdims=True)) for name in stored]
    networks = [each / each.sum(axis=1, keepdims=True) for each in scores]
    for first, second in permutations(networks, 2):
        yield Pair(labels, truth, first, second)


def seen_in(pair: Pair, n: int, draws: int, rng: np.random.Generator, *, turned: bool) -> Seen:
    """Audits of one pair, drawn again and again."""
    labels, truth, first, second = pair
    one, two = first.argmax(axis=1), second.argmax(axis=1)
    d = (one == truth).astype(float) - (two == truth)
    guess, differ = expected_difference(labels, first, second)
    guess = -guess if turned else guess
    strata, found = strata_of(labels, first), []
    for _ in range(draws):
        design = draw_from(strata, n, seed=int(rng.integers(2**32)))
        drawn = CheckedSample.of(design, design.rows)
        found.append(difference_estimate(drawn, d[drawn.rows], guess, differ))
    value, error = np.array(found).T
    most = differ.mean()
    return Seen(
        error=value - d.mean(),
        half=np.minimum(1.96 * error, most + np.abs(value)),
        weighted=weighted_error(d, strata, n),
        ratio=weighted_error(d - differ * d[differ].mean() if most else d, strata, n),
        plain=float(d.std() / np.sqrt(n)),
        difference=float(d.mean()),
        differing=float(most),
    )


def weighted_error(d: np.ndarray, strata: Strata, n: int) -> float:
    """The standard error of the weighted mean over such draws: exact, as all rows are known."""
    drawn = draw_from(strata, n).rows_drawn
    mean = np.bincount(strata.stratum_of_row, d) / strata.sizes
    spread = np.bincount(strata.stratum_of_row, d * d) / strata.sizes - mean**2
    return float(np.sqrt((strata.sizes**2 * (1 - drawn / strata.sizes) * spread / drawn).sum()) / len(d))


def in_words(n: int, seen: list[Seen]) -> str:
    covered = np.array([(np.abs(each.error) <= each.half).mean() for each in seen])
    errors = np.array([each.error.std() for each in seen])
    bias = np.array(
        [each.error.mean() / max(each.error.std() / np.sqrt(len(each.error)), 1e-12) for each in seen]
    )
    width = 2 * np.mean([each.half.mean() for each in seen])
    beside = {
        name: np.mean([getattr(each, name) for each in seen]) for name in ("weighted", "ratio", "plain")
    }
    size = np.mean([abs(each.difference) for each in seen])
    return (
        f"  n = {n}: differ on {np.mean([each.differing for each in seen]):.1%}, by {100 * size:.2f} points;"
        f" covers {covered.mean():.1%} (pairs {covered.min():.1%} to {covered.max():.1%}), width"
        f" {100 * width:.2f}; bias / its error {bias.mean():+.2f} (sd {bias.std():.2f}); se"
        f" {100 * errors.mean():.2f}, weighted mean {100 * beside['weighted']:.2f}, ratio"
        f" {100 * beside['ratio']:.2f}, plain sample {100 * beside['plain']:.2f}"
    )


if __name__ == "__main__":
    show(__file__, report(int(sys.argv[1]) if len(sys.argv) > 1 else 400), "numpy")
