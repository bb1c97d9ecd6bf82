"""Two photos in one: MixUp and CutMix by torchvision, SnapMix from its paper.

Each returns images, soft targets whose rows sum to one, and a weight of the loss for each image, so one line
trains on all of them, with any loss that gives one number per sample:

    loss = (mixed.weights * loss_fn(model(mixed.images), mixed.targets)).mean()

An image is mixed with the one before it in the batch (the first with the last), so batches come shuffled; any
size will do, and one image alone is mixed with itself. A mix is a function of its arguments and the seed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kiyome.errors import InputError
from kiyome.images.augment import Plugin

EVEN = 1e-5
"""An activation map that varies by less than this share of its size is taken to be zero."""
TINY = 1e-12


class Mixed(NamedTuple):
    """A batch to train on."""

    images: Tensor
    """(N, C, H, W) floats."""
    targets: Tensor
    """(N, K) probabilities."""
    weights: Tensor
    """(N,) of the loss; ones for MixUp and CutMix, the sum of both label weights for SnapMix."""


def mix_up(images: Tensor, targets: Tensor, *, seed: int, alpha: float = 1.0) -> Mixed:
    """Return each image blended with the one before it, by one share ~ Beta(alpha, alpha) for the batch.

    The seed alone decides the share (`derive_seed` makes one of run and step); with small values of alpha one
    of the two images nearly vanishes. Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.

    >>> mixed = mix_up(torch.zeros(3, 3, 8, 8), torch.eye(3), seed=0)
    >>> mixed.targets.sum(dim=1), mixed.weights
    (tensor([1., 1., 1.]), tensor([1., 1., 1.]))
    """
    from torchvision.transforms import v2

    return _by_torchvision(v2.MixUp(alpha=alpha), images, targets, seed)


def cut_mix(images: Tensor, targets: Tensor, *, seed: int, alpha: float = 1.0) -> Mixed:
    """Return each image with a box from the one before it, labels weighted by area; one box for the batch.

    The box has a share ~ Beta(alpha, alpha) of the area, before it is clipped at the border. Yun et al.,
    CutMix, ICCV 2019.

    >>> mixed = cut_mix(torch.zeros(3, 3, 8, 8), torch.eye(3), seed=0)
    >>> mixed.targets.sum(dim=1), mixed.weights
    (tensor([1., 1., 1.]), tensor([1., 1., 1.]))
    """
    from torchvision.transforms import v2

    return _by_torchvision(v2.CutMix(alpha=alpha), images, targets, seed)


def snap_mix(images: Tensor, targets: Tensor, *, seed: int, model: nn.Module, beta: float = 5.0) -> Mixed:
    """Return each image with a resized box from the one before it, labels weighted by what is seen of them.

    A label weighs the share of its class activation that the mixed image shows: of image i what lies outside
    the box that is covered, of its partner what lies inside the box that was cut out. The two need not sum to
    one. Where a map is even or not finite its label weighs by area. One pair of boxes for the batch, each
    with a share ~ Beta(beta, beta) of the area.

    The model is as timm makes them, with a map from `forward_features` and a linear `get_classifier`; it runs
    once more, without gradient and in evaluation mode. For cross entropy ``weights`` makes the loss the
    paper's a CE(y_i) + b CE(y_j) exactly. The authors' code counts two images of one class twice; the paper
    does not, nor does this. Huang, Wang and Tao, SnapMix: Semantically Proportional Mixing for Augmenting
    Fine-grained Data, AAAI 2021.

    >>> from kiyome.models.tiny_net import KiyomeTiny
    >>> mixed = snap_mix(torch.rand(3, 3, 32, 32), torch.eye(3), seed=0, model=KiyomeTiny(num_classes=3))
    >>> mixed.images.shape, mixed.weights.shape
    (torch.Size([3, 3, 32, 32]), torch.Size([3]))
    """
    _check(images, targets)
    rng = np.random.default_rng(seed)
    covered, cut_out = (_random_box(rng, *images.shape[2:], beta=beta) for _ in range(2))
    if not _area(covered) or not _area(cut_out):
        return Mixed(images, targets, targets.new_ones(len(targets)))
    partners, mixed = images.roll(1, 0), images.clone()
    pieces = partners[:, :, *cut_out]
    mixed[:, :, *covered] = interpolate(pieces, size=_sides(covered), mode="bilinear")
    maps = activation_maps(model, images, targets)
    by_area = _area(covered) / (images.shape[2] * images.shape[3])
    own = 1 - _share_inside(maps, covered, otherwise=by_area)
    other = _share_inside(maps.roll(1, 0), cut_out, otherwise=by_area)
    weights = own + other
    sums = own[:, None] * targets + other[:, None] * targets.roll(1, 0)
    shares = torch.where(weights[:, None] > TINY, sums / weights[:, None].clamp(min=TINY), targets)
    return Mixed(mixed, shares, weights)


def activation_maps(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Return (N, H, W) maps from 0 up of where in each image the network sees the classes of its target.

    The positive part of the features, weighted by what the classifier gives them for the target, enlarged to
    the image, less its smallest value (Zhou et al., Learning Deep Features for Discriminative Localization,
    CVPR 2016). The network runs in evaluation mode without gradient and is left as it was.
    """
    with torch.no_grad(), _evaluating(model):
        features = _call(model, "forward_features", images).float()
        weight = getattr(_call(model, "get_classifier"), "weight", None)
        if weight is None or features.ndim != 4 or len(weight[0].flatten()) not in features.shape[1::2]:
            raise _no_map(model)
        of_target = targets.float() @ weight.float().flatten(1)
        if features.shape[1] != of_target.shape[1]:
            features = features.permute(0, 3, 1, 2)  # some of timm's networks put channels last
        maps = torch.einsum("nchw,nc->nhw", features.relu(), of_target)
        maps = interpolate(maps[:, None], size=images.shape[2:], mode="bilinear")[:, 0]
        least, largest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        even = largest - least <= EVEN * torch.maximum(largest.abs(), least.abs())
        return torch.where(even, 0.0, maps - least)


def _by_torchvision(transform: Any, images: Tensor, targets: Tensor, seed: int) -> Mixed:
    _check(images, targets)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        images, targets = transform(images, targets)
    return Mixed(images, targets, targets.new_ones(len(targets)))


def _check(images: Tensor, targets: Tensor) -> None:
    if not images.is_floating_point() or images.ndim != 4:
        raise InputError(
            f"Images to mix are {images.dtype} of shape {tuple(images.shape)}.",
            expected="Expected floats of shape (N, C, H, W).",
            remedy="Normalize them first.",
        )
    if not targets.is_floating_point() or targets.ndim != 2 or len(targets) != len(images):
        raise InputError(
            f"Targets to mix are {targets.dtype} of shape {tuple(targets.shape)}.",
            expected=f"Expected probabilities of shape ({len(images)}, K).",
            remedy="Make labels one-hot.",
        )


def _random_box(rng: np.random.Generator, height: int, width: int, *, beta: float) -> tuple[slice, slice]:
    """A box around a point anywhere in the image, clipped at the border, as in CutMix."""
    half = 0.5 * np.sqrt(rng.beta(beta, beta))

    def side(length: int) -> slice:
        middle, reach = int(rng.integers(length)), int(half * length)
        return slice(max(middle - reach, 0), min(middle + reach, length))

    return side(height), side(width)


def _sides(box: tuple[slice, slice]) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


def _area(box: tuple[slice, slice]) -> int:
    height, width = _sides(box)
    return height * width


def _share_inside(maps: Tensor, box: tuple[slice, slice], *, otherwise: float) -> Tensor:
    """(N,) share of each map that lies in the box; `otherwise` for a map of zeros."""
    share = maps[:, *box].sum(dim=(1, 2)) / maps.sum(dim=(1, 2))
    return torch.where(torch.isfinite(share), share, otherwise)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards each module is in the mode it had, frozen ones too."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _call(model: nn.Module, method: str, *arguments: Tensor) -> Any:
    if not hasattr(model, method):
        raise _no_map(model)
    return getattr(model, method)(*arguments)


def _no_map(model: nn.Module) -> InputError:
    return InputError(
        f"SnapMix cannot use the network {type(model).__name__}.",
        expected="Expected one that ends in a map of features, their mean, and a linear classifier.",
        remedy="Use CutMix, or a convolutional network of timm.",
    )


def from_torchvision(transform: Any) -> Plugin:
    """Return a torchvision v2 transform of uint8 images as a plug-in for `Augment`.

    It maps (3, S, S) uint8 to the same, with all randomness from torch's generator, which the plug-in seeds
    and restores, so that a view depends on seed, epoch and row here, too. Such a step runs on one thread.

    >>> from torchvision.transforms import v2
    >>> invert = from_torchvision(v2.RandomInvert(p=1.0))
    >>> invert(np.zeros((1, 1, 3), np.uint8), 7)
    array([[[255, 255, 255]]], dtype=uint8)
    """

    def plugin(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            changed: Tensor = transform(image)
        return np.asarray(changed.permute(1, 2, 0), np.uint8)

    return plugin
