"""What `find` found about the labels of N rows of K classes, as its page takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import NO_LABEL, NONE_CUT
from kiyome.errors import InputError
from kiyome.noise import NoiseRate
from kiyome.report.render import Photo


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Counts of rows that should agree: photos that show the same, or rows of one group."""

    num_groups: int
    """Groups of two or more rows."""
    num_differing: int
    """Groups with more than one given label."""
    pairs: Sequence[tuple[int, int]] = ()
    """Pairs of rows with different labels, the ones to show first."""


@dataclass(frozen=True, kw_only=True)
class SplitLine:
    """One split of the table as the page shows it."""

    name: str
    num_rows: int
    flagged: int | None
    """None for rows without labels."""
    noise: str
    """Share of wrong labels, with its range."""
    difference: str
    """Noise against that of train."""
    sentences: Sequence[str] = ()
    """Whether it looks like train; the first is the advice."""
    expected_joint: NDArray[np.number] | None = None
    """(K, K) [true, given] expected number of its rows; None for rows without labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelFindings:
    """Findings about the labels of N rows of K classes, and what a page shows beside them.

    Rows that were set aside have no score and are not among the N.
    """

    title: str
    """Name of the data."""
    class_names: Sequence[str]
    """K names, in the order of the labels."""
    image_ids: Sequence[str]
    """N ids as received."""
    given_labels: NDArray[np.integer]
    """(N,) labels as received, 0 to K-1; -1 for a row without one, which has no quality or probability."""
    predicted_labels: NDArray[np.integer]
    """(N,) likeliest class of each row."""
    label_quality: NDArray[np.floating]
    """(N,) 0 to 1, low is suspicious."""
    probability: NDArray[np.floating]
    """(N,) probability that the given label is wrong."""
    probability_none: NDArray[np.floating]
    """(N,) probability that the photo shows none of the classes."""
    is_label_issue: NDArray[np.bool_]
    """(N,) rows that are flagged."""
    ranking: NDArray[np.integer]
    """Flagged rows first, the most suspicious at the head; other rows may follow."""
    expected_joint: NDArray[np.number]
    """(K, K) [true, given] expected number of rows."""
    noise_rate: NoiseRate
    set_aside: Sequence[tuple[str, str]] = ()
    """Image ids without a score, each with the reason."""
    photo_findings: Mapping[str, int] = field(default_factory=dict)
    """Kind of finding -> number of photos."""
    duplicates: Repeats | None = None
    """Photos that show the same; None where nobody looked."""
    groups: Repeats | None = None
    """Rows of one group; None where the table has no groups."""
    split_names: Sequence[str] = ()
    """N splits of the rows; empty where all are train."""
    splits: Sequence[SplitLine] = ()
    """The splits, train first; empty where all rows are train."""
    facts: Sequence[tuple[str, str]] = ()
    """Names and values that let somebody repeat this run."""
    doubt_hides_errors: bool = False
    """Whether doubt and errors cannot be told apart: then ranks are shown, no probabilities."""
    photo: Photo | None = None
    """Pixels of a row, uint8 (H, W, 3), callable from several threads; None where there are no photos."""

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @property
    def is_labeled(self) -> NDArray[np.bool_]:
        """(N,) rows that have a given label."""
        labeled: NDArray[np.bool_] = self.given_labels != NO_LABEL
        return labeled

    @property
    def shows_none(self) -> NDArray[np.bool_]:
        """(N,) labeled rows that probably show none of the classes."""
        return (self.probability_none > NONE_CUT) & self.is_labeled

    @property
    def num_issues(self) -> int:
        """Number of flagged rows."""
        return int(self.is_label_issue.sum())

    @property
    def flagged_ranking(self) -> NDArray[np.integer]:
        """The flagged rows, the most suspicious first."""
        return self.ranking[: self.num_issues]


PROBABILITIES = ("probability", "probability_none")


def _check_shapes(found: LabelFindings) -> None:
    N, K = len(found.image_ids), len(found.class_names)
    names = ("given_labels", "predicted_labels", "label_quality", "is_label_issue", *PROBABILITIES)
    for name in names:
        _require_shape(name, getattr(found, name), (N,))
    _require_shape("expected_joint", found.expected_joint, (K, K))


def _check_values(found: LabelFindings) -> None:
    K = len(found.class_names)
    given, predicted, no_label = found.given_labels, found.predicted_labels, ~found.is_labeled
    _require_all("given_labels", given, no_label | ((given >= 0) & (given < K)), f"labels from 0 to {K - 1}")
    _require_all(
        "predicted_labels", predicted, (predicted >= 0) & (predicted < K), f"labels from 0 to {K - 1}"
    )
    quality, joint = found.label_quality, found.expected_joint
    _require_all("label_quality", quality, no_label | np.isfinite(quality), "a finite score of each row")
    for name in PROBABILITIES:
        values = getattr(found, name)
        is_missing = no_label & np.isnan(values)
        _require_all(name, values, is_missing | ((values >= 0) & (values <= 1)), "values from 0 to 1")
    _require_all("expected_joint", joint.ravel(), np.isfinite(joint).ravel(), "finite counts")
    if not np.array_equal(np.sort(found.flagged_ranking), np.flatnonzero(found.is_label_issue)):
        _refuse("ranking does not begin with the flagged rows", "each flagged row once, before all others")


def _require_shape(name: str, values: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        _refuse(f"{name} has the shape {values.shape}", f"the shape {shape}")


def _require_all(name: str, values: NDArray[np.generic], good: NDArray[np.bool_], expected: str) -> None:
    if not good.all():
        row = int(good.argmin())
        _refuse(f"{name} is {values[row]} in row {row}", expected)


def _refuse(problem: str, expected: str) -> None:
    raise InputError(
        f"{problem}.", expected=f"Expected {expected}.", remedy="Give arrays of one run over one table."
    )
