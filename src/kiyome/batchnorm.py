"""Freeze BatchNorm for the first part of training, without replacing a module.

Pretrained statistics and scales are better than those of a few noisy batches. The two parts are frozen
separately:

    affine      weight and bias stop learning: no gradient, so neither weight decay nor momentum moves them
    statistics  running mean and variance stop moving and normalize the batch, as at inference

Modules and parameters stay the same objects, so an optimizer made before or after has the right ones, and
checkpoints keep their names. (timm's freeze_batch_norm_2d replaces modules: an optimizer made before keeps
parameters that the model no longer has.) DistributedDataParallel fixes at wrapping which gradients it
averages: wrap while nothing is frozen, with ``find_unused_parameters=True``.
"""

from math import floor
from types import MethodType

from torch import nn

from kiyome.errors import InputError

LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # timm's are subclasses


def batchnorm_frozen(epoch: int, num_epochs: int, *, fraction: float = 0.5) -> bool:
    """Whether BatchNorm is frozen in this epoch, counted from 0: in the first `fraction` of all epochs.

    Only epochs that are wholly in the fraction count: 2 of 5 at one half, so a single epoch is never frozen
    below 1.

    >>> [batchnorm_frozen(epoch, 5) for epoch in range(5)]
    [True, True, False, False, False]
    """
    if not 0 <= fraction <= 1:
        raise InputError(
            f"fraction={fraction!r} is outside 0 to 1.",
            remedy="Give a part of the epochs: 0.5 is the first half.",
        )
    return epoch < floor(fraction * num_epochs + 1e-9)  # 0.29 * 100 falls short of 29


def freeze_batchnorm(model: nn.Module, *, affine: bool = True, statistics: bool = True) -> int:
    """Freeze the BatchNorm layers of a model and return their number, 0 for many transformers.

    `affine` stops weight and bias, whose gradients are dropped too, so that an optimizer made before skips
    them. `statistics` stops running mean, variance and count, which then normalize; it survives
    ``model.train()``. Idempotent, so it may be called at the start of every epoch.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    >>> freeze_batchnorm(model), model.train()[1].training, model[1].weight.requires_grad
    (1, False, False)
    >>> unfreeze_batchnorm(model), model[1].training, model[1].weight.requires_grad
    (1, True, True)
    """
    layers = _batchnorm_layers(model)
    for layer in layers:
        if statistics:
            layer.train = MethodType(_train_without_statistics, layer)
            layer.train(layer.training)
        if affine:
            layer.requires_grad_(False)  # noqa: FBT003
            layer.zero_grad(set_to_none=True)  # a gradient of zero would still let weight decay move it
    return len(layers)


def unfreeze_batchnorm(model: nn.Module, *, affine: bool = True, statistics: bool = True) -> int:
    """Unfreeze the BatchNorm layers of a model and return their number.

    The layers take the model's own mode, training or evaluation. Every affine parameter learns again, also
    one that was frozen for another reason.

    >>> unfreeze_batchnorm(nn.Linear(2, 2))
    0
    """
    layers = _batchnorm_layers(model)
    for layer in layers:
        if statistics:
            vars(layer).pop("train", None)
            layer.train(model.training)
        if affine:
            layer.requires_grad_()
    return len(layers)


def _batchnorm_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, LAYERS)]


def _train_without_statistics(layer: nn.Module, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002
    """Call the layer's own train(), then set the layer, but none of its children, to evaluation mode."""
    type(layer).train(layer, mode)
    layer.training = False
    return layer
