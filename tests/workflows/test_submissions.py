"""Submissions in a contest's own layout: numbers with a map, test photos beside, a sample submission."""

import csv
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.manifest import read_manifest, write_manifest
from kiyome.cli import app
from kiyome.errors import InputError, TableError
from kiyome.testing import write_digits
from kiyome.workflows.blend import calibrate
from kiyome.workflows.predict import predict
from kiyome.workflows.train import train

FAST = ("architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "num_folds=2", "batch_size=32")
DIGITS = [f"the digit {digit}" for digit in range(10)]
TEST = [f"digit_{row:04d}" for row in (63, 61, 60, 62)]


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    """A folder as a contest gives it, with a run on it that had its sample submission."""
    folder = tmp_path_factory.mktemp("contest")
    write_digits(folder, num_photos=64, side=32)
    lines = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join(lines[:61]) + "\n")
    (folder / "test_images").mkdir()
    for name in TEST:
        (folder / "train_images" / f"{name}.png").rename(folder / "test_images" / f"{name}.png")
    names = {str(digit): name for digit, name in enumerate(DIGITS)}
    (folder / "label_num_to_disease_map.json").write_text(json.dumps(names))
    write_sample(folder / "sample_submission.csv", ["image_id", "label"], [f"{name}.png" for name in TEST], 4)
    train(
        folder / "train.csv",
        changes=FAST,
        output=folder / "run",
        test=folder / "sample_submission.csv",
        cache_folder=folder / "cache",
    )
    return folder


def write_sample(path, header, ids, value):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *([each] + [value] * (len(header) - 1) for each in ids)])
    return path


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_train_and_predict_write_numbers_in_the_order_of_the_sample(contest, tmp_path):
    by_train = rows_of(contest / "run" / "submission.csv")
    assert [row[0] for row in by_train] == ["image_id", *(f"{name}.png" for name in TEST)]
    assert by_train[0][1] == "label"
    assert {row[1] for row in by_train[1:]} <= set(map(str, range(10)))
    cache = {"cache_folder": contest / "cache", "output": tmp_path / "s.csv"}
    (tmp_path / ".kiyome-0123.tmp").write_bytes(b"left by a kill")
    result = predict(contest / "run", contest / "sample_submission.csv", **cache)  # test_images/ is found
    assert rows_of(tmp_path / "s.csv") == by_train
    assert result.summary()["written"].startswith("labels in column 'label', as in the training data")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["s.csv", "s.probs.parquet"]
    predict(contest / "run", contest / "test_images", **cache)  # no sample: numbers as well, ids by name
    assert sorted(rows_of(tmp_path / "s.csv")[1:]) == sorted(by_train[1:])


def test_every_form_of_sample_is_followed_by_every_kind_of_run(contest, tmp_path):
    calibrated = calibrate(contest / "run", output=contest / "calibrated").folder
    columns = [*DIGITS[5:], *DIGITS[:5]]
    forms = {
        "labels": write_sample(tmp_path / "labels.csv", ["id_code", "diagnosis"], TEST, 0),
        "names": write_sample(tmp_path / "names.csv", ["id_code", "digit"], TEST, DIGITS[0]),
        "probs": write_sample(tmp_path / "probs.csv", ["image_id", *columns], TEST, 0.1),
        "numbered": write_sample(
            tmp_path / "numbered.csv", ["image_id", *(f"class_{k}" for k in range(10))], TEST, 0
        ),
        "one": write_sample(tmp_path / "one.csv", ["image_id", "the digit 3"], TEST, 0.5),
    }
    for run in (contest / "run", calibrated):
        for form, sample in forms.items():  # photos lie beside the training data only
            result = predict(run, sample, output=tmp_path / "s.csv", cache_folder=contest / "cache")
            [header, *rows], expected = rows_of(tmp_path / "s.csv"), rows_of(sample)
            assert header == expected[0]
            assert [row[0] for row in rows] == TEST
            cells = np.array([row[1:] for row in rows])
            probs, labels = result.pred_probs, result.predicted_labels
            if form in ("labels", "names"):
                written = DIGITS if form == "names" else list(map(str, range(10)))
                assert cells.tolist() == [[written[label]] for label in labels]
            else:
                order = {"probs": [*range(5, 10), *range(5)], "numbered": range(10), "one": [3]}[form]
                assert (cells.astype(np.float32) == probs[:, list(order)]).all()


def test_a_run_of_before_writes_names_and_reads_the_map_beside_the_sample(contest, tmp_path):
    """Its manifest does not say how labels were written."""
    shutil.copytree(contest / "run", tmp_path / "run")
    manifest = read_manifest(tmp_path / "run")
    del manifest["table"]["label_texts"]
    write_manifest(tmp_path / "run", manifest)
    numbers, beside = map(str, range(10)), "as in label_num_to_disease_map.json"
    for photos, texts, how in (
        (contest / "test_images", DIGITS, "as class names"),
        (contest / "sample_submission.csv", numbers, beside),
    ):
        result = predict(tmp_path / "run", photos, output=tmp_path / "s.csv", cache_folder=contest / "cache")
        assert {row[1] for row in rows_of(tmp_path / "s.csv")[1:]} <= set(texts)
        assert how in result.form.description


def test_what_does_not_fit_is_told_before_a_photo_is_read_and_nothing_is_written(contest, tmp_path):
    wrong = write_sample(tmp_path / "wrong.csv", ["image_id", *DIGITS[1:], "scab"], TEST, 0)
    lacking = write_sample(tmp_path / "lacking.csv", ["image_id", "label"], [*TEST, "x", "y"], 0)
    for sample, error, message in (
        (wrong, InputError, ": no column for 'the digit 0'; no class called 'scab'"),
        (
            lacking,
            TableError,
            r"2 of 6 photos .*: 'x' \(no such file\), 'y' .* Name their folder with --images,",
        ),
    ):
        with pytest.raises(error, match=message):
            predict(contest / "run", sample, output=tmp_path / "s.csv", cache_folder=tmp_path / "cache")
    with pytest.raises(TableError, match="with --test-images, or"):
        train(contest / "train.csv", changes=FAST, test=lacking, output=tmp_path / "run")
    with pytest.raises(InputError, match="no column for 'the digit 0'"):
        train(contest / "train.csv", changes=FAST, test=wrong, output=tmp_path / "run")
    with pytest.raises(InputError, match="is the sample itself, which the submission would replace"):
        predict(contest / "run", wrong, output=wrong)
    assert {path.name for path in tmp_path.iterdir()} == {"wrong.csv", "lacking.csv"}


def test_the_command_line_says_what_was_written(contest, tmp_path):
    shutil.copytree(contest / "test_images", tmp_path / "test")
    (tmp_path / "test" / "broken.png").write_bytes(b"no photo")
    sample = write_sample(tmp_path / "sample.csv", ["image_id", "label"], [*TEST, "broken"], 99)
    told = CliRunner().invoke(
        app,
        [
            "predict",
            str(contest / "run"),
            str(sample),
            "-o",
            str(tmp_path / "s.csv"),
            "--class-map",
            str(contest / "label_num_to_disease_map.json"),
        ],
    )
    assert told.exit_code == 0, told.output
    assert "note: '99' in 'label' of sample.csv is no label of the run" in told.output
    last = told.output.splitlines()[-1]
    assert "5 ids, 1 of them not readable; labels in column 'label', as in the training data" in last
