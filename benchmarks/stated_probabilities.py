"""Whether stated probabilities hold, before and after, and how strong noise into few classes is ranked.

    python benchmarks/stated_probabilities.py [FOLDER]

FOLDER holds cifar10/ and mango_leaf/ as described in noise_sets.py; what is absent is left out. ELPV is the
package elpv-dataset.

"Before" takes the probabilities of a fixed sharpness of 2.5 as they are; "after" is what `find` writes.
A row counts as flagged where the mask of best expected F1 holds it. Said and true are means over the rows of
one part, with the 95 % interval of the true share (Wilson).
"""

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cleanlab.filter import find_label_issues as cleanlab_mask
from cleanlab.rank import get_label_quality_scores

from kiyome.estimates import wilson_interval
from kiyome.features import cross_fit_head, extract_features
from kiyome.folds import assign_folds
from kiyome.models import load_backbone
from kiyome.noise import inject_label_noise
from kiyome.noise.adaptive import AdaptiveFit, adaptive_mask, fit_adaptive
from kiyome.noise.noise_model import latent_transition
from kiyome.noise.noise_rate import adaptive_noise_rate
from kiyome.noise.suspicion import best_f1_mask, monotone_fit, probability_wrong
from measured import SHARED_DATA, show
from noise_quality import SCORES, average_precision, best_f1, f1
from noise_sets import LabelSet, digit_sets, human_sets, mango_sets, paper_sets

EDGES = (0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99, 1.01)
FIXED_SHARPNESS = 2.5
PHOTOS = 4000  # of CIFAR-10N and CIFAR-10H each, for features of a frozen network
MOST_ROWS = 10_000


class Stated(NamedTuple):
    """One way to state probabilities: (N,) of all rows, which are flagged, which are wrong."""

    probability: np.ndarray
    flagged: np.ndarray
    wrong: np.ndarray

    def parts(self) -> Iterator[tuple[float, float, int]]:
        """Said, true and number of the flagged rows of each part that has any."""
        for low, high in pairwise(EDGES):
            part = self.flagged & (self.probability >= low) & (self.probability < high)
            if part.any():
                yield self.probability[part].mean(), self.wrong[part].mean(), int(part.sum())

    def error(self) -> float:
        """Mean |said - true| over the parts, weighted by rows."""
        return sum(abs(said - true) * n for said, true, n in self.parts()) / max(self.flagged.sum(), 1)


def report(data: Path) -> Iterator[str]:
    for title, sets in (("people's labels", people_sets(data)), ("injected noise", injected_sets(data))):
        yield f"{title}: mean |said - true| over flagged rows; rows with 0.9 and more, share wrong; rate"
        both: dict[str, list[Stated]] = defaultdict(list)
        for noisy in sets:
            fit, wrong = fit_adaptive(noisy.labels, noisy.pred_probs), noisy.labels != noisy.true_labels
            ways = {"before": before(fit, wrong), "after": after(fit, wrong)}
            kappa = fit.model.statistics.kappa
            yield f"  {noisy.name}: N {len(wrong):,}, {wrong.mean():.3f} wrong, kappa {kappa:.2f}"
            for name, stated in ways.items():
                both[name].append(stated)
                high = stated.probability >= 0.9
                share = f"{wrong[high].mean():.2f}" if high.any() else "none"
                yield (
                    f"    {name:6}  {stated.error():.3f}   {high.sum():5} rows {share}"
                    f"   rate {stated.probability.mean():.3f}"
                )
            rate = adaptive_noise_rate(fit)
            yield f"    band    {rate.low:.3f} to {rate.high:.3f}"
        for name, many in both.items():
            yield from reliability(f"{title}, {name}", many)
    yield from lopsided(data)


def before(fit: AdaptiveFit, wrong: np.ndarray) -> Stated:
    _, right = latent_transition(fit.sample, FIXED_SHARPNESS * fit.model.power)
    probability = probability_wrong(fit.suspicion, monotone_fit(fit.sample_suspicion, 1 - right))
    return Stated(probability, best_f1_mask(fit.suspicion, probability), wrong)


def after(fit: AdaptiveFit, wrong: np.ndarray) -> Stated:
    return Stated(fit.probability, adaptive_mask(fit), wrong)


def reliability(title: str, many: list[Stated]) -> Iterator[str]:
    """Flagged rows of all sets in one table; every set counts with at most MOST_ROWS rows."""
    rng, kept = np.random.default_rng(0), []
    for stated in many:
        rows = rng.permutation(len(stated.wrong))[:MOST_ROWS]
        kept.append([column[rows] for column in stated])
    pooled = Stated(*map(np.concatenate, zip(*kept, strict=True)))
    errors = [stated.error() for stated in many]
    yield f"{title}: {len(many)} sets, mean of their errors {np.mean(errors):.3f}, worst {max(errors):.3f}"
    yield "  said  true  (95 %)           rows"
    for said, true, rows in pooled.parts():
        low, high = wilson_interval(true, rows)
        yield f"  {said:.3f} {true:.3f} ({low:.3f} to {high:.3f}) {rows:6}"


def people_sets(data: Path) -> Iterator[LabelSet]:
    cifar10 = data / "cifar10"
    if cifar10.is_dir():
        yield from human_sets(cifar10)
        yield from vote_sets(cifar10)
        yield from photo_sets(cifar10)
    yield from graded_cells()


def injected_sets(data: Path) -> Iterator[LabelSet]:
    if (data / "cifar10").is_dir():
        yield from paper_sets(data / "cifar10")
    yield from digit_sets()
    if (data / "mango_leaf").is_dir():
        yield from mango_sets(data / "mango_leaf/mango_leaf_224.npz")


def vote_sets(cifar10: Path) -> Iterator[LabelSet]:
    """One person's vote a photo (CIFAR-10H), under nine networks that never saw the votes."""
    truth, votes, (_, cross_validated) = human_votes(cifar10)
    yield LabelSet("CIFAR-10H, cross-validated network", votes, truth, cross_validated)
    with np.load(cifar10 / "cifar10_test_logits_8models.npz") as logits:
        for name in logits:
            yield LabelSet(f"CIFAR-10H, {name}", votes, truth, softmax(logits[name].astype(np.float64)))


def human_votes(cifar10: Path) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    with np.load(cifar10 / "cifar10_test_humans.npz") as stored:
        truth, counts = stored["label"].astype(int), stored["cifar10h_counts"].astype(float)
        probs = stored["pred_probs"] / stored["pred_probs"].sum(axis=1, keepdims=True)
    steps = (counts / counts.sum(axis=1, keepdims=True)).cumsum(axis=1)
    votes = (steps < np.random.default_rng(20).random((len(truth), 1))).sum(axis=1).clip(max=9)
    return truth, votes, (counts, probs)


def photo_sets(cifar10: Path) -> Iterator[LabelSet]:
    """Majority labels, labels of one person and one vote, under a head on features of a frozen network."""
    truth, votes, _ = human_votes(cifar10)
    rng = np.random.default_rng(21)
    train, test = (np.sort(rng.permutation(size)[:PHOTOS]) for size in (50_000, len(truth)))
    with np.load(cifar10 / "cifar10n_labels.npz") as stored:
        clean, majority, one = (
            stored[name].astype(int)[train] for name in ("clean_label", "aggre_label", "random_label1")
        )
    with np.load(cifar10 / "cifar10_jpeg.npz") as stored:
        features = [
            embedded(stored[f"{part}_jpeg"], stored[f"{part}_offsets"], rows)
            for part, rows in (("train", train), ("test", test))
        ]
    yield under_a_head("CIFAR-10N majority, frozen features", features[0], majority, clean)
    yield under_a_head("CIFAR-10N one person, frozen features", features[0], one, clean)
    yield under_a_head("CIFAR-10H, frozen features", features[1], votes[test], truth[test])


def graded_cells() -> Iterator[LabelSet]:
    """Solar cells, each with a label drawn from the expert's grade of 0, 1/3, 2/3 or 1."""
    try:
        import elpv_dataset.utils
    except ImportError:
        return
    from PIL import Image

    photos, grades, _ = elpv_dataset.utils.load_dataset()
    labels = (np.random.default_rng(22).random(len(grades)) < grades).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{row:04d}.png" for row in range(len(photos))]
        for path, photo in zip(paths, photos, strict=True):
            Image.fromarray(photo).save(path)
        features = extract_features(paths, load_backbone("lite0"), cache_folder=Path(folder) / "cache").values
    yield under_a_head("ELPV grades, frozen features", features, labels, (grades > 0.5).astype(int))


def embedded(jpeg: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{row:05d}.jpg" for row in rows]
        for path, row in zip(paths, rows, strict=True):
            path.write_bytes(jpeg[offsets[row] : offsets[row + 1]].tobytes())
        return extract_features(paths, load_backbone("lite0"), cache_folder=Path(folder) / "cache").values


def under_a_head(name: str, features: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> LabelSet:
    head = cross_fit_head(features, labels, assign_folds(labels), num_classes=int(labels.max()) + 1)
    return LabelSet(name, labels, truth, head.pred_probs)


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def lopsided(data: Path) -> Iterator[str]:
    """Twenty sets of 3,000 rows where 30 to 50 % of labels are wrong and flow into two or three classes."""
    if not (data / "cifar10").is_dir():
        return
    yield "strong noise into few classes: average precision less the best of cleanlab's five on each set,"
    yield "  F1 less the best cut, cleanlab's mask less it, noise rate less the truth"
    rows = []
    for noisy in lopsided_sets(data / "cifar10"):
        fit, wrong = fit_adaptive(noisy.labels, noisy.pred_probs), noisy.labels != noisy.true_labels
        theirs = max(
            average_precision(
                wrong, get_label_quality_scores(noisy.labels, noisy.pred_probs, method=m, adjust_pred_probs=a)
            )
            for m, a in SCORES.values()
        )
        cut = best_f1(wrong, -fit.suspicion)
        accuracy = (noisy.pred_probs.argmax(axis=1) == noisy.true_labels).mean()
        rows.append(
            (
                average_precision(wrong, -fit.suspicion) - theirs,
                f1(wrong, adaptive_mask(fit)) - cut,
                f1(wrong, cleanlab_mask(noisy.labels, noisy.pred_probs)) - cut,
                fit.curve.mean - wrong.mean(),
            )
        )
        yield f"  {noisy.name}: {wrong.mean():.2f} wrong, right on {accuracy:.2f}:" + "".join(
            f"  {value:+.3f}" for value in rows[-1]
        )
    ours, mask, their_mask, rate = np.array(rows).T
    yield (
        f"  mean of {len(rows)}: AP {ours.mean():+.4f}, worst {ours.min():+.3f}; F1 {mask.mean():+.3f}"
        f" (cleanlab's {their_mask.mean():+.3f}); |rate| {abs(rate).mean():.3f}"
    )


def lopsided_sets(cifar10: Path) -> Iterator[LabelSet]:
    """Networks made as weak as asked by noise in their logits, which then learn the noise of the labels."""
    truth, _, _ = human_votes(cifar10)
    with np.load(cifar10 / "cifar10_test_logits_8models.npz") as logits:
        names = sorted(logits)
        for number in range(20):
            rng = np.random.default_rng(100 + number)
            rows = rng.permutation(len(truth))[:3000]
            scores = logits[names[number % len(names)]][rows].astype(np.float64) * rng.uniform(0.2, 0.4)
            clean = softmax(scores + rng.gumbel(size=scores.shape) * rng.uniform(0.3, 0.8))
            T = into_few_classes(10, (0.3, 0.4, 0.5)[number % 3], rng)
            labels = inject_label_noise(truth[rows], T, rng)
            yield LabelSet(f"set {number}", labels, truth[rows], clean @ T)


def into_few_classes(num_classes: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """A transition matrix (K, K) whose noise flows into two or three classes; most classes stay likeliest."""
    sinks = rng.permutation(num_classes)[: rng.integers(2, 4)]
    T = np.eye(num_classes)
    for true in range(num_classes):
        others = sinks[sinks != true]
        lost = min(rate * rng.uniform(0.5, 1.7), 0.6) * (0.3 if true in sinks else 1)
        T[true, true] -= lost
        T[true, others] += lost * rng.dirichlet(np.full(len(others), 2.0))
    return T


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA
    show(__file__, report(folder), "cleanlab", "numpy", "scikit-learn")
