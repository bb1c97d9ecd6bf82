"""What the leak of global cleaning and global soft labels is worth, with linear heads on frozen features.

    python benchmarks/leak_of_heads.py WORK [NUM_SEEDS]

1,600 mango leaves a seed (MangoLeafBD, labels near clean), 200 principal components of EfficientNet-Lite0's
features, folds that keep groups together. Labels get 20 % class-dependent noise; or they are shuffled, so
that nothing can be learned and every point above chance (0.125) is a leak. A head (softmax regression) is
fitted on all rows; on the rows that are not flagged; on targets softened 0.7 to 0.3. Flags and soft parts
come from heads that know nothing of the held-out fold (nested), or from out-of-fold predictions of the whole
table (global). Two strengths of L2: heads that fit noise, and heads that do so less. Scores are of all rows,
each held out; differences are paired by seed. 20 seeds if none are named.
"""

import sys
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
import torch

import kiyome
from kiyome.features import extract_features
from kiyome.folds import assign_folds
from kiyome.models import load_backbone
from kiyome.noise.transition import class_dependent_transition, inject_label_noise
from kiyome.training.nested import hard_targets, soften
from mango_find import unpack
from measured import SHARED_DATA, show

NUM_CLASSES, NUM_PHOTOS, NUM_COMPONENTS, NOISE_RATE = 8, 1600, 200, 0.2
STRENGTHS = (0.001, 0.03)
FORMS = ("all rows", "clean, nested", "clean, global", "soft, nested", "soft, global")
Shares = np.ndarray


def report(work: Path, num_seeds: int) -> Iterator[str]:
    """The lines to print."""
    source = SHARED_DATA / "mango_leaf/mango_leaf_224.npz"
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "images").is_dir():
        unpack(source, work / "images")
    with np.load(source) as stored:
        true_labels, groups = stored["label"].astype(np.int64), stored["group"]
    paths = sorted((work / "images").glob("*.jpg"))
    values = extract_features(paths, load_backbone("lite0"), cache_folder=work / "cache").values
    features = _components(np.asarray(values, np.float32))
    for l2, num_folds, noise in product(STRENGTHS, (3, 5), ("class-dependent noise", "shuffled labels")):
        runs = [
            one_seed(features, true_labels, groups, noise=noise, num_folds=num_folds, l2=l2, seed=seed)
            for seed in range(num_seeds)
        ]
        given, true = np.array(runs).transpose(2, 1, 0)  # each [form, seed]
        yield f"L2 {l2}, {num_folds} folds, {noise}; n = {num_seeds} seeds of {NUM_PHOTOS:,} photos"
        for form, on_given, on_true in zip(FORMS, given, true, strict=True):
            yield f"  {form:<14} given {_mean(on_given)}   true {_mean(on_true)}"
        for nested in (1, 3):
            word = FORMS[nested].split(",")[0]
            on_given, on_true = (each[nested + 1] - each[nested] for each in (given, true))
            yield f"  {word}: global less nested, given {_mean(on_given)}   true {_mean(on_true)}"


def one_seed(
    all_features: torch.Tensor,
    all_true_labels: np.ndarray,
    all_groups: np.ndarray,
    *,
    noise: str,
    num_folds: int,
    l2: float,
    seed: int,
) -> list[tuple[float, float]]:
    """Accuracy of each form on given and on true labels."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(all_true_labels))[:NUM_PHOTOS])
    features, true_labels, groups = all_features[rows], all_true_labels[rows], all_groups[rows]
    labels = (
        rng.permutation(true_labels)
        if noise == "shuffled labels"
        else inject_label_noise(true_labels, class_dependent_transition(NUM_CLASSES, NOISE_RATE, rng), rng)
    )
    folds = assign_folds(labels, num_folds=num_folds, groups=groups, seed=seed)
    targets = hard_targets(labels, NUM_CLASSES)
    plain = np.zeros_like(targets)
    for fold in range(num_folds):
        plain[folds == fold] = _head(features, l2, targets, folds != fold)[folds == fold]
    pairs = {
        pair: _head(features, l2, targets, ~np.isin(folds, pair))
        for pair in combinations(range(num_folds), 2)
    }
    out_of_fold = {form: np.zeros_like(targets) for form in FORMS}
    out_of_fold["all rows"] = plain
    flagged = kiyome.find_label_issues(labels, plain)
    for fold in range(num_folds):
        own, outside = folds == fold, folds != fold
        nested = np.zeros_like(targets)
        for other in set(range(num_folds)) - {fold}:
            nested[folds == other] = pairs[min(fold, other), max(fold, other)][folds == other]
        kept = outside.copy()
        kept[outside] = ~kiyome.find_label_issues(labels[outside], nested[outside])
        learned = {
            "clean, nested": (targets, kept),
            "clean, global": (targets, outside & ~flagged),
            "soft, nested": (soften(targets, nested), outside),
            "soft, global": (soften(targets, plain), outside),
        }
        for form, (aims, rows) in learned.items():
            out_of_fold[form][own] = _head(features, l2, aims, rows)[own]
    guesses = [out_of_fold[form].argmax(axis=1) for form in FORMS]
    return [(float((g == labels).mean()), float((g == true_labels).mean())) for g in guesses]


def _head(features: torch.Tensor, l2: float, targets: Shares, rows: np.ndarray) -> Shares:
    """Probabilities (N, K) of a softmax regression that is fitted on some rows."""
    x, y = features[rows], torch.from_numpy(targets[rows])
    weights = torch.zeros(features.shape[1] + 1, NUM_CLASSES, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = x @ weights[:-1] + weights[-1]
        value = torch.nn.functional.cross_entropy(logits, y) + l2 * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return (features @ weights[:-1] + weights[-1]).softmax(1).numpy()


def _components(values: np.ndarray) -> torch.Tensor:
    """Whitened principal components (N, D) of the standardized features."""
    scaled = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-6)
    left = np.linalg.svd(scaled, full_matrices=False)[0][:, :NUM_COMPONENTS]
    return torch.from_numpy(np.ascontiguousarray(left * np.sqrt(len(values)), np.float32))


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():+.4f} se {values.std(ddof=1) / np.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    show(__file__, report(Path(sys.argv[1]), int((sys.argv[2:] or ["20"])[0])), "torch", "openvino")
