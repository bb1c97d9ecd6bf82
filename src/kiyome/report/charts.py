"""The geometry of the drawings: numbers in, SVG coordinates out, no markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DRAWN_CELLS = 4000
PARTS = {1: 5, 1.5: 3, 2: 4, 2.5: 5, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4, 10: 5}
"""Leading digits of round numbers, and into how many even parts an axis of that length falls."""


@dataclass(frozen=True, kw_only=True)
class ClassBar:
    """How noisy the labels of one class are; `width` is the bar's share of the scale, 0 to 1."""

    name: str
    num_labels: int
    estimated: float
    flagged: float
    width: float
    mark: float


def class_bars(
    joint: NDArray[np.number], labels: NDArray[np.integer], is_issue: NDArray[np.bool_], names: Sequence[str]
) -> tuple[list[ClassBar], float]:
    """One bar for each class that was given to a row, noisiest first, and the share a full bar stands for.

    Parameters
    ----------
    joint : (K, K)
        Estimated number of rows [true, given]; a class's estimate is what its column holds off the diagonal.
    labels, is_issue : (N,)
        Given labels and the flagged rows among them.
    names : sequence of str
        K names.

    Examples
    --------
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
    """A K x K picture: one path for each tint, drawn in a square of `size` units."""

    size: int
    paths: list[tuple[int, str]]


def compact_map(joint: NDArray[np.number], num_levels: int = 7) -> CompactMap:
    """The heat map of many classes as squares without numbers: the 4,000 fullest cells off the diagonal.

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
    """How many rows score below each threshold; coordinates lie in a frame of `width` x `height` units."""

    width: int
    height: int
    all_rows: str
    flagged_rows: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    cut: tuple[float, float] | None
    all_label: tuple[float, float]
    threshold: float
    num_below: int
    num_flagged_below: int
    leaves_frame: bool
    table: list[tuple[float, int, int]]


def flagged_curve(
    quality: NDArray[np.floating], is_issue: NDArray[np.bool_], *, width: int = 400, height: int = 220
) -> Curve:
    """The two curves "rows below a threshold": of all rows, and of those that were flagged.

    A filter may look at more than the score, so the cut is marked where the lowest scores become as many as
    the flagged rows, with how many of them are flagged ones. The frame ends at three times that number:
    most rows score near one and would flatten the part that matters.

    Examples
    --------
    >>> curve = flagged_curve(np.array([0.1, 0.2, 0.3, 0.9]), np.array([True, False, True, False]))
    >>> curve.threshold, curve.num_below, curve.num_flagged_below
    (0.2, 2, 1)
    """
    ordered, flagged = np.sort(quality), np.sort(quality[is_issue])
    n, N = len(flagged), len(ordered)
    left, right = min(0.0, float(ordered.min(initial=0))), max(1.0, float(ordered.max(initial=1)))
    top = _nice_above(max(min(3 * n, N) if n else N, 1))
    xs = np.linspace(left, right, 201)

    def x(threshold: float) -> float:
        return round((threshold - left) / (right - left) * width, 1)

    def y(number: float) -> float:
        return round(height * (1 - number / top), 1)

    def path(scores: NDArray[np.floating]) -> str:
        below = np.searchsorted(scores, xs, side="right")
        return "M" + "L".join(f"{x(t)} {y(number)}" for t, number in zip(xs, below, strict=True))

    threshold = float(ordered[n - 1]) if n else left
    near_top = float(ordered[min(N, int(0.9 * top)) - 1])
    return Curve(
        width=width,
        height=height,
        all_rows=path(ordered),
        flagged_rows=path(flagged),
        x_ticks=[(x(t), f"{t:.2g}") for t in np.linspace(left, right, 6)],
        y_ticks=[(y(number), f"{number:,.0f}") for number in _ticks(top)],
        cut=(x(threshold), y(n)) if n else None,
        all_label=(max(x(near_top), 60.0), y(0.9 * top)),
        threshold=threshold,
        num_below=n,
        num_flagged_below=int((flagged <= threshold).sum()),
        leaves_frame=top < N,
        table=[
            (float(t), int((ordered <= t).sum()), int((flagged <= t).sum()))
            for t in np.linspace(left, right, 11)
        ],
    )


def _nice_above(number: float) -> float:
    """The smallest round number that is not below `number`.

    >>> _nice_above(0.07), _nice_above(0.2), _nice_above(1532)
    (0.08, 0.2, 2000.0)
    """
    power = 10.0 ** int(np.floor(np.log10(number)))
    # A billionth of slack, so that 0.2 does not become 0.25 by rounding.
    return next(round(step * power, 12) for step in PARTS if step * power >= number * (1 - 1e-9))


def _ticks(top: float) -> list[float]:
    """Even steps from 0 to a round number; whole ones, or the two ends alone.

    >>> _ticks(600.0), _ticks(1.0)
    ([0.0, 200.0, 400.0, 600.0], [0.0, 1.0])
    """
    parts = PARTS[round(top / 10.0 ** np.floor(np.log10(top)), 6)]
    parts = parts if (top / parts).is_integer() else 1
    return [top * part / parts for part in range(parts + 1)]


Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Curves in a frame of `width` x `height` units."""

    width: int
    height: int
    paths: list[tuple[str, str]]
    """Name and path of each curve."""
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    ends: list[tuple[str, float]]
    """Name and last value of each curve, for the table that stands beside."""


def line_chart(series: Mapping[str, Points], *, width: int = 400, height: int = 200) -> LineChart:
    """Curves from epoch 1 to the last, over a scale from 0 to a round number above all values.

    >>> chart = line_chart({"a": [(1, 2.0), (3, 0.5)]})
    >>> chart.paths, chart.x_ticks[-1], chart.ends
    ([('a', 'M0.0 0.0L400.0 150.0')], (400.0, '3'), [('a', 0.5)])
    """
    last = max(x for points in series.values() for x, _ in points)
    top = _nice_above(max(1e-6, *(y for points in series.values() for _, y in points)))

    def at(point: tuple[float, float]) -> str:
        x = (point[0] - 1) / max(1, last - 1) * width
        return f"{round(x, 1)} {round(height * (1 - point[1] / top), 1)}"

    step = max(1, round(last / 8))
    epochs = sorted({1, int(last), *range(step, int(last), step)})
    return LineChart(
        width=width,
        height=height,
        paths=[(name, "M" + "L".join(map(at, points))) for name, points in series.items()],
        x_ticks=[(round((epoch - 1) / max(1, last - 1) * width, 1), str(epoch)) for epoch in epochs],
        y_ticks=[(round(height * (1 - tick / top), 1), f"{tick:g}") for tick in _ticks(top)],
        ends=[(name, points[-1][1]) for name, points in series.items()],
    )
