"""A column counts when it is named, or certain; a guess is told."""

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table


def table_of(tmp_path, header, rows, **options):
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return read_table(tmp_path / "t.csv", allow_missing=True, **options)


def test_kilograms_are_no_weights_unless_named(tmp_path):
    rows = [(i, i % 2, 30 + i) for i in range(6)]
    table = table_of(tmp_path, "id,label,weight", rows)
    assert table.weights is None
    assert any("'weight' was not used" in note and "--weight-column weight" in note for note in table.notes)
    assert table_of(tmp_path, "id,label,weight", rows, weight_column="weight").weights.max() == 35
    with pytest.raises(TableError, match="weights that are not numbers from 0: '-1' line 2"):
        table_of(tmp_path, "id,label,kg", [(0, 0, -1), (1, 1, 2)], weight_column="kg")
    with pytest.raises(TableError, match=r"no column kilo.*--weight-column"):
        table_of(tmp_path, "id,label,kg", [(0, 0, 1), (1, 1, 2)], weight_column="kilo")


def test_weights_up_to_one_are_used_and_told(tmp_path):
    table = table_of(tmp_path, "id,label,weight", [(i, i % 2, 0.5) for i in range(6)])
    assert table.weights.tolist() == [0.5] * 6
    assert any("weighted by column 'weight'" in note for note in table.notes)


def test_arms_of_a_trial_are_no_groups_unless_named(tmp_path):
    rows = [(i, i % 2, "ab"[i % 2]) for i in range(30)]
    table = table_of(tmp_path, "id,label,group", rows)
    assert table.groups is None
    assert any("'group' was not used" in note and "--group-column group" in note for note in table.notes)
    assert table_of(tmp_path, "id,label,group", rows, group_column="group").groups.tolist()[:2] == ["a", "b"]


def test_patients_are_groups_and_told(tmp_path):
    table = table_of(tmp_path, "id,label,patient_id", [(i, i % 2, i // 3) for i in range(30)])
    assert len(set(table.groups)) == 10
    assert any("one 'patient_id' stay in one fold" in note for note in table.notes)


@pytest.mark.parametrize("column", ["lesion_id", "SubjectID", "plant", "case no"])
def test_ids_that_repeat_are_noticed(tmp_path, column):
    rows = [(i, i % 2, f"L{i % 14}") for i in range(42)]
    table = table_of(tmp_path, f"id,label,{column}", rows)
    assert table.groups is None
    assert any(f"{column!r} repeats (14 values in 42 rows) and never crosses" in note for note in table.notes)
    grouped = table_of(tmp_path, f"id,label,{column}", rows, group_column=column)
    assert len(set(grouped.groups)) == 14
    assert not any("repeats" in note for note in grouped.notes)


@pytest.mark.parametrize("separator", ["|", " ", ",", ";"])
def test_several_labels_in_a_cell_are_no_silent_class(tmp_path, separator):
    rows = [(0, "rust"), (1, "blight"), (2, f'"rust{separator}blight"'), (3, "rust")]
    with pytest.raises(TableError, match=r"labels that join several others: 'rust.blight'.*--class-map"):
        table_of(tmp_path, "id,label", rows)
    every = ["rust", "blight", f"rust{separator}blight"]
    assert table_of(tmp_path, "id,label", rows, class_map=every).num_classes == 3


def test_names_of_several_words_are_classes(tmp_path):
    rows = [(0, "apple pie"), (1, "pie"), (2, '"salad, greek"'), (3, "black/white")]
    assert table_of(tmp_path, "id,label", rows).num_classes == 4


@pytest.mark.parametrize("options", [{}, {"label_column": "healthy,rust,blight"}])
def test_a_column_for_each_class(tmp_path, options):
    rows = [(0, 1, 0, 0.0), (1, 0, 1, 0.0), (2, 0, 0, 1.0), (3, 0, 0, 0.0)]
    table = table_of(tmp_path, "id,healthy,rust,blight", rows, **options)
    assert [table.class_names[label] for label in table.given_labels] == ["healthy", "rust", "blight"]
    assert "1 row was set aside: without a label ('3')." in table.notes


def test_several_ones_in_a_row_are_told(tmp_path):
    with pytest.raises(TableError, match=r"1 in several of the columns .*: rust and blight line 3"):
        table_of(tmp_path, "id,healthy,rust,blight", [(0, 1, 0, 0), (1, 0, 1, 1)])


def test_a_column_that_may_hold_folds_is_told(tmp_path):
    rows = [(i, i % 2, i % 3) for i in range(6)]
    table = table_of(tmp_path, "id,label,kfold", rows)
    assert table.folds is None
    said = "Column 'kfold' was not used: new folds are made. If it holds folds, name it fold."
    assert said in table.notes
    assert table_of(tmp_path, "id,label,fold", rows).folds.tolist() == [0, 1, 2] * 2
