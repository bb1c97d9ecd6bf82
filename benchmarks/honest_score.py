"""What accuracy under noise gets right and wrong: by simulation, on real networks, and of pairs of networks.

    python benchmarks/honest_score.py [FOLDER]

FOLDER holds cifar10n_out_of_fold.npz (CIFAR-10N, CC BY-NC 4.0), confident_learning_paper.npz (benchmark files
of cgnorthcutt), cifar10_test_logits_8models.npz (jcpeterson/cifar10-human-experiments) and
cifar10_test_humans.npz (CIFAR-10H, CC BY-NC-SA 4.0). They are not part of the project.

1. Networks whose truth is known and not shown, 10,000 rows each: people's labels and injected ones. `repeats`
   is the share of wrong labels that would have to be repeated for the known matrix to meet the truth.
2. Eight networks on CIFAR-10's test photos, judged on 1,000 rows whose label is one person's vote: 200 draws
   of rows and votes. A verdict is wrong if its sign is not that of all 10,000 test labels.
3. Simulation: noise by class, predictions that err apart from it, n = 1,000, 60 draws. The matrix known, its
   share measured on 300 labels, or the matrix estimated from the predictions.
"""

import sys
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from kiyome.estimates import proportion
from kiyome.evaluation.compare import compare
from kiyome.evaluation.compare_many import compare_many
from kiyome.evaluation.noisy_labels import accuracy_under_noise
from kiyome.noise import class_dependent_transition, inject_label_noise, simulate_pred_probs
from measured import SHARED_DATA, show
from noise_sets import human_sets, paper_sets

ROWS, DRAWS, PAIR_DRAWS, PAIR_ROWS = 10_000, 60, 200, 1000
SETTINGS = ((3, 0.9, 0.1), (10, 0.95, 0.1), (10, 0.8, 0.2))


def simulated() -> Iterator[str]:
    """Bias and coverage where model and labels err apart."""
    yield f"3. simulated, n = 1,000, {DRAWS} draws"
    for K, accuracy, rate in SETTINGS:
        found = {"known": [], "measured": [], "estimated": []}
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            truth, T = rng.integers(K, size=1000), class_dependent_transition(K, rate, rng)
            labels = inject_label_noise(truth, T, rng)
            probs = simulate_pred_probs(truth, K, rng, accuracy=accuracy)
            wrong = proportion(int(rng.binomial(300, (labels != truth).mean())), 300)
            options = {"known": {"transition_matrix": T}, "measured": {"measured": wrong}, "estimated": {}}
            for how, each in options.items():
                found[how].append(accuracy_under_noise(labels, probs, seed=seed, **each))
        for how, results in found.items():
            apart = [each.estimated_true_accuracy for each in results]
            errors = np.array([each.value - accuracy for each in apart])
            yield (
                f"  K {K:2}, accuracy {accuracy}, noise {rate}, matrix {how:9}"
                f" covers {np.mean([holds(each, accuracy) for each in apart]):.2f},"
                f" plausible {np.mean([holds(each.plausible, accuracy) for each in results]):.2f},"
                f" bias {100 * errors.mean():+.2f} +- {100 * errors.std(ddof=1) / np.sqrt(DRAWS):.2f} points,"
                f" width {100 * np.mean([each.high - each.low for each in apart]):.1f}"
            )


def holds(between, value: float) -> bool:
    return between.low <= value <= between.high


def networks(folder: Path) -> Iterator[str]:
    """What the estimate says of networks whose truth is known."""
    yield f"1. networks, n = {ROWS:,}: truth; on given labels; noise rate, true and estimated; if errors are"
    yield "   apart, matrix known and estimated; plausible; whatever the mistakes; repeats"
    rng = np.random.default_rng(0)
    for name, *arrays in chain(human_sets(folder), voted_sets(folder, rng), paper_sets(folder)):
        rows = rng.choice(len(arrays[0]), size=ROWS, replace=False)
        labels, truth, probs = (each[rows] for each in arrays)
        choice, K = probs.argmax(axis=1), probs.shape[1]
        right, joint = (choice == truth).mean(), np.zeros((K, K))
        np.add.at(joint, (truth, labels), 1)
        T = joint / joint.sum(axis=1, keepdims=True)
        known = accuracy_under_noise(labels, probs, transition_matrix=T)
        found = accuracy_under_noise(labels, probs)
        curve = [(each.true_accuracy.value, each.repeats) for each in reversed(known.sensitivity)]
        rate, apart = found.noise_rate, found.estimated_true_accuracy
        yield (
            f"  {name:24} {right:.4f}; {(choice == labels).mean():.4f};"
            f" {(labels != truth).mean():.3f}, {rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f});"
            f" {known.estimated_true_accuracy.value:.4f},"
            f" {apart.value:.4f} ({apart.low:.4f} to {apart.high:.4f});"
            f" {found.plausible.as_percent()} {'holds' if holds(found.plausible, right) else 'MISSES'};"
            f" {found.bounds.as_percent()} {'holds' if holds(found.bounds, right) else 'MISSES'};"
            f" {np.interp(right, *zip(*curve, strict=True)):.3f}"
        )


def eight(folder: Path):
    """Given labels, votes (N, K) and the networks' logits by name."""
    with np.load(folder / "cifar10_test_humans.npz") as people:
        labels, votes = people["label"].astype(int), people["cifar10h_counts"].astype(float)
    with np.load(folder / "cifar10_test_logits_8models.npz") as stored:
        return labels, votes, {name: stored[name].astype(np.float64) for name in stored}


def one_vote(votes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    steps = votes.cumsum(axis=1)
    return (steps <= rng.random((len(votes), 1)) * steps[:, -1:]).sum(axis=1)


def voted_sets(folder: Path, rng: np.random.Generator):
    """The best and the worst of eight networks; labels are one person's vote."""
    labels, votes, networks = eight(folder)
    by_right = sorted(networks, key=lambda name: (networks[name].argmax(axis=1) == labels).sum())
    for name in (by_right[0], by_right[-1]):
        odds = np.exp(networks[name] - networks[name].max(axis=1, keepdims=True))
        yield f"one vote, {name[:13]}", one_vote(votes, rng), labels, odds / odds.sum(axis=1, keepdims=True)


def pairs(folder: Path) -> Iterator[str]:
    """Which of eight networks can be told apart on 1,000 noisy rows, and how often that is right."""
    labels, votes, networks = eight(folder)
    choices = {name: each.argmax(axis=1) for name, each in networks.items()}
    right = {name: float((each == labels).mean()) for name, each in choices.items()}
    rng, curse = np.random.default_rng(0), []
    told = {pair: [] for pair in combinations(networks, 2)}
    jointly = {pair: [] for pair in told}
    for seed in range(PAIR_DRAWS):
        rows = rng.choice(len(labels), size=PAIR_ROWS, replace=False)
        given = one_vote(votes[rows], rng)
        rights = {name: each[rows] == given for name, each in choices.items()}
        many, everywhere = compare_many(rights, seed=seed), one_vote(votes, rng)
        curse.append((many, (choices[many.best] == everywhere).mean()))
        for a, b in told:
            sign = {"better": 1, "worse": -1, "cannot tell": 0}
            told[a, b].append(sign[compare(rights[a], rights[b]).verdict])
            ahead = many.pairs.get((a, b))
            jointly[a, b].append(sign[ahead.verdict] if ahead else -sign[many.pairs[b, a].verdict])
    off = (one_vote(votes, rng) != labels).mean()
    yield f"2. eight networks, {PAIR_ROWS:,} rows, one vote a row ({off:.3f} differ), {PAIR_DRAWS} draws"
    for name, value in sorted(right.items(), key=lambda each: -each[1]):
        yield f"  {name:36} {value:.4f} of all 10,000 test labels"
    yield "  pairs by true difference: share told apart, wrong of them; the same, all pairs at once"
    for low, high in ((0, 0.3), (0.3, 0.6), (0.6, 1), (1, 2), (2, 5)):
        chosen = [pair for pair in told if low <= 100 * abs(right[pair[0]] - right[pair[1]]) < high]
        if chosen:
            apart, at_once = (tally(verdicts, chosen, right) for verdicts in (told, jointly))
            yield f"    {low:.1f} to {high:.1f} points, {len(chosen):2} pairs: {apart}; {at_once}"
    lost = np.array([many.scores[many.best].value - later for many, later in curse])
    left = np.array([many.best_corrected.value - later for many, later in curse])
    error, covered = lost.std(ddof=1) / np.sqrt(len(lost)), [holds(m.best_corrected, v) for m, v in curse]
    expected = np.mean([many.optimism for many, _ in curse])
    yield (
        f"  the best of eight loses {100 * lost.mean():.2f} +- {100 * error:.2f} points on all rows; expected"
        f" {100 * expected:.2f}; left {100 * left.mean():+.2f}; interval covers {np.mean(covered):.2f}"
    )


def tally(verdicts, chosen, right) -> str:
    signs = np.array([verdicts[pair] for pair in chosen])
    truth = np.sign([right[a] - right[b] for a, b in chosen])[:, np.newaxis]
    return f"{(signs != 0).mean():.3f}, {int((signs * truth < 0).sum())} of {int((signs != 0).sum())}"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cifar10"
    show(__file__, chain(networks(folder), pairs(folder), simulated()), "numpy", "scipy")
