"""What evaluate says of runs whose truth is known: verdicts, marks, refusals, and a judged run left alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.run import verify_run
from kiyome.cli import app
from kiyome.errors import InputError, StaleArtifact
from kiyome.evaluation.compare import noise_rate_from_pairs
from kiyome.experiments import note_run
from kiyome.workflows.blend import blend, calibrate
from kiyome.workflows.correct import correct
from kiyome.workflows.evaluate import evaluate

N, K = 600, 3


def test_the_score_is_judged_beside_the_run_and_the_run_left_alone(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    result = evaluate(run)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    verify_run(result.folder)
    assert result.folder == tmp_path / "run-evaluate"
    told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
    assert told["scores"]["accuracy_on_true"]["num_rows"] == N // 2
    found = result.under_noise
    assert found.plausible.low < 0.96 < found.bounds.high
    assert found.accuracy_on_given.value < found.estimated_true_accuracy.value
    assert told["under_noise"]["sentences"] == list(found.describe())
    assert result.caveats == ()


def test_the_page_shows_every_part_and_escapes_names(tmp_path: Path, leaves, run_of) -> None:
    runs = [run_of(tmp_path / name, leaves(), seed=seed) for seed, name in enumerate(("one", "two"))]
    page = (evaluate(runs[0], against=[runs[1]]).folder / "report.html").read_text("utf-8")
    for part in (
        "under each assumption",
        "not independent",
        "Against other runs",
        "Selection bias",
        "Reliability",
    ):
        assert part in page
    assert "&lt;b&gt;c" in page
    assert "<b>c" not in page
    assert "<script" not in page
    assert "nan" not in page


def test_another_run_is_compared_on_given_and_on_true_labels(tmp_path: Path, leaves, run_of) -> None:
    good, bad = run_of(tmp_path / "good", leaves(), right=0.97), run_of(tmp_path / "bad", leaves(), right=0.6)
    result = evaluate(good, against=[bad])
    against, known = result.against["bad"], np.count_nonzero(leaves().true_labels >= 0)
    assert result.describe()[0].startswith(f"Accuracy on true labels, known for {known} of {N} rows: 9")
    assert against.on_given.verdict == "better"
    assert against.on_true is not None
    assert against.on_true.verdict == "better"
    assert against.under_noise.estimated_true_difference.value > against.on_given.difference.value
    said = against.describe("bad")
    assert said[0].startswith("Against bad, on given labels: better: +")
    assert said[2].startswith("On true labels: better")


def test_marks_stay_with_the_number(tmp_path: Path, leaves, run_of) -> None:
    table = leaves()
    cleaned = table.with_labels(np.where(table.true_labels >= 0, table.true_labels, table.given_labels))
    run = run_of(tmp_path / "run", cleaned, pred_probs_sha256="0")
    run_of(tmp_path / "other", cleaned, seed=2)
    note_run(tmp_path / "other")
    note_run(run, leaks=["flags saw the labels"], is_kept=np.arange(N) > 100)
    caveats = " | ".join(evaluate(run).caveats)
    for mark in (
        "flags saw the labels",
        "come from a file",
        "rows and relabeled",
        "trained on the true label",
        "is biased upward",
        "2 experiments were scored on these rows",
    ):
        assert mark in caveats


def test_a_run_with_a_leak_mark_is_never_called_the_best(tmp_path: Path, leaves, run_of) -> None:
    runs = {"a": 0.9, "b": 0.85, "leaking": 0.99}
    for seed, (name, right) in enumerate(runs.items()):
        note_run(
            run_of(tmp_path / name, leaves(), right=right, seed=seed),
            leaks=["flags saw the labels"] if name == "leaking" else [],
        )
    for judged in runs:
        said = evaluate(tmp_path / judged).selection()
        assert said[0].startswith("Best of 2: a, ")
        assert said[-1].startswith("leaking, 9")
        assert said[-1].endswith("is not among them because of a leak: flags saw the labels")
    told = json.loads((tmp_path / "a-evaluate" / "evaluate.json").read_text("utf-8"))
    assert told["chosen"]["best"] == "a"
    assert told["with_leaks"]["leaking"]["leaks"] == ["flags saw the labels"]
    page = (tmp_path / "a-evaluate" / "report.html").read_text("utf-8")
    assert "is not among them because of a leak: flags saw the labels" in page


def test_no_best_is_named_among_runs_with_leaks(tmp_path: Path, leaves, run_of) -> None:
    for seed, name in enumerate(("one", "two")):
        note_run(run_of(tmp_path / name, leaves(folds=None), seed=seed))
    result = evaluate(tmp_path / "one")
    assert result.chosen is None
    assert len(result.selection()) == 2
    assert all("is not compared because of a leak: folds unknown" in said for said in result.selection())


def test_what_is_made_of_one_run_is_no_further_experiment(tmp_path: Path, leaves, run_of) -> None:
    first, second = (
        run_of(tmp_path / name, leaves(), seed=seed, recipes=[{}]) for seed, name in enumerate("ab")
    )
    note_run(first)
    note_run(second)
    calibrated = calibrate(first).folder
    correct(calibrated, direction="true")
    shutil.copytree(second, tmp_path / "same predictions")
    note_run(tmp_path / "same predictions")
    blend([first, second])
    for judged in (first, calibrated, tmp_path / "a-calibrate-correct"):
        result = evaluate(judged)
        assert result.chosen is not None
        assert set(result.chosen.scores) == {"a", "b", "a-blend"}
        assert any("3 experiments were scored on these rows" in each for each in result.caveats)


def test_predictions_that_repeat_every_mistake_are_marked_as_in_sample(
    tmp_path: Path, leaves, run_of
) -> None:
    honest, seen = run_of(tmp_path / "honest", leaves()), run_of(tmp_path / "seen", leaves(), right=2)
    marks = evaluate(seen, against=[honest]).caveats
    assert any("wrong according to true labels" in mark and "in-sample?" in mark for mark in marks)
    assert any("wrong according to honest" in mark for mark in marks)
    assert evaluate(honest, against=[seen]).caveats == ()


def test_labels_that_people_checked_take_the_place_of_the_estimate(tmp_path: Path, leaves, run_of) -> None:
    result = evaluate(run_of(tmp_path / "run", leaves()), measured_errors="21/200")
    assert result.under_noise.noise_rate.value == 0.105
    assert result.under_noise.noise_rate.source == "measured (n = 200)"
    with pytest.raises(InputError, match="WRONG/CHECKED"):
        evaluate(tmp_path / "run", measured_errors="10 %")


def test_runs_that_cannot_be_judged_are_refused(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    other = run_of(tmp_path / "folds", leaves(folds=np.arange(N) % 3))
    with pytest.raises(InputError, match="other folds"):
        evaluate(run, against=[other])
    with pytest.raises(InputError, match="other given labels"):
        evaluate(run, against=[run_of(tmp_path / "labels", leaves(given_labels=(np.arange(N) + 1) % K))])
    with pytest.raises(InputError, match="Expected out-of-fold predictions"):
        evaluate(run_of(tmp_path / "test", leaves(), kind="test"))
    facts = json.loads((run / "predictions" / "predictions.json").read_text())
    (run / "predictions" / "predictions.json").write_text(json.dumps(facts | {"table_fingerprint": "0" * 64}))
    with pytest.raises(StaleArtifact):
        evaluate(run)
    assert not (tmp_path / "run-evaluate").exists()


def test_the_verb_answers_in_words_and_as_json(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    said = CliRunner().invoke(app, ["evaluate", str(run)])
    assert said.exit_code == 0, said.output
    assert "Accuracy on given labels: " in said.output
    assert "kiyome audit-sample" in said.output
    told = CliRunner().invoke(app, ["evaluate", str(run), "--json", "--seed", "0"])
    assert json.loads(told.output)["run"] == "run"
    bad = CliRunner().invoke(app, ["evaluate", str(tmp_path / "nothing")])
    assert bad.exit_code == 2


def test_pairs_of_labels_tell_how_many_are_wrong() -> None:
    rng, truth = np.random.default_rng(3), np.zeros(200_000, int)
    first, second = (
        np.where(rng.random(len(truth)) < 0.12, rng.integers(1, 5, size=len(truth)), truth) for _ in range(2)
    )
    differing = int((first != second).sum())
    assert noise_rate_from_pairs(differing, len(truth), num_classes=5).value == pytest.approx(0.12, abs=0.003)
    assert noise_rate_from_pairs(differing, len(truth)).value < 0.12
    assert noise_rate_from_pairs(90, 100, num_classes=5).high == 0.8
    with pytest.raises(InputError, match="There are 5 hits in 4 rows"):
        noise_rate_from_pairs(5, 4)
