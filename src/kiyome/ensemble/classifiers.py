"""The two final estimators of a stack: fitted on features, written as text, read back, no pickle.

N rows, D features, K classes.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kiyome.ensemble.validation import Folds, Labels, Probs, held_out, log_loss, softmax
from kiyome.errors import MissingExtra

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidates for scikit-learn's C, from strong regularization to its default."""

ABSENT = -1e4
"""Score of a class without labeled rows: its probability is zero."""

MOST_ROUNDS, PATIENCE = 400, 20
TREES: dict[str, Any] = {
    "objective": "multiclass",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 20,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Small trees: the members' predictions are already close to the result."""


class Classifier(Protocol):
    """A classifier from features to probabilities."""

    def predict(self, features: Probs) -> Probs:
        """Return probabilities (N, K) of rows (N, D)."""
        ...

    def as_text(self) -> str:
        """Return a text from which `read_classifier` restores the same classifier."""
        ...


Fit = Callable[[Probs, Labels, Folds, int], Classifier]
"""A function of features (N, D), labels, folds and K; the folds select the regularization."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearClassifier:
    """Multinomial logistic regression on standardized features."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    """(D, K)."""
    intercept: NDArray[np.float64]
    """(K,)."""
    strength: float
    """C, small is strong."""

    def predict(self, features: Probs) -> Probs:
        """Return probabilities (N, K)."""
        return softmax((features - self.mean) / self.scale @ self.coefficients + self.intercept)

    def as_text(self) -> str:
        """Return JSON, exact to the last digit."""
        arrays = {name: getattr(self, name).tolist() for name in LINEAR_ARRAYS}
        return json.dumps({**arrays, "strength": self.strength})


LINEAR_ARRAYS = ("mean", "scale", "coefficients", "intercept")


@dataclass(frozen=True, kw_only=True)
class TreeClassifier:
    """Gradient-boosted trees in LightGBM's own text format."""

    text: str

    def predict(self, features: Probs) -> Probs:
        """Return probabilities (N, K)."""
        booster = _lightgbm().Booster(model_str=self.text)
        probs: Probs = np.asarray(booster.predict(features, num_threads=1), dtype=np.float64)
        return probs

    def as_text(self) -> str:
        """Return LightGBM's text of the model."""
        return self.text


def fit_linear(features: Probs, labels: Labels, folds: Folds, num_classes: int) -> LinearClassifier:
    """Return logistic regression, regularized for the least log loss on held-out folds of these rows."""
    paths = [
        _losses(features[~held], labels[~held], features[held], labels[held], num_classes)
        for _, held in held_out(folds)
    ]
    totals = [sum(losses) for losses in zip(*paths, strict=False)]  # of the strengths that all reached
    return fit_linear_at(STRENGTHS[int(np.argmin(totals))], features, labels, num_classes)


def _losses(
    features: Probs, labels: Labels, others: Probs, other_labels: Labels, num_classes: int
) -> list[float]:
    """Return the summed log loss on other rows for each strength, up to the first that gets worse."""
    losses: list[float] = []
    for fitted in _path(STRENGTHS, features, labels, num_classes):
        losses.append(len(others) * log_loss(other_labels, fitted.predict(others)))
        if losses[-1] > min(losses):
            break  # weaker regularization would overfit more, and takes longest
    return losses


def fit_linear_at(strength: float, features: Probs, labels: Labels, num_classes: int) -> LinearClassifier:
    """Return logistic regression at one regularization."""
    return next(_path([strength], features, labels, num_classes))


def _path(
    strengths: Sequence[float], features: Probs, labels: Labels, num_classes: int
) -> Iterator[LinearClassifier]:
    """Yield logistic regression at each regularization; each fit starts where the one before ended."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1  # a constant feature is left unscaled
    inputs = ((features - mean) / scale).astype(np.float32)
    head = LogisticRegression(max_iter=300, tol=1e-3, warm_start=True)
    present = np.unique(labels)
    columns = present if len(present) > 2 else present[1:]  # two classes share one column
    for strength in strengths:
        coefficients = np.zeros((features.shape[1], num_classes))
        intercept = np.full(num_classes, ABSENT)
        intercept[present] = 0
        if len(present) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits decide nothing
                head.set_params(C=strength).fit(inputs, labels)
            coefficients[:, columns], intercept[columns] = head.coef_.T, head.intercept_
        yield LinearClassifier(
            mean=mean, scale=scale, coefficients=coefficients, intercept=intercept, strength=strength
        )


def fit_trees(features: Probs, labels: Labels, folds: Folds, num_classes: int) -> TreeClassifier:
    """Return boosted trees with the rounds of least log loss on held-out folds of these rows."""
    lightgbm = _lightgbm()
    splits = [(np.flatnonzero(~held), np.flatnonzero(held)) for _, held in held_out(folds)]
    curve = lightgbm.cv(
        {**TREES, "num_class": num_classes},
        lightgbm.Dataset(features, labels, free_raw_data=False),
        MOST_ROUNDS,
        folds=splits,
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    rounds = len(curve["valid multi_logloss-mean"])
    return fit_trees_for(rounds, features, labels, num_classes)


def fit_trees_for(rounds: int, features: Probs, labels: Labels, num_classes: int) -> TreeClassifier:
    """Return boosted trees after so many rounds."""
    lightgbm = _lightgbm()
    booster = lightgbm.train(
        {**TREES, "num_class": num_classes}, lightgbm.Dataset(features, labels), num_boost_round=rounds
    )
    return TreeClassifier(text=booster.model_to_string())


def read_classifier(model: str, text: str) -> Classifier:
    """Return the classifier that `as_text` wrote.

    >>> fitted = fit_linear_at(1.0, np.array([[0.0], [1.0]]), np.array([0, 1]), 2)
    >>> read = read_classifier("linear", fitted.as_text())
    >>> bool((read.predict(np.eye(1)) == fitted.predict(np.eye(1))).all())
    True
    """
    if model == "lightgbm":
        return TreeClassifier(text=text)
    stored = json.loads(text)
    arrays = {name: np.array(stored[name], dtype=np.float64) for name in LINEAR_ARRAYS}
    return LinearClassifier(**arrays, strength=stored["strength"])


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtra('A stack with model "lightgbm"', extra="stack") from error
    return lightgbm


FINAL: dict[str, Fit] = {"linear": fit_linear, "lightgbm": fit_trees}
"""Final estimators on the members' predictions, by name."""

FLAGS: dict[str, Callable[[Probs, Labels, int], Classifier]] = {
    "linear": lambda features, labels, num_classes: fit_linear_at(0.1, features, labels, num_classes),
    "lightgbm": lambda features, labels, num_classes: fit_trees_for(60, features, labels, num_classes),
}
"""Flag classifiers by name; of fixed size, as they are fitted many times."""

MODELS: Sequence[str] = tuple(FINAL)
