import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kiyome.report.charts import LABEL_HEIGHT, line_chart
from kiyome.report.find_charts import (
    MAX_DRAWN_CELLS,
    _nice_above,
    _ticks,
    class_bars,
    compact_map,
    flagged_curve,
)

scores = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


def test_class_bars_equal_a_plain_count() -> None:
    rng = np.random.default_rng(0)
    labels, is_issue, joint = rng.integers(4, size=500), rng.random(500) < 0.2, rng.integers(0, 50, (4, 4))
    bars, scale = class_bars(joint, labels, is_issue, list("abcd"))
    assert [bar.estimated for bar in bars] == sorted((bar.estimated for bar in bars), reverse=True)
    for bar in bars:
        k = "abcd".index(bar.name)
        rows = [row for row in range(500) if labels[row] == k]
        wrong = sum(joint[true, k] for true in range(4) if true != k)
        assert bar.num_labels == len(rows)
        assert bar.flagged == pytest.approx(sum(is_issue[row] for row in rows) / len(rows))
        assert bar.estimated == pytest.approx(wrong / joint[:, k].sum())
        assert 0 <= bar.width <= 1
        assert bar.width * scale == pytest.approx(bar.estimated)


def test_a_class_that_no_row_was_given_has_no_bar() -> None:
    bars, _ = class_bars(np.diag([3, 0]), np.zeros(3, int), np.zeros(3, bool), ["seen", "unseen"])
    assert [bar.name for bar in bars] == ["seen"]


def test_the_compact_map_draws_the_fullest_cells_off_the_diagonal() -> None:
    joint = np.random.default_rng(0).integers(0, 9, (100, 100))
    drawn = [
        (int(y), int(x), level)
        for level, path in compact_map(joint).paths
        for x, y in re.findall(r"M(\d+) (\d+)h", path)
    ]
    assert len(drawn) == MAX_DRAWN_CELLS
    assert all(true != given for true, given, _ in drawn)
    rest = {(t, g) for t in range(100) for g in range(100) if t != g} - {(t, g) for t, g, _ in drawn}
    assert min(joint[t, g] for t, g, _ in drawn) >= max(joint[cell] for cell in rest)
    assert {level for t, g, level in drawn if joint[t, g] == joint.max() and t != g} == {7}


def test_a_clean_joint_draws_nothing() -> None:
    assert compact_map(np.diag(np.arange(40))).paths == []


@given(scores, st.data())
@settings(derandomize=True, deadline=None)
def test_the_curve_counts_rows_at_or_above_each_probability(wrong: np.ndarray, data: st.DataObject) -> None:
    is_issue = data.draw(arrays(np.bool_, len(wrong)))
    curve = flagged_curve(wrong, is_issue)
    for threshold, rows, flagged in curve.table:
        assert rows == sum(p >= threshold for p in wrong)
        assert flagged == sum(p >= threshold for p, issue in zip(wrong, is_issue, strict=True) if issue)
    assert curve.table[-1][1:] == (len(wrong), is_issue.sum())
    assert (curve.cut is None) == (not is_issue.any())
    if curve.cut:
        assert curve.threshold == sorted(wrong, reverse=True)[is_issue.sum() - 1]
        assert 0 <= curve.cut[0] <= curve.width
        assert 0 <= curve.cut[1] <= curve.height


def test_the_drawn_curve_ends_at_every_row_when_the_frame_holds_them() -> None:
    curve = flagged_curve(np.linspace(0, 1, 50), np.zeros(50, bool))
    assert not curve.leaves_frame
    assert curve.all_rows.endswith(f"L{curve.width}.0 0.0")
    assert [text for _, text in curve.x_ticks] == ["100 %", "80 %", "60 %", "40 %", "20 %", "0 %"]
    assert curve.y_ticks == [
        (220.0, "0"),
        (176.0, "10"),
        (132.0, "20"),
        (88.0, "30"),
        (44.0, "40"),
        (0.0, "50"),
    ]


@pytest.mark.parametrize(
    ("values", "ends"), [([1.92, 1.99], (1.92, 2.0)), ([0.13, 0.41], (0.1, 0.5)), ([0.5, 0.5], (0.4, 0.6))]
)
def test_the_scale_of_a_chart_just_holds_its_values(values: list[float], ends: tuple[float, float]) -> None:
    """An axis that always starts at zero hides a curve that falls from 1.99 to 1.92."""
    chart = line_chart({"a": list(enumerate(values, start=1))})
    texts = [float(text) for _, text in chart.y_ticks]
    assert (texts[0], texts[-1]) == ends


def test_each_line_of_a_chart_has_its_name_beside_it() -> None:
    chart = line_chart({f"fold {k}": [(1, 2.0), (2, 1.0)] for k in range(5)})
    heights = [line.label_y for line in chart.lines]
    assert None not in heights
    assert min(np.diff(sorted(heights))) >= LABEL_HEIGHT  # type: ignore[type-var]
    assert all(0 <= height <= chart.height for height in heights if height is not None)


@given(st.floats(1e-6, 1e9))
@settings(derandomize=True, deadline=None)
def test_round_numbers_are_close_above_and_have_even_ticks(number: float) -> None:
    top = _nice_above(number)
    assert number * (1 - 1e-6) <= top <= 1.6 * number
    ticks = _ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] == pytest.approx(top)
    assert np.allclose(np.diff(ticks), ticks[1])
