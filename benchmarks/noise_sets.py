"""Label sets whose truth is known, for the benchmarks of noise: five that people shared, and own injections.

The five: majority labels of CIFAR-10N with out-of-fold predictions of three networks (people's errors), and
two injections of the Confident Learning paper. Own: scikit-learn's digits by their raw pixels, and photos of
mango leaves by features of a frozen efficientnet_lite0; out-of-fold logistic regression on both.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kiyome.features import cross_fit_head, extract_features
from kiyome.folds import assign_folds
from kiyome.models import load_backbone
from kiyome.noise import class_dependent_transition, inject_label_noise

MEMBERS = ("resnet18", "resnet50d", "efficientnet_b1")


class LabelSet(NamedTuple):
    """Given labels, the truth, and out-of-fold probabilities."""

    name: str
    labels: np.ndarray
    true_labels: np.ndarray
    pred_probs: np.ndarray


def every_set(data: Path) -> Iterator[LabelSet]:
    """The five shared sets where they lie, then the own injections."""
    cifar10 = data / "cifar10"
    if cifar10.is_dir():
        yield from human_sets(cifar10)
        yield from paper_sets(cifar10)
    yield from digit_sets()
    if (data / "mango_leaf").is_dir():
        yield from mango_sets(data / "mango_leaf/mango_leaf_224.npz")


def human_sets(cifar10: Path) -> Iterator[LabelSet]:
    with np.load(cifar10 / "cifar10n_out_of_fold.npz") as stored:
        labels, truth = (stored[f"aggre_{kind}_label"].astype(int) for kind in ("given", "true"))
        for member in MEMBERS:
            yield LabelSet(f"people, {member}", labels, truth, stored[f"aggre_{member}_pred_probs"])


def paper_sets(cifar10: Path) -> Iterator[LabelSet]:
    with np.load(cifar10 / "confident_learning_paper.npz") as stored:
        truth = stored["true_label"].astype(int)
        for name in ("noise2_sparsity4", "noise4_sparsity2"):
            probs = stored[f"{name}_pred_probs"].astype(np.float32)
            # stored in half precision, whose rows miss one by more than float32 may
            probs /= probs.sum(axis=1, keepdims=True)
            yield LabelSet(f"paper, {name}", stored[f"{name}_given_label"].astype(int), truth, probs)


def digit_sets() -> Iterator[LabelSet]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    features, truth = digits.data.astype(np.float32), digits.target.astype(int)
    yield from injected("digits", features, truth, np.arange(len(truth)))


def mango_sets(source: Path) -> Iterator[LabelSet]:
    with np.load(source) as stored, tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{row:04d}.jpg" for row in range(len(stored["label"]))]
        photos = np.split(stored["jpeg"], stored["offsets"][1:-1])
        for path, photo in zip(paths, photos, strict=True):
            path.write_bytes(photo.tobytes())
        features = extract_features(paths, load_backbone("lite0"), cache_folder=Path(folder) / "cache").values
        yield from injected("mango", features, stored["label"].astype(int), stored["group"])


def injected(name: str, features: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> Iterator[LabelSet]:
    """Four kinds of noise, 20 % each but the first, under predictions fitted on the noisy labels."""
    K = truth.max() + 1
    rng = np.random.default_rng(20)
    uniform = np.full((K, K), 0.2 / (K - 1)) + (0.8 - 0.2 / (K - 1)) * np.eye(K)
    kinds = {
        "by class, 5 %": lambda: inject_label_noise(truth, class_dependent_transition(K, 0.05, rng), rng),
        "by class, 20 %": lambda: inject_label_noise(truth, class_dependent_transition(K, 0.2, rng), rng),
        "uniform, 20 %": lambda: inject_label_noise(truth, uniform, rng),
        "by photo, 20 %": lambda: where_a_weak_model_doubts(features, truth, groups, 0.2, rng),
    }
    for kind, inject in kinds.items():
        labels = inject()
        yield LabelSet(f"{name}, {kind}", labels, truth, out_of_fold(features, labels, groups))


def where_a_weak_model_doubts(
    features: np.ndarray, truth: np.ndarray, groups: np.ndarray, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Labels, wrong in proportion to the doubt of a model of few features, and as it would confuse them."""
    few = rng.permutation(features.shape[1])[: max(8, features.shape[1] // 50)]
    doubt = out_of_fold(features[:, few], truth, groups).astype(np.float64)
    rows = np.arange(len(truth))
    chances = 1 - doubt[rows, truth]
    doubt[rows, truth] = 0
    steps = doubt.cumsum(axis=1)
    other = (steps < rng.random((len(rows), 1)) * steps[:, -1:]).sum(axis=1).clip(max=steps.shape[1] - 1)
    wrong = rng.random(len(rows)) < np.minimum(chances * rate / chances.mean(), 0.9)
    return np.where(wrong, other, truth)


def out_of_fold(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    folds = assign_folds(labels, groups=groups)
    return cross_fit_head(features, labels, folds, num_classes=labels.max() + 1).pred_probs
