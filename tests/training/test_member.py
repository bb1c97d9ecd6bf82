"""One member: what it leaves on disk, what it refuses, and how it goes on after an accident."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from kiyome.artifacts.storage import sha256_of_file
from kiyome.errors import KiyomeError
from kiyome.inference import predict
from kiyome.losses import polynomial_softmax, tempered_softmax
from kiyome.models import load_timm_folder
from kiyome.models.compute import choose_compute
from kiyome.training import train_member as training_module
from kiyome.training.member import METHOD, Member, agreement, finished_member
from kiyome.training.train_member import is_out_of_memory, train_member
from kiyome.training.train_state import load_last_checkpoint, new_train_state, save_checkpoint


class Stop(Exception):
    """The user's Ctrl-C, so to say."""


def stop_after(steps):
    def on_progress(stage, done, total):
        if stage == "train" and done == steps:
            raise Stop

    return on_progress


def files_of(folder):
    return {
        str(path.relative_to(folder)): sha256_of_file(path) for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def member(recipe, data):
    recipe = recipe.with_fields(epochs=4, ema_decay=0.9, average_last=2, views=2, dropout=0.2)
    return Member(recipe=recipe, fold=1, seed=0, data=data)


def test_a_finished_member_holds_what_it_says(member, tmp_path):
    done = train_member(member, tmp_path)
    assert done.pred_probs.shape == (len(member.held_out), 10)
    np.testing.assert_allclose(done.pred_probs.sum(axis=1), 1, atol=1e-5)
    assert done.facts["models"] == ["models/epoch-0003", "models/epoch-0004"]
    assert [line["epoch"] for line in done.metrics()] == [1, 2, 3, 4]
    assert len(done.facts["by_number_of_views"]) == 2
    assert not (tmp_path / "checkpoints").exists()
    seen = [~np.isnan(margins) for margins, _ in done.dynamics()]
    assert all(np.array_equal(np.flatnonzero(each), member.training_rows) for each in seen)


def test_timm_loads_the_models_and_they_predict_what_was_stored(member, tmp_path):
    """The whole way from photo to stored probability, by timm and plain torch."""
    done = train_member(dataclasses.replace(member, recipe=member.recipe.with_fields(views=1)), tmp_path)
    probs = []
    for name in done.facts["models"]:
        network = timm.create_model(f"local-dir:{tmp_path / name}", pretrained=True).eval()
        pixels = np.stack([member.data.photos.pixels(row) for row in member.held_out])
        with torch.inference_mode():
            logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
        probs.append(logits.softmax(1).numpy())
    np.testing.assert_allclose(np.mean(probs, axis=0), done.pred_probs, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "link", "by_hand", "average"),
    [
        (
            "bi_tempered",
            {"name": "tempered_softmax", "temperature": 1.4},
            tempered_softmax,
            "predictions",
        ),
        ("taylor_softmax", {"name": "polynomial", "order": 2}, polynomial_softmax, "weights"),
    ],
)
def test_a_loss_with_its_own_link_is_read_by_it_everywhere(member, tmp_path, loss, link, by_hand, average):
    """In the mean over epochs that count and over views, and in every line of metrics."""
    recipe = member.recipe.with_fields(loss=loss, average=average, epochs=2)
    member = dataclasses.replace(member, recipe=recipe)
    done = train_member(member, tmp_path)
    assert done.facts["link"] == link
    options = {key: value for key, value in link.items() if key != "name"}

    def probs_of(name, num_views):
        network = load_timm_folder(tmp_path / name)
        views = [recipe.data.prediction_view(view, crop_pct=network.crop_pct) for view in range(num_views)]
        network = network.with_link(lambda logits: by_hand(logits, **options))
        compute, seed = choose_compute("float32"), member.own_seed
        return predict(network, member.data.photos, member.held_out, views=views, compute=compute, seed=seed)

    mean = np.mean([probs_of(name, 2) for name in done.facts["models"]], axis=0)
    np.testing.assert_allclose(mean, done.pred_probs, atol=1e-6)
    labels = member.data.table.labels[member.held_out]
    last = agreement(probs_of("models/epoch-0002", 1), labels, "held_out")
    assert last["held_out_log_loss"] == pytest.approx(done.metrics()[-1]["held_out_log_loss"], abs=1e-5)


def test_only_a_link_that_is_not_softmax_makes_another_key(member):
    """Members of before links were stored are taken, unless their loss asks for another than softmax."""
    plain, tempered = (
        dataclasses.replace(member, recipe=member.recipe.with_fields(loss=loss))
        for loss in ("focal", "bi_tempered")
    )
    for each in (plain, tempered):
        parts = [METHOD, each.recipe.digest, each.data.digest, each.fold, each.seed]
        before = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        assert (each.key == before) == (each is plain)


def test_weights_may_be_averaged_instead(member, tmp_path):
    recipe = member.recipe.with_fields(average="weights")
    done = train_member(dataclasses.replace(member, recipe=recipe), tmp_path)
    assert done.facts["models"] == ["models/mean-of-last-2"]
    states = [
        timm.create_model(f"local-dir:{tmp_path / 'models' / name}", pretrained=True).state_dict()
        for name in ("epoch-0003", "epoch-0004", "mean-of-last-2")
    ]
    torch.testing.assert_close(
        states[2]["head.weight"], (states[0]["head.weight"] + states[1]["head.weight"]) / 2
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "early_learning"},
        {"optimizer": "sgd", "channels_last": False, "average": "weights"},
        {"mixing": "snap_mix", "freeze_batchnorm": 0.5, "accumulate": 2, "omit_largest": 1, "omit_after": 1},
    ],
)
def test_stopped_and_resumed_equals_undisturbed_bit_for_bit(member, tmp_path, changes):
    member = dataclasses.replace(member, recipe=member.recipe.with_fields(**changes))
    train_member(member, tmp_path / "whole")
    steps = -(-len(member.training_rows) // 16)
    for at in (steps - 1, 2 * steps + 1, 4 * steps):  # within an epoch, and at its very end
        with pytest.raises(Stop):
            train_member(member, tmp_path / "cut", on_progress=stop_after(at))
    train_member(member, tmp_path / "cut")
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(member, tmp_path):
    train_member(member, tmp_path / "whole")
    steps = -(-len(member.training_rows) // 16)
    with pytest.raises(Stop):
        train_member(member, tmp_path / "cut", on_progress=stop_after(3 * steps + 1))
    path = tmp_path / "cut" / "checkpoints" / "epoch-0003.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit, that safetensors would not notice
    path.write_bytes(content)
    done = train_member(member, tmp_path / "cut")
    [note] = done.facts["notes"]
    assert (
        note == "checkpoint epoch-0003 is damaged (other bytes than were written); the one before it is used"
    )
    whole, cut = files_of(tmp_path / "whole"), files_of(tmp_path / "cut")
    assert {name for name in whole if whole[name] != cut[name]} == {"member.json"}  # it holds the note


def test_every_damaged_file_makes_a_member_unfinished(member, tmp_path):
    train_member(member, tmp_path)
    for name in files_of(tmp_path):
        path = tmp_path / name
        before = path.read_bytes()
        path.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
        if name != "member.json":
            assert finished_member(member, tmp_path) is None, name
        path.write_bytes(before)
    assert finished_member(member, tmp_path) is not None


def test_another_label_another_key(member):
    table = member.data.table
    other = table.with_labels(np.where(np.arange(len(table)) == 3, 9 - table.labels, table.labels))
    data = dataclasses.replace(member.data, table=other)
    assert dataclasses.replace(member, data=data).key != member.key
    assert dataclasses.replace(member, fold=2).key != member.key
    assert dataclasses.replace(member, seed=1).key != member.key


def test_a_checkpoint_of_another_member_is_not_taken(member, tmp_path):
    compute = choose_compute("float32")
    make = lambda: new_train_state(member.recipe, num_classes=10, num_rows=120, seed=1, compute=compute)  # noqa: E731
    state = make()
    state.epochs_done = 2
    save_checkpoint(state, tmp_path, key="one")
    fresh = make()
    assert load_last_checkpoint(fresh, tmp_path, key="other") == []
    assert fresh.epochs_done == 0
    load_last_checkpoint(fresh, tmp_path, key="one")
    assert fresh.epochs_done == 2


def test_out_of_memory_once_passes_the_batch_in_two_parts(member, tmp_path, monkeypatch):
    """The first pass in one part asks the allocator for more than there is; the second, in two, does not."""
    recipe = member.recipe.with_fields(freeze_batchnorm=1.0)
    member = dataclasses.replace(member, recipe=recipe)
    whole = training_module.fit

    def fit_hungry(*args, parts, **options):
        for number, dynamics in enumerate(whole(*args, parts=parts, **options)):
            if parts == 1 and number == 2:
                torch.empty(2**60)
            yield dynamics

    monkeypatch.setattr(training_module, "fit", fit_hungry)
    done = train_member(member, tmp_path)
    assert done.facts["parts"] == 2
    assert "batches pass in 2 parts" in done.facts["notes"][0]
    assert [line["epoch"] for line in done.metrics()] == [1, 2, 3, 4]


def test_out_of_memory_twice_says_what_to_do(member, tmp_path, monkeypatch):
    def fit_greedy(*args, **options):
        yield torch.empty(2**60)

    monkeypatch.setattr(training_module, "fit", fit_greedy)
    with pytest.raises(KiyomeError, match=r"Raise accumulate=, lower batch_size= or image_size="):
        train_member(member, tmp_path)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))


def test_a_network_that_breaks_leaves_no_broken_file(member, tmp_path):
    recipe = member.recipe.with_fields(learning_rate=1e3, optimizer="sgd", clip_norm=0.0, epochs=6)
    with pytest.raises(KiyomeError, match=r"not a finite number|is not finite after"):
        train_member(dataclasses.replace(member, recipe=recipe, seed=1), tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        if "dynamics" not in path.parts:
            assert all(torch.isfinite(v).all() for v in safetensors.torch.load_file(path).values()), path


FULL_DISK = """
import resource, sys
from pathlib import Path
from kiyome.models.compute import choose_compute
from kiyome.training.train_state import save_checkpoint
from kiyome.training.train_state import new_train_state
from kiyome.training.recipe import Recipe
compute = choose_compute("float32")
state = new_train_state(Recipe.of(architecture="tiny"), num_classes=9, num_rows=9, seed=0, compute=compute)
folder = Path(sys.argv[1])
state.epochs_done = 1
save_checkpoint(state, folder, key="k")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
state.epochs_done = 2
try:
    save_checkpoint(state, folder, key="k")
except Exception as error:
    print(type(error).__name__, error)
state.epochs_done = 0
from kiyome.training.train_state import load_last_checkpoint
notes = load_last_checkpoint(state, folder, key="k")
print(notes, state.epochs_done, sorted(p.name for p in folder.iterdir()))
"""


def test_a_full_disk_says_so_and_keeps_what_was_there(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True
    )
    first, second = said.stdout.strip().splitlines()
    assert first.startswith("KiyomeError A checkpoint of 0.0 MB cannot be written to ")
    assert "it resumes from the last whole checkpoint" in first
    assert second == "[] 1 ['epoch-0001.json', 'epoch-0001.safetensors']"
