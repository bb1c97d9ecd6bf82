"""`kiyome diary` after real runs: the table, the page, the CSV."""

import csv
from pathlib import Path

from typer.testing import CliRunner

from kiyome.cli import app
from kiyome.recipes.find import find
from kiyome.testing import write_digits


def test_find_writes_the_diary_by_itself_and_the_verb_shows_it(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits <b>", num_photos=120)
    options = {"backbone": "tiny", "num_folds": 3, "cache_folder": tmp_path / "cache"}
    first = find(tmp_path / "digits <b>", output=tmp_path / "runs" / "digits <b>", **options)
    find(
        first.folder / "table.parquet",
        images=first.table.root,
        output=tmp_path / "runs" / "again",
        **options,
    )
    answer = CliRunner().invoke(app, ["diary", str(tmp_path / "runs")])
    assert answer.exit_code == 0, answer.output
    assert "the baseline" in answer.output
    page = (tmp_path / "runs" / "diary.html").read_text("utf-8")
    assert "digits &lt;b&gt;" in page
    assert "digits <b>" not in page
    assert 'href="digits%20%3Cb%3E/report.html"' in page
    with (tmp_path / "runs" / "diary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["digits <b>", "again"]
    assert rows[1]["verdict"] == "cannot tell: +0.00 points (-3.10 to +3.10, n = 120)"


def test_a_folder_without_diary_is_an_error_in_words(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["diary", str(tmp_path)])
    assert answer.exit_code == 2
    assert "A diary lies beside the runs that it tells of." in answer.stderr
