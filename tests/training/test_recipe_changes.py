"""A change works alone: what the recipe says beside it follows, and is told; what a user says stands."""

from inspect import Parameter

import pytest

from kiyome.errors import InputError
from kiyome.losses import LOSSES, SHORT_NAMES, full_name, loss_options
from kiyome.training.recipe import Recipe
from kiyome.training.recipe_files import read_recipes, shipped_recipes

NEEDS_MORE = [name for name in LOSSES if "transition_matrix" in loss_options(name)]


def read(source, *changes):
    notes = []
    return read_recipes(source, changes, on_note=notes.append), notes


@pytest.mark.parametrize("source", shipped_recipes())
@pytest.mark.parametrize("loss", [name for name in (*LOSSES, *SHORT_NAMES) if name not in NEEDS_MORE])
def test_a_loss_by_its_name_alone_works_with_every_shipped_recipe(source, loss):
    recipes, notes = read(source, f"loss={loss}")
    name, implied = full_name(loss)
    keeps = "label_smoothing" in loss_options(name)
    for recipe in recipes:
        assert recipe.loss.name == name
        assert recipe.loss.options == ({"label_smoothing": 0.1} if keeps else {})
    assert any("label_smoothing = 0.1 of the recipe" in note for note in notes) == (not implied)


@pytest.mark.parametrize("loss", NEEDS_MORE)
def test_a_loss_that_needs_a_value_says_where_it_goes(loss):
    with pytest.raises(InputError, match=r"in a recipe as loss_options\.transition_matrix=VALUE"):
        read("quick", f"loss={loss}")
    [recipe], _ = read("quick", f"loss={loss}", "loss_options.transition_matrix=[[0.9, 0.1], [0.2, 0.8]]")
    assert list(recipe.loss.options) == ["transition_matrix"]


@pytest.mark.parametrize(
    ("source", "change", "note"),
    [
        (
            "quick",
            "loss=sce",
            "label_smoothing = 0.1 of the recipe is left out: symmetric_cross_entropy has no such option",
        ),
        (
            "quick",
            "loss=bi_tempered",
            "label_smoothing = 0.1 of the recipe stays for bi_tempered; loss_options={} leaves it out",
        ),
        ("talk-best-public", "epochs=1", "average_last is 1, not the recipe's 4, as epochs is 1"),
        (
            "talk-best-public",
            "resnext50.epochs=3",
            "resnext50: average_last is 3, not the recipe's 4, as epochs is 3",
        ),
        (
            "modern",
            "loss=elr",
            "mixing is none, not the recipe's cut_mix, as early_learning remembers each photo by itself",
        ),
    ],
)
def test_what_follows_a_change_is_told_once(source, change, note):
    assert read(source, change)[1].count(note) == 1


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        (["loss=gce", "loss_options.q=0.5"], {"q": 0.5}),
        (["loss_options.t1=0.5", "loss=bi_tempered"], {"label_smoothing": 0.1, "t1": 0.5}),
        (["loss=bi_tempered", "loss_options.label_smoothing=0.3"], {"label_smoothing": 0.3}),
        (["loss=bi_tempered", "loss_options={t1=0.5}"], {"t1": 0.5}),
        (["loss=ls", "loss_options={label_smoothing=0.2}"], {"label_smoothing": 0.2}),
        (["loss=ce", "loss_options={}"], {}),
    ],
)
def test_options_that_are_given_count(changes, options):
    [recipe], notes = read("quick", *changes)
    assert recipe.loss.options == options
    given = any(
        "label_smoothing" in change or "={" in change for change in changes[0:2] if "loss=" not in change
    )
    assert bool(notes) != given


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["loss=gce", "loss_options={label_smoothing=0.1}"],
            "The loss generalized_cross_entropy has no option",
        ),
        (
            ["loss=gce", "loss_options.label_smoothing=0.1"],
            "entropy has no option 'label_smoothing'. Its options are: q.",
        ),
        (
            ["loss=elr", "mixing=mix_up"],
            "mixing='mix_up' does not go with loss='early_learning', which remembers each photo by itself.",
        ),
        (["epochs=2", "average_last=4"], "average_last=4 is more than epochs=2. Lower average_last"),
        (["batch_size=8", "accumulate=16"], "accumulate=16 is more than batch_size=8. Each part"),
    ],
)
def test_what_a_user_asks_for_in_vain_is_refused(changes, said):
    with pytest.raises(InputError) as caught:
        read("quick", *changes)
    assert said in str(caught.value)


def test_a_model_of_a_file_changes_the_loss_as_the_command_line_does(tmp_path):
    (tmp_path / "mine.toml").write_text(
        "loss_options = { label_smoothing = 0.05 }\nepochs = 8\naverage_last = 4\naccumulate = 16\n"
        '[models.a]\n[models.b]\nloss = "gce"\nepochs = 2\n'
        '[models.c]\nloss = "ls"\nbatch_size = 8\nloss_options = { label_smoothing = 0.2 }\n'
    )
    (a, b, c), notes = read(tmp_path / "mine.toml")
    assert (a.loss.options, b.loss.options) == ({"label_smoothing": 0.05}, {})
    assert (c.loss.name, c.loss.options) == ("cross_entropy", {"label_smoothing": 0.2})
    assert (a.prediction.average_last, b.prediction.average_last, c.prediction.average_last) == (4, 2, 4)
    assert (a.optimizer.accumulate, c.optimizer.accumulate) == (16, 8)
    assert sorted(note[:20] for note in notes) == [
        "b: average_last is 2",
        "b: label_smoothing =",
        "c: accumulate is 8, ",
    ]


def test_what_is_changed_again_later_has_no_followers(tmp_path):
    (b3, resnext), notes = read("talk-best-public", "epochs=1", "resnext50.epochs=6")
    assert (b3.prediction.average_last, resnext.prediction.average_last) == (1, 4)
    assert notes == ["efficientnet-b3: average_last is 1, not the recipe's 4, as epochs is 1"]
    (tmp_path / "mine.toml").write_text(
        'loss_options = { label_smoothing = 0.1 }\n[models.a]\nloss = "gce"\nloss_options = { q = 0.5 }\n'
        '[models.b]\nloss = "gce"\n'
    )
    (a, b), notes = read(tmp_path / "mine.toml", "loss=bi_tempered")
    assert (a.loss.options, b.loss.options) == ({}, {"label_smoothing": 0.1})
    assert notes == [
        "a: q = 0.5 of the recipe is left out: bi_tempered has no such option",
        "b: label_smoothing = 0.1 of the recipe stays for bi_tempered; loss_options={} leaves it out",
    ]


def test_a_short_name_is_its_full_name_and_the_same_run():
    for short, (name, implied) in SHORT_NAMES.items():
        recipe = Recipe.of(loss=short)
        assert (recipe.loss.name, recipe.loss.options) == (name, implied)
        assert recipe.digest == Recipe.of(loss=name, loss_options=implied).digest
    assert not set(SHORT_NAMES) & set(LOSSES)
    assert Recipe.of(loss="ls", loss_options={"label_smoothing": 0.3}).loss.options == {
        "label_smoothing": 0.3
    }
    assert all(default is not Parameter.empty for default in loss_options("ls").values())


def test_label_smoothing_by_name_is_smoothing_whatever_the_recipe_says(tmp_path):
    (tmp_path / "mine.toml").write_text("loss_options = { label_smoothing = 0.05 }")
    [recipe], notes = read(tmp_path / "mine.toml", "loss=ls")
    assert recipe.loss.options == {"label_smoothing": 0.1}
    assert notes == ["label_smoothing = 0.05 of the recipe is 0.1 now, as ls means"]


def test_a_change_to_one_model_reaches_it_only_and_counts_more():
    (b3, resnext), _ = read(
        "talk-best-public",
        *("resnext50.weights=/data/resnext.safetensors", "resnext50.augment.cutout=0.25"),
        *("resnext50.views=2", "views=3", "models.efficientnet-b3.learning_rate=0.5"),
    )
    assert (b3.model.weights, resnext.model.weights) == ("", "/data/resnext.safetensors")
    assert (b3.data.augment["cutout"], resnext.data.augment["cutout"]) == (0.5, 0.25)
    assert (b3.prediction.views, resnext.prediction.views) == (3, 2)
    assert (b3.optimizer.learning_rate, resnext.optimizer.learning_rate) == (0.5, 1e-4)
    [quick], _ = read("quick", "quick.epochs=7")
    assert quick.optimizer.epochs == 7


def test_names_of_models_may_hold_dots_and_be_those_of_tables(tmp_path):
    (tmp_path / "mine.yaml").write_text("models: {resnet: {}, resnet.a1: {}, augment: {}}")
    changes = ("resnet.epochs=1", "resnet.a1.epochs=2", "models.augment.epochs=3", "augment.cutout=0.5")
    recipes, _ = read(tmp_path / "mine.yaml", *changes)
    assert [recipe.optimizer.epochs for recipe in recipes] == [1, 2, 3]
    assert [recipe.data.augment["cutout"] for recipe in recipes] == [0.5] * 3


@pytest.mark.parametrize(
    ("source", "change", "meant"),
    [
        ("quick", "loss=symetric", "symmetric_cross_entropy"),
        ("quick", "loss=symmetric_crossentropy", "symmetric_cross_entropy"),
        ("quick", "loss=SCE", "sce"),
        ("quick", "loss=tempered", "bi_tempered"),
        ("quick", "loss=general", "generalized_cross_entropy"),
        ("quick", "loss_options.smooth=0.1", "label_smoothing"),
        ("quick", "augment.cut_out=0.1", "cutout"),
        ("quick", "wieghts=a", "weights"),
        ("quick", "label_smoothing=0.1", "loss_options.label_smoothing"),
        ("quick", "cutout=0.5", "augment.cutout"),
        ("quick", "mixing=cutmix", "cut_mix"),
        ("quick", "augmnt.cutout=0.5", "augment"),
        ("quick", "quik.weights=a", "quick"),
        ("talk-best-public", "resnext.weights=a", "resnext50"),
        ("talk-best-public", "models.b3.weights=a", "efficientnet-b3"),
        ("talk-best-public", "resnext50.wieghts=a", "weights"),
        ("talk-crop", "epochs=1", "talk-crop-and-resize"),
        ("best-public", "epochs=1", "talk-best-public"),
    ],
)
def test_a_near_miss_is_understood_but_not_obeyed(source, change, meant):
    with pytest.raises(InputError) as caught:
        read(source, change)
    assert caught.value.remedy == f"Did you mean {meant}?"


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(InputError) as caught:
        read("talk-best-public", "zzz.weights=a")
    assert caught.value.problem == "'zzz.weights' begins with neither a model nor a table."
    assert caught.value.expected == (
        "Expected one of the models efficientnet-b3, resnext50 or tables augment, loss_options."
    )
    assert caught.value.remedy == "Choose one of these."
