"""What the page of `kiyome find` is made from: plain arrays and values, checked when made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.report.thumbnails import Photo


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Rows that should agree: photos that show the same, or rows of one group."""

    num_groups: int
    """How many groups of two or more rows there are."""
    num_differing: int
    """How many of them carry more than one given label."""
    pairs: Sequence[tuple[int, int]] = ()
    """Pairs of rows with different labels, the ones to show first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FindReport:
    """What `kiyome find` learned about N scored rows of K classes, as plain arrays and values.

    Rows that were set aside have no score and are not among the N.

    Raises
    ------
    InputError
        When lengths differ, the joint is not K x K, or a score is not a number.
    """

    title: str
    """What was looked at, usually the folder's name."""
    class_names: Sequence[str]
    """K names, in the order of the labels."""
    image_ids: Sequence[str]
    """N ids as received."""
    given_labels: NDArray[np.integer]
    """(N,) labels as received, 0 to K-1."""
    suggested_labels: NDArray[np.integer]
    """(N,) labels the model would give, 0 to K-1."""
    label_quality: NDArray[np.floating]
    """(N,) scores, low is suspicious."""
    probability: NDArray[np.floating]
    """(N,) chances that the given label is wrong."""
    is_label_issue: NDArray[np.bool_]
    """(N,) the flagged rows."""
    ranking: NDArray[np.integer]
    """Flagged rows, most suspicious first."""
    likely_true_joint: NDArray[np.number]
    """(K, K) estimated number of rows [true, given]."""
    noise_rate: float
    """Estimated share of wrong labels."""
    noise_rate_low: float
    """Lower end of its interval."""
    noise_rate_high: float
    """Upper end of its interval."""
    noise_rate_how: str
    """One sentence: how the interval was made and what it covers."""
    set_aside: Sequence[tuple[str, str]] = ()
    """Image ids without a score, each with the reason."""
    findings: Mapping[str, int] = field(default_factory=dict)
    """Kind of finding -> number of photos."""
    duplicates: Repeats | None = None
    """Photos that show the same; None where nobody looked."""
    groups: Repeats | None = None
    """Rows of one group; None where the table has no groups."""
    facts: Sequence[tuple[str, str]] = ()
    """Names and values that let somebody make this run again."""
    photo: Photo | None = None
    """Gives a row's pixels, uint8 (H, W, 3), to several threads at once; None where there are no photos."""

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)


def _check_shapes(report: FindReport) -> None:
    N, K = len(report.image_ids), len(report.class_names)
    for name in ("given_labels", "suggested_labels", "label_quality", "probability", "is_label_issue"):
        shape = getattr(report, name).shape
        if shape != (N,):
            _refuse(f"{name} holds one value a row.", f"shape {shape} for {N} rows")
    if report.likely_true_joint.shape != (K, K):
        _refuse("likely_true_joint is K x K.", f"shape {report.likely_true_joint.shape} for {K} classes")


def _check_values(report: FindReport) -> None:
    K = len(report.class_names)
    labels = {"given_labels": report.given_labels, "suggested_labels": report.suggested_labels}
    for name, values in labels.items():
        _refuse_rows((values < 0) | (values >= K), values, f"{name} lie in 0..{K - 1}.")
    _refuse_rows(
        ~np.isfinite(report.label_quality), report.label_quality, "Every row of a report has a score."
    )
    chances = report.probability
    _refuse_rows(~((chances >= 0) & (chances <= 1)), chances, "A chance lies in 0 to 1.")
    if not np.isfinite(report.likely_true_joint).all():
        _refuse("likely_true_joint holds counts.", "a value that is not a number")
    if not np.array_equal(np.sort(report.ranking), np.flatnonzero(report.is_label_issue)):
        came = f"{len(report.ranking)} ranked, {int(report.is_label_issue.sum())} flagged"
        _refuse("ranking holds each flagged row once.", came)


def _refuse_rows(bad: NDArray[np.bool_], values: NDArray[np.generic], must: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        _refuse(must, f"{values[row]} in row {row}")


def _refuse(must: str, came: str) -> None:
    raise InputError(must, came=came, remedy="Give arrays of one run over one table.")
