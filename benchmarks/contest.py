"""How often is the truly best submission chosen, in simulated contests with wrong labels in train and test.

    python benchmarks/contest.py

A contest: 21,400 train rows in five classes (cassava's shares), 15 % of their labels wrong; 15,000 test
rows, 8 % wrong, 31 % of them public. Photos differ in how hard they are; labels are wrong on hard photos
rather than on easy ones, and often with the class that models take as well. Five models of one contest share
their difficulties; one of them is trained on the rows that cleaning kept, and reports its score on these
rows, as in the talk. Each repeats 9 % (spread 1.5 %) of the wrong train labels and none of the test's.

    skills spread    true accuracies are normal, with a spread of 0.3 or 0.6 points, the clean one's included
    the talk's       differences of the talk's private scores: resnext, vit, efficientnet, clean and all rows
    noisy test       as 0.6 points, but 4 % of the train labels are wrong and 15 % of the test's

Choices: the public leaderboard's; the plain cross-validation's (each model's own score, the clean one's on
the rows it kept); cross-validation on all rows; its mean with the public score, weighted by rows;
`choose_submission`, to which the clean model's leak is known. Lost: points of true accuracy below the best.
Private scores: the ranges of `choose_submission`, and whether the best public one is the best private one.
"""

from collections.abc import Iterator

import numpy as np

from kiyome.estimates import proportion
from kiyome.evaluation.metrics import mean_of_rows
from kiyome.evaluation.submission import choose_submission
from measured import show

SHARES = np.array([1087, 2189, 2386, 13158, 2577]) / 21397
TRAIN, TEST, PUBLIC = 21_400, 15_000, 0.31
NOISE, NOISY_TEST = (0.15, 0.08), (0.04, 0.15)  # of train and test
REPEATS, SPREAD_OF_REPEATS = 0.09, 0.015
NAMES = ("resnext", "vit", "efficientnet", "clean rows", "all rows")
TALK = np.array([0.8916, 0.8899, 0.8921, 0.897, 0.901])
TALK_SHRINKAGE = 0.9  # of differences on labels of which 8 % are wrong, five classes
CONTESTS = 1000
WAYS = ("public leaderboard", "plain CV", "CV on all rows", "CV and public", "kiyome")


def rows_of(size: int, noise: float, accuracies: np.ndarray, repeats: np.ndarray, rng: np.random.Generator):
    """Given labels, and whether each model is right on true and on given labels (size, M)."""
    M = len(accuracies)
    truth = rng.choice(len(SHARES), size=size, p=SHARES)
    likely = (truth + rng.integers(1, len(SHARES), size=size)) % len(SHARES)  # class to be mistaken for
    hard = rng.normal(size=size)

    def mistakes(shared: float, share: np.ndarray) -> np.ndarray:
        """Errors (size, ...) of exactly these expected shares, on hard photos rather than on easy ones."""
        z = shared * hard[:, None] + np.sqrt(1 - shared**2) * rng.normal(size=(size, len(share)))
        return z > quantile(1 - share)

    def classes(wrong: np.ndarray) -> np.ndarray:
        other = (truth[:, None] + rng.integers(1, len(SHARES), size=wrong.shape)) % len(SHARES)
        as_people = rng.random(wrong.shape) < 0.6
        return np.where(wrong, np.where(as_people, likely[:, None], other), truth[:, None])

    labels = classes(mistakes(0.3, np.array([noise])))[:, 0]
    family = 0.8 * hard + 0.6 * rng.normal(size=size)  # what all models find hard, people not
    z = 0.93 * family[:, None] + np.sqrt(1 - 0.93**2) * rng.normal(size=(size, M))
    predicted = classes(z > quantile(accuracies))
    repeated = (labels != truth)[:, None] & (rng.random((size, M)) < repeats)
    predicted = np.where(repeated, labels[:, None], predicted)
    return predicted == labels[:, None]


def quantile(share: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return norm.ppf(share)


def contest(accuracies: np.ndarray, rng: np.random.Generator, noise: tuple[float, float] = NOISE):
    """The model that each way chooses, and the probabilities that kiyome states."""
    M = len(accuracies)
    repeats = rng.normal(REPEATS, SPREAD_OF_REPEATS, size=M).clip(0)
    train = rows_of(TRAIN, noise[0], accuracies, repeats, rng)
    test = rows_of(TEST, noise[1], accuracies, np.zeros(M), rng)
    n = int(PUBLIC * TEST)
    public, private, out_of_fold = test[:n].mean(axis=0), test[n:].mean(axis=0), train.mean(axis=0)
    clean, plain = NAMES.index("clean rows"), out_of_fold.copy()
    kept = train.sum(axis=1) >= 2  # a row that nearly all models contradict is flagged
    plain[clean] = train[kept, clean].mean()
    choice = choose_submission(
        dict(zip(NAMES, train.T, strict=True)),
        dict(zip(NAMES, public, strict=True)),
        num_public=n,
        num_private=TEST - n,
        leaking=["clean rows"],
    )
    expected = choice.private
    ends = np.array([(expected.scores[name].low, expected.scores[name].high) for name in NAMES])
    held = (ends[:, 0] <= private) & (private <= ends[:, 1])
    stays = expected.probability_leader_stays, private.argmax() == public.argmax()
    order = [NAMES.index(name) for name in choice.probability_best]
    stated = np.array([choice.probability_best[name] for name in NAMES])
    both = (TRAIN * out_of_fold + n * public) / (TRAIN + n)
    orders = [np.argsort(-each).tolist() for each in (public, plain, out_of_fold, both)] + [order]
    first, second = ([each[place] for each in orders] for place in (0, 1))
    return first, second, stated, len(choice.candidates), private, held, ends, public, stays


def report() -> Iterator[str]:
    """The lines to print."""
    yield f"{CONTESTS} contests a world, seeds 0 to {CONTESTS - 1}; chosen: the truly best model of five"
    talk = 0.93 + (TALK - TALK.max()) / TALK_SHRINKAGE
    worlds = (
        ("skills spread 0.3", 0.003, NOISE),
        ("skills spread 0.6", 0.006, NOISE),
        ("the talk's", None, NOISE),
        ("noisy test", 0.006, NOISY_TEST),
    )
    for world, spread, noise in worlds:
        found = []
        for seed in range(CONTESTS):
            rng = np.random.default_rng(seed)
            accuracies = talk if spread is None else rng.normal(0.925, spread, size=5).clip(0.8, 0.99)
            found.append((accuracies, *contest(accuracies, rng, noise)))
        yield from lines(world, found)


def lines(world: str, found: list) -> Iterator[str]:
    """What one world gives."""
    skills = np.array([each[0] for each in found])
    first, second, stated = (np.array([each[k] for each in found]) for k in (1, 2, 3))
    best = skills.argmax(axis=1)
    private = np.array([each[5] for each in found])
    lost = skills.max(axis=1)[:, None] - np.take_along_axis(skills, first, axis=1)
    yield f"{world}: the private winner is the truly best in {(private.argmax(axis=1) == best).mean():.3f}"
    for way, name in enumerate(WAYS):
        right = first[:, way] == best
        either = right | (second[:, way] == best)
        yield (
            f"  {name:18} chosen {proportion(int(right.sum()), len(right)).as_percent()};"
            f" one of two {100 * either.mean():.1f} %; lost {100 * lost[:, way].mean():.3f} points;"
            f" the clean rows in {100 * (first[:, way] == NAMES.index('clean rows')).mean():.1f} %"
        )
    ours = first[:, -1] == best
    for way, name in enumerate(WAYS[:-1]):
        gain = mean_of_rows(ours.astype(float) - (first[:, way] == best))
        yield (
            f"  kiyome chooses it more often than {name} by {100 * gain.value:+.1f} points of contests"
            f" ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
    covered, ends, public = (np.array([each[k] for each in found]) for k in (6, 7, 8))
    likely, stays = np.array([each[9] for each in found], dtype=float).T
    yield (
        f"  private scores lie in their ranges in {covered.mean():.3f} (95 % stated), wide"
        f" {100 * np.ptp(ends, axis=2).mean():.2f} points; private less public: standard deviation"
        f" {100 * (private - public).std():.2f} points"
    )
    yield f"  the best public one stays the best: stated {likely.mean():.3f}, it does in {stays.mean():.3f}"
    for low, high in ((0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)):
        rows = (likely >= low) & (likely < high)
        if rows.any():
            means = f"{likely[rows].mean():.2f}, does in {stays[rows].mean():.2f}"
            yield f"    stated {low:.1f} to {min(high, 1):.1f}: {means} ({rows.sum()})"
    top = stated.max(axis=1)
    held = np.mean([(stated[i] > stated[i, b]).sum() < found[i][4] for i, b in enumerate(best)])
    yield (
        f"  stated probability of the choice {top.mean():.3f}, it is the best in {ours.mean():.3f};"
        f" {np.mean([each[4] for each in found]):.1f} candidates of 5, with the best among them in {held:.3f}"
        " (95 % stated)"
    )
    for low, high in ((0, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)):
        rows = (top >= low) & (top < high)
        if rows.any():
            means = f"{top[rows].mean():.2f}, right {ours[rows].mean():.2f}"
            yield f"    stated {low:.1f} to {min(high, 1):.1f}: {means} ({rows.sum()})"


if __name__ == "__main__":
    show(__file__, report(), "numpy", "scipy")
