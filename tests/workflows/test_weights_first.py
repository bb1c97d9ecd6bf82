"""Whether weights can be had is told before a photo is read, and before anything is written."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import safetensors.torch
import timm

from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.find import find
from kiyome.workflows.train import train

NET = "test_resnet.r160_in1k"
FROM_HUB = (f"architecture={NET}", "image_size=32", "epochs=1", "num_folds=3")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Ninety digits in `data`, and in `find` what `find` said of them."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=90, side=32)
    find(folder / "data", backbone="tiny", output=folder / "find", cache_folder=folder / "cache")
    return folder


VERBS = """
import json, sys
import kiyome
from kiyome.errors import KiyomeError
data, run, out, *changes = sys.argv[1:]
said = []
for verb, source, more in [
    (kiyome.train, data, {"changes": changes}),
    (kiyome.clean_and_retrain, data, {"changes": changes}),
    (kiyome.noise_classifier, run, {"changes": changes}),
    (kiyome.find, data, {"backbone": "test_resnet.r160_in1k"}),
]:
    try:
        verb(source, output=f"{out}/{verb.__name__}", **more)
    except KiyomeError as error:
        said.append(str(error))
print(json.dumps(said))
"""


FROM_A_CACHE = """
from kiyome.training.train_state import check_networks
from kiyome.training.recipe import Recipe
check_networks([Recipe.of(architecture="test_resnet.r160_in1k", image_size=32)])
"""


def without_network(code, *arguments, **places):
    """What a new process prints whose hub does not answer."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = kept | {"HF_ENDPOINT": "http://127.0.0.1:9"} | {k: str(v) for k, v in places.items()}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_network_every_verb_says_so_first_in_options_of_its_own(digits, tmp_path):
    out = tmp_path / "out"
    told = without_network(
        VERBS,
        *(digits / "data", digits / "find", out, *FROM_HUB),
        HF_HOME=tmp_path / "hub",
        KIYOME_CACHE=tmp_path / "cache",
    )
    *trainings, found = json.loads(told)
    assert len(trainings) == 3
    for words in trainings:
        assert f"The weights of timm/{NET} are not in the hub's cache here and cannot be fetched" in words
        assert words.startswith("quick: ")
        assert "no answer from the hub" in words
        assert "weights=FILE (MODEL.weights=FILE for one model of several); or architecture=lite0" in words
        assert words.endswith("or pretrained=false.")
    assert "--weights FILE" in found
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_the_hubs_cache_without_links_is_enough(tmp_path):
    place = tmp_path / "hub" / f"models--timm--{NET}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    weights = place / "snapshots" / ("0" * 40) / "model.safetensors"
    safetensors.torch.save_file(timm.create_model(NET).state_dict(), weights)
    without_network(FROM_A_CACHE, HF_HOME=tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["weights=none.safetensors"], "quick: There is no weights file none.safetensors."),
        (
            ["architecture=test_efficientnet", "weights={}"],
            "must hold the tensors of timm's test_efficientnet",
        ),
        (["architecture=resnet19"], "quick: The backbone 'resnet19' is unknown."),
    ],
)
def test_a_network_that_cannot_be_built_is_told_first(digits, tmp_path, changes, words):
    weights = tmp_path / "resnet.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), weights)
    with pytest.raises(InputError) as told:
        train(
            digits / "data",
            changes=["image_size=32", *(text.format(weights) for text in changes)],
            output=tmp_path / "run",
            cache_folder=tmp_path / "cache",
        )
    assert words in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]


def test_a_finished_run_needs_no_weights_and_another_one_in_its_folder_is_told_first(digits, tmp_path):
    weights = tmp_path / "resnet.safetensors"
    safetensors.torch.save_file(timm.create_model("test_resnet").state_dict(), weights)
    changes = [*FROM_HUB, "architecture=test_resnet", f"weights={weights}", "num_folds=2"]
    how = {"output": tmp_path / "run", "cache_folder": tmp_path / "cache"}
    first = train(digits / "data", changes=changes, **how)
    weights.unlink()
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputError, match="holds a run with other settings"):
        train(digits / "data", changes=[*changes, "epochs=2"], **how)
    assert not (tmp_path / "cache").exists()
    again = train(digits / "data", changes=changes, **how)
    assert again.summary() == first.summary()
