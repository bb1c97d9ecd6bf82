"""The geometry of curves over epochs: numbers in, SVG coordinates out, no markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kiyome.report.charts import _nice_above, _ticks

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
