"""The geometry of a reliability diagram: numbers in, SVG coordinates out, no markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

SIDE = 300


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """One bin: how sure, how often right, and what chance leaves open."""

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
    """Where along the x axis and the y axis, and what is written there."""


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
