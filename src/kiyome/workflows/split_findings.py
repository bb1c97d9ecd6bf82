"""Findings about the labels of each split, by models that learned from other rows. N rows, K classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.table import TRAIN, UNLABELED
from kiyome.checks import check_arrays
from kiyome.noise import NoiseRate, confident_joint, find_label_issues, posterior_of, transition_of
from kiyome.noise.adaptive import (
    ADAPTIVE,
    AdaptiveFit,
    adaptive_joint,
    adaptive_mask,
    adaptive_quality,
    fit_adaptive,
    precision_note,
    weakness_note,
)
from kiyome.noise.noise_rate import adaptive_noise_rate
from kiyome.noise.none_of_the_classes import probability_none
from kiyome.noise.rate_difference import RateDifference, noise_rate_difference
from kiyome.workflows.scored_table import ScoredTable

ENOUGH_ROWS = 200
"""Rows for a noise model or heads of their own; fewer are read by those of train."""
FEWEST_ROWS = 50
"""Of fewer, the difference of noise rates says nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitFindings:
    """Findings about the labels of one split: n rows of the table, K classes."""

    rows: NDArray[np.intp]
    """(n,) rows of the table."""
    fit: AdaptiveFit
    is_label_issue: NDArray[np.bool_]
    """(n,)"""
    label_quality: NDArray[np.float64]
    """(n,)"""
    confident_joint: NDArray[np.int64]
    """(K, K) [true, given]"""
    noise_rate: NoiseRate
    difference: RateDifference | None = None
    """Noise rate less that of train; None for train itself, with few rows, and where doubt may be noise.

    A predictor that agrees with these labels is good enough, however little it agrees with those of train.
    """

    @property
    def expected_joint(self) -> NDArray[np.float64]:
        """(K, K) [true, given] expected number of rows."""
        joint = adaptive_joint(self.fit)
        scaled: NDArray[np.float64] = joint * (len(self.rows) / joint.sum())
        return scaled

    def describe_rate(self) -> str:
        """Return the noise rate in words."""
        rate = self.noise_rate
        if self.fit.model.statistics.is_weak:
            return f"up to {rate.high:.1%} wrong"
        return f"about {rate.value:.1%} wrong ({rate.low:.1%} to {rate.high:.1%})"

    def describe_difference(self) -> str:
        """Return the noise against that of train in words."""
        difference = self.difference
        if difference is None and len(self.rows) < FEWEST_ROWS:
            return "too few rows to compare with train"
        if difference is None:
            return "too weak predictions to compare with train"
        low, high, value = (100 * each for each in (difference.low, difference.high, difference.value))
        if not difference.is_certain:
            return f"not significantly different from train: {value:+.1f} points ({low:+.1f} to {high:+.1f})"
        if difference.low == -1:
            return f"cleaner than train by at least {-high:.1f} points"
        if value < 0:
            return f"cleaner than train by {-value:.1f} points ({-high:.1f} to {-low:.1f})"
        return f"noisier than train by {value:.1f} points ({low:.1f} to {high:.1f})"

    def summary(self) -> dict[str, Any]:
        """The findings as JSON can hold them."""
        return {
            "rows": len(self.rows),
            "flagged": int(self.is_label_issue.sum()),
            "noise_rate": vars(self.noise_rate),
            "difference_to_train": None if self.difference is None else vars(self.difference),
            "confident_joint": self.confident_joint.tolist(),
            "expected_joint": self.expected_joint.tolist(),
            "transition_matrix": transition_of(self.confident_joint).tolist(),
            "posterior_matrix": posterior_of(self.confident_joint).tolist(),
        }


def find_in_splits(
    scored: ScoredTable, *, method: str, precision: float | None, seed: int
) -> dict[str, SplitFindings]:
    """Return the findings of each split that has labels, train first.

    Noise differs between splits, so each has a model of its own, if it has 200 rows or more.
    """
    table = scored.table
    found: dict[str, SplitFindings] = {}
    for name in table.splits_in_use:
        if name == UNLABELED:
            continue
        rows, train = np.flatnonzero(table.in_split(name)), found.get(TRAIN)
        labels, probs = check_arrays(table.given_labels[rows], scored.judging[rows])
        is_small = train is not None and len(rows) < ENOUGH_ROWS
        model = train.fit.model if train is not None and is_small else None
        fit = fit_adaptive(labels, probs, model=model)
        if method == ADAPTIVE:
            flagged = adaptive_mask(fit, precision=precision)
        else:
            flagged = find_label_issues(labels, probs, method=method)
        split = SplitFindings(
            rows=rows,
            fit=fit,
            is_label_issue=flagged,
            label_quality=adaptive_quality(fit),
            confident_joint=confident_joint(labels, probs),
            noise_rate=adaptive_noise_rate(fit, seed=seed),
        )
        if train is not None and len(rows) >= FEWEST_ROWS:
            own = train.fit
            if scored.before_blend is not None:
                own = fit_adaptive(
                    *check_arrays(table.given_labels[train.rows], scored.before_blend[train.rows])
                )
                model = own.model if is_small else None
            alike = fit_adaptive(labels, scored.by_one_model[rows], model=model)
            if not alike.model.statistics.is_weak:
                split = replace(split, difference=noise_rate_difference(own, alike, seed=seed))
        found[name] = split
    return found


def noise_rate_of_all(found: Mapping[str, SplitFindings]) -> NoiseRate:
    """Return the noise rate of all labeled rows; its range is as wide as if all splits erred one way."""
    rates = [split.noise_rate for split in found.values()]
    if len(rates) == 1:
        return rates[0]
    weights = [rate.num_rows for rate in rates]
    value, low, high = np.average([(each.value, each.low, each.high) for each in rates], 0, weights).tolist()
    num_placed = sum(rate.num_placed for rate in rates)
    return replace(rates[0], value=value, low=low, high=high, num_rows=sum(weights), num_placed=num_placed)


def probability_none_of_rows(scored: ScoredTable) -> NDArray[np.float64]:
    """Return the probability (N,) that each photo shows none of the classes.

    Rows outside train are seen from train; train rows see nothing of them.
    """
    table, probs = scored.table, scored.predictions.pred_probs
    labels = np.where(table.is_labeled, table.given_labels, probs.argmax(axis=1))
    folds = np.arange(len(table)) % 5 if table.folds is None else table.folds.astype(np.intp)
    if table.splits is None:
        return probability_none(labels, probs, features=scored.features, folds=table.folds)
    train = np.flatnonzero(table.in_split(TRAIN))
    none = np.zeros(len(table))
    for name in table.splits_in_use:
        own = np.flatnonzero(table.in_split(name))
        rows = own if name == TRAIN else np.concatenate([train, own])
        none[own] = probability_none(
            labels[rows],
            probs[rows],
            features=None if scored.features is None else scored.features[rows],
            folds=np.where(table.in_split(TRAIN), folds, -1)[rows],
        )[-len(own) :]
    return none


def notes_of_splits(
    found: Mapping[str, SplitFindings], precision: float | None, *, can_cross_fit: bool
) -> list[str]:
    """Return warnings about predictors that are too weak, with the split where there are several."""
    notes = []
    fits_train = TRAIN in found and not found[TRAIN].fit.model.statistics.is_weak
    for name, split in found.items():
        warnings = (weakness_note(split.fit), None if precision is None else precision_note(split.fit))
        prefix = f"{name}: " if len(found) > 1 else ""
        notes += [f"{prefix}{warning}" for warning in warnings if warning]
        fits_train_alone = fits_train and split.fit.model.statistics.is_weak
        if fits_train_alone and can_cross_fit and len(split.rows) >= ENOUGH_ROWS:
            notes.append(
                f"{name}: if its photos differ from those of train, heads of its own judge its labels better:"
                f" --cross-fit {name}"
            )
    return notes
