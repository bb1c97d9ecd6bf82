"""From a finished run to ONNX files that say what `kiyome predict` says."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from kiyome.errors import InputError, KiyomeError
from kiyome.models import build_model, load_backbone
from kiyome.models.onnx_file import PhotosToProbs, onnx_of, run_onnx, run_torch
from kiyome.reading.photo_list import read_photo_list
from kiyome.testing import write_digits
from kiyome.workflows import export as room
from kiyome.workflows.export import check_probs, export
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict, predict_photos
from kiyome.workflows.train import train

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two members, one model each, of a loss with its own link; photos as large as the network's."""
    folder = tmp_path_factory.mktemp("digits")
    write_digits(folder / "data", num_photos=60, side=32)
    small = ["architecture=tiny", "image_size=32", "epochs=1", "batch_size=32", "precision=float32"]
    changes = [*small, "num_folds=2", "views=1", "average_last=1", "drop_path=0.0", "plain_last=0"]
    changes.append("loss=taylor_softmax")
    return train(folder / "data", changes=changes, output=folder / "run", cache_folder=folder / "cache")


def test_the_mean_over_files_is_what_predict_says(trained, tmp_path):
    photos = trained.table.root
    result = export(trained.folder, trained.table.root, cache_folder=tmp_path)
    assert result.folder == trained.folder / "onnx"
    assert [path.name for path in result.files] == [
        "quick-fold0-seed0-epoch-0001.onnx",
        "quick-fold1-seed0-epoch-0001.onnx",
    ]
    predicted = predict(trained.folder, photos, output=None, cache_folder=tmp_path)
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in predicted.photos.paths])
    described = json.loads(result.files[0].with_suffix(".json").read_text())
    assert described["preparation"]["share_of_short_side"] == 1.0  # nothing to cut, nothing to resize
    assert described["input"]["shape"] == ["n", *pixels.shape[1:]]
    assert described["classes"] == list(trained.table.class_names)
    assert described["output"]["link"] == {"name": "polynomial", "order": 2}
    assert described["checked"]["photos"] == 32
    assert 0 < described["checked"]["largest_difference"] < 1e-6
    probs = np.mean([run_onnx(path.read_bytes(), pixels) for path in result.files], axis=0)
    np.testing.assert_allclose(probs, predicted.pred_probs, atol=1e-5)


def test_members_that_name_no_link_are_read_by_softmax_and_it_is_said(trained, tmp_path):
    """Those of earlier versions: their probabilities out of fold were made so, too."""
    listed = read_photo_list(trained.table.root)
    how = {"class_names": trained.table.class_names, "cache_folder": tmp_path}
    now = predict_photos(trained.folder, listed, **how)
    assert now.notes == ()
    sealed = list((trained.folder / "members").glob("*/member.json"))
    for path in sealed:
        old = tmp_path / "old" / path.relative_to(trained.folder).parent
        shutil.copytree(path.parent, old)
        facts = json.loads(path.read_text())
        del facts["link"]
        (old / "member.json").write_text(json.dumps(facts))
    before = predict_photos(tmp_path / "old", listed, **how)
    (note,) = before.notes
    assert note.startswith("members of an earlier version are read by softmax, as their out-of-fold ")
    assert "train again to read taylor_softmax by its own link" in note
    assert np.abs(before.pred_probs - now.pred_probs).max() > 1e-5


def test_a_run_stays_whole_with_its_export_in_it(trained, tmp_path):
    before = export(trained.folder, trained.table.root, cache_folder=tmp_path).summary()
    assert export(trained.folder, trained.table.root, cache_folder=tmp_path).summary() == before


def test_a_file_that_says_something_else_is_not_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "TOLERANCE", 0.0)
    with pytest.raises(KiyomeError, match=r"on 32 photos: not written"):
        export(trained.folder, trained.table.root, output=tmp_path / "onnx", cache_folder=tmp_path)
    assert list((tmp_path / "onnx").iterdir()) == []


def test_another_network_does_not_pass():
    one, other = (build_model("tiny", num_classes=4, seed=seed) for seed in (0, 1))
    photos = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    content = onnx_of(PhotosToProbs(one), image_size=32, name="one")

    def difference(network, name):
        return check_probs(content, photos, run_torch(PhotosToProbs(network), photos), name=name)

    assert difference(one, "one") < 1e-6
    with pytest.raises(KiyomeError, match=r"differ by 0\.\d+ .*agree to within 0.0001"):
        difference(other, "other")
    turned = dataclasses.replace(one, mean=(0.4, 0.5, 0.5))
    with pytest.raises(KiyomeError, match=r"for other colors on 5 photos"):
        difference(turned, "other colors")


def test_the_head_of_find_becomes_one_file_that_says_what_predict_says(tmp_path):
    write_digits(tmp_path / "data", num_photos=120, side=32)
    found = find(tmp_path / "data", backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path)
    photos = found.table.root
    result = export(found.folder, photos, cache_folder=tmp_path)
    assert [path.name for path in result.files] == ["find-tiny.onnx"]
    assert result.largest_difference < 1e-5
    predicted = predict(found.folder, photos, output=None, cache_folder=tmp_path)
    tiny = load_backbone("tiny")
    crops = np.stack(
        [tiny.prepare(np.asarray(Image.open(path).convert("RGB"))) for path in predicted.photos.paths]
    )
    np.testing.assert_allclose(run_onnx(result.files[0].read_bytes(), crops), predicted.pred_probs, atol=1e-3)
    described = json.loads(result.files[0].with_suffix(".json").read_text())
    assert described["classes"] == list(found.table.class_names)
    assert described["out_of_fold"]["rows"] == 120
    assert described["checked"]["largest_difference_to_engine_of_run"] < 1e-4


def test_a_run_without_a_model_has_nothing_to_export(trained, tmp_path):
    table, scores = trained.folder / "table.csv", trained.folder / "oof.csv"
    found = find(table, pred_probs=scores, output=tmp_path / "run")
    with pytest.raises(InputError, match=r"is a run of 'find', which has no models"):
        export(found.folder, trained.table.root)


def test_photos_must_be_at_hand(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        export(trained.folder, tmp_path / "empty", cache_folder=tmp_path)
