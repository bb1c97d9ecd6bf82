"""The talk's four corrections, each as one command, against plain numpy."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.run import verify_run
from kiyome.cli import app
from kiyome.errors import InputError
from kiyome.workflows.combine import predict_combined
from kiyome.workflows.correct import correct
from kiyome.workflows.find import find

N, K, F = 300, 3, 5


def sure(choices, rng):
    """Probabilities (N, K) of these likeliest classes, each 0.8 to 0.95, which is above every threshold."""
    top = rng.uniform(0.8, 0.95, size=(N, 1))
    return (top * np.eye(K)[choices] + (1 - top) / (K - 1) * (1 - np.eye(K)[choices])).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Labels of which a fifth is wrong, and runs of a model of labels and of a model of the truth."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    true = rng.integers(K, size=N)
    labels = np.where(rng.random(N) < 0.2, (true + 1) % K, true)
    of_labels = np.where(rng.random(N) < 0.15, labels, true)
    of_truth = np.where(rng.random(N) < 0.1, rng.integers(K, size=N), true)
    probs = {"all": sure(of_labels, rng), "clean": sure(of_truth, rng)}
    rows = [f"p{row}.jpg,{label},{row % F}\n" for row, label in enumerate(labels)]
    (folder / "train.csv").write_text("image_id,label,fold\n" + "".join(rows))
    for name, each in probs.items():
        np.save(folder / f"{name}.npy", each)
        find(folder / "train.csv", pred_probs=folder / f"{name}.npy", output=folder / "runs" / name)
    return folder, labels, probs


def with_label_errors(labels, noise_probs, probs):
    """Rows p @ T, T counted on the other folds: all rows are confident, so the joint is a cross table."""
    folds, changed = np.arange(N) % F, np.empty((N, K))
    for fold in range(F):
        joint = np.zeros((K, K))
        for row in np.flatnonzero(folds != fold):
            joint[noise_probs[row].argmax(), labels[row]] += 1
        transition = joint / joint.sum(axis=1, keepdims=True)
        changed[folds == fold] = probs[folds == fold].astype(np.float64) @ transition
    return changed


def command(*words):
    return CliRunner().invoke(app, ["correct", *map(str, words)])


def corrected_by(folder, *words):
    """What one command line left in its run folder, and what it said as JSON."""
    said = command(*words, "--output", folder, "--json")
    assert said.exit_code == 0, said.output
    verify_run(folder)
    return np.load(folder / "predictions" / "pred_probs.npy"), json.loads(said.output)


def test_each_of_the_talks_corrections_is_one_command(models, tmp_path):
    folder, labels, probs = models
    runs = folder / "runs"
    both = probs["all"].argmax(axis=1) != probs["clean"].argmax(axis=1)
    twice = with_label_errors(labels, probs["all"], probs["all"])
    clean = with_label_errors(labels, probs["all"], probs["clean"])
    wanted = {
        "9a": (twice, [runs / "all", "--allow-double-noise"]),
        "9c": (clean, [runs / "clean", "--estimates", "true", "--noise-from", runs / "all"]),
        "9d": (
            np.where(both[:, None], clean, probs["all"]),
            [
                *(runs / "all", "--rows", "disagree", "--clean", runs / "clean"),
                *("--apply-to", "clean", "--estimates", "true"),
            ],
        ),
    }
    assert 0 < both.sum() < N
    for name, (expected, words) in wanted.items():
        found, said = corrected_by(tmp_path / name, *words)
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=name)
        assert said["leaks"] == []
    matrix = said["for_new_photos"]["matrix"]
    new = predict_combined(tmp_path / "9d", verify_run(tmp_path / "9d"), [probs["all"], probs["clean"]])
    by_hand = np.where(both[:, None], probs["clean"].astype(float) @ np.array(matrix), probs["all"])
    np.testing.assert_allclose(new, by_hand, atol=1e-6)
    flagged, said = corrected_by(tmp_path / "9b", runs / "all", "--rows", "flagged", "--allow-double-noise")
    changed = np.abs(flagged - probs["all"]).max(axis=1) > 1e-6
    np.testing.assert_allclose(flagged[changed], twice[changed], atol=1e-6)
    assert 0 < changed.sum() < N
    assert "selected by their own labels" in said["leaks"][0]


def test_where_the_noise_comes_from_is_part_of_the_run_and_told(models, tmp_path):
    runs = models[0] / "runs"
    options = {"estimates": "true", "output": tmp_path / "run"}
    result = correct(runs / "clean", noise_from=runs / "all", **options)
    assert "label errors were estimated from all" in result.notes
    assert list(result.inputs) == ["clean"]
    correct(runs / "clean", noise_from=runs / "all", **options)  # the same run again
    with pytest.raises(InputError, match=r"noise_from"):
        correct(runs / "clean", **options)
    itself = correct(runs / "clean", noise_from=runs / "clean", estimates="true", output=tmp_path / "own")
    assert correct(runs / "clean", estimates="true", output=tmp_path / "own").notes == itself.notes


def test_leaks_of_the_run_that_tells_the_noise_carry_over(models, tmp_path):
    runs = models[0] / "runs"
    leaking = correct(runs / "all", rows="flagged", direction="true", output=tmp_path / "leaking")
    result = correct(
        runs / "clean", noise_from=leaking.folder, estimates="true", output=tmp_path / "noise-leaks"
    )
    assert result.leaks == leaking.leaks


def test_a_run_on_other_folds_tells_no_noise(models, tmp_path):
    folder = models[0]
    lines = (folder / "train.csv").read_text().splitlines()
    other = [lines[0], *(line[:-1] + str((int(line[-1]) + 1) % F) for line in lines[1:])]
    (tmp_path / "train.csv").write_text("\n".join(other) + "\n")
    find(tmp_path / "train.csv", pred_probs=folder / "all.npy", output=tmp_path / "other")
    said = command(
        *(folder / "runs" / "clean", "--noise-from", tmp_path / "other"),
        *("--estimates", "true", "--output", tmp_path / "run"),
    )
    assert said.exit_code == 2
    assert "has other folds than" in said.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Choose the other --direction, correct a run of the other kind, or add --allow-double-noise."),
        (
            ["--rows", "disagree"],
            "The options are --rows disagree without --clean. Expected both",
        ),
        (["--clean", "RUN"], "The options are --rows all with --clean RUN."),
        (
            ["--apply-to", "clean"],
            "The options are --apply-to clean and --rows all. --apply-to clean needs --rows disagree.",
        ),
        (
            ["--direction", "T", "--estimates", "T"],
            "The --direction 'T' is unknown. Expected one of given, true.",
        ),
        (["--apply-to", "both"], "The --apply-to 'both' is unknown. Expected one of run, clean."),
    ],
)
def test_what_does_not_go_together_is_told_in_options(models, options, told):
    said = command(models[0] / "runs" / "all", *options)
    assert said.exit_code == 2
    assert told in said.output.replace("\n", " ")
    assert not (models[0] / "runs" / "all-correct").exists()
