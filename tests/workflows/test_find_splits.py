"""`find` on a table with splits: train rows alone teach, every split has noise of its own."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.issues import read_issues
from kiyome.cli import app
from kiyome.cli.render import show_combined
from kiyome.decisions.items import read_items
from kiyome.ensemble import at_temperature
from kiyome.errors import InputError
from kiyome.experiments import read_diary
from kiyome.testing import write_digits
from kiyome.workflows.blend import blend, calibrate, stack
from kiyome.workflows.correct import correct
from kiyome.workflows.curate import curate
from kiyome.workflows.evaluate import evaluate
from kiyome.workflows.find import find
from kiyome.workflows.find_result import FindResult
from kiyome.workflows.shift import WEAKER

NUM_TRAIN, NUM_TEST = 300, 260


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 digits: all.csv with a column `split`, train.csv with the rows of train, the truth in true.npy."""
    folder = tmp_path_factory.mktemp("digits")
    np.save(folder / "true.npy", write_digits(folder / "data", num_photos=600, side=32))
    with (folder / "data/train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    splits = ["train"] * NUM_TRAIN + ["test"] * NUM_TEST + ["predict"] * 40
    write(folder / "data/all.csv", rows, splits)
    write(folder / "data/train.csv", rows[:NUM_TRAIN])
    return folder


def write(path: Path, rows: list[dict[str, str]], splits: list[str] | None = None) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "label", "fold", *(["split"] if splits else [])])
        for number, row in enumerate(rows):
            split = [splits[number]] if splits else []
            writer.writerow([row["image_id"], row["label"], number % 5, *split])


def found(folder: Path, output: Path, name: str = "all.csv", **options: object) -> FindResult:
    images = folder / "data/train_images"
    return find(
        folder / "data" / name,
        images=images,
        backbone="tiny",
        output=output,
        cache_folder=folder / "cache",
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def result(folder: Path) -> FindResult:
    return found(folder, folder / "runs/all")


def test_train_rows_are_predicted_as_if_there_were_no_others(folder: Path, result: FindResult) -> None:
    alone = found(folder, folder / "alone/train", "train.csv")
    is_train = result.table.in_split("train")
    assert np.array_equal(result.table.folds[is_train], alone.table.folds)
    assert (result.table.folds[~is_train] == -1).all()
    assert np.allclose(result.pred_probs[is_train], alone.pred_probs, atol=1e-5)
    assert np.allclose(result.probability[is_train], alone.probability, atol=1e-3)
    assert np.array_equal(result.is_label_issue[is_train], alone.is_label_issue)


def test_labels_of_the_test_set_teach_nothing(folder: Path, result: FindResult, tmp_path: Path) -> None:
    with (folder / "data/all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[NUM_TRAIN::8]:
        row["label"] = str((int(row["label"]) + 1) % 10)
    write(folder / "data/other.csv", rows, [row["split"] for row in rows])
    other = found(folder, tmp_path / "other", "other.csv")
    assert np.array_equal(other.pred_probs, result.pred_probs)
    is_test = other.table.in_split("test")
    assert np.array_equal(other.probability[~is_test], result.probability[~is_test], equal_nan=True)
    before, difference = result.by_split["test"].difference, other.by_split["test"].difference
    assert before is not None
    assert difference is not None
    assert difference.value > before.value + 0.05


def test_wrong_labels_of_the_test_set_are_found(folder: Path, result: FindResult) -> None:
    true = np.load(folder / "true.npy")[[int(i[6:10]) for i in result.table.image_ids]]
    wrong = true.astype(str) != result.table.given_names
    test = result.table.in_split("test")
    flagged = test & result.is_label_issue
    assert wrong[flagged].mean() > 0.6
    assert flagged.sum() > 0.5 * wrong[test].sum()
    rate = result.by_split["test"].noise_rate
    assert rate.low <= wrong[test].mean() <= rate.high


def test_unlabeled_rows_are_predicted_and_never_flagged(result: FindResult) -> None:
    unlabeled = result.table.in_split("unlabeled")
    assert unlabeled.sum() == 40
    assert not result.is_label_issue[unlabeled].any()
    assert not result.shows_none[unlabeled].any()
    assert np.isnan(result.probability[unlabeled]).all()
    assert np.array_equal(result.suggested_labels[unlabeled], result.predicted_labels[unlabeled])
    issues = read_issues(result.folder / "label_issues.parquet", result.table)
    assert (issues.probability[unlabeled] == 0).all()
    with (result.folder / "label_issues.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows[-40:]] == ["unlabeled"] * 40
    assert {row["given_label"] for row in rows[-40:]} == {""}


def test_the_summary_tells_the_noise_of_each_split(result: FindResult) -> None:
    summary = json.loads((result.folder / "noise.json").read_text())
    assert summary["splits"] == {"train": NUM_TRAIN, "test": NUM_TEST, "unlabeled": 40}
    assert list(summary["by_split"]) == ["train", "test"]
    for name, of_split in summary["by_split"].items():
        assert np.isclose(np.sum(of_split["expected_joint"]), summary["splits"][name])
    assert summary["by_split"]["train"]["difference_to_train"] is None
    difference = summary["by_split"]["test"]["difference_to_train"]
    assert difference["low"] < difference["value"] < difference["high"]
    assert sum(each["flagged"] for each in summary["by_split"].values()) == summary["flagged"]


def test_a_small_split_is_read_by_the_model_of_train(folder: Path, tmp_path: Path) -> None:
    with (folder / "data/all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    write(folder / "data/small.csv", rows[:340], ["train"] * 300 + ["val"] * 40)
    small = found(folder, tmp_path / "small", "small.csv").by_split["val"]
    assert small.fit.model is not None
    assert small.difference is None
    assert small.describe_difference() == "too few rows to compare with train"
    assert small.noise_rate.num_rows == 40


def test_noisy_labels_of_train_do_not_hide_that_test_is_cleaner(
    folder: Path, result: FindResult, tmp_path: Path
) -> None:
    true, rng = np.load(folder / "true.npy"), np.random.default_rng(0)
    with (folder / "data/all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    splits, oof = [row["split"] for row in rows], result.folder / "oof.csv"
    for noisy, clean in (("train", "test"), ("test", "train")):
        for row in rows:
            right = int(true[int(row["image_id"][6:10])])
            is_wrong = row["split"] == noisy and rng.random() < 0.45
            row["label"] = str((right + int(rng.integers(1, 10))) % 10 if is_wrong else right)
        write(folder / f"data/noisy_{noisy}.csv", rows, splits)
        found = find(folder / f"data/noisy_{noisy}.csv", pred_probs=oof, output=tmp_path / noisy).by_split
        assert found[noisy].fit.model.statistics.is_weak
        assert not found[clean].fit.model.statistics.is_weak
        if noisy == "train":
            assert found["test"].describe_difference().startswith("cleaner than train by at least ")
            assert found["test"].difference.low <= -0.45 <= found["test"].difference.high
        else:  # photos of test may be hard, so that no good predictor knows them
            assert found["test"].difference is None
            assert found["test"].describe_difference() == "too weak predictions to compare with train"


def test_brought_predictions_cover_all_splits(folder: Path, result: FindResult, tmp_path: Path) -> None:
    again = find(folder / "data/all.csv", pred_probs=result.folder / "oof.csv", output=tmp_path / "brought")
    assert np.array_equal(again.table.folds, result.table.folds)
    assert np.allclose(again.pred_probs, result.pred_probs, atol=1e-6)
    assert list(again.by_split) == ["train", "test"]


def test_own_features_serve_all_splits(folder: Path, result: FindResult, tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", result.scored.features)
    again = find(folder / "data/all.csv", features=tmp_path / "features.npy", output=tmp_path / "run")
    assert (again.table.folds >= 0).sum() == NUM_TRAIN
    assert again.pred_probs.shape == (600, 10)


def test_a_second_call_gives_the_same_files(folder: Path, result: FindResult) -> None:
    before = {path.name: path.read_bytes() for path in result.folder.glob("*.csv")}
    shutil.rmtree(folder / "again", ignore_errors=True)
    again = found(folder, folder / "again/all")
    assert {path.name: path.read_bytes() for path in again.folder.glob("*.csv")} == before


def test_a_review_shows_the_rows_that_have_a_label(result: FindResult) -> None:
    items = read_items(result.folder)
    assert len(items) == NUM_TRAIN + NUM_TEST
    assert items.given_labels is not None
    assert items.given_labels.min() == 0
    assert items.features is not None
    assert items.features.shape == (NUM_TRAIN + NUM_TEST, result.scored.features.shape[1])  # type: ignore[union-attr]


def test_the_diary_scores_train_alone(folder: Path, result: FindResult) -> None:
    [entry] = [each for each in read_diary(folder / "runs") if each.run == "all"]
    train = result.table.in_split("train")
    right = (result.pred_probs.argmax(axis=1) == result.table.given_labels)[train]
    assert entry.accuracy_on_given is not None
    assert entry.accuracy_on_given.value == right.mean()


def test_curate_changes_train_and_keeps_splits(folder: Path, result: FindResult, tmp_path: Path) -> None:
    test = np.flatnonzero(result.table.in_split("test"))[:2]
    given = result.table.given_names[test]
    other = "3" if given[0] != "3" else "4"
    answers = ["image_id,decision,label", f"{result.table.image_ids[test[0]]},relabel,{other}"]
    answers.append(f"{result.table.image_ids[test[1]]},keep,")
    (tmp_path / "answers.csv").write_text("\n".join(answers) + "\n")
    run = curate(
        result.folder, action="relabel", decisions=tmp_path / "answers.csv", output=tmp_path / "curated"
    )
    assert (
        "2 rows outside train have the label of people as true label: evaluate uses it, training does not"
        in run.summary()["notes"]
    )
    table, is_train = run.table, result.table.in_split("train")
    flagged = result.is_label_issue & ~is_train
    flagged[test] = False
    assert flagged.any()
    assert any(
        note.startswith(f"{flagged.sum()} flagged rows outside train stay") for note in run.curated.notes
    )
    assert np.array_equal(table.split_names, result.table.split_names)
    changed = table.labels != table.given_labels
    assert changed[is_train].any()
    assert not changed[~is_train].any()
    assert (run.curated.actions[~is_train] == "keep").all()
    assert table.true_labels is not None
    assert [table.class_names[label] for label in table.true_labels[test]] == [other, given[1]]
    assert (table.true_labels != -1).sum() == 2
    with (run.folder / "corrected_labels.csv").open(newline="") as file:
        listed = {row["image_id"]: row for row in csv.DictReader(file)}
    assert listed[result.table.image_ids[test[0]]] == {
        "image_id": result.table.image_ids[test[0]],
        "label": other,
        "split": "test",
    }
    assert len(listed) == NUM_TRAIN + NUM_TEST - (run.curated.actions == "drop").sum()


def test_runs_with_splits_are_combined_on_train_and_applied_to_the_others(
    result: FindResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = result.table.in_split("train")
    calibrated = calibrate(result.folder, output=tmp_path / "calibrated")
    assert calibrated.score.accuracy_on_given.num_rows == NUM_TRAIN
    assert f"on all {NUM_TRAIN} rows" in (calibrated.folder / "report.html").read_text("utf-8")
    show_combined(calibrated)
    assert f"Out of fold, on all {NUM_TRAIN} rows of train:" in capsys.readouterr().out
    expected = at_temperature(result.pred_probs[~train], calibrated.predictor["temperature"])
    assert np.allclose(calibrated.predictions.pred_probs[~train], expected, atol=1e-6)
    assert len(calibrated.table) == 600
    corrected = correct(result.folder, direction="true", output=tmp_path / "corrected")
    for how in ("weights", "rank", "mean"):
        blended = blend([calibrated.folder, corrected.folder], how=how, output=tmp_path / how)
        assert blended.predictions.pred_probs.shape == (600, 10)
        assert np.allclose(blended.predictions.pred_probs.sum(axis=1), 1, atol=1e-4)
    stacked = stack([result.folder, corrected.folder], output=tmp_path / "stacked")
    assert np.array_equal(stacked.table.split_names, result.table.split_names)
    assert evaluate(stacked.folder, output=tmp_path / "evaluated").split == "test"
    with pytest.raises(InputError, match="rows outside train, which no correction of flagged rows covers"):
        correct(result.folder, rows="flagged", direction="true", output=tmp_path / "flagged")


def test_every_split_is_compared_with_train(result: FindResult) -> None:
    """Digits of the second file are by other writers, and predictions alone say less."""
    assert list(result.shift) == ["test", "unlabeled"]
    test = result.shift["test"]
    assert (test.photos.num_train, test.photos.num_test) == (NUM_TRAIN, NUM_TEST)
    assert result.shift["unlabeled"].class_shares is None
    stored = json.loads((result.folder / "noise.json").read_text("utf-8"))["shift"]
    assert stored["test"]["sentences"] == test.describe()
    assert stored["test"]["auc"] == vars(test.photos.auc)
    with (result.folder / "shift.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["split"] == "test" for row in rows) == NUM_TEST
    page = (result.folder / "report.html").read_text("utf-8")
    assert "Does test look like train?" in page
    assert test.describe()[0] in page
    assert '<span class="split">test</span>' in page


def test_predictions_alone_are_compared_by_class_shares(result: FindResult, tmp_path: Path) -> None:
    table, oof = result.folder / "table.parquet", result.folder / "oof.parquet"
    answer = CliRunner().invoke(
        app, ["find", str(table), "--pred-probs", str(oof), "--output", str(tmp_path / "run")]
    )
    assert answer.exit_code == 0, answer.output
    told = " ".join(answer.output.split())
    assert f"test against train: {WEAKER}" in told
    assert "Mean confidence: " in told
    assert not (tmp_path / "run/shift.csv").exists()


def test_a_score_of_train_has_a_caveat_where_test_does_not_look_like_it(
    result: FindResult, tmp_path: Path
) -> None:
    sentence = result.shift["test"].describe()[0].rstrip(".")
    assert sentence.startswith("test does not look like train (AUC")
    assert sentence in evaluate(result.folder, split="train", output=tmp_path / "train").caveats
    assert sentence not in evaluate(result.folder, split="test", output=tmp_path / "test").caveats


def test_predictions_of_test_rows_alone_are_found_in_and_not_blended(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    name = "a-name-that-is-long" * 3
    kinds = [("cat" if row % 2 else "dog", "test" if row < 60 else "train") for row in range(200)]
    lines = [f"{name}-{row}.jpg,{label},{split}" for row, (label, split) in enumerate(kinds)]
    (tmp_path / "table.csv").write_text("\n".join(["image_id,label,split", *lines]) + "\n")
    second = np.clip((np.arange(60) % 2 == 0) + rng.normal(0, 0.2, 60), 0.01, 0.99)
    second[:2] = 0.01, 0.99  # two labels are wrong
    np.save(tmp_path / "net.npy", np.stack([1 - second, second], axis=1))
    runner, output = CliRunner(), str(tmp_path / "net")
    given = ["--pred-probs", str(tmp_path / "net.npy"), "--output", output]
    shown = runner.invoke(app, ["find", str(tmp_path / "table.csv"), *given]).stdout
    assert "The 60 rows of net.npy are read as those of test, in order." in shown
    assert "60 rows, about" in shown
    assert "-0.jpg  " in shown  # the whole name, in two lines
    assert "train" not in shown.partition("60 rows, about")[2].partition("flagged\n")[0]
    assert "compare with train" not in (tmp_path / "net" / "report.html").read_text("utf-8")
    other = find(tmp_path / "table.csv", pred_probs=tmp_path / "net.npy", output=tmp_path / "other")
    with pytest.raises(InputError, match=r"no rows of the split 'train', but of test. Give a run with pred"):
        blend([output, other.folder])


def test_a_split_is_also_judged_by_heads_of_its_own(folder: Path, result: FindResult, tmp_path: Path) -> None:
    crossed = found(folder, tmp_path / "crossed", cross_fit="test")
    is_test = crossed.table.in_split("test")
    assert np.array_equal(crossed.pred_probs, result.pred_probs)
    assert np.array_equal(crossed.probability[~is_test], result.probability[~is_test], equal_nan=True)
    assert np.array_equal(crossed.predicted_labels[~is_test], result.predicted_labels[~is_test])
    assert not np.allclose(crossed.probability[is_test], result.probability[is_test], atol=0.01)
    for name in ("head/arrays.npz", "predictions/pred_probs.npy"):
        assert (crossed.folder / name).read_bytes() == (result.folder / name).read_bytes()
    said = "heads of train, and heads cross-fitted on 260 rows of test, in equal parts"
    made_by = json.loads((crossed.folder / "noise.json").read_text())["made_by"]
    assert made_by["labels of test are judged by"] == said
    assert said in (crossed.folder / "report.html").read_text()
    again = found(folder, tmp_path / "crossed", cross_fit="test")
    assert np.array_equal(again.probability, crossed.probability, equal_nan=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cross_fit": "tests"},
            "The split to cross-fit 'tests' is unknown. Expected one of test, val. Did you",
        ),
        ({"cross_fit": "val"}, "The table has 0 labeled rows of val, on which --cross-fit fits heads."),
        ({"cross_fit": "test", "ignore_splits": True}, "The table has 0 labeled rows of test"),
    ],
)
def test_cross_fit_needs_rows_of_its_split(folder: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        found(folder, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_cross_fit_refuses_predictions_of_the_user(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--cross-fit is given together with --pred-probs"):
        find(
            folder / "data/all.csv",
            pred_probs=tmp_path / "oof.npy",
            cross_fit="test",
            output=tmp_path / "run",
        )


def test_heads_of_its_own_find_errors_where_a_split_looks_otherwise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true, is_test = np.arange(800) % 4, np.arange(800) >= 300
    wrong = rng.random(800) < 0.1
    features = rng.normal(size=(800, 8)) + 3 * np.eye(4, 8)[true]
    features[is_test] = np.roll(features[is_test], 4, axis=1) + 0.2 * features[is_test]
    np.save(tmp_path / "features.npy", features.astype(np.float32))
    given = np.where(wrong, (true + 1) % 4, true)
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "label", "split"])
        writer.writerows(
            (f"{n}.jpg", "abcd"[given[n]], ("train", "test")[int(is_test[n])]) for n in range(800)
        )
    suspicion, notes = {}, {}
    for cross_fit in (None, "test"):
        options = {"features": tmp_path / "features.npy", "output": tmp_path / f"run-{cross_fit}"}
        judged = find(tmp_path / "table.csv", cross_fit=cross_fit, **options)  # type: ignore[arg-type]
        suspicion[cross_fit] = judged.probability[is_test]
        notes[cross_fit] = [note for note in judged.scored.notes if note.endswith("--cross-fit test")]
    assert [len(each) for each in notes.values()] == [1, 0]
    found_of = {
        name: wrong[is_test][np.argsort(-each)[: wrong[is_test].sum()]].mean()
        for name, each in suspicion.items()
    }
    assert found_of["test"] > found_of[None] + 0.1
