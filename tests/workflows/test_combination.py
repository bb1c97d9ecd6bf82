"""Runs in, a run with an honest score out: the four verbs, their refusals, and new photos."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from kiyome.artifacts.run import verify_run
from kiyome.ensemble import at_temperature, blend_pred_probs, cross_fitted_blend
from kiyome.errors import InputError, StaleArtifact
from kiyome.experiments import read_diary
from kiyome.reading.finished_run import open_run
from kiyome.testing import write_digits
from kiyome.workflows.blend import blend, calibrate, stack
from kiyome.workflows.correct import correct
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict
from kiyome.workflows.train import train

SMALL = ("architecture=tiny", "image_size=32", "epochs=1", "average_last=1", "batch_size=32")
SMALL = (*SMALL, "precision=float32", "num_folds=3", "views=1", "drop_path=0.0", "plain_last=0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two trainings of other seeds on one table and deal, in a folder of runs."""
    folder = tmp_path_factory.mktemp("combined")
    write_digits(folder / "data", num_photos=90, side=32)
    cache = {"cache_folder": folder / "cache"}
    train(folder / "data", changes=SMALL, output=folder / "runs" / "a", **cache)
    changes = [*SMALL, "seeds=[1]", "epochs=2"]
    train(folder / "data", changes=changes, output=folder / "runs" / "b", **cache)
    return folder / "runs"


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """A find run on predictions at hand, with folds, whose labels are a tenth wrong."""
    folder = tmp_path_factory.mktemp("brought")
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=300)
    labels = np.where(rng.random(300) < 0.1, (true + 1) % 3, true)
    scores = rng.normal(size=(300, 3)) + 3 * np.eye(3)[true]
    probs = np.exp(2 * scores) / np.exp(2 * scores).sum(axis=1, keepdims=True)
    rows = [f"p{n}.jpg,{label},{n % 5}\n" for n, label in enumerate(labels)]
    (folder / "train.csv").write_text("image_id,label,fold\n" + "".join(rows))
    np.save(folder / "oof.npy", probs.astype(np.float32))
    find(folder / "train.csv", pred_probs=folder / "oof.npy", output=folder / "runs" / "found")
    return folder / "runs" / "found"


def right(result):
    return result.predictions.pred_probs.argmax(axis=1) == result.table.given_labels


def test_a_blend_is_a_run_like_others_and_noted_in_the_diary(runs):
    result = blend([runs / "a", runs / "b"])
    assert result.folder == runs / "a-blend"
    manifest = verify_run(result.folder)
    promised = {"oof.csv", "oof.parquet", "table.csv", "table.parquet", "report.html", "blend.json"}
    assert {*promised, "predictions/pred_probs.npy"} <= set(manifest["files"])
    members = [open_run(runs / name).predictions.pred_probs for name in "ab"]
    np.testing.assert_allclose(result.predictions.pred_probs, blend_pred_probs(members), atol=1e-6)
    entry = next(e for e in read_diary(runs) if e.run == "a-blend")
    assert entry.accuracy_on_given.value == right(result).mean()
    assert result.score.accuracy_on_given.num_rows == 90  # all rows


def test_the_comparison_is_with_the_best_input_on_the_same_rows(runs):
    result = blend([runs / "b", runs / "a"], output=runs / "other-order")
    accuracy = {name: score.accuracy_on_given.value for name, score in result.inputs.items()}
    assert accuracy[result.best_input] == max(accuracy.values())
    gained = right(result).mean() - accuracy[result.best_input]
    assert result.against_best.difference.value == pytest.approx(gained)
    said = json.loads((result.folder / "blend.json").read_text())
    assert said["best_input"] == result.best_input
    assert said["against_best_input"]["verdict"] == result.against_best.verdict


def test_the_report_asks_the_network_for_nothing_and_draws_reliability(runs):
    page = (blend([runs / "a", runs / "b"], how="weights").folder / "report.html").read_text("utf-8")
    assert not re.search(r"<script|https?://|@import|url\(", page)
    assert page.count('<path class="curve') == 6  # of each run its curve, its intervals and its key
    assert "Correlation of errors on given labels" in page


@pytest.mark.parametrize("how", ["mean", "log", "rank", "weights"])
def test_new_photos_are_blended_as_the_rows_were(runs, how, tmp_path):
    result = blend([runs / "a", runs / "b"], how=how, output=runs / f"by-{how}")
    photos, cache = runs.parent / "data" / "train_images", {"cache_folder": runs.parent / "cache"}
    new = predict(result.folder, photos, output=tmp_path / "s.csv", **cache)
    each = [predict(runs / name, photos, output=None, **cache) for name in "ab"]
    members = [open_run(runs / name).predictions.pred_probs for name in "ab"]
    table = result.table
    options = {
        "rank": {"how": "rank", "reference": members},
        "weights": {"weights": cross_fitted_blend(table.given_labels, members, table.folds).weights},
    }
    expected = blend_pred_probs([said.pred_probs for said in each], **options.get(how, {"how": how}))
    np.testing.assert_allclose(new.pred_probs, expected, atol=1e-5)
    assert new.num_models == sum(said.num_models for said in each)


@pytest.mark.parametrize("model", ["linear", "lightgbm"])
def test_stack_calibrate_and_correct_go_on_with_new_photos(runs, model, tmp_path):
    stacked = stack([runs / "a", runs / "b"], model=model, is_noisy=True, output=runs / f"stack-{model}")
    calibrated = calibrate(stacked.folder, output=runs / f"calibrated-{model}")
    corrected = correct(calibrated.folder, direction="true", output=runs / f"corrected-{model}")
    photos, cache = runs.parent / "data" / "train_images", {"cache_folder": runs.parent / "cache"}
    said = [
        predict(run.folder, photos, output=None, **cache).pred_probs
        for run in (stacked, calibrated, corrected)
    ]
    assert said[0].shape == (90, 10)
    at = at_temperature(said[0], calibrated.predictor["temperature"])
    np.testing.assert_allclose(said[1], at, atol=1e-5)
    by_hand = said[1].astype(float) @ np.array(corrected.predictor["matrix"])
    np.testing.assert_allclose(said[2], by_hand, atol=1e-5)


def test_new_photos_get_the_clean_prediction_where_both_models_differ(runs):
    clean = {"clean": runs / "b", "apply_to": "clean", "estimates": "true"}
    result = correct(runs / "a", rows="disagree", **clean, output=runs / "differing")
    photos, cache = runs.parent / "data" / "train_images", {"cache_folder": runs.parent / "cache"}
    a, b = (predict(runs / name, photos, output=None, **cache).pred_probs for name in "ab")
    differ = (a.argmax(axis=1) != b.argmax(axis=1))[:, None]
    assert differ.any()
    new = predict(result.folder, photos, output=None, **cache)
    by_hand = np.where(differ, b.astype(float) @ np.array(result.predictor["matrix"]), a)
    np.testing.assert_allclose(new.pred_probs, by_hand, atol=1e-6)
    assert new.num_models == 3 + 3


def test_new_photos_need_no_run_that_told_the_noise(runs, tmp_path):
    found = find(
        runs / "a" / "table.parquet", pred_probs=runs / "a" / "oof.parquet", output=tmp_path / "found"
    )
    result = correct(runs / "b", noise_from=found.folder, estimates="true", output=runs / "noise-from-found")
    photos, cache = runs.parent / "data" / "train_images", {"cache_folder": runs.parent / "cache"}
    new = predict(result.folder, photos, output=None, **cache).pred_probs
    plain = predict(runs / "b", photos, output=None, **cache).pred_probs
    np.testing.assert_allclose(new, plain.astype(float) @ np.array(result.predictor["matrix"]), atol=1e-6)


def test_calibration_changes_no_choice_and_helps_on_rows_it_did_not_see(brought):
    result = calibrate(brought)
    before = result.inputs["found"]
    assert result.score.accuracy_on_given == before.accuracy_on_given
    assert result.score.log_loss < before.log_loss
    assert result.against_best.difference.value == 0


def test_the_noise_is_not_applied_twice_and_a_refusal_leaves_nothing_behind(brought):
    with pytest.raises(InputError, match=r"the noise counts twice"):
        correct(brought)
    assert not (brought.parent / "found-correct").exists()
    result = correct(brought, allow_double_noise=True)
    assert any("the noise counts twice" in note for note in result.notes)
    assert correct(brought, estimates="true", output=brought.parent / "as-true").notes
    with pytest.raises(InputError, match=r"noise is removed twice"):
        correct(brought, estimates="true", direction="true")


def test_flagged_rows_are_told_as_a_leak_wherever_the_score_is_shown(brought):
    result = correct(brought, rows="flagged", direction="true", output=brought.parent / "flagged")
    leak = "rows were selected by their own labels"
    assert leak in result.notes[0]
    assert leak in (result.folder / "report.html").read_text("utf-8")
    assert leak in next(e for e in read_diary(brought.parent) if e.run == "flagged").leaks[0]
    of_it = blend([result.folder], output=brought.parent / "of-flagged")  # it stays with what is made of it
    assert leak in of_it.leaks[0]
    with pytest.raises(InputError, match=r"corrects flagged rows, and new photos have no labels to flag"):
        predict(result.folder, brought, output=None)


def test_what_a_clean_model_estimates_is_known(runs):
    data, cache = runs.parent / "data", {"cache_folder": runs.parent / "cache"}
    find(data, backbone="tiny", output=runs / "found", **cache)
    changes = [*SMALL, f"leave_out=global:{runs / 'found'}"]
    train(data, changes=changes, output=runs / "clean", **cache)
    result = correct(runs / "clean", output=runs / "clean-correct")  # not refused
    assert any("assumed to estimate true classes" in note for note in result.notes)
    assert "Cleaning is global" in result.leaks[0]
    differ = correct(
        runs / "a", rows="disagree", clean=runs / "clean", direction="true", output=runs / "disagree"
    )
    photos = data / "train_images"
    new = predict(differ.folder, photos, output=None, **cache).pred_probs
    plain, clean = (predict(runs / name, photos, output=None, **cache).pred_probs for name in ("a", "clean"))
    same = plain.argmax(axis=1) == clean.argmax(axis=1)
    np.testing.assert_allclose(new[same], plain[same], atol=1e-6)
    assert (np.abs(new - plain)[~same].max(axis=1) > 1e-6).any()
    mixed = blend([runs / "a", runs / "clean"], output=runs / "mixed")
    with pytest.raises(
        InputError, match=r"mixes models of given labels .* Add --estimates given or --estimates true"
    ):
        correct(mixed.folder)


def test_runs_that_do_not_go_together_are_told_what_differs(runs, brought, tmp_path):
    with pytest.raises(InputError, match=r"other photos, their order or class names"):
        blend([runs / "a", brought])
    train(
        runs.parent / "data",
        changes=SMALL,
        seed=1,
        output=tmp_path / "dealt-anew",
        cache_folder=runs.parent / "cache",
    )
    with pytest.raises(InputError, match=r"has other folds than"):
        blend([runs / "a", tmp_path / "dealt-anew"])
    with pytest.raises(InputError, match=r"is named twice"):
        blend([runs / "a", runs / "a"])
    with pytest.raises(InputError, match=r"No run is named"):
        blend([])
    with pytest.raises(StaleArtifact, match=r"so it is not a finished run"):
        blend([tmp_path])


def test_predictions_of_unknown_folds_are_averaged_and_nothing_more(brought, tmp_path):
    labels = [line.rpartition(",")[0] for line in (brought.parents[1] / "train.csv").read_text().splitlines()]
    (tmp_path / "train.csv").write_text("\n".join(labels) + "\n")
    find(tmp_path / "train.csv", pred_probs=brought.parents[1] / "oof.npy", output=tmp_path / "run")
    assert blend([tmp_path / "run"]).against_best.difference.value == 0
    for verb in (calibrate, lambda run: stack([run]), lambda run: blend([run], how="weights")):
        with pytest.raises(InputError, match=r"has no folds\. A fit on labels needs them, .* `fold`"):
            verb(tmp_path / "run")
    with pytest.raises(
        InputError, match=r"folds of .*run are unknown\. .*Run find again with a column `fold`"
    ):
        blend([tmp_path / "run", brought])


def test_predictions_brought_with_their_folds_can_be_combined(runs, tmp_path):
    places = []
    for name in "ab":
        data, oof = runs.parent / "data" / "train.csv", runs / name / "oof.csv"
        places.append(find(data, pred_probs=oof, output=tmp_path / name).folder)
    assert len(blend(places, how="weights").table) == 90
    assert len(blend([places[0], runs / "b"], output=tmp_path / "mixed").table) == 90
    assert calibrate(places[0]).verb == "calibrate"


def test_every_next_step_that_is_printed_can_be_taken(runs, brought, tmp_path):
    printed = command("calibrate", brought, "-o", tmp_path / "calibrated").stdout
    assert "kiyome predict" not in printed
    for lines in (printed, command("blend", runs / "a", runs / "b", "-o", tmp_path / "blended").stdout):
        then = re.search(r"^Then +kiyome (.*)$", lines, re.MULTILINE)[1]
        words = shlex.split(then.replace("PHOTOS", str(runs.parent / "data" / "train_images")))
        done = command(*words, *(("-o", tmp_path / "s.csv") if words[0] == "predict" else ()))
        assert done.returncode == 0, done.stderr


def test_predicting_needs_trainings_and_inputs_where_they_lay(runs, brought, tmp_path):
    result = blend([brought], output=tmp_path / "blend")
    with pytest.raises(InputError, match=r"is a run of 'find', which has no models"):
        predict(result.folder, tmp_path, output=None)
    moved = tmp_path / "moved" / "blend"
    moved.parent.mkdir()
    result.folder.rename(moved)
    with pytest.raises(StaleArtifact, match=r"an input of .*, is missing or has changed"):
        predict(moved, tmp_path, output=None)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "kiyome", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_command_line_prints_words_or_json_or_one_plain_line(brought):
    words = command("calibrate", brought)
    assert words.returncode == 0, words.stderr
    assert "Out of fold, on all 300 rows:" in words.stdout
    assert "Calibration error 0." in words.stdout
    answer = json.loads(command("calibrate", brought, "--json").stdout)
    assert answer["score"]["accuracy_on_given"]["num_rows"] == 300
    refused = command("correct", brought, "--output", brought.parent / "refused")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "or add --allow-double-noise" in refused.stderr
    assert (
        command("correct", brought, "--allow-double-noise", "--output", brought.parent / "twice").returncode
        == 0
    )
    stacked = json.loads(command("stack", brought, "--is-noisy", "--json").stdout)
    assert stacked["for_new_photos"] == {"model": "linear", "is_noisy": True}
    blended = command("blend", brought, "--how", "median")
    assert "is unknown. Expected one of mean, log, rank, weights" in blended.stderr
