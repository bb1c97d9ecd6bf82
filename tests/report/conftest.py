"""Real scans with flipped labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kiyome.noise import NoiseRate
from kiyome.report import LabelFindings, Repeats


def report_from(pred_probs: np.ndarray, labels: np.ndarray, **changes: Any) -> LabelFindings:
    """A report of plain arrays: rows the model contradicts are flagged, its votes are the estimate."""
    N, K = pred_probs.shape
    suggested = pred_probs.argmax(axis=1)
    quality = pred_probs[np.arange(N), labels]
    is_issue = (suggested != labels) & (quality < 0.4)
    joint = np.zeros((K, K))
    np.add.at(joint, (np.where(is_issue, suggested, labels), labels), 1)
    rate = float(is_issue.mean())
    values = {
        "title": "photos",
        "class_names": [f"class {k}" for k in range(K)],
        "image_ids": [f"{row:05d}.jpg" for row in range(N)],
        "given_labels": labels,
        "predicted_labels": suggested,
        "label_quality": quality,
        "probability": 1 - quality,
        "probability_none": np.zeros(N),
        "is_label_issue": is_issue,
        "ranking": np.flatnonzero(is_issue)[np.argsort(quality[is_issue], kind="stable")],
        "expected_joint": joint,
        "noise_rate": NoiseRate(
            value=rate,
            low=0.9 * rate,
            high=1.1 * rate,
            confidence=0.95,
            num_rows=N,
            num_placed=N,
            method="A band.",
        ),
    }
    return LabelFindings(**(values | changes))


def random_report(num_rows: int, num_classes: int, *, flipped: float = 0.1, **changes: Any) -> LabelFindings:
    """A report whose model knows the truth well and whose labels are partly flipped."""
    rng = np.random.default_rng(0)
    true = rng.integers(num_classes, size=num_rows)
    labels = np.where(rng.random(num_rows) < flipped, rng.integers(num_classes, size=num_rows), true)
    logits = rng.normal(size=(num_rows, num_classes)) + 6 * np.eye(num_classes)[true]
    pred_probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return report_from(pred_probs, labels, **changes)


@pytest.fixture
def make_report() -> Callable[..., LabelFindings]:
    return random_report


@pytest.fixture(scope="session")
def digits_report() -> LabelFindings:
    """1,797 scans of digits, 8 % of the labels flipped, quick out-of-fold probabilities."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    digits, rng = load_digits(), np.random.default_rng(0)
    flip = rng.random(len(digits.target)) < 0.08
    labels = np.where(flip, (digits.target + rng.integers(1, 10, len(flip))) % 10, digits.target)
    model = LogisticRegression(C=0.1, max_iter=300)
    pred_probs = cross_val_predict(model, digits.data / 16, labels, cv=3, method="predict_proba")
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

    def two_labels(digit: int) -> tuple[int, int]:
        rows = np.flatnonzero(digits.target == digit)
        return int(rows[labels[rows] == digit][0]), int(rows[labels[rows] != digit][0])

    def photo(row: int) -> np.ndarray:
        scan = np.kron(255 - digits.images[row] / 16 * 255, np.ones((24, 24)))
        return np.repeat(scan[:, :, None], 3, axis=2).astype(np.uint8)

    return report_from(
        pred_probs,
        labels,
        title="digits, 8 % of the labels flipped",
        class_names=names,
        image_ids=[f"scan_{row:04d}.png" for row in range(len(labels))],
        set_aside=[
            ("scan_9001.png", "truncated: the file ends after 812 of 4,096 bytes"),
            ("notes.txt", "not an image"),
        ],
        photo_findings={"turned upright (EXIF)": 12, "grey, shown as RGB": 1797},
        duplicates=Repeats(num_groups=9, num_differing=2, pairs=[two_labels(0), two_labels(4)]),
        groups=Repeats(num_groups=40, num_differing=1, pairs=[two_labels(3)]),
        facts=[
            ("Backbone", "none, 64 pixels"),
            ("Folds", "5"),
            ("Seed", "0"),
            ("kiyome", "0.1.0"),
            ("Fingerprint", "3f9a0c55d1e27b64"),
            ("Rows", "1,797"),
        ],
        photo=photo,
    )
