"""All members together: nobody sees their own rows, and the parts make the whole."""

import dataclasses
import fcntl

import numpy as np
import pytest

from kiyome.errors import InputError, RunBusy
from kiyome.training.cross_validate import cross_validate, out_of_fold, plan_members, train_members


def with_labels(data, labels):
    table = data.table.with_labels(labels)
    return dataclasses.replace(data, table=table, targets=np.eye(10, dtype=np.float32)[labels])


def test_a_row_has_no_say_in_its_own_probabilities(recipe, data, tmp_path):
    """Change one row's label: its own out-of-fold probabilities stay to the last bit, others' do not."""
    recipe = recipe.with_fields(views=2, ema_decay=0.5, average_last=2)
    row = 17
    labels = data.table.labels.copy()
    labels[row] = (labels[row] + 5) % 10
    before = cross_validate(plan_members([recipe], {recipe.name: data}), tmp_path / "a").pred_probs
    after = cross_validate(
        plan_members([recipe], {recipe.name: with_labels(data, labels)}), tmp_path / "b"
    ).pred_probs
    own_fold = data.table.folds == data.table.folds[row]
    assert np.array_equal(before[own_fold], after[own_fold])
    assert not np.array_equal(before[~own_fold], after[~own_fold])


def test_two_recipes_and_two_seeds_are_averaged_over_the_members_that_held_a_row_out(recipe, data, tmp_path):
    recipes = [
        recipe.with_fields(name="a", epochs=1, seeds=(0, 1)),
        recipe.with_fields(name="b", epochs=1, crop="whole"),
    ]
    result = cross_validate(plan_members(recipes, {"a": data, "b": data}), tmp_path)
    assert len(result.members) == 9
    for row in (0, 50, 119):
        own = [m for m in result.members if row in m.member.held_out]
        assert len(own) == 3
        expected = np.mean([m.pred_probs[m.member.held_out == row][0] for m in own], axis=0)
        np.testing.assert_allclose(result.pred_probs[row], expected, atol=1e-6)
    np.testing.assert_allclose(
        result.pred_probs, (2 * result.by_recipe["a"] + result.by_recipe["b"]) / 3, atol=1e-6
    )
    assert result.dynamics.passes.tolist() == [6] * 120  # 9 members, a third of which held the row out


def test_a_loss_learns_something(recipe, data, tmp_path):
    recipe = recipe.with_fields(epochs=40, learning_rate=3e-2, augment={"scale": (0.9, 1.0)})
    [done] = train_members(plan_members([recipe], {recipe.name: data}, only=["fold=0"]), tmp_path)
    true = data.table.true_labels[done.member.held_out]
    assert (done.pred_probs.argmax(axis=1) == true).mean() > 0.4  # a tenth by chance


def test_members_may_be_trained_apart(recipe, data, tmp_path):
    recipe = recipe.with_fields(epochs=1)
    given = {recipe.name: data}
    whole = cross_validate(plan_members([recipe], given), tmp_path / "whole")
    for fold in (2, 0, 1):
        train_members(plan_members([recipe], given, only=[f"fold={fold}"]), tmp_path / "apart")
    steps = []
    apart = cross_validate(
        plan_members([recipe], given), tmp_path / "apart", on_progress=lambda *step: steps.append(step)
    )
    assert np.array_equal(whole.pred_probs, apart.pred_probs)
    assert steps == []  # nothing was left to do


def test_a_finished_member_is_known_by_what_it_holds(recipe, data, tmp_path):
    recipe = recipe.with_fields(epochs=1)
    members = plan_members([recipe], {recipe.name: data}, only=["fold=0"])
    [done] = train_members(members, tmp_path)
    before = done.pred_probs
    (done.folder / "pred_probs.npy").write_bytes(b"damaged")
    [again] = train_members(members, tmp_path)
    assert np.array_equal(again.pred_probs, before)


def test_a_member_that_another_process_trains_is_busy(recipe, data, tmp_path):
    [member] = plan_members([recipe], {recipe.name: data}, only=["fold=0"])
    (tmp_path / "members").mkdir()
    with (tmp_path / "members" / f".{member.folder_name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunBusy, match=r"Another process is training model-fold0-seed0"):
            train_members([member], tmp_path)


def test_a_fold_without_members_is_named(recipe, data, tmp_path):
    recipe = recipe.with_fields(epochs=1)
    done = train_members(plan_members([recipe], {recipe.name: data}, only=["fold=0,2"]), tmp_path)
    with pytest.raises(InputError, match=r"no member of fold 1"):
        out_of_fold(done)


@pytest.mark.parametrize(
    ("only", "said"), [("fold=7", "No member fits fold=7"), ("folds=1", "Did you mean fold")]
)
def test_a_pick_that_fits_nothing_is_refused(recipe, data, only, said):
    with pytest.raises(InputError, match=said):
        plan_members([recipe], {recipe.name: data}, only=[only])


def test_rows_that_are_not_in_training_are_only_predicted(recipe, data, tmp_path):
    recipe = recipe.with_fields(epochs=1)
    in_training = np.arange(120) % 4 != 0
    data = dataclasses.replace(data, in_training=in_training)
    result = cross_validate(plan_members([recipe], {recipe.name: data}), tmp_path)
    assert (result.dynamics.passes > 0).tolist() == in_training.tolist()
    np.testing.assert_allclose(result.pred_probs.sum(axis=1), 1, atol=1e-5)
