"""What members learn from: nested forms see nothing of the held-out fold, global ones say that they do."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.issues import Issues
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.table_files import write_table
from kiyome.cli import app
from kiyome.cli.render import show_train
from kiyome.curation import curate_table
from kiyome.errors import InputError
from kiyome.experiments import read_diary
from kiyome.folds import assign_folds
from kiyome.images.pixel_cache import StoredSize, cache_photos
from kiyome.noise import find_label_issues, label_quality
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.training.cross_validate import cross_validate, plan_members
from kiyome.training.nested import GLOBAL_LEAK, nested_probs, plan_pairs, train_pairs
from kiyome.training.recipe import Recipe
from kiyome.workflows.cleaning import (
    CHANGED_LABELS_LEAK,
    CHANGED_WEIGHTS_LEAK,
    CLEANING_LEAK,
    apply_nested_cleaning,
    changes_for_labels,
    flags_of_run,
    prepare_training_data,
)
from kiyome.workflows.train import train

SIDE, NUM_PHOTOS, FOLDS = 16, 120, 4
SMALL = {
    "architecture": "tiny",
    "image_size": SIDE,
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 3e-2,
    "precision": "float32",
}
FLAGS = {"flag_method": "confident_learning", "max_left_out": 0.9999}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """120 digits of three classes in four folds, and their photos."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=NUM_PHOTOS, side=SIDE)
    table = read_table(folder / "data")
    labels = table.labels % 3
    table = dataclasses.replace(
        table, given_labels=labels, labels=labels, class_names=("zero", "one", "two"), label_texts=()
    )
    photos = cache_photos(table.photo_paths(), stored=StoredSize(side=SIDE), folder=folder / "cache")
    return table.with_folds(assign_folds(table.labels, num_folds=FOLDS)), photos


def cleaned(digits, folder, *, labels=None, **fields):
    """The members of a recipe on these labels, with what each learns from."""
    table, photos = digits
    table = table if labels is None else table.with_labels(labels)
    recipe = Recipe.of(**SMALL, **fields)
    training_data = prepare_training_data(table, [recipe], {recipe.name: photos})
    return apply_nested_cleaning(plan_members([recipe], training_data), folder)


def altered(table, rows):
    """Labels with every one of these rows changed to another class."""
    shift = np.random.default_rng(0).integers(1, 3, size=len(table))
    return np.where(rows, (table.labels + shift) % 3, table.labels).astype(np.int32)


def same(one, other):
    """Bit for bit, NaN included."""
    return one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("fold", "share"), [(0, 0.9999), (2, 0.9999), (2, 0.1)])
def test_labels_of_a_fold_have_no_say_in_what_its_member_learns_from(digits, tmp_path, fold, share):
    """The proof that nested forms leak nothing: every label of the fold is changed, and not a bit moves.

    Nor where cleaning is capped: the surest flagged rows are kept by the training part alone.
    """
    forms = {"soft_labels": "nested", "leave_out": "nested", **FLAGS, "max_left_out": share}
    before = cleaned(digits, tmp_path / "before", **forms)
    after = cleaned(digits, tmp_path / "after", labels=altered(digits[0], digits[0].folds == fold), **forms)
    for one, other in zip(before, after, strict=True):
        untouched = one.fold == fold
        assert same(one.data.targets, other.data.targets) == untouched
        if untouched:
            assert same(one.data.in_training, other.data.in_training)
            assert same(one.training_rows, other.training_rows)
            assert one.data.notes == other.data.notes
            assert bool(one.data.notes) == (share == 0.1)
            assert 0 < one.data.in_training.sum() < (digits[0].folds != fold).sum()  # some were left out
    moved = [
        not same(one.data.in_training, other.data.in_training)
        for one, other in zip(before, after, strict=True)
    ]
    assert any(moved)  # of other folds, whose training parts hold the altered labels


def test_labels_of_a_fold_have_no_say_in_its_predictions_either(digits, tmp_path):
    own, probs = digits[0].folds == 1, []
    for name, labels in (("before", None), ("after", altered(digits[0], own))):
        members = cleaned(digits, tmp_path / name, labels=labels, soft_labels="nested")
        probs.append(cross_validate(members, tmp_path / name).pred_probs)
    assert same(probs[0][own], probs[1][own])
    assert not same(probs[0][~own], probs[1][~own])


def test_global_forms_do_leak_so_that_the_proof_could_fail(digits, tmp_path):
    """The same change of labels reaches what the member of that fold learns from, through the earlier run."""
    table = digits[0]
    outside, found = table.folds != 0, []
    for name, labels in (("before", table.labels), ("after", altered(table, ~outside))):
        run = plain_run(table.with_labels(labels), tmp_path / name)
        forms = {"soft_labels": f"global:{run}", "leave_out": f"global:{run}", **FLAGS}
        learned = cleaned(digits, tmp_path, labels=labels, **forms)[0].data
        found.append((learned.targets[outside], learned.in_training[outside]))
    assert not same(found[0][0], found[1][0])
    assert not same(found[0][1], found[1][1])


def plain_run(table, folder):
    """A finished run of the plain recipe on this table."""
    from kiyome.artifacts.table_files import write_table

    write_table(dataclasses.replace(table, given_labels=table.labels), folder.with_suffix(".csv"))
    changes = [f"{key}={value}" for key, value in SMALL.items()]
    return train(folder.with_suffix(".csv"), images=table.root, changes=changes, output=folder).folder


def test_pairs_are_the_plain_recipe_and_serve_both_folds(digits, tmp_path):
    members = cleaned(digits, tmp_path, soft_labels="nested", given_share=0.6, seeds=(0, 1))
    places = sorted(path.name for path in (tmp_path / "nested" / "members").iterdir() if path.is_dir())
    assert len(places) == 2 * FOLDS * (FOLDS - 1) // 2
    assert places[0].startswith("model-fold0+1-seed0-")
    pairs = train_pairs(plan_pairs(members), tmp_path, on_progress=fail)  # all finished
    table, eye = digits[0], np.eye(3)
    for member in members:
        for row in np.flatnonzero(table.folds != member.fold):
            folds = {member.fold, table.folds[row]}
            behind = [p for p in pairs if {p.member.fold, p.member.second_fold} == folds]
            assert len(behind) == 2  # one a seed
            assert all(row not in p.member.training_rows for p in behind)
            soft = np.mean([p.pred_probs[p.member.held_out == row][0] for p in behind], axis=0)
            expected = 0.6 * eye[table.labels[row]] + 0.4 * soft
            np.testing.assert_allclose(member.data.targets[row], expected, atol=1e-6)
        assert np.isnan(member.data.targets[table.folds == member.fold]).all()


def fail(*step):
    raise AssertionError(step)


def test_flags_are_those_of_the_training_part_alone(digits, tmp_path):
    members = cleaned(digits, tmp_path, leave_out="nested", **FLAGS)
    pairs = train_pairs(plan_pairs(members), tmp_path)
    table = digits[0]
    for member in members:
        rows = table.folds != member.fold
        probs = nested_probs(pairs, member.fold)
        expected = find_label_issues(table.labels[rows], probs[rows], method="confident_learning")
        assert (~member.data.in_training[rows]).tolist() == expected.tolist()
        np.testing.assert_array_equal(member.data.targets[rows], np.eye(3)[table.labels[rows]])


def test_a_missing_pair_is_named(digits, tmp_path):
    recipe = Recipe.of(**SMALL | {"epochs": 1}, soft_labels="nested")
    training_data = prepare_training_data(digits[0], [recipe], {recipe.name: digits[1]})
    members = plan_members([recipe], training_data, only=["fold=0"])
    planned = plan_pairs(members)
    assert [pair.held_out_folds for pair in planned] == ["0+1", "0+2", "0+3"]
    pairs = train_pairs(planned[:2], tmp_path)
    with pytest.raises(InputError, match=r"The member that holds out folds 0 and 3 is missing"):
        nested_probs(pairs, 0)


def test_a_class_that_lies_in_two_folds_alone_is_refused(digits):
    table, photos = digits
    labels = np.where(table.folds < 2, table.labels, table.labels % 2).astype(np.int32)  # no 2 in folds 2, 3
    recipe = Recipe.of(**SMALL, leave_out="nested")
    table = table.with_labels(labels)
    members = plan_members([recipe], prepare_training_data(table, [recipe], {recipe.name: photos}))
    with pytest.raises(
        InputError, match=r"no row of 'two' outside folds 0 and 1\. .*Split with another seed"
    ):
        plan_pairs(members)


def test_two_folds_are_too_few(digits):
    table, photos = digits
    table = dataclasses.replace(table, folds=None).with_folds(table.folds % 2)
    recipe = Recipe.of(**SMALL, leave_out="nested")
    members = plan_members([recipe], prepare_training_data(table, [recipe], {recipe.name: photos}))
    with pytest.raises(InputError, match=r"There are 2 folds\. A nested recipe holds out two folds"):
        plan_pairs(members)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_cleaning_leaves_out_a_share_of_a_class_and_keeps_the_surest_rows(digits, tmp_path, share):
    forms = {"leave_out": "nested", "flag_method": "predicted_neq_given", "max_left_out": share}
    members = cleaned(digits, tmp_path, **forms)
    pairs, labels = train_pairs(plan_pairs(members), tmp_path), digits[0].labels
    for member in members:
        rows, probs = np.flatnonzero(digits[0].folds != member.fold), nested_probs(pairs, member.fold)
        flags = find_label_issues(labels[rows], probs[rows], method="predicted_neq_given")
        quality = label_quality(labels[rows], probs[rows])
        left_out, notes = [], []
        for label, name in enumerate(digits[0].class_names):
            own = labels[rows] == label
            doubtful_first = [
                row for _, row in sorted(zip(quality[own & flags], rows[own & flags], strict=True))
            ]
            most = min(math.floor(share * own.sum()), own.sum() - 1)
            left_out += doubtful_first[:most]
            if len(doubtful_first) > most:
                told = f"{len(doubtful_first)} of {own.sum()} flagged, {most} left out, the surest kept"
                notes.append(f"model-clean, without fold {member.fold}: class {name!r}: {told}")
        assert np.flatnonzero(~member.data.in_training).tolist() == sorted(
            [*left_out, *np.flatnonzero(digits[0].folds == member.fold)]
        )
        assert list(member.data.notes) == notes
    assert bool(members[0].data.notes) == (share < 1)


def test_global_cleaning_is_capped_in_every_training_part(digits, tmp_path):
    table, share = digits[0], 0.1
    run = plain_run(table, tmp_path / "plain")
    forms = {"leave_out": f"global:{run}", "flag_method": "predicted_neq_given", "max_left_out": share}
    members = cleaned(digits, tmp_path, **forms)
    flagged, _ = flags_of_run(run, table, method="predicted_neq_given")
    left_out = ~members[0].data.in_training
    assert left_out[~flagged].sum() == 0
    for fold in range(FOLDS):
        rows = np.bincount(table.labels[table.folds != fold], minlength=3)
        taken = np.bincount(table.labels[left_out & (table.folds != fold)], minlength=3)
        assert (taken <= share * rows).all()
    assert left_out.any()
    counts = [np.bincount(table.labels[rows], minlength=3)[0] for rows in (..., flagged, left_out)]
    told = "class 'zero': {1} of {0} flagged, {2} left out, the surest kept".format(*counts)
    assert f"model-clean-global: {told}" in members[0].data.notes


def test_a_class_never_loses_all_its_rows(digits, tmp_path):
    """Every row of a class of one row a fold is wrong: half of them are left out, none of a single one."""
    table = digits[0]
    first = [np.flatnonzero((table.folds == fold) & (table.labels == 0))[0] for fold in range(FOLDS)]
    labels = table.labels % 2
    labels[first] = 2
    forms = {"leave_out": "nested", "flag_method": "predicted_neq_given", "max_left_out": 1.0}
    for member in cleaned(digits, tmp_path, labels=labels.astype(np.int32), **forms):
        assert np.isin(first, member.training_rows).any()


@pytest.mark.parametrize(
    ("labels", "flags", "said"),
    [
        (
            "cleaned",
            None,
            r"'cleaned' is unknown\. Expected one of all, clean, clean-global\. Did you mean clean\?",
        ),
        ("clean-global", None, r"Labels are clean-global, and there is no run of flags"),
        ("clean", "runs/a", r"Labels are clean, and there are flags of runs/a"),
        (None, "runs/a", r"Labels are as in the recipe, and there are flags of runs/a"),
    ],
)
def test_labels_and_flags_that_do_not_go_together_are_refused(labels, flags, said):
    with pytest.raises(InputError, match=said):
        changes_for_labels(labels, flags)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (["--labels", "clean"], 'leave_out = "nested"'),
        (["--labels", "all", "leave_out=nested"], 'leave_out = ""'),
        (["--labels", "clean-global", "--flags", "runs/a"], 'leave_out = "global:runs/a"'),
        (["soft_labels=nested"], 'soft_labels = "nested"'),
    ],
)
def test_the_command_line_sets_the_field(options, field):
    done = CliRunner().invoke(app, ["train", "photos", *options, "--print-recipe"])
    assert field in done.output.splitlines()


@pytest.mark.parametrize("form", ["runs/a", "global:", "Nested"])
def test_a_form_says_whether_it_leaks(form):
    with pytest.raises(InputError, match=r"leave_out='.*' is unknown\. Expected nested, global:RUN"):
        Recipe.of(leave_out=form)


@pytest.fixture(scope="module")
def data(digits, tmp_path_factory):
    """The digits as a table on disk, with folds."""
    folder = tmp_path_factory.mktemp("table")
    write_table(digits[0], folder / "digits.csv")
    return folder / "digits.csv", digits[0].root, folder


def run_train(data, *changes, **options):
    path, root, _ = data
    small = [f"{key}={value}" for key, value in SMALL.items()]
    return train(path, images=root, changes=[*small, *changes], **options)


FLAG_CHANGES = [f"{key}={value}" for key, value in FLAGS.items()]


def test_scores_are_of_all_rows_and_those_of_kept_rows_stand_beside_them(data, tmp_path, capsys):
    result = run_train(data, *FLAG_CHANGES, labels="clean", output=tmp_path / "run")
    [scores] = result.scores.values()
    right = result.predictions.pred_probs.argmax(axis=1) == result.table.given_labels
    assert scores["out_of_fold_accuracy_on_labels"] == pytest.approx(right.mean(), abs=1e-6)
    assert 0 < scores["rows_not_flagged"] < result.num_training_rows <= NUM_PHOTOS
    summary = json.loads((tmp_path / "run" / "train.json").read_text())
    assert (summary["models"], summary["leaks"]) == (["quick-clean"], [])
    assert "out_of_fold_rows_not_flagged_only_accuracy_on_labels" in summary["scores"]["all members"]
    assert summary["members"][0] == "quick-clean-fold0-seed0"
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "agrees with labels, all rows" in page
    assert f"of {scores['rows_not_flagged']}</td>" in page
    show_train(result)
    said = capsys.readouterr().out
    assert re.search(r"agrees with labels, all rows +balanced +log loss +unflagged", said)
    assert f"{scores['out_of_fold_accuracy_on_labels']:.1%}" in said
    verify_run(tmp_path / "run")
    assert not any("leak" in note for note in result.notes)


def test_a_global_form_is_marked_wherever_it_shows(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = run_train(data)
    options = {"labels": "clean-global", "flags": plain.folder}
    result = run_train(data, *FLAG_CHANGES, f"soft_labels=global:{plain.folder}", **options)
    assert result.folder.name == "digits-train-clean-global-soft-global"
    assert result.models == ("quick-clean-global-soft-global",)
    assert "quick-clean-global-soft-global" in result.predictions.source
    assert {GLOBAL_LEAK, CLEANING_LEAK} < set(result.notes)
    assert result.summary()["leaks"] == [GLOBAL_LEAK, CLEANING_LEAK]
    [_, entry] = read_diary(result.folder.parent)
    assert entry.leaks == result.leaks
    page = (result.folder / "report.html").read_text("utf-8")
    assert GLOBAL_LEAK in page
    assert CLEANING_LEAK in page
    flagged = find_label_issues(plain.table.labels, plain.predictions.pred_probs, method="confident_learning")
    assert result.num_training_rows == (~flagged).sum()


@pytest.mark.parametrize(
    ("action", "leaks", "num_training_rows"),
    [
        ("drop", [CHANGED_WEIGHTS_LEAK], NUM_PHOTOS - 3),
        ("weight", [CHANGED_WEIGHTS_LEAK], NUM_PHOTOS),
        ("relabel", [CHANGED_LABELS_LEAK], NUM_PHOTOS),
        ("keep", [], NUM_PHOTOS),
    ],
)
def test_a_table_that_was_curated_is_marked_wherever_its_score_shows(
    data, tmp_path, action, leaks, num_training_rows
):
    path, root, folder = data
    table = read_table(path, images=root)
    is_issue = np.arange(len(table)) < 3
    suggested = np.where(is_issue, (table.labels + 1) % 3, table.labels).astype(np.int32)
    issues = Issues(is_label_issue=is_issue, probability=np.full(len(table), 0.9), suggested_labels=suggested)
    write_table(curate_table(table, issues, action=action).table, tmp_path / "curated.csv")
    result = run_train((tmp_path / "curated.csv", root, folder), "epochs=1", output=tmp_path / "run")
    assert list(result.leaks) == result.summary()["leaks"] == leaks
    assert result.num_training_rows == num_training_rows
    [entry] = read_diary(tmp_path)
    assert list(entry.leaks) == leaks
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert all(leak in page for leak in leaks)


def test_pairs_may_be_trained_apart_and_predict_no_new_photo(data, tmp_path):
    from kiyome.workflows.predict import predict

    whole = run_train(data, "soft_labels=nested", "epochs=1", output=tmp_path / "whole")
    options = {"output": tmp_path / "elsewhere" / "apart"}  # beside the other run, pairs would be taken
    for only in ("fold=2+3", "fold=0+1", "fold=1"):
        run_train(data, "soft_labels=nested", "epochs=1", members=[only], **options)
    again = run_train(data, "soft_labels=nested", "epochs=1", **options)
    assert same(whole.predictions.pred_probs, again.predictions.pred_probs)
    assert predict(tmp_path / "whole", data[1], output=None).num_models == FOLDS


def test_models_side_by_side_are_scored_by_titles_that_tell_the_leak(data, tmp_path):
    plain = run_train(data, output=tmp_path / "plain")
    (tmp_path / "two.toml").write_text(f'[models.all]\n[models.clean]\nleave_out = "global:{plain.folder}"\n')
    result = run_train(data, *FLAG_CHANGES, recipe=tmp_path / "two.toml", output=tmp_path / "run")
    assert list(result.scores) == ["all members", "all", "clean-clean-global"]
    assert ["rows_not_flagged" in score for score in result.scores.values()] == [True, False, True]
    assert result.num_training_rows == NUM_PHOTOS
