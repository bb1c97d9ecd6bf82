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
    assert [(r.epochs, r.augment["cutout"], r.architecture) for r in recipes] == [(12, 0.25, "tiny")] * 2
    assert recipes[0].augment["vertical_flip"] == 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("epoch=3", "Came: 'epoch'. Did you mean epochs?"),
        ("epochs=many", "epochs is a whole number. Came: 'many'."),
        ("epochs=2.5", "epochs is a whole number. Came: 2.5."),
        ("epochs=true", "epochs is a whole number. Came: True."),
        ("epochs=0", "epochs lies in 1 to 1e+06. Came: 0."),
        ("learning_rate=nan", "learning_rate lies in 0 to 1000. Came: nan."),
        ("epochs", "A change to a recipe reads key=value. Came: 'epochs'."),
        ("epochs.deep=1", "Only a table has entries. Came: epochs.deep."),
        (
            "crop=randm",
            "The crop 'randm' is unknown. Expected one of random, whole, center. Did you mean random?",
        ),
        ("loss=bitempered", "Came: 'bitempered'. Did you mean bi_tempered?"),
        ("loss_options.smoothing=0.1", "The options of the loss cross_entropy are: label_smoothing."),
        ("augment.cutoff=0.1", "Came: 'cutoff'. Did you mean cutout?"),
        ("seeds=[1,1]", "seeds is a list of different whole numbers."),
        ("average_last=9", "At most all epochs are averaged. Came: average_last=9 of epochs=3."),
        ("accumulate=64", "A batch has a row for each part. Came: accumulate=64 of batch_size=32."),
        ("name=../up", "A model's name is letters, digits, dots, dashes and underscores. Came: '../up'."),
    ],
)
def test_a_bad_change_is_named(change, said):
    with pytest.raises(InputError) as caught:
        read_recipes("quick", [change])
    assert said in str(caught.value)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(InputError, match=r"one of modern, quick, talk-best-public.*Did you mean quick"):
        read_recipes("quik")


@pytest.mark.parametrize("text", ["epochs = = 3", "models = 3", "[models]\na = 3"])
def test_a_broken_file_is_named(text, tmp_path):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(InputError):
        read_recipes(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3: a", r"A recipe holds fields. Came: mine\.yaml: {3: 'a'}"),
        ("models: {1: {}}", "`models` holds one table a model"),
    ],
)
def test_numbers_as_names_in_yaml_are_named(text, said, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_recipes(tmp_path / "mine.yaml", ["a.epochs=1"] if "models" in text else [])


def test_models_of_one_recipe_share_the_deal(tmp_path):
    (tmp_path / "mine.toml").write_text("[models.a]\nnum_folds = 3\n[models.b]\nnum_folds = 4\n")
    with pytest.raises(InputError, match="All models share one deal of folds"):
        read_recipes(tmp_path / "mine.toml")


def test_early_learning_goes_without_mixing():
    with pytest.raises(InputError, match="early_learning remembers each photo by itself"):
        Recipe(loss="early_learning", mixing="cut_mix")


def test_the_digest_tells_what_decides_from_what_does_not():
    base = Recipe()
    assert Recipe(name="other", about="words", num_folds=3, seeds=(1,)).digest == base.digest
    for field, value in {
        "epochs": 11,
        "loss": "focal",
        "views": 2,
        "accumulate": 2,
        "ema_decay": 0.9,
    }.items():
        assert Recipe(**{field: value}).digest != base.digest, field


def test_a_recipe_is_json():
    assert json.loads(json.dumps(Recipe().as_dict()))["seeds"] == [0]
