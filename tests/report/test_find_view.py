from collections.abc import Callable

import numpy as np
import pytest

from kiyome.report import LabelFindings, Repeats
from kiyome.report.find_report import (
    MAX_CELLS,
    MAX_IN_CELL,
    MAX_THUMBNAILS,
    MAX_TOP,
    build_page,
    issues_by_cell,
    matrix_cells,
    rows_to_show,
)

Make = Callable[..., LabelFindings]


def test_cells_hold_each_flagged_row_once_in_order(make_report: Make) -> None:
    report = make_report(3000, 6)
    cells = issues_by_cell(report)
    plain: dict[tuple[int, int], list[int]] = {}
    for row in report.ranking:
        key = (int(report.predicted_labels[row]), int(report.given_labels[row]))
        plain.setdefault(key, []).append(int(row))
    assert {(one.true, one.given): one.rows for one in cells} == plain
    assert [len(one.rows) for one in cells] == sorted((len(one.rows) for one in cells), reverse=True)


def test_a_row_whose_label_the_model_shares_is_in_no_cell(make_report: Make) -> None:
    report = make_report(3, 2, flipped=0)
    same = {"is_label_issue": np.array([True, False, False]), "ranking": np.array([0])}
    shared = LabelFindings(**{name: getattr(report, name) for name in report.__dataclass_fields__} | same)
    assert issues_by_cell(shared) == []
    card = build_page(shared, [], {})["top"][0].cards[0]
    assert card.same
    assert card.given == card.suggested


@pytest.mark.parametrize("num_classes", [2, 5, 30, 100])
def test_the_photos_shown_are_the_top_the_pairs_and_some_of_every_cell(
    make_report: Make, num_classes: int
) -> None:
    report = make_report(
        20_000, num_classes, duplicates=Repeats(num_groups=1, num_differing=1, pairs=[(7, 9)])
    )
    cells = issues_by_cell(report)
    rows = rows_to_show(report, cells)
    assert rows[:MAX_TOP] == report.ranking[:MAX_TOP].tolist()
    assert {7, 9} <= set(rows)
    assert len(rows) == len(set(rows)) <= MAX_THUMBNAILS
    assert all(set(one.rows) & set(rows) for one in cells[:MAX_CELLS])


def test_the_matrix_reads_true_down_and_given_across(make_report: Make) -> None:
    report = make_report(2000, 3, class_names=["a", "b", "c"])
    cells = issues_by_cell(report)
    matrix = matrix_cells(report.expected_joint, ["a", "b", "c"], cells)
    at = matrix[2][0]
    assert at.text == f"{report.expected_joint[2, 0]:,.0f}"
    assert at.anchor == "cell-2-0"
    assert at.label.startswith("given a, likely c: about ")
    assert [matrix[k][k].diagonal for k in range(3)] == [True] * 3
    off = [matrix[t][g] for t in range(3) for g in range(3) if t != g]
    assert max(cell.level for cell in off) == 7
    counts = [report.expected_joint[t, g] for t in range(3) for g in range(3) if t != g]
    assert [
        cell.level for _, cell in sorted(zip(counts, off, strict=True), key=lambda two: two[0])
    ] == sorted(cell.level for cell in off)


def test_a_cell_says_how_many_rows_it_leaves_out(make_report: Make) -> None:
    report = make_report(5000, 3)
    cells = issues_by_cell(report)
    views = build_page(report, cells, {})["cells"]
    for view, cell in zip(views, cells, strict=True):
        assert len(view.cards) == min(MAX_IN_CELL, len(cell.rows))
        assert view.more == len(cell.rows) - len(view.cards)
        assert [card.rank for card in view.cards] == sorted(card.rank for card in view.cards if card.rank)


def test_many_classes_have_a_map_and_no_table(make_report: Make) -> None:
    few, many = make_report(3000, 30), make_report(3000, 31)
    assert build_page(few, [], {})["matrices"][0].compact is None
    assert len(build_page(few, [], {})["matrices"][0].rows) == 30
    assert build_page(many, [], {})["matrices"][0].rows == []
    compact = build_page(many, [], {})["matrices"][0].compact
    assert compact is not None
    assert compact.size == 31
