"""Geometry of lines, intervals and bands: numbers in, SVG coordinates out, no markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

Points = Sequence[tuple[float, float]]
LABEL_HEIGHT = 11
"""Least distance of names in a chart."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve and its name, which stands beside the end."""

    name: str
    path: str
    end: tuple[float, float]
    label_y: float | None
    """None where there is no room for the name."""
    last: float
    """Last value."""


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """Curves in a frame of `width` x `height` units."""

    width: int
    height: int
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]


def line_chart(series: Mapping[str, Points], *, width: int = 400, height: int = 200) -> LineChart:
    """Curves from epoch 1 to the last, on a scale that just holds all values.

    >>> chart = line_chart({"a": [(1, 2.0), (3, 1.9)]})
    >>> chart.lines[0].path, chart.x_ticks[-1], chart.y_ticks[0], chart.y_ticks[-1]
    ('M0.0 0.0L400.0 200.0', (400.0, '3'), (200.0, '1.9'), (0.0, '2'))
    """
    last = max(x for points in series.values() for x, _ in points)
    values = [y for points in series.values() for _, y in points]
    scale = _scale(min(values), max(values))
    bottom, span = scale[0], scale[-1] - scale[0]

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = (point[0] - 1) / max(1, last - 1) * width
        return round(x, 1), round(height * (1 - (point[1] - bottom) / span), 1)

    ends = {name: at(points[-1]) for name, points in series.items()}
    labels = spread_labels({name: y for name, (_, y) in ends.items()}, height)
    step = max(1, round(last / 8))
    epochs = sorted({1, int(last), *range(step, int(last), step)})
    return LineChart(
        width=width,
        height=height,
        lines=[
            Line(
                name=name,
                path="M" + "L".join("{} {}".format(*at(point)) for point in points),
                end=ends[name],
                label_y=labels.get(name),
                last=points[-1][1],
            )
            for name, points in series.items()
        ],
        x_ticks=[(at((epoch, bottom))[0], str(epoch)) for epoch in epochs],
        y_ticks=[(at((1, tick))[1], f"{tick:g}") for tick in scale],
    )


def _scale(low: float, high: float) -> list[float]:
    """Return even round steps from at most `low` to at least `high`.

    >>> _scale(1.92, 2.0), _scale(0.13, 0.41), _scale(0.5, 0.5)
    ([1.92, 1.94, 1.96, 1.98, 2.0], [0.1, 0.2, 0.3, 0.4, 0.5], [0.4, 0.45, 0.5, 0.55, 0.6])
    """
    if high - low < 1e-9:
        low, high = low - max(0.1, 0.1 * abs(low)), high + max(0.1, 0.1 * abs(high))
    power = 10.0 ** floor(log10((high - low) / 5))
    step = next(part * power for part in (1, 2, 5, 10) if part * power >= (high - low) / 5)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(step * tick, 9) for tick in range(first, last + 1)]


def spread_labels(heights: Mapping[str, float], height: float) -> dict[str, float]:
    """Return where names stand: near their own heights, `LABEL_HEIGHT` apart; those without room are absent.

    >>> spread_labels({"a": 50.0, "b": 52.0}, 100)
    {'a': 50.0, 'b': 61.0}
    >>> len(spread_labels({str(n): 5.0 for n in range(100)}, 100))
    10
    """
    room = int(height // LABEL_HEIGHT) + 1
    names = sorted(heights, key=lambda name: heights[name])
    if len(names) > room:
        names = [names[round(at * (len(names) - 1) / (room - 1))] for at in range(room)]
    placed: dict[str, float] = {}
    lowest = float("-inf")
    for rank, name in enumerate(names):
        highest = height - LABEL_HEIGHT * (len(names) - 1 - rank)  # leaves room for those below
        lowest = max(lowest + LABEL_HEIGHT, min(heights[name], highest))
        placed[name] = lowest
    return placed


STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MOST_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A proportion with its range; no value where only the range is known."""

    name: str
    low: float
    high: float
    value: float | None = None

    def as_percent(self) -> str:
        """Return the text beside the drawing.

        >>> Interval(name="a", low=0.8, high=1.0, value=0.9).as_percent()
        '90.0 % (80.0 to 100.0)'
        """
        ends = f"{100 * self.low:.1f} to {100 * self.high:.1f}"
        return f"{ends} %" if self.value is None else f"{100 * self.value:.1f} % ({ends})"


@dataclass(frozen=True, kw_only=True)
class DrawnInterval:
    """An interval on an axis from 0 to 100."""

    name: str
    text: str
    low: float
    high: float
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals one under the other on one axis, in hundredths of its width, so that text keeps its size."""

    rows: list[DrawnInterval]
    ticks: list[tuple[float, str]]
    mark: float | None
    """Position of a dashed line through all rows."""


def draw_intervals(intervals: Sequence[Interval], *, mark: float | None = None) -> Intervals:
    """Positions of intervals and of `mark` between the lowest and the highest end of all.

    >>> drawn = draw_intervals([Interval(name="a", low=0.8, high=1.0, value=0.9)], mark=0.85)
    >>> drawn.rows[0].low, drawn.rows[0].value, drawn.rows[0].high, drawn.mark, drawn.ticks[0]
    (0.0, 50.0, 100.0, 25.0, (0.0, '80 %'))
    """
    low, high = min(each.low for each in intervals), max(each.high for each in intervals)
    span = max(high - low, 1e-6)

    def x(share: float) -> float:
        return round((share - low) / span * 100, 1)

    return Intervals(
        rows=[
            DrawnInterval(
                name=each.name,
                text=each.as_percent(),
                low=x(each.low),
                high=x(each.high),
                value=None if each.value is None else x(each.value),
            )
            for each in intervals
        ],
        ticks=[(x(tick), f"{100 * tick:.3g} %") for tick in _round_between(low, high)],
        mark=None if mark is None else x(mark),
    )


@dataclass(frozen=True, kw_only=True)
class Band:
    """A curve and its band, with marks along the x axis."""

    width: int
    height: int
    curve: str
    band: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: list[tuple[float, str]]


def draw_band(
    points: Sequence[tuple[float, float, float, float]],
    *,
    marks: Sequence[tuple[float, str]] = (),
    width: int = 400,
    height: int = 220,
) -> Band:
    """Curve through points (x, lower end, value, upper end), all shares, x from 0.

    >>> band = draw_band([(0.0, 0.8, 0.9, 1.0), (1.0, 0.8, 0.8, 0.8)], width=100, height=100)
    >>> band.curve, band.band
    ('M0.0 50.0L100.0 100.0', 'M0.0 100.0L100.0 100.0L100.0 100.0L0.0 0.0Z')
    """
    right = max(point[0] for point in points)
    low, high = min(point[1] for point in points), max(point[3] for point in points)
    span = max(high - low, 1e-6)

    def at(x: float, share: float) -> str:
        return f"{round(x / right * width, 1)} {round(height * (1 - (share - low) / span), 1)}"

    around = [at(p[0], p[1]) for p in points] + [at(p[0], p[3]) for p in reversed(points)]
    return Band(
        width=width,
        height=height,
        curve="M" + "L".join(at(p[0], p[2]) for p in points),
        band="M" + "L".join(around) + "Z",
        x_ticks=[(round(x / right * width, 1), f"{100 * x:.0f} %") for x in _round_between(0, right)],
        y_ticks=[
            (round(height * (1 - (y - low) / span), 1), f"{100 * y:.1f} %") for y in _round_between(low, high)
        ],
        marks=[(round(x / right * width, 1), name) for x, name in marks],
    )


def _round_between(low: float, high: float) -> list[float]:
    """Return round shares from low to high, at most seven of them.

    >>> [round(tick, 3) for tick in _round_between(0.834, 1.0)]
    [0.85, 0.9, 0.95, 1.0]
    """
    step = next((step for step in STEPS if high - low <= MOST_STEPS * step), STEPS[-1])
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [step * tick for tick in range(first, last + 1)]


SIDE = 300


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One bin: mean confidence, accuracy and its 95 % interval."""

    confidence: float
    accuracy: float
    low: float
    high: float
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class ReliabilityChart:
    """Curves in a square of `side` units, whose diagonal is perfect calibration."""

    side: int
    curves: list[tuple[str, str, str]]
    """Name, path through the bins, and path of the intervals."""
    ticks: list[tuple[float, float, str]]
    """Positions on the x axis and the y axis, and the text."""


def reliability_chart(curves: Mapping[str, Sequence[Reliability]], *, side: int = SIDE) -> ReliabilityChart:
    """Accuracy over confidence, both from the tenth below the least value to one.

    >>> bins = [Reliability(confidence=c, accuracy=c, low=c, high=1.0, num_rows=9) for c in (0.5, 1.0)]
    >>> reliability_chart({"run": bins}, side=100).curves
    [('run', 'M0.0 100.0L100.0 0.0', 'M0.0 100.0V0.0M100.0 0.0V0.0')]
    """
    bins = [each for curve in curves.values() for each in curve]
    least = floor(10 * min([0.9, *(min(each.confidence, each.low) for each in bins)]) + 1e-9) / 10

    def x(value: float) -> float:
        return round((value - least) / (1 - least) * side, 1)

    def y(value: float) -> float:
        return round(side - x(value), 1)

    def through(curve: Sequence[Reliability]) -> str:
        return "M" + "L".join(f"{x(each.confidence)} {y(each.accuracy)}" for each in curve)

    def intervals(curve: Sequence[Reliability]) -> str:
        return "".join(f"M{x(each.confidence)} {y(each.low)}V{y(each.high)}" for each in curve)

    steps = round(10 * (1 - least))
    values = [least + (1 - least) * step / steps for step in range(steps + 1)]
    return ReliabilityChart(
        side=side,
        curves=[(name, through(curve), intervals(curve)) for name, curve in curves.items()],
        ticks=[(x(value), y(value), f"{value:.1f}") for value in values],
    )
