"""The geometry of intervals and of a curve with its band: numbers in, coordinates out, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MOST_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One share with its range; no value where only the range is known."""

    name: str
    low: float
    high: float
    value: float | None = None

    def as_percent(self) -> str:
        """Beside the drawing, for people.

        >>> Interval(name="a", low=0.8, high=1.0, value=0.9).as_percent()
        '90.0 % (80.0 to 100.0)'
        """
        ends = f"{100 * self.low:.1f} to {100 * self.high:.1f}"
        return f"{ends} %" if self.value is None else f"{100 * self.value:.1f} % ({ends})"


@dataclass(frozen=True, kw_only=True)
class DrawnInterval:
    """An interval on an axis from 0 to 100."""

    name: str
    said: str
    low: float
    high: float
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Intervals one under the other on one axis, in hundredths of its width, so that text keeps its size."""

    rows: list[DrawnInterval]
    ticks: list[tuple[float, str]]
    mark: float | None
    """Where a dashed line goes down all rows."""


def draw_intervals(intervals: Sequence[Interval], *, mark: float | None = None) -> Intervals:
    """Where each lies between the lowest and the highest end of all, and where the share `mark` does.

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
                said=each.as_percent(),
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
    """The curve through points (x, lower end, value, upper end), all shares, x from 0.

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
    """Round shares from low to high, at most seven of them.

    >>> [round(tick, 3) for tick in _round_between(0.834, 1.0)]
    [0.85, 0.9, 0.95, 1.0]
    """
    step = next((step for step in STEPS if high - low <= MOST_STEPS * step), STEPS[-1])
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [step * tick for tick in range(first, last + 1)]
