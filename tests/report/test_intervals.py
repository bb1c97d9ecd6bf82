"""Where intervals and bands are drawn."""

import pytest

from kiyome.report.charts import Interval, draw_band, draw_intervals


def test_intervals_share_one_axis_from_the_lowest_end_to_the_highest() -> None:
    drawn = draw_intervals(
        [Interval(name="a", low=0.8, value=0.85, high=0.9), Interval(name="b", low=0.6, high=1.0)], mark=0.7
    )
    assert [(row.name, row.low, row.value, row.high) for row in drawn.rows] == [
        ("a", 50.0, 62.5, 75.0),
        ("b", 0.0, None, 100.0),
    ]
    assert [row.text for row in drawn.rows] == ["85.0 % (80.0 to 90.0)", "60.0 to 100.0 %"]
    assert drawn.mark == 25.0
    assert drawn.ticks[0] == (0.0, "60 %")
    assert drawn.ticks[-1] == (100.0, "100 %")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.9, 0.902), (0.5, 0.5), (0.0, 0.0004)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    ticks = draw_intervals([Interval(name="a", low=low, high=high)]).ticks
    assert len(ticks) <= 7
    assert all(0 <= x <= 100 for x, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


def test_a_band_that_is_flat_is_drawn() -> None:
    band = draw_band([(0.0, 0.9, 0.9, 0.9), (1.0, 0.9, 0.9, 0.9)], marks=[(0.5, "here")], width=100)
    assert "nan" not in band.curve + band.band
    assert band.marks == [(50.0, "here")]
