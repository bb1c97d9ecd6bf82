"""Eight networks as one on CIFAR-10's test photos: blends and stacks against the best single network.

    python benchmarks/blend_cifar10.py [FOLDER]

FOLDER holds cifar10_test_logits_8models.npz (jcpeterson/cifar10-human-experiments) and
cifar10_test_humans.npz (CIFAR-10H, CC BY-NC-SA 4.0). They are not part of the project.

No network was trained on these photos, so all 10,000 rows are out of fold for each of them. What is fitted
here (weights, temperatures, stacks) is fitted fold by fold on the test set's given labels: five folds, dealt
by seed 0. People's votes, 47 to 63 a photo, are never fitted on: accuracy on votes is agreement with the most
frequent one (ties: the first), expected accuracy the mean share of people who chose what the model chose, log
loss on votes the mean over people. Differences are paired with the best single network on the same rows,
which was chosen on them: that favors the network.

Then three networks of about equal worth where labels are noisy and the truth is known: out-of-fold
predictions for the 50,000 training photos on the majority labels of three people (cifar10n_out_of_fold.npz,
CIFAR-10N, CC BY-NC 4.0). Their folds are not known; what is fitted here uses a deal of its own.
"""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble import (
    blend_pred_probs,
    calibrate_pred_probs,
    correct_pred_probs,
    cross_fitted_blend,
    cross_fitted_stack,
    diversity,
)
from kiyome.ensemble.validation import softmax
from kiyome.estimates import proportion_of_rows
from kiyome.evaluation.compare import compare
from kiyome.evaluation.diagnostics import calibration_error
from kiyome.folds import assign_folds
from measured import SHARED_DATA, show

SHORT = {
    "densenet_BC_100_12": "densenet",
    "pyramidnet_basic_110_270": "pyramidnet",
    "resnet_basic_110": "resnet",
    "resnet_preact_bottleneck_164": "preact",
    "resnext_29_8x64d": "resnext",
    "shake_shake_26_2x64d_SSI_cutout16": "shake-shake",
    "vgg_15_BN_64": "vgg",
    "wrn_28_10": "wide-resnet",
}


def read(folder: Path):
    """Given labels, votes (N, K) and the networks' probabilities by name."""
    with np.load(folder / "cifar10_test_humans.npz") as people:
        labels, votes = people["label"].astype(int), people["cifar10h_counts"].astype(float)
    with np.load(folder / "cifar10_test_logits_8models.npz") as stored:
        return labels, votes, {SHORT[name]: softmax(stored[name].astype(float)) for name in stored}


def combinations(labels, members, folds) -> Iterator[tuple[str, np.ndarray]]:
    """Names and out-of-fold probabilities of what the networks are together."""
    tempered = [calibrate_pred_probs(labels, member, folds).pred_probs for member in members]
    for how in ("mean", "log", "rank"):
        yield f"blend, {how}", blend_pred_probs(members, how=how)
    yield "calibrated, then mean", blend_pred_probs(tempered)
    yield "calibrated, then log", blend_pred_probs(tempered, how="log")
    yield "blend, fitted weights", cross_fitted_blend(labels, members, folds).pred_probs
    yield "calibrated, then weights", cross_fitted_blend(labels, tempered, folds).pred_probs
    for model in ("linear", "lightgbm"):
        yield f"stack, {model}", cross_fitted_stack(labels, members, folds, model=model).pred_probs


def line(name, probs, labels, votes, best) -> str:
    """Scores, and paired differences to the best network where there is one."""
    choice, rows = probs.argmax(axis=1), np.arange(len(labels))
    people = votes / votes.sum(axis=1, keepdims=True)
    majority = votes.argmax(axis=1)
    error = calibration_error(labels, probs)
    text = (
        f"  {name:25} {proportion_of_rows(choice == labels).value:.4f} "
        f"{-floored_log(probs)[rows, labels].mean():.4f} "
        f"{error.value:.4f}   {(choice == majority).mean():.4f} {people[rows, choice].mean():.4f} "
        f"{-(people * floored_log(probs)).sum(axis=1).mean():.4f}"
    )
    if best is None:
        return text
    theirs = best.argmax(axis=1)
    on = [compare(choice == truth, theirs == truth) for truth in (labels, majority)]
    gain = people[rows, choice] - people[rows, theirs]
    half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
    return (
        f"{text}   {' | '.join(points(each) for each in on)} | {100 * gain.mean():+.2f} +- {100 * half:.2f}"
    )


def points(compared) -> str:
    d = compared.difference
    return f"{100 * d.value:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f}) {compared.verdict}"


def report(folder: Path) -> Iterator[str]:
    """The lines to print."""
    labels, votes, networks = read(folder)
    members, folds = list(networks.values()), assign_folds(labels, num_folds=5, seed=0)
    best = max(networks, key=lambda name: (networks[name].argmax(axis=1) == labels).sum())
    yield f"rows {len(labels):,}, networks {len(members)}, best single network {best}"
    yield "on given labels: accuracy, log loss, calibration error; on people: accuracy, expected, log loss"
    yield f"then points against {best}, 95 %: on given labels | on majority votes | expected accuracy"
    for name, probs in networks.items():
        yield line(name, probs, labels, votes, None)
    for name, probs in combinations(labels, members, folds):
        yield line(name, probs, labels, votes, networks[best])
    weights = cross_fitted_blend(labels, members, folds)
    yield "fitted weights for new photos, and their range over folds"
    by_fold = np.array(list(weights.weights_by_fold.values()))
    for m, name in enumerate(networks):
        yield f"  {name:12} {weights.weights[m]:.3f} ({by_fold[:, m].min():.3f} to {by_fold[:, m].max():.3f})"
    yield "diversity: same choice as the mean, then what the mean gains without it (points, log loss)"
    found = diversity(labels, members, blend=partial(blend_pred_probs, how="mean"))
    for m, name in enumerate(networks):
        yield (
            f"  {name:12} {found.agreement_with_blend[m]:.4f} "
            f"{100 * found.accuracy_gain_when_left_out[m]:+.2f} {found.log_loss_gain_when_left_out[m]:+.4f}"
        )
    pairs = np.triu_indices(len(members), 1)
    for what in ("disagreement", "error_correlation"):
        values = getattr(found, what)[pairs]
        yield f"{what} of pairs: mean {values.mean():.3f}, {values.min():.3f} to {values.max():.3f}"


def noisy_report(folder: Path) -> Iterator[str]:
    """Three networks of about equal worth on noisy labels."""
    with np.load(folder / "cifar10n_out_of_fold.npz") as stored:
        given, true = (stored[f"aggre_{which}_label"].astype(int) for which in ("given", "true"))
        networks = {
            name: stored[f"aggre_{name}_pred_probs"] for name in ("resnet18", "resnet50d", "efficientnet_b1")
        }
    members, folds = list(networks.values()), assign_folds(given, num_folds=5, seed=0)
    best = max(networks, key=lambda name: (networks[name].argmax(axis=1) == given).sum())
    yield f"CIFAR-10N, majority labels, {(given != true).mean():.3f} wrong; rows {len(given):,}, best {best}"
    yield f"accuracy on given and on true labels, points against {best}: on given | on true"

    def told(name, probs, against) -> str:
        right, theirs = (
            [each.argmax(axis=1) == truth for truth in (given, true)] for each in (probs, against)
        )
        gains = " | ".join(points(compare(a, b)) for a, b in zip(right, theirs, strict=True))
        return f"  {name:38} {right[0].mean():.4f} {right[1].mean():.4f}   {gains}"

    for name, probs in networks.items():
        yield told(name, probs, networks[best])
    for how in ("mean", "log", "rank"):
        yield told(f"blend, {how}", blend_pred_probs(members, how=how), networks[best])
    yield told("blend, fitted weights", cross_fitted_blend(given, members, folds).pred_probs, networks[best])
    yield told("stack, linear", cross_fitted_stack(given, members, folds).pred_probs, networks[best])
    yield "the error distribution on one network of given labels, against that network"
    for name, probs in networks.items():
        for direction, what in (("given", "P(given | true), twice"), ("true", "P(true | given)")):
            options = {"estimates": "given", "direction": direction, "allow_double_noise": True}
            yield told(f"{name} {what}", correct_pred_probs(given, probs, folds, **options).pred_probs, probs)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cifar10"
    show(__file__, chain(report(folder), noisy_report(folder)), "numpy", "scikit-learn", "lightgbm")
