"""From a run to a blind list, to people's answers, to what they say of all rows; and all that goes wrong."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.audit_folder import AUDIT_FILE
from kiyome.cli import app
from kiyome.errors import InputError, StaleArtifact
from kiyome.evaluation.audit import audited_accuracy
from kiyome.reading.finished_run import open_run
from kiyome.testing import write_digits
from kiyome.workflows.audit import audit
from kiyome.workflows.audit_answers import read_answers
from kiyome.workflows.audit_sample import SealedSample, audit_sample, read_sample
from kiyome.workflows.audit_scores import audits_of
from kiyome.workflows.find import find

NUM_ROWS = 60


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SealedSample:
    place = tmp_path_factory.mktemp("audit")
    truth = write_digits(place / "digits", num_photos=300)
    find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place / "cache")
    np.save(place / "truth.npy", truth)
    return audit_sample(place / "run", n=NUM_ROWS)


@pytest.fixture
def lines(sample: SealedSample) -> list[list[str]]:
    """The file, filled with the truth."""
    truth = np.load(sample.folder.parent / "truth.npy")[sample.design.rows]
    with (sample.folder / AUDIT_FILE).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    names = sample.class_names
    return [header, *([*row[:2], names[label]] for row, label in zip(rows, truth, strict=True))]


def written(lines: list[list[str]], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return path


def test_answers_may_be_spelled_otherwise(
    sample: SealedSample, lines: list[list[str]], tmp_path: Path
) -> None:
    right = read_answers(written(lines, tmp_path / "a.csv"), sample)
    lines[1][2], lines[2][2], lines[3][2] = f" 0{lines[1][2]}", f"{lines[2][2]}.0", "Unsure"
    other = read_answers(written(lines, tmp_path / "b.csv"), sample)
    changed = np.flatnonzero(right != other)
    assert changed.size == 1
    assert other[changed[0]] == -1


def test_the_list_shows_neither_label_nor_guess_nor_id(sample: SealedSample) -> None:
    with (sample.folder / AUDIT_FILE).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["row", "photo", "true_label"]
    assert [row[0] for row in rows] == sample.row_names
    assert all(row[2] == "" for row in rows)
    table = open_run(sample.folder.parent / "run").table
    for (_, photo, _), row in zip(rows, sample.design.rows, strict=True):
        assert (sample.folder / photo).read_bytes() == Path(table.photo_paths()[row]).read_bytes()


def test_what_was_sealed_comes_back(sample: SealedSample) -> None:
    again = read_sample(sample.folder)
    assert again.design.rows.tolist() == sample.design.rows.tolist()
    assert again.design.weights.tolist() == sample.design.weights.tolist()
    assert again.row_names == sample.row_names
    assert again.summary() == sample.summary()
    assert (again.predicted_labels == sample.predicted_labels).all()


def test_answers_in_any_order_of_lines_give_the_estimate(sample: SealedSample, lines, tmp_path: Path) -> None:
    path = written([lines[0], *lines[:0:-1]], tmp_path / "filled.csv")
    result = audit(path, sample=sample.folder)
    truth = np.load(sample.folder.parent / "truth.npy")
    expected = audited_accuracy(
        sample.design, truth[sample.design.rows], sample.labels, sample.predicted_labels, num_classes=10
    )
    assert result.score.accuracy_on_true == expected.accuracy_on_true
    assert expected.accuracy_on_true.low <= np.mean(sample.predicted_labels == truth)
    stored = json.loads((sample.folder / "audit.json").read_text("utf-8"))
    assert stored == json.loads(json.dumps(result.summary()))
    page = (sample.folder / "report.html").read_text("utf-8")
    assert result.describe()[0] in page
    [found] = audits_of(open_run(sample.folder.parent / "run"))
    assert found.score.accuracy_on_true == expected.accuracy_on_true


def test_unsure_rows_and_a_stopped_audit_are_said(sample: SealedSample, lines, tmp_path: Path) -> None:
    lines[3][2] = "unsure"
    for line in lines[41:]:
        line[2] = ""
    result = audit(written(lines, tmp_path / "filled.csv"), sample=sample.folder)
    assert (result.score.num_checked, result.score.num_unsure) == (40, 1)
    said = " ".join(result.describe())
    assert "Unsure: 1 of 40 rows" in said
    assert "10 of 10 classes have fewer than 10 checked rows" in said
    assert f"40 of {NUM_ROWS} rows are checked" in said


def test_a_gap_is_an_error_with_its_line(sample: SealedSample, lines, tmp_path: Path) -> None:
    lines[5][2] = ""
    with pytest.raises(InputError, match=r"before answered ones: line 6\. .*from the top down"):
        audit(written(lines, tmp_path / "filled.csv"), sample=sample.folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: lines[4].__setitem__(2, "eleven"),
            r"'eleven' line 5.*name of a class.*classes are 0",
        ),
        (
            lambda lines: lines[4].__setitem__(0, "s000000-0001"),
            r"rows that are not in the sample: 's000000-0001' line 5",
        ),
        (lambda lines: lines.append(lines[4]), r"rows with several answers: .*line 5.*line 62"),
        (lambda lines: lines.pop(7), r"filled\.csv lacks s\w+-0007\. Expected every row"),
        (lambda lines: [line.__setitem__(2, "") for line in lines[1:]], r"filled\.csv has no answers"),
        (lambda lines: lines[0].__setitem__(2, "label"), r"has no column true_label"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(sample, lines, tmp_path: Path, change, message: str) -> None:
    change(lines)
    with pytest.raises(InputError, match=message):
        audit(written(lines, tmp_path / "filled.csv"), sample=sample.folder)


def test_a_changed_design_is_refused(sample: SealedSample, lines, tmp_path: Path) -> None:
    design = sample.folder / "design.json"
    before = design.read_bytes()
    design.write_bytes(before.replace(b'"seed": 0', b'"seed": 1'))
    try:
        with pytest.raises(StaleArtifact, match=r"design\.json is missing or was changed"):
            audit(written(lines, tmp_path / "filled.csv"), sample=sample.folder)
    finally:
        design.write_bytes(before)


def test_a_sample_is_drawn_once(sample: SealedSample) -> None:
    with pytest.raises(InputError, match=r"audit\.csv exists: a sample is drawn once"):
        audit_sample(sample.folder.parent / "run", n=NUM_ROWS)


def test_what_holds_no_sample_is_named_itself_with_a_remedy_that_works(sample, lines, tmp_path: Path) -> None:
    """A run, a file away from its sample, nothing at all; and not the folder above it."""
    run = sample.folder.parent / "run"
    named = rf"a run of 'find', not an audit sample\. .* `kiyome audit-sample {run}`"
    with pytest.raises(InputError, match=named):
        audit(run)
    with pytest.raises(InputError, match=named):
        audit(written(lines, tmp_path / "a.csv"), sample=run)
    with pytest.raises(InputError, match=rf"There is no sample beside {tmp_path}/a\.csv\..*--sample"):
        audit(tmp_path / "a.csv")
    with pytest.raises(InputError, match=rf"There is no file or folder at {tmp_path}/no\."):
        audit(tmp_path / "no")


def test_both_verbs_speak(sample: SealedSample, lines, tmp_path: Path) -> None:
    place = tmp_path / "again"
    drawn = CliRunner().invoke(
        app, ["audit-sample", str(sample.folder.parent / "run"), "-n", "60", "-o", str(place)]
    )
    assert drawn.exit_code == 0, drawn.output
    assert "60 of 300 rows drawn" in drawn.output
    assert "+-1 points need" in drawn.output
    filled = written(lines, sample.folder / AUDIT_FILE)
    words = CliRunner().invoke(app, ["audit", str(filled)])
    assert words.exit_code == 0, words.output
    assert words.output.startswith("True accuracy on all 300 rows: ")
    summary = json.loads(CliRunner().invoke(app, ["audit", str(filled), "--json"]).output)
    assert summary["checked"] == NUM_ROWS
    assert summary["transition_matrix"]["classes"] == list(sample.class_names)
