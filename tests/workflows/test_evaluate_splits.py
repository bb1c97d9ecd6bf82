"""Evaluate and audits on the rows of one split: a score of test rows rests on test rows alone."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.leaks import SAME_GROUP, Leaks, write_leaks
from kiyome.artifacts.table import Table
from kiyome.cli import app
from kiyome.errors import InputError
from kiyome.evaluation.noisy_labels import accuracy_under_noise
from kiyome.experiments import note_run, note_scores
from kiyome.reading.finished_run import open_run
from kiyome.workflows.audit import audit
from kiyome.workflows.audit_sample import audit_sample, read_sample
from kiyome.workflows.audit_scores import score_others
from kiyome.workflows.evaluate import evaluate

N, K = 600, 3
TRUTH = np.arange(N) % K
SPLITS = np.repeat(np.array(["train", "test", "val", "unlabeled"], dtype=object), [300, 200, 60, 40])


@pytest.fixture(scope="module")
def parted(leaves) -> Table:
    """A fifth of the train labels is wrong, and a twentieth of the test labels."""
    rng = np.random.default_rng(0)
    share = np.where(np.repeat([True, False], 300), 0.2, 0.05)
    given = np.where(rng.random(N) < share, (TRUTH + 1) % K, TRUTH)
    given[SPLITS == "unlabeled"] = -1
    folds = np.where(SPLITS == "train", np.arange(N) % 5, -1)
    return leaves(given_labels=given, true_labels=None, folds=folds, splits=SPLITS)


def test_test_rows_are_evaluated_where_there_are_any(tmp_path: Path, parted, run_of) -> None:
    run = run_of(tmp_path / "run", parted)
    result, opened, test = evaluate(run), open_run(run), SPLITS == "test"
    assert (result.split, list(result.by_split)) == ("test", ["train", "val", "test"])
    alone = accuracy_under_noise(parted.given_labels[test], opened.predictions.pred_probs[test])
    assert result.under_noise == alone  # noise, bounds and ceiling are of test rows
    assert result.by_split["test"] == result.under_noise.accuracy_on_given
    train = evaluate(run, split="train")
    assert train.under_noise.noise_rate.low > result.under_noise.noise_rate.high
    assert train.under_noise.accuracy_on_given.num_rows == 300
    shown = CliRunner().invoke(app, ["evaluate", str(run), "--split", "val"]).stdout
    assert "by split: train " in shown
    assert "All below is of val rows." in shown
    told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
    assert told["split"] == "test"
    assert "; accuracy on given labels of test rows " in told["answer"]
    assert "All below is of test rows." in (result.folder / "report.html").read_text("utf-8")


def test_a_table_without_splits_is_train(tmp_path: Path, leaves, run_of) -> None:
    run = run_of(tmp_path / "run", leaves())
    result = evaluate(run)
    assert (result.split, result.splits()) == ("train", ())
    assert evaluate(run, split="train").folder == result.folder  # the same question
    with pytest.raises(InputError, match=r"no rows of the split 'test'. .*train"):
        evaluate(run, split="test")


@pytest.mark.parametrize(
    ("verb", "split", "message"),
    [
        (evaluate, "unlabeled", "'unlabeled' of .* have no label .* one of test, val, train.*audit-sample"),
        (evaluate, "tset", "split 'tset' is unknown.* Did you mean test"),
        (audit_sample, "tset", "split 'tset' is unknown.* Did you mean test"),
    ],
)
def test_only_labeled_splits_are_scored(
    tmp_path: Path, parted, run_of, verb: Callable[..., object], split: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        verb(run_of(tmp_path / "run", parted), split=split)


def test_a_sample_of_unlabeled_rows_needs_such_rows(tmp_path: Path, leaves, run_of) -> None:
    with pytest.raises(InputError, match=r"no rows of the split 'unlabeled'. .*train"):
        audit_sample(run_of(tmp_path / "run", leaves()), split="unlabeled")


def test_an_audit_of_unlabeled_rows_scores_and_compares_every_run_there(
    tmp_path: Path, parted, run_of
) -> None:
    good, bad = run_of(tmp_path / "good", parted), run_of(tmp_path / "bad", parted, right=0.5, seed=2)
    unlabeled = SPLITS == "unlabeled"
    sample = audit_sample(good, split="unlabeled", n=40)
    assert (sample.labels, sample.accuracy_on_given, read_sample(sample.folder).labels) == (None, None, None)
    before = evaluate(good)
    answer(sample.folder, TRUTH[unlabeled])  # all of them, so nothing is left to chance
    result = evaluate(good, against=[bad])
    right = {
        run.name: open_run(run).predictions.pred_probs.argmax(axis=1)[unlabeled] == TRUTH[unlabeled]
        for run in (good, bad)
    }
    assert (before.unlabeled, before.folder == result.folder) == (None, False)
    assert result.unlabeled is not None
    assert result.unlabeled.score.accuracy_on_true.value == pytest.approx(right["good"].mean())
    shares = [each.value for each in result.unlabeled.score.class_shares]
    assert shares == pytest.approx(np.bincount(TRUTH[unlabeled]) / 40)
    difference = result.unlabeled.against["bad"]
    assert difference.verdict == "better"
    assert difference.difference.value == pytest.approx(right["good"].mean() - right["bad"].mean())
    assert any(line.startswith("Against bad, on unlabeled rows: better") for line in result.on_unlabeled())
    other = evaluate(bad, split="train").unlabeled  # by the same rows, whatever is evaluated beside them
    assert other is not None
    assert other.score.accuracy_on_true.value == pytest.approx(right["bad"].mean())
    assert (result.audit, result.noise_by_audit) == (None, {})


def test_a_table_without_any_label_is_refused(tmp_path: Path, leaves, run_of) -> None:
    nothing = np.full(N, -1)
    table = leaves(
        given_labels=nothing, true_labels=None, folds=nothing, splits=np.full(N, "unlabeled", dtype=object)
    )
    with pytest.raises(InputError, match="Give labels to some of the rows"):
        evaluate(run_of(tmp_path / "run", table))


def test_folds_do_not_matter_for_test_rows(tmp_path: Path, parted, run_of) -> None:
    other_folds = parted.with_folds(np.where(SPLITS == "train", np.arange(N) % 4, -1))
    one, two = run_of(tmp_path / "one", parted), run_of(tmp_path / "two", other_folds, right=0.7)
    assert evaluate(one, against=[two]).against["two"].on_given.verdict == "better"
    with pytest.raises(InputError, match="other folds"):
        evaluate(one, against=[two], split="train")


def answer(folder: Path, truth: np.ndarray) -> None:
    """Fill a sample with the truth, and estimate from it."""
    sample, path = read_sample(folder), folder / "audit.csv"
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    answers = [sample.class_names[label] for label in truth[sample.design.rows]]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [header, *([*line[:2], answer] for line, answer in zip(lines, answers, strict=True))]
        )
    audit(folder)


def test_audits_of_two_splits_tell_which_is_cleaner(tmp_path: Path, parted, run_of) -> None:
    run = run_of(tmp_path / "run", parted)
    for split in ("train", "test"):
        answer(audit_sample(run, split=split, n=150).folder, TRUTH[parted.in_split(split)])
    result = evaluate(run)
    assert list(result.noise_by_audit) == ["train", "test"]
    sentence = result.splits()[1]
    assert sentence.startswith("Wrong labels by audits: train ")
    assert "test less train -" in sentence
    assert evaluate(run, split="val").splits()[1] == "All below is of val rows."


def test_an_audit_of_test_rows_gives_the_true_accuracy_on_them(tmp_path: Path, parted, run_of) -> None:
    run = run_of(tmp_path / "run", parted)
    shown = CliRunner().invoke(app, ["audit-sample", str(run), "--split", "test", "-n", "120"]).stdout
    assert "120 of 200 test rows drawn" in shown
    folder, truth = tmp_path / "run-audit-test", TRUTH[SPLITS == "test"]
    assert read_sample(folder).split == "test"
    answer(folder, truth)
    assert audit(folder).describe()[0].startswith("True accuracy on all 200 test rows: ")
    result = evaluate(run)
    assert result.audit is not None
    right = open_run(run).predictions.pred_probs.argmax(axis=1)[SPLITS == "test"] == truth
    assert result.audit.score.accuracy_on_true.low <= right.mean() <= result.audit.score.accuracy_on_true.high
    assert evaluate(run, split="train").audit is None
    other = run_of(tmp_path / "other", parted, right=0.8, seed=5)
    right = open_run(other).predictions.pred_probs.argmax(axis=1)[SPLITS == "test"] == truth
    scored = score_others(folder, [other])["other"]
    assert scored.low <= right.mean() <= scored.high


def test_a_further_metric_has_its_noise_and_its_verdicts(tmp_path: Path, parted, run_of) -> None:
    run, bad = run_of(tmp_path / "run", parted), run_of(tmp_path / "bad", parted, right=0.6)
    result = evaluate(run, against=[bad], metric="macro_f1")
    assert result.metric is not None
    assert result.metric.under_noise.on_given == result.scores.macro_f1
    assert result.metric.against["bad"].verdict == "better"
    told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
    assert told["metric"]["against"]["bad"]["verdict"] == "better"
    shown = CliRunner().invoke(app, ["evaluate", str(run), "--metric", "auc"]).stdout
    assert "AUC, one class against the rest on given labels: 0.9" in shown
    assert "No plausible range" in shown
    refused = CliRunner().invoke(app, ["evaluate", str(run), "--metric", "f1"])
    assert refused.exit_code == 2
    assert "The metric 'f1' is unknown." in refused.stderr


def test_the_submission_is_chosen_from_both_scores(tmp_path: Path, parted, run_of) -> None:
    runs = {
        name: run_of(tmp_path / name, parted, right=right, seed=seed)
        for seed, (name, right) in enumerate({"good": 0.97, "bad": 0.7, "leaking": 0.99}.items())
    }
    for name, run in runs.items():
        note_run(run, leaks=["flags saw the labels"] if name == "leaking" else [])
    with pytest.raises(InputError, match=r"0 experiments .* have a public score"):
        evaluate(runs["good"], public_rows=100)
    for name, score in {"good": 0.91, "bad": 0.7, "leaking": 0.85}.items():
        note_scores(runs[name], {"public": score})
    result = evaluate(runs["good"], public_rows=100)
    assert result.submission is not None
    assert (result.split, result.submission.best, result.submission.by_out_of_fold) == (
        "train",
        "good",
        "good",
    )
    choice, private, stays = result.selection()[-3:]  # 240 test and unlabeled rows, of which 100 are public
    assert choice.startswith("Choose good: the best with a probability of ")
    assert private.startswith("Private scores (140 rows) will probably lie at: good ")
    assert stays.startswith("The best public one, good, stays the best with a probability of ")
    found = result.submission.private
    assert found is not None
    assert found.scores["good"].low < 0.91 < found.scores["good"].high
    wide, narrow = (found.scores["bad"], evaluate(runs["good"], public_rows=100, private_rows=9000))
    narrow = narrow.submission.private.scores["bad"]
    assert wide.high - wide.low > narrow.high - narrow.low
    assert evaluate(runs["good"], public_rows=1000).submission.private is None  # no rows are left
    told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
    assert told["submission"]["by_public"] == "good"
    shown = CliRunner().invoke(
        app, ["evaluate", str(runs["good"]), "--public-rows", "100", "--private-rows", "9000"]
    )
    assert "Private scores (9,000 rows)" in " ".join(shown.stdout.split())
    for wrong in ({"private_rows": 9}, {"private_rows": 9, "public_rows": 9, "split": "test"}):
        with pytest.raises(InputError, match=r"private_rows=9 with .*Add --public-rows"):
            evaluate(runs["good"], **wrong)


def test_labeled_test_rows_say_how_far_a_public_part_can_be_believed(tmp_path: Path, parted, run_of) -> None:
    run = run_of(tmp_path / "run", parted)
    with pytest.raises(InputError, match=r"only experiment on these rows.*--against RUN"):
        evaluate(run, split="test", public_rows=50)
    other = run_of(tmp_path / "other", parted, right=0.94, seed=5)
    result = evaluate(run, against=[other], split="test", public_rows=50)
    assert result.public_part is not None
    assert (set(result.public_part.within), result.public_part.num_private) == ({"run", "other"}, 150)
    assert result.selection()[-1].startswith("Were 50 of these 200 rows public, private scores would lie")
    told = json.loads((result.folder / "evaluate.json").read_text("utf-8"))
    assert told["public_part"]["num_public"] == 50
    assert "Were 50 of these 200 rows public" in (result.folder / "report.html").read_text("utf-8")
    with pytest.raises(InputError, match="num_public=200 of 200 rows"):
        evaluate(run, against=[other], split="test", public_rows=200)


def test_the_score_is_given_without_rows_that_lie_in_train(tmp_path: Path, parted, run_of) -> None:
    run = run_of(tmp_path / "run", parted)
    assert evaluate(run).leak_score is None
    test = np.flatnonzero(SPLITS == "test")
    pairs = [*((row, 0, "cropped") for row in test[:30]), (test[40], 1, SAME_GROUP)]
    pairs += [(test[41], 520, "cropped"), (510, 2, "cropped")]  # test in val, and val in train
    leaks = Leaks(
        first=np.array([pair[0] for pair in pairs]),
        second=np.array([pair[1] for pair in pairs]),
        kinds=tuple(pair[2] for pair in pairs),
        similarity=np.where(np.array([pair[2] for pair in pairs]) == SAME_GROUP, np.nan, 0.9),
        labels_differ=np.isin(np.arange(len(pairs)), [0, 31]),
        pixels=np.ones((len(pairs), 2), np.int64),
        has_exif=np.zeros((len(pairs), 2), bool),
    )
    write_leaks(tmp_path, parted, leaks)
    found = evaluate(run, leaks=tmp_path)
    right = open_run(run).right_on_given
    assert found.leak_score is not None
    assert (found.leak_score.num_leaks, found.leak_score.num_conflicts) == (30, 1)
    assert found.leak_score.without_leaks is not None
    assert found.leak_score.without_leaks.value == right[test[30:]].mean()
    assert "without the 30 that probably lie in train, 1 of these with another label" in found.splits()[-1]
    told = json.loads((found.folder / "evaluate.json").read_text("utf-8"))
    assert told["leaks"]["num_conflicts"] == 1
    with pytest.raises(InputError, match=r"There is no leaks.csv in .*nothere"):
        evaluate(run, leaks=tmp_path / "nothere")
    write_leaks(run, parted, leaks)
    note_run(run)
    later = evaluate(run_of(tmp_path / "later", parted))  # by the list of the run beside it
    assert later.leak_score == found.leak_score
    relabeled = np.where(np.arange(N) == 0, 1 - parted.given_labels.clip(0, 1), parted.given_labels)
    assert evaluate(run_of(tmp_path / "other", replace(parted, given_labels=relabeled))).leak_score is None


def test_a_split_without_rows_is_refused_with_splits_that_have_labels(tmp_path: Path, parted, run_of) -> None:
    splits = np.where(SPLITS == "unlabeled", SPLITS, "train")
    run = run_of(tmp_path / "run", replace(parted, splits=splits, folds=None))
    with pytest.raises(InputError, match=r"no rows of the split 'test'.* splits with labels: train\."):
        evaluate(run, split="test")


def test_unknown_folds_are_no_caveat_of_test_rows(tmp_path: Path, parted, run_of) -> None:
    run = run_of(tmp_path / "run", replace(parted, folds=None))
    note_run(run)
    unknown = "folds unknown"
    assert any(unknown in caveat for caveat in evaluate(run, split="train").caveats)
    assert not any(unknown in caveat for caveat in evaluate(run).caveats)
