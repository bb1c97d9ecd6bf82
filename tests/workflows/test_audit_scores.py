"""What evaluate and the diary make of an audit: its numbers lead, stale ones are refused."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.cli import app
from kiyome.errors import InputError, StaleArtifact
from kiyome.experiments import note_run
from kiyome.reading.finished_run import open_run
from kiyome.workflows.audit import audit
from kiyome.workflows.audit_sample import audit_sample
from kiyome.workflows.audit_scores import audits_of, read_audit, score_others
from kiyome.workflows.diary import diary
from kiyome.workflows.evaluate import evaluate

N, K = 600, 3
TRUTH = np.arange(N) % K


def checked(run: Path, *, n: int = 150, unsure: int = 0, output: Path | None = None) -> Path:
    """The folder of an audit whose rows people have all checked, and rightly."""
    sample = audit_sample(run, n=n, output=output)
    path = sample.folder / "audit.csv"
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    answers = [sample.class_names[label] for label in TRUTH[sample.design.rows]]
    answers[:unsure] = ["unsure"] * unsure
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [header, *([*line[:2], answer] for line, answer in zip(lines, answers, strict=True))]
        )
    audit(path)
    return sample.folder


def right_share(run: Path) -> float:
    return float(np.mean(open_run(run).predictions.pred_probs.argmax(axis=1) == TRUTH))


def test_what_people_checked_leads_and_the_assumption_stands_beside(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    before = evaluate(run)
    checked(run)
    result = evaluate(run)
    assert before.audit is None
    assert result.folder != before.folder  # another question, so another folder
    found = result.audit.score.accuracy_on_true
    assert found.low <= right_share(run) <= found.high
    assert result.answer().startswith(f"True accuracy {found.as_percent()} by audit")
    assert result.describe()[0].startswith(f"True accuracy by audit (run-audit): {found.as_percent()}")
    assert any("if model and label errors are independent" in sentence for sentence in result.describe())
    assert result.under_noise.noise_rate.source == "measured (n = 150)"
    told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
    assert told["audit"]["accuracy_on_true"]["value"] == found.value
    assert (told["audit"]["folder"], told["audit"]["checked"]) == ("run-audit", 150)
    assert "true, 150 rows checked" in (result.folder / "report.html").read_text("utf-8")


def test_a_verdict_in_truth_comes_from_the_rows_that_were_checked(tmp_path: Path, leaves, run_of) -> None:
    good, bad = run_of(tmp_path / "good", leaves(), right=0.98), run_of(tmp_path / "bad", leaves(), right=0.7)
    checked(good)
    difference = right_share(good) - right_share(bad)
    for first, second, verdict, sign in ((good, bad, "better", 1), (bad, good, "worse", -1)):
        result = evaluate(first, against=[second])
        found = result.against[second.name].audited
        assert found.verdict == verdict
        assert found.difference.low - 1e-9 <= sign * difference <= found.difference.high + 1e-9
        assert result.compared()[0].startswith(f"Against {second.name}, on true labels by audit: {verdict}")
        told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
        assert told["against"][second.name]["audited"]["verdict"] == verdict
    assert evaluate(bad).audit is None  # it was drawn for the other's predictions


def test_another_run_is_judged_by_the_same_rows(tmp_path: Path, leaves, run_of) -> None:
    run, other = run_of(tmp_path / "run", leaves()), run_of(tmp_path / "other", leaves(), right=0.7)
    folder = checked(run)
    [found] = score_others(folder, [other]).values()
    assert found.low <= right_share(other) <= found.high
    said = CliRunner().invoke(app, ["audit", str(folder), "--run", str(other)])
    assert said.exit_code == 0, said.output
    assert f"True accuracy of other, from the same rows: {found.as_percent()}." in said.output
    told = json.loads(CliRunner().invoke(app, ["audit", str(folder), "--run", str(other), "--json"]).output)
    assert told["others"]["other"]["value"] == found.value
    strange = run_of(tmp_path / "strange", leaves(given_labels=(TRUTH + 1) % K))
    with pytest.raises(InputError, match="other rows or given labels"):
        score_others(folder, [strange])
    with pytest.raises(InputError, match="predictions of kind 'test'"):
        score_others(folder, [run_of(tmp_path / "test", leaves(), kind="test")])


def test_people_who_were_unsure_are_told_of(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    checked(run, unsure=12)
    result = evaluate(run)
    low, high = (f"{100 * end:.1f}" for end in result.audit.score.accuracy_bounds)
    assert (
        f"12 of 150 rows; whatever these are, the true accuracy is {low} to {high} %" in result.describe()[1]
    )


def test_a_stale_audit_is_refused(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    folder = checked(run)
    told = json.loads((folder / "audit.json").read_text("utf-8"))
    (folder / "audit.json").write_text(json.dumps(told | {"predictions": "0" * 64}))
    with pytest.raises(StaleArtifact, match="has answers for another sample"):
        evaluate(run)
    (folder / "audit.json").write_text(json.dumps(told))
    design = (folder / "design.json").read_bytes()
    (folder / "design.json").write_bytes(design.replace(b'"seed": 0', b'"seed": 1'))
    with pytest.raises(StaleArtifact, match=r"design\.json is missing or was changed"):
        evaluate(run)
    with pytest.raises(InputError, match="has no finished audit"):
        read_audit(run)


def test_an_audit_of_earlier_predictions_under_the_same_name_is_left_out_with_a_mark(
    tmp_path: Path, leaves, run_of
) -> None:
    run = run_of(tmp_path / "first" / "run", leaves())
    folder = checked(run)
    again = run_of(tmp_path / "second" / "run", leaves(), seed=9)
    folder.rename(tmp_path / "second" / "run-audit")
    result = evaluate(again)
    assert result.audit is None
    assert any("is an audit of other predictions of run" in each for each in result.caveats)
    assert audits_of(open_run(again)) == ()


def test_the_audit_with_most_rows_is_told_and_the_others_are_counted(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    checked(run, n=60, output=tmp_path / "small")
    checked(run, n=120, output=tmp_path / "large")
    result = evaluate(run)
    assert result.audit.name == "large"
    assert "2 audits of these predictions exist: the one with most checked rows is used" in result.caveats


def test_answers_that_were_taught_are_marked_and_refused_where_the_run_leaks(
    tmp_path: Path, leaves, run_of
) -> None:
    table = leaves()
    run = run_of(tmp_path / "run", table)
    rows = read_audit(checked(run)).sample.design.rows
    labels = table.given_labels.copy()
    labels[rows] = TRUTH[rows]
    taught = run_of(tmp_path / "taught", table.with_labels(labels), seed=3)
    result = evaluate(taught, against=[run])
    assert any("were trained on the answers of run-audit" in each for each in result.caveats)
    assert result.against["run"].audited is not None
    note_run(taught, leaks=["trained on all labels"])
    again = evaluate(taught, against=[run])
    assert again.against["run"].audited is None
    assert any(
        "run-audit is not used to compare: taught was trained on its answers" in each
        for each in again.caveats
    )


def test_the_diary_shows_what_people_found(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    note_run(run)
    [line] = diary(tmp_path).lines
    assert not any("by audit" in each for each in line.beside)
    folder = checked(run)
    found = read_audit(folder).score.accuracy_on_true
    result = diary(tmp_path)
    assert result.lines[0].beside[0] == f"true accuracy {found.as_percent()} by audit"
    assert result.summary()["experiments"][0]["audited_accuracy_on_true"] == found.value
    assert "by audit" in result.page.read_text("utf-8")
    (folder / "design.json").write_bytes((folder / "design.json").read_bytes() + b" ")
    [line] = diary(tmp_path).lines
    assert line.beside[0] == "run-audit has changed since it was drawn and is not used"
