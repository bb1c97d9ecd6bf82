"""`kiyome diary` after real runs: the table, the page, the CSV."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.cli import app
from kiyome.experiments import note_run
from kiyome.testing import write_digits
from kiyome.workflows.find import find


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


LEAK = "labels of the held-out fold had a say in which rows were left out"


@pytest.fixture
def twelve(tmp_path: Path, leaves, run_of) -> Path:
    """A folder of twelve runs, worse and worse from the second on; the second has a leak mark."""
    for number in range(12):
        name = f"run-with-a-long-name-{number}"
        config = {"flags": "0" * 64, "leave_out": f"global:/a/b/found-{number}", "epochs": number}
        right = 0.5 if number == 0 else 0.99 - number / 40
        run = run_of(tmp_path / "runs" / name, leaves(), right=right, **config)
        note_run(run, leaks=[LEAK] if number == 1 else [])
    return tmp_path / "runs"


def shown(*words: object, width: int = 100) -> str:
    answer = CliRunner().invoke(app, ["diary", *map(str, words)], env={"COLUMNS": str(width)})
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_the_table_is_narrow_and_the_best_come_first(twelve: Path) -> None:
    for number in range(12):
        shown(twelve, "--note", f"run-with-a-long-name-{number}", f"public=0.{number:04d}", "private=0.5")
    for width in (100, 200):
        table = shown(twelve, width=width).partition("leak 1: ")[0]
        assert max(map(len, table.splitlines())) <= 100
    order = [int(line.split()[0].rpartition("-")[2]) for line in table.splitlines() if "long-name" in line]
    assert order == [*range(1, 12), 0]
    dates = [
        entry["finished"][:16].replace("T", " ")
        for entry in json.loads(shown(twelve, "--json"))["experiments"]
    ]
    assert all(date in table for date in dates)
    assert "00000000" not in table
    assert "/a/b" not in table
    with (twelve / "diary.csv").open(newline="") as file:
        changed = [row["changed"] for row in csv.DictReader(file)]
    assert changed[2] == "leave_out: global:found-0 → global:found-2, epochs: 0 → 2"
    beside = next(n for n, line in enumerate(table.splitlines()) if "long-name-1 " in line)
    assert "leak 1" in "".join(table.splitlines()[beside : beside + 4])
    assert f"leak 1: {LEAK}" in shown(twelve)
    by_time = shown(twelve, "--sort", "time")
    assert by_time.index("name-0") < by_time.index("name-1 ")


def test_the_page_draws_differences_and_leaderboards(twelve: Path, browser) -> None:
    for number in range(12):
        shown("--note", twelve / f"run-with-a-long-name-{number}", f"public={0.9 - number / 100}")
    page = browser.new_page()
    page.goto((twelve / "diary.html").as_uri())
    rows = page.locator("table.diary tbody tr")
    assert rows.count() == 12
    assert rows.first.locator("th").inner_text().startswith("run-with-a-long-name-1")
    assert rows.first.locator("svg.bar circle").count() == 1
    headline = page.locator(".answer").inner_text()
    assert headline.startswith("The best of 12 experiments is run-with-a-long-name-1: it agrees with ")
    assert headline.endswith("of the labels, significantly better than the baseline.")
    finished = json.loads(shown(twelve, "--json"))["experiments"][1]["finished"]
    assert finished[:16].replace("T", " ") in rows.first.inner_text()
    lines = [row.evaluate("row => row.getBoundingClientRect().height / 24") for row in rows.all()]
    assert max(lines) < 4
    assert page.get_by_text(f"leak 1: {LEAK}").count() == 1
    assert page.locator("figure svg circle").count() == 12
    page.close()
    told = shown(twelve)
    assert "public: Rank correlation of public and the out-of-fold score: " in told
    assert "n = 11 runs without a leak)" in told
    with (twelve / "diary.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["leaderboard_public"] == "0.9"


def test_out_of_fold_test_and_leaderboard_stand_side_by_side(tmp_path: Path, leaves, run_of, browser) -> None:
    splits = np.repeat(np.array(["train", "test"], object), [400, 200])
    parted = leaves(splits=splits, folds=np.where(splits == "train", np.arange(600) % 5, -1))
    for number in range(2):
        note_run(run_of(tmp_path / "runs" / f"run-{number}", parted, right=0.9 - number / 10))
    told = shown("--note", tmp_path / "runs" / "run-0", "public=0.831/300", "private=0.8")
    for words in ("out of fold, %", "test 8", "public", "0.784", "all rows of train"):
        assert words in told
    page = browser.new_page()
    page.goto((tmp_path / "runs" / "diary.html").as_uri())
    rows = page.locator("table.diary tbody tr")
    heads = page.locator("table.diary thead th").all_inner_texts()
    splits = ["out of fold, %", "test, %\nless out of fold", "public", "private"]
    assert heads == ["run", *splits, "difference to the baseline, points", "changed"]
    cells = rows.first.locator("td").all_inner_texts()
    assert re.fullmatch(
        r"[\d.]+ \([\d.]+ to [\d.]+\)\nn = 200\n[+-][\d.]+ \([+-][\d.]+ to [+-][\d.]+\)",
        cells[1],
    )
    assert cells[2:4] == ["0.831\n0.784 to 0.869\nn = 300", "0.8"]
    page.close()
    with (tmp_path / "runs" / "diary.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["rows"], first["test_rows"], first["val_rows"]) == ("400", "200", "")
    assert float(first["leaderboard_public_low"]) == pytest.approx(0.7844, abs=1e-4)
    assert json.loads(shown(tmp_path / "runs", "--json"))["experiments"][0]["leaderboard_rows"] == {
        "public": 300
    }


def test_few_scores_get_no_rank_correlation(twelve: Path) -> None:
    for number in (2, 3):
        told = shown(twelve, "--note", f"run-with-a-long-name-{number}", "public=0.9")
    assert "public: 2 runs without a leak: too few for a rank correlation, which needs 10." in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--note", "run-with-a-long-name-0", "public=high"], "public=high is not a number"),
        (["--note", "run-with-a-long-name-0", "public=0.9/many"], "public=0.9/many is not a number"),
        (["--note", "run-with-a-long-name-0", "public=3/10"], "public=3.0 of 10 rows is no share"),
        (["--note", "run-with-a-long-name-0"], "There is no score."),
        (["--note", "run-with-a-long-name-0", "public=1", "public=2"], "The score public is given twice."),
        (["--note", "nothere", "public=1"], "'nothere' has no score in the diary. Name one of"),
        (["public=1"], "The score public=1 has no run. Add --note RUN."),
        (["elsewhere"], "Several folders are named: "),
        (["--sort", "name"], "The order 'name' is unknown. Expected one of score, time."),
    ],
)
def test_what_the_diary_cannot_take_is_told(words: list[str], message: str, twelve: Path) -> None:
    before = (twelve / "diary.jsonl").read_bytes()
    answer = CliRunner().invoke(app, ["diary", str(twelve), *words])
    assert answer.exit_code == 2
    assert message in answer.stderr
    assert (twelve / "diary.jsonl").read_bytes() == before


def test_a_folder_without_diary_is_an_error_in_words(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["diary", str(tmp_path)])
    assert answer.exit_code == 2
    assert "Expected a folder of runs. Train something, or name the folder of your runs." in answer.stderr
