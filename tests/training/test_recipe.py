"""Recipes say what they are, refuse what they cannot be, and are read back as written."""

import json

import pytest

from kiyome.errors import InputError
from kiyome.training.recipe import Recipe
from kiyome.training.recipe_files import read_recipes, recipe_text, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_is_read_back_from_its_text(name, tmp_path):
    recipes = read_recipes(name)
    (tmp_path / f"{recipes[0].name}.toml").write_text(recipe_text(recipes))
    assert read_recipes(tmp_path / f"{recipes[0].name}.toml") == recipes
    assert all(recipe.about for recipe in recipes)


def test_yaml_says_the_same_as_toml(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "epochs: 3\nloss_options: {label_smoothing: 0.2}\nmodels: {a: {}, b: {crop: whole}}"
    )
    (tmp_path / "mine.toml").write_text(
        'epochs = 3\nloss_options = {label_smoothing = 0.2}\n[models.a]\n[models.b]\ncrop = "whole"\n'
    )
    assert read_recipes(tmp_path / "mine.yaml") == read_recipes(tmp_path / "mine.toml")


def test_a_change_reaches_every_model_and_into_tables():
    recipes = read_recipes("talk-best-public", ["epochs=12", "augment.cutout=0.25", "architecture=tiny"])
    assert [(r.optimizer.epochs, r.data.augment["cutout"], r.model.architecture) for r in recipes] == [
        (12, 0.25, "tiny")
    ] * 2
    assert recipes[0].data.augment["vertical_flip"] == 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("epoch=3", "The recipe field 'epoch' is unknown. Expected one of name, about, architecture, "),
        ("epochs=many", "epochs='many' is not a whole number. Write epochs=3, for example."),
        ("epochs=2.5", "epochs=2.5 is not a whole number."),
        ("epochs=true", "epochs=True is not a whole number."),
        ("epochs=0", "epochs=0 is out of range. Expected 1 to 1e+06. Change epochs."),
        ("learning_rate=nan", "learning_rate=nan is out of range. Expected 0 to 1000."),
        ("epochs", "'epochs' is not a change to a recipe. Expected key=value. Write epochs=3, for example."),
        ("epochs.deep=1", "epochs.deep is unknown: epochs is not a table. Set epochs itself."),
        (
            "crop=randm",
            "The crop 'randm' is unknown. Expected one of random, whole, center. Did you mean random?",
        ),
        ("loss=bitempered", "Did you mean bi_tempered?"),
        ("loss_options.smoothing=0.1", "has no option 'smoothing'. Its options are: label_smoothing."),
        ("augment.cutoff=0.1", "The option of augment 'cutoff' is unknown. Expected one of size, "),
        (
            "seeds=[1,1]",
            "seeds=[1, 1] is not a list of different whole numbers. Write seeds=[0, 1], for example.",
        ),
        ("average_last=9", "average_last=9 is more than epochs=3. Lower average_last, or train longer."),
        (
            "accumulate=64",
            "accumulate=64 is more than batch_size=32. Each part of a batch needs a row. Lower accumulate.",
        ),
        (
            "name=../up",
            "'../up' cannot name a model. Expected letters, digits, dots, dashes and underscores.",
        ),
    ],
)
def test_a_bad_change_is_named(change, said):
    with pytest.raises(InputError) as caught:
        read_recipes("quick", [change])
    assert said in str(caught.value)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r"one of frozen, modern, quick, talk-best-public.*Did you mean quick"
    ):
        read_recipes("quik")


@pytest.mark.parametrize("text", ["epochs = = 3", "models = 3", "[models]\na = 3"])
def test_a_broken_file_is_named(text, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError):
        read_recipes(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3: a", r"The recipe mine\.yaml does not hold fields but {3: 'a'}\. Write `epochs: 3`"),
        ("models: {1: {}}", r"models={1: {}} is not a table of models\. Write one table \[models\.NAME\]"),
    ],
)
def test_numbers_as_names_in_yaml_are_named(text, said, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_recipes(tmp_path / "mine.yaml", ["a.epochs=1"] if "models" in text else [])


def test_models_of_one_recipe_share_the_folds(tmp_path):
    (tmp_path / "mine.toml").write_text("[models.a]\nnum_folds = 3\n[models.b]\nnum_folds = 4\n")
    with pytest.raises(
        InputError, match=r"models differ in num_folds \(3, 4\)\. All models of a recipe share their folds"
    ):
        read_recipes(tmp_path / "mine.toml")


def test_early_learning_goes_without_mixing():
    with pytest.raises(
        InputError, match="does not go with loss='early_learning', which remembers each photo"
    ):
        Recipe.of(loss="early_learning", mixing="cut_mix")


def test_the_digest_tells_what_decides_from_what_does_not():
    base = Recipe()
    assert Recipe.of(name="other", about="words", num_folds=3, seeds=(1,)).digest == base.digest
    for field, value in {
        "epochs": 11,
        "loss": "focal",
        "views": 2,
        "accumulate": 2,
        "ema_decay": 0.9,
    }.items():
        assert Recipe.of(**{field: value}).digest != base.digest, field


def test_a_recipe_is_json():
    assert json.loads(json.dumps(Recipe().as_dict()))["seeds"] == [0]
