"""Heads on features of a frozen network, trained as every member is."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from kiyome.artifacts.run import verify_run
from kiyome.errors import InputError
from kiyome.models import load_backbone, load_timm_folder
from kiyome.models.onnx_file import run_onnx
from kiyome.reading.photo_list import read_photo_list
from kiyome.testing import write_digits
from kiyome.training.recipe import Recipe
from kiyome.workflows import train_result
from kiyome.workflows.blend import blend
from kiyome.workflows.export import export
from kiyome.workflows.predict import predict, predict_photos
from kiyome.workflows.train import train

FROZEN = ("architecture=tiny", "epochs=2", "num_folds=3", "seeds=[0]", "learning_rate=0.01")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of 200 digits with a tenth of wrong labels, one photo of which cannot be read."""
    folder = tmp_path_factory.mktemp("digits")
    truth = write_digits(folder / "data", num_photos=200, side=32)
    (folder / "data" / "train_images" / "digit_0007.png").write_bytes(b"no photo")
    np.save(folder / "truth.npy", truth)
    return folder


@pytest.fixture(scope="module")
def trained(digits):
    """A finished run of the recipe, with both of its models."""
    return frozen(digits, digits / "run")


def frozen(digits, output, *changes, **options):
    return train(
        digits / "data",
        recipe="frozen",
        changes=[*FROZEN, *changes],
        output=output,
        cache_folder=digits / "cache",
        **options,
    )


def test_heads_learn_from_features_and_predict_rows_that_they_did_not_see(digits, trained):
    truth = np.delete(np.load(digits / "truth.npy"), 7)
    assert len(trained.table) == 199
    assert trained.models == ("linear", "two-layer")
    assert len(trained.members) == 6
    assert (trained.predictions.pred_probs.argmax(axis=1) == truth).mean() > 0.75
    verify_run(trained.folder)


def test_a_member_holds_a_head_only(trained):
    [model] = trained.folder.glob("members/linear-fold0-*/models/*")
    network = load_timm_folder(model)
    assert network.architecture == "kiyome_head"
    assert {name: tuple(value.shape) for name, value in network.module.state_dict().items()} == {
        "mean": (768,),
        "deviation": (768,),
        "layers.1.weight": (10, 768),
        "layers.1.bias": (10,),
    }


def test_new_photos_get_what_a_head_gave_out_of_fold(digits, trained, tmp_path):
    listed = read_photo_list(digits / "data" / "train_images", images_option=None)
    for name in ("linear", "two-layer"):
        [member] = trained.folder.glob(f"members/{name}-fold0-*")
        shutil.copytree(member, tmp_path / name / "members" / member.name)
        shutil.copy(trained.folder / "table.parquet", tmp_path / name)
        new = predict_photos(
            tmp_path / name,
            listed,
            class_names=trained.table.class_names,
            cache_folder=digits / "cache",
        )
        assert list(new.set_aside) == [7]
        held_out = np.delete(new.pred_probs, 7, axis=0)[trained.table.folds == 0]
        assert np.allclose(held_out, np.load(member / "pred_probs.npy"), atol=1e-6)
    whole = predict(
        trained.folder, digits / "data" / "train_images", output=None, cache_folder=digits / "cache"
    )
    assert whole.num_models == 6


def test_an_exported_member_holds_the_frozen_network(digits, trained, tmp_path):
    photos = digits / "data" / "train_images"
    result = export(trained.folder, photos, output=tmp_path, cache_folder=digits / "cache")
    assert len(result.files) == 6
    assert result.largest_difference < 1e-5
    predicted = predict(trained.folder, photos, output=None, cache_folder=digits / "cache")
    tiny = load_backbone("tiny")
    read = [row for row in range(200) if row not in predicted.set_aside]
    opened = (Image.open(predicted.photos.paths[row]).convert("RGB") for row in read)
    crops = np.stack([tiny.prepare(np.asarray(photo)) for photo in opened])
    probs = [run_onnx(path.read_bytes(), crops) for path in result.files]
    np.testing.assert_allclose(np.mean(probs, axis=0), predicted.pred_probs[read], atol=1e-3)
    described = json.loads(result.files[0].with_suffix(".json").read_text())
    assert described["architecture"] == "tiny"
    assert described["input"]["shape"] == ["n", tiny.size, tiny.size, 3]


def test_the_same_command_gives_the_same_bytes_resumed_or_anew(digits, trained, tmp_path):
    again = frozen(digits, tmp_path / "again")
    assert np.array_equal(again.predictions.pred_probs, trained.predictions.pred_probs)
    half = tmp_path / "half"
    frozen(digits, half, members=["fold=0,2"])
    resumed = frozen(digits, half)
    assert np.array_equal(resumed.predictions.pred_probs, trained.predictions.pred_probs)


@pytest.mark.parametrize("loss", ["gce", "elr"])
def test_losses_and_nested_cleaning_work_as_for_every_member(loss, digits, tmp_path):
    result = frozen(digits, tmp_path / "run", f"loss={loss}", "leave_out=nested", "max_left_out=0.2")
    assert result.models == ("linear-clean", "two-layer-clean")
    assert result.leaks == ()
    assert 0 < (~result.is_kept).sum() < 40
    assert len(list((result.folder / "nested" / "members").glob("[!.]*-fold0+1-*"))) == 2


def test_it_blends_with_trained_networks_of_the_same_folds(digits, trained, tmp_path):
    tuned = train(
        digits / "data",
        changes=["architecture=tiny", "image_size=32", "epochs=1", "batch_size=32"],
        output=digits / "tuned",
        cache_folder=digits / "cache",
    )
    assert np.array_equal(tuned.table.folds, trained.table.folds)
    blended = blend([trained.folder, tuned.folder], output=tmp_path / "blend")
    assert blended.predictions.pred_probs.shape == (199, 10)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"frozen": True, "views": 4}, "views=4 does not go with frozen=true"),
        ({"frozen": True, "mixing": "mix_up"}, "mixing='mix_up' does not go with frozen=true"),
        ({"hidden": 64}, "hidden=64 does not go with frozen=false"),
    ],
)
def test_fields_that_a_frozen_network_cannot_use_are_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Recipe.of(**fields)


def test_recipes_that_are_not_frozen_keep_their_digest():
    assert Recipe().settings.keys() == Recipe().as_dict().keys() - {"frozen", "hidden"}


def test_classes_that_are_never_predicted_are_named(trained):
    probs = np.zeros((len(trained.table), 10), np.float32)
    probs[:, 0] = 1
    [note] = train_result.notes_on_classes(trained.table, probs)
    assert note.startswith("never predicted out of fold: '1' (")
    assert train_result.notes_on_classes(trained.table, np.eye(10)[trained.table.given_labels]) == []
    assert 0.5 < trained.scores["all members"]["out_of_fold_balanced_accuracy_on_labels"] < 1
