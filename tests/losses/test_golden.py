"""Every loss equals plain loops over Python floats. Run as a script, this file writes their numbers."""

import json
from math import exp, inf, log
from pathlib import Path

import pytest
import torch

from kiyome.losses import LOSSES, make_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.json"
T = [[0.7, 0.2, 0.0, 0.1], [0.05, 0.9, 0.05, 0.0], [0.3, 0.3, 0.4, 0.0], [0.0, 0.0, 0.02, 0.98]]
LOGITS = [
    [-0.5, 0.1, 2.0, 0.0],
    [0.1, 1.5, -5.0, 1.5],
    [4.0, -3.0, -6.0, 1.0],
    [30.0, -40.0, 0.0, 0.0],
    [0.0] * 4,
]
LABELS = [0, 1, 2, 1, 3]
SHARES = [[0.2, 0.3, 0.5, 0.0], [0.6, 0.3, 0.1, 0.0], [0.2, 0.8, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.25] * 4]


def softmax(z):
    sizes = [exp(value - max(z)) for value in z]
    return [size / sum(sizes) for size in sizes]


def log_softmax(z):
    total = log(sum(exp(value - max(z)) for value in z))
    return [value - max(z) - total for value in z]


def smoothed(y, eps):
    return [(1 - eps) * share + eps / len(y) for share in y]


def cross_entropy(z, y, label_smoothing=0.0):
    return -sum(s * v for s, v in zip(smoothed(y, label_smoothing), log_softmax(z), strict=True))


def mean_over_classes(loss_of_class, z, y):
    return sum(share * loss_of_class(z, k) for k, share in enumerate(y) if share)


def generalized_cross_entropy(z, y, q=0.7):
    return mean_over_classes(lambda z, k: (1 - softmax(z)[k] ** q) / q, z, y)


def mean_absolute_error(z, y):
    return mean_over_classes(lambda z, k: sum(abs(p - (j == k)) for j, p in enumerate(softmax(z))) / 2, z, y)


def reverse_cross_entropy(z, y):
    return -sum(p * log(max(share, 1e-4)) for p, share in zip(softmax(z), y, strict=True))


def symmetric_cross_entropy(z, y, alpha=0.1, beta=1.0):
    return alpha * cross_entropy(z, y) + beta * reverse_cross_entropy(z, y)


def normalized(loss_of_class, z, y):
    return mean_over_classes(loss_of_class, z, y) / sum(loss_of_class(z, k) for k in range(len(z)))


def focal_of_class(z, k, gamma=2.0):
    return (1 - softmax(z)[k]) ** gamma * -log_softmax(z)[k]


def normalized_cross_entropy(z, y):
    return normalized(lambda z, k: -log_softmax(z)[k], z, y)


def normalized_focal(z, y, gamma=2.0):
    return normalized(lambda z, k: focal_of_class(z, k, gamma), z, y)


def active_passive(z, y, active="normalized_cross_entropy", passive="reverse_cross_entropy", **weights):
    raising, lowering = PLAIN[active](z, y), PLAIN[passive](z, y)
    return weights.get("active_weight", 1) * raising + weights.get("passive_weight", 1) * lowering


def taylor_cross_entropy(z, y, order=2):
    return mean_over_classes(
        lambda z, k: sum((1 - softmax(z)[k]) ** i / i for i in range(1, order + 1)), z, y
    )


def taylor_softmax(z, y, order=2, label_smoothing=0.0):
    sizes = []
    for value in z:
        term = size = 1.0
        for k in range(1, order + 1):
            term *= value / k
            size += term
        sizes.append(size)
    y = smoothed(y, label_smoothing)
    return -sum(share * log(size / sum(sizes)) for share, size in zip(y, sizes, strict=True))


def log_t(x, t):
    return log(x) if t == 1 else (x ** (1 - t) - 1) / (1 - t)


def exp_t(x, t):
    if t == 1:
        return exp(x)
    base = 1 + (1 - t) * x
    if base > 0:
        return base ** (1 / (1 - t))
    return 0.0 if t < 1 else inf


def tempered_softmax(z, t):
    low, high = 0.0, 1.0
    z = [value - max(z) for value in z]
    while sum(exp_t(value - high, t) for value in z) > 1:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(exp_t(value - middle, t) for value in z) > 1 else (low, middle)
    return [exp_t(value - high, t) for value in z]


def bi_tempered(z, y, t1=0.8, t2=1.4, label_smoothing=0.0):
    total = 0.0
    for share, p in zip(smoothed(y, label_smoothing), tempered_softmax(z, t2), strict=True):
        total += share * (log_t(share, t1) - log_t(p, t1)) if share else 0.0
        total -= (share ** (2 - t1) - p ** (2 - t1)) / (2 - t1)
    return total


def forward_correction(z, y, transition_matrix):
    p, total = softmax(z), 0.0
    for given, share in enumerate(y):
        seen = sum(p[true] * transition_matrix[true][given] for true in range(len(z)))
        total -= share * log(seen) if share else 0.0
    return total


def backward_correction(z, y, transition_matrix):
    """Solve T x = losses by elimination: x[given] is the corrected loss."""
    rows = [[*row, -value] for row, value in zip(transition_matrix, log_softmax(z), strict=True)]
    for i in range(len(rows)):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [b - rows[j][i] * a for a, b in zip(rows[i], rows[j], strict=True)]
    return sum(share * row[-1] for share, row in zip(y, rows, strict=True))


def bootstrap(z, y, given_share=0.95, hard=False):
    p = [float(k == max(range(len(z)), key=z.__getitem__)) for k in range(len(z))] if hard else softmax(z)
    return given_share * cross_entropy(z, y) + (1 - given_share) * cross_entropy(z, p)


def confidence_regularized(z, y, beta=2.0):
    return cross_entropy(z, y) + beta * sum(log_softmax(z)) / len(z)


PLAIN = {
    "active_passive": active_passive,
    "backward_correction": backward_correction,
    "bi_tempered": bi_tempered,
    "bootstrap": bootstrap,
    "confidence_regularized": confidence_regularized,
    "cross_entropy": cross_entropy,
    "focal": lambda z, y, gamma=2.0: mean_over_classes(lambda z, k: focal_of_class(z, k, gamma), z, y),
    "forward_correction": forward_correction,
    "generalized_cross_entropy": generalized_cross_entropy,
    "mean_absolute_error": mean_absolute_error,
    "normalized_cross_entropy": normalized_cross_entropy,
    "normalized_focal": normalized_focal,
    "reverse_cross_entropy": reverse_cross_entropy,
    "symmetric_cross_entropy": symmetric_cross_entropy,
    "taylor_cross_entropy": taylor_cross_entropy,
    "taylor_softmax": taylor_softmax,
}
CASES = [
    *((name, {}) for name in PLAIN if not name.endswith("correction")),
    ("forward_correction", {"transition_matrix": T}),
    ("backward_correction", {"transition_matrix": T}),
    ("cross_entropy", {"label_smoothing": 0.2}),
    ("generalized_cross_entropy", {"q": 0.3}),
    ("symmetric_cross_entropy", {"alpha": 6.0, "beta": 0.1}),
    ("active_passive", {"passive": "mean_absolute_error", "active_weight": 10.0, "passive_weight": 1.0}),
    ("active_passive", {"active": "normalized_focal", "passive_weight": 0.1}),
    ("taylor_cross_entropy", {"order": 6}),
    ("taylor_softmax", {"order": 4, "label_smoothing": 0.2}),
    ("taylor_softmax", {"order": 6}),
    ("bi_tempered", {"t1": 0.5, "t2": 0.8}),
    ("bi_tempered", {"t1": 0.5, "t2": 4.0, "label_smoothing": 0.1}),
    ("bi_tempered", {"t1": 1.0, "t2": 1.0}),
    ("bi_tempered", {"t1": 1.0, "t2": 1.3}),
    ("bi_tempered", {"t1": 0.0, "t2": 1.0}),
    ("bootstrap", {"given_share": 0.8, "hard": True}),
    ("focal", {"gamma": 0.0}),
]


def golden_cases():
    one_hot = [[float(k == label) for k in range(4)] for label in LABELS]
    for name, options in CASES:
        values = {
            kind: [
                float(f"{PLAIN[name](z, y, **options):.12g}") for z, y in zip(LOGITS, targets, strict=True)
            ]
            for kind, targets in (("hard", one_hot), ("soft", SHARES))
        }
        yield {"loss": name, "options": options, **values}


def case_id(case):
    return case["loss"] + "".join(f" {k}={v}" for k, v in case["options"].items() if k != "transition_matrix")


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text()) if GOLDEN.exists() else [], ids=case_id)
def test_every_loss_equals_the_plain_loop(case):
    loss_fn = make_loss(case["loss"], **case["options"])
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    hard, soft = torch.tensor(LABELS), torch.tensor(SHARES, dtype=torch.float64)
    assert loss_fn(logits, hard).tolist() == pytest.approx(case["hard"], rel=1e-9, abs=1e-11)
    assert loss_fn(logits, soft).tolist() == pytest.approx(case["soft"], rel=1e-9, abs=1e-11)
    assert loss_fn(logits.float(), hard).tolist() == pytest.approx(case["hard"], rel=2e-5, abs=2e-6)


def test_the_golden_file_is_what_the_plain_loops_say():
    for stored, computed in zip(json.loads(GOLDEN.read_text()), golden_cases(), strict=True):
        assert stored["options"] == computed["options"]
        assert stored["hard"] == pytest.approx(computed["hard"], rel=1e-9, abs=1e-11)
        assert stored["soft"] == pytest.approx(computed["soft"], rel=1e-9, abs=1e-11)


def test_the_golden_file_holds_every_loss_without_a_memory():
    assert {case["loss"] for case in json.loads(GOLDEN.read_text())} == set(LOSSES) - {"early_learning"}


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(case) for case in golden_cases())
    GOLDEN.write_text(f"[\n{lines}\n]\n")
