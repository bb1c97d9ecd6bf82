"""Geometry of the drawings on the page of `kiyome find`: numbers in, SVG coordinates out, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DRAWN_CELLS = 4000
PARTS = {1: 5, 1.5: 3, 2: 4, 2.5: 5, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4, 10: 5}
"""Leading digits of round numbers, and into how many even parts an axis of that length falls."""


@dataclass(frozen=True, kw_only=True)
class ClassBar:
    """Label noise of one class; `width` and `mark` are shares of the scale, 0 to 1."""

    name: str
    num_labels: int
    estimated: float
    flagged: float
    width: float
    mark: float


def class_bars(
    joint: NDArray[np.number], labels: NDArray[np.integer], is_issue: NDArray[np.bool_], names: Sequence[str]
) -> tuple[list[ClassBar], float]:
    """Return one bar for each class that was given to a row, noisiest first, and the share of a full bar.

    `joint` (K, K) [true, given] is an expected number of rows: the noise of a class is the part of its column
    that is off the diagonal.

    >>> joint, labels = np.array([[8, 1], [2, 9]]), np.repeat([0, 1], 10)
    >>> bars, scale = class_bars(joint, labels, np.arange(20) < 1, ["a", "b"])
    >>> [(bar.name, bar.estimated, bar.flagged) for bar in bars], scale
    ([('a', 0.2, 0.1), ('b', 0.1, 0.0)], 0.2)
    """
    K = len(names)
    n = np.bincount(labels, minlength=K)
    flagged = np.bincount(labels, weights=is_issue, minlength=K) / np.maximum(n, 1)
    total = joint.sum(axis=0)
    estimated = (total - np.diag(joint)) / np.where(total > 0, total, 1)
    scale = _nice_above(max(float(estimated.max()), float(flagged.max()), 0.01))
    order = [k for k in np.lexsort((-flagged, -estimated)).tolist() if n[k] > 0]
    bars = [
        ClassBar(
            name=names[k],
            num_labels=int(n[k]),
            estimated=float(estimated[k]),
            flagged=float(flagged[k]),
            width=float(estimated[k]) / scale,
            mark=float(flagged[k]) / scale,
        )
        for k in order
    ]
    return bars, scale


@dataclass(frozen=True, kw_only=True)
class CompactMap:
    """A K x K picture in a square of `size` units: one path for each tint."""

    size: int
    paths: list[tuple[int, str]]


def compact_map(joint: NDArray[np.number], num_levels: int = 7) -> CompactMap:
    """Heat map of many classes as squares without numbers: the 4,000 fullest cells off the diagonal.

    >>> compact_map(np.array([[9, 0], [4, 9]])).paths
    [(7, 'M0 1h1v1h-1z')]
    """
    off = joint - np.diag(np.diag(joint))
    fullest = np.argsort(-off, axis=None, kind="stable")[:MAX_DRAWN_CELLS]
    fullest = fullest[np.rint(off.ravel()[fullest]) > 0]
    true, given = np.divmod(fullest, len(joint))
    levels = np.ceil(num_levels * np.sqrt(off[true, given] / max(off.max(), 1))).astype(int)
    paths = [
        (level, "".join(f"M{x} {y}h1v1h-1z" for x, y in zip(given[at], true[at], strict=True)))
        for level in range(1, num_levels + 1)
        if (at := levels == level).any()
    ]
    return CompactMap(size=len(joint), paths=paths)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Number of rows at or above each probability, in a frame of `width` x `height` units."""

    width: int
    height: int
    all_rows: str
    flagged_rows: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    cut: tuple[float, float] | None
    all_label: tuple[float, float]
    threshold: float
    num_above: int
    num_flagged_above: int
    leaves_frame: bool
    table: list[tuple[float, int, int]]


def flagged_curve(
    probability: NDArray[np.floating], is_issue: NDArray[np.bool_], *, width: int = 400, height: int = 220
) -> Curve:
    """Number of rows whose label is wrong with at least a probability: of all rows, and of the flagged ones.

    A filter may look at more than the probability, so the cut is marked where the most probable rows are as
    many as the flagged ones. The frame ends at three times that number: most labels are right with near
    certainty and would flatten it.

    >>> curve = flagged_curve(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
    >>> curve.threshold, curve.num_above, curve.num_flagged_above
    (0.8, 2, 1)
    """
    ordered, flagged = np.sort(probability), np.sort(probability[is_issue])
    n, N = len(flagged), len(ordered)
    top = _nice_above(max(min(3 * n, N) if n else N, 1))

    def x(threshold: float) -> float:
        return round((1 - threshold) * width, 1)

    def y(number: float) -> float:
        return round(height * (1 - number / top), 1)

    def above(values: NDArray[np.floating], threshold: float) -> int:
        return len(values) - int(np.searchsorted(values, threshold))

    def path(values: NDArray[np.floating]) -> str:
        return "M" + "L".join(f"{x(t)} {y(above(values, t))}" for t in np.linspace(1, 0, 201).tolist())

    threshold = float(ordered[N - n]) if n else 1.0
    near_top = float(ordered[N - max(1, min(N, int(0.9 * top)))])
    return Curve(
        width=width,
        height=height,
        all_rows=path(ordered),
        flagged_rows=path(flagged),
        x_ticks=[(x(t), f"{100 * t:.0f} %") for t in (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)],
        y_ticks=[(y(number), f"{number:,.0f}") for number in _ticks(top)],
        cut=(x(threshold), y(n)) if n else None,
        all_label=(max(x(near_top), 60.0), y(0.9 * top)),
        threshold=threshold,
        num_above=n,
        num_flagged_above=above(flagged, threshold),
        leaves_frame=top < N,
        table=[(t, above(ordered, t), above(flagged, t)) for t in np.linspace(1, 0, 11).tolist()],
    )


def _nice_above(number: float) -> float:
    """Return the smallest round number that is not below `number`.

    >>> _nice_above(0.07), _nice_above(0.2), _nice_above(1532)
    (0.08, 0.2, 2000.0)
    """
    power = 10.0 ** int(np.floor(np.log10(number)))
    # A billionth of slack, so that 0.2 does not become 0.25 by rounding.
    return next(round(step * power, 12) for step in PARTS if step * power >= number * (1 - 1e-9))


def _ticks(top: float) -> list[float]:
    """Return even steps from 0 to a round number; whole ones, or the two ends alone.

    >>> _ticks(600.0), _ticks(1.0)
    ([0.0, 200.0, 400.0, 600.0], [0.0, 1.0])
    """
    parts = PARTS[round(top / 10.0 ** np.floor(np.log10(top)), 6)]
    parts = parts if (top / parts).is_integer() else 1
    return [top * part / parts for part in range(parts + 1)]
