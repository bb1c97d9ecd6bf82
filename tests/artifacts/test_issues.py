import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kiyome.artifacts.escapes import safe_cell, text_of_safe_cell
from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.table import Table
from kiyome.errors import InputError

TABLE = Table(
    root=Path(),
    image_ids=["=1+1", "b", "c", "@d"],
    paths=["=1+1.jpg", "", "caf\udce9.jpg", "d.jpg"],
    given_labels=[0, 1, 1, 0],
    class_names=("+cat", "dog"),
)
ARRAYS = {
    "is_label_issue": [False, True, True, False],
    "label_quality": [0.75, 0.25, 0.125, np.nan],
    "predicted_labels": [0, 0, 0, -1],
    "ranked_rows": [2, 1],
}


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_both_files_list_every_row_most_suspicious_first(tmp_path):
    write_issue_files(tmp_path, TABLE, **ARRAYS)
    exact = pq.read_table(tmp_path / "label_issues.parquet").to_pydict()
    assert exact == {
        "image_id": ["c", "b", "=1+1", "@d"],
        "path": ["caf%E9.jpg", "", "=1+1.jpg", "d.jpg"],
        "given_label": ["dog", "dog", "+cat", "+cat"],
        "predicted_label": ["+cat", "+cat", "+cat", None],
        "suggested_label": ["+cat", "+cat", "+cat", None],
        "is_label_issue": [True, True, False, False],
        "label_quality": [0.125, 0.25, 0.75, None],
        "rank": [1, 2, None, None],
    }
    for_people = rows_of(tmp_path / "label_issues.csv")
    assert for_people[2] == {
        "image_id": "'=1+1",
        "path": "'=1+1.jpg",
        "given_label": "'+cat",
        "predicted_label": "'+cat",
        "suggested_label": "'+cat",
        "is_label_issue": "False",
        "label_quality": "0.75",
        "rank": "",
    }
    assert for_people[3]["label_quality"] == for_people[3]["predicted_label"] == ""


def test_pandas_reads_cleanlabs_columns_from_both(tmp_path):
    pandas = pytest.importorskip("pandas")
    write_issue_files(
        tmp_path, TABLE, **ARRAYS, probability=[0.1, 0.5, 0.9, np.nan], suggested_labels=[0, 1, 0, -1]
    )
    for frame in (
        pandas.read_csv(tmp_path / "label_issues.csv"),
        pandas.read_parquet(tmp_path / "label_issues.parquet"),
    ):
        assert {"is_label_issue", "label_quality", "given_label", "predicted_label"} <= set(frame.columns)
        assert frame["is_label_issue"].sum() == 2
        assert frame["probability"].max() == 0.9
        assert frame["suggested_label"].iloc[1] == "dog"


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x", "'=1"]
)
def test_what_a_spreadsheet_could_run_gets_an_apostrophe(text):
    assert safe_cell(text) == "'" + text
    assert text_of_safe_cell(safe_cell(text)) == text


@pytest.mark.parametrize("text", ["", "cat", "a=b", "'tis", "1-2", "猫"])
def test_other_texts_stay(text):
    assert safe_cell(text) == text_of_safe_cell(text) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"label_quality": [0.1]},
            r"label_quality has shape \(1,\), but the table has 4 rows",
        ),
        ({"ranked_rows": [1, 1]}, r"ranked_rows \[1, 1\]... repeats a row, or has one outside 0\.\.3"),
        ({"ranked_rows": [4]}, r"ranked_rows \[4\]... repeats a row, or has one outside 0\.\.3"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        write_issue_files(tmp_path, TABLE, **ARRAYS | changes)
