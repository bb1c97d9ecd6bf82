"""Log loss of linear heads on noisy digits, read by softmax and by the link of the loss that trained them.

    python benchmarks/links_of_heads.py

scikit-learn's 1,797 digits of 8 x 8 pixels with 20 % class-dependent noise, 5 folds, L2 of 0.001, 3 seeds of
noise and folds. Each row is held out once; log loss and accuracy are on the noisy labels.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from kiyome.losses import SOFTMAX, link_of_loss, make_loss
from kiyome.noise.transition import class_dependent_transition, inject_label_noise
from measured import show

NUM_FOLDS, NUM_SEEDS, L2 = 5, 3, 1e-3
LOSSES: list[tuple[str, dict[str, Any]]] = [
    ("cross_entropy", {}),
    ("bi_tempered", {"t1": 0.8, "t2": 1.4}),
    ("bi_tempered", {"t1": 0.6, "t2": 2.0}),
    ("taylor_softmax", {}),
]


def report() -> Iterator[str]:
    """The lines to print."""
    digits = load_digits()
    X = torch.tensor(digits.data / 16 - 0.3)
    for loss, options in LOSSES:
        yield f"{loss} {options}; n = {len(X):,}, {NUM_SEEDS} seeds"
        links = {"softmax": SOFTMAX, "its link": link_of_loss(loss, options)}
        scores: dict[str, list[tuple[float, float]]] = {name: [] for name in links}
        for seed in range(NUM_SEEDS):
            rng = np.random.default_rng(seed)
            noise = class_dependent_transition(10, 0.2, rng)
            y = torch.tensor(inject_label_noise(digits.target.astype(np.int64), noise, rng))
            logits = out_of_fold(X, y, rng.permutation(len(X)) % NUM_FOLDS, make_loss(loss, **options))
            for name, link in links.items():
                p = link(logits)
                log_loss = -p[torch.arange(len(y)), y].log().mean()
                scores[name].append((float(log_loss), float((p.argmax(1) == y).double().mean())))
        for name, of_seeds in scores.items():
            losses, accuracies = zip(*of_seeds, strict=True)
            spread = f"{np.mean(losses):.3f} ({min(losses):.3f} to {max(losses):.3f})"
            yield f"  by {name:<9} log loss {spread}   accuracy {np.mean(accuracies):.3f}"


def out_of_fold(X: torch.Tensor, y: torch.Tensor, folds: np.ndarray, loss_fn: Any) -> torch.Tensor:
    """Logits (N, K) of rows that the head never saw."""
    logits = torch.zeros(len(X), 10, dtype=torch.float64)
    for fold in range(NUM_FOLDS):
        learned = torch.from_numpy(folds != fold)
        torch.manual_seed(0)
        head = torch.nn.Linear(X.shape[1], 10, dtype=torch.float64)
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=60, line_search_fn="strong_wolfe")

        def closure(head: torch.nn.Linear = head, rows: torch.Tensor = learned) -> torch.Tensor:
            head.zero_grad()
            penalty = L2 / 2 * head.weight.square().sum()
            loss: torch.Tensor = loss_fn(head(X[rows]), y[rows]).mean() + penalty
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            logits[~learned] = head(X[~learned])
    return logits


if __name__ == "__main__":
    show(__file__, report(), "torch")
