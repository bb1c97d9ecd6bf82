"""Keep BatchNorm still for the first part of training, without replacing a module.

Pretrained statistics and scales are better than what a few noisy batches make of them. The two parts are
frozen separately:

    affine      weight and bias stop learning: no gradient, so neither weight decay nor momentum moves them
    statistics  running mean and variance stop moving and normalize the batch, as at inference

Modules and parameters stay the same objects, so an optimizer made before or after holds the right ones, and
checkpoints keep their names. (timm's freeze_batch_norm_2d replaces modules: an optimizer made before goes on
with parameters that the model no longer has.) DistributedDataParallel fixes at wrapping which gradients it
averages: wrap while nothing is frozen, with ``find_unused_parameters=True``.
"""

from math import floor
from types import MethodType

from torch import nn

from kiyome.errors import InputError

LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)  # timm's are children of these


def batchnorm_frozen(epoch: int, num_epochs: int, *, fraction: float = 0.5) -> bool:
    """Whether BatchNorm is frozen in this epoch, counted from 0: in the first `fraction` of all epochs.

    Only epochs that lie wholly in the fraction count: 2 of 5 at one half, so one epoch alone is never frozen
    below 1.

    >>> [batchnorm_frozen(epoch, 5) for epoch in range(5)]
    [True, True, False, False, False]
    """
    if not 0 <= fraction <= 1:
        raise InputError("The fraction lies in 0 to 1.", came=repr(fraction), remedy="0.5 is the first half.")
    return epoch < floor(fraction * num_epochs + 1e-9)  # 0.29 * 100 falls short of 29


def freeze_batchnorm(model: nn.Module, *, affine: bool = True, statistics: bool = True) -> int:
    """How many BatchNorm layers the model has; what is asked for is frozen in each of them from now on.

    Parameters
    ----------
    model
        Any module; 0 comes back where it has no BatchNorm, as vision transformers do.
    affine
        Stop learning weight and bias, whose gradients are dropped too: an optimizer made before skips them.
    statistics
        Stop moving running mean, variance and count; normalize with them. Survives ``model.train()``.

    Notes
    -----
    Idempotent, so it may be called at the start of every epoch, before or after ``model.train()``.

    Examples
    --------
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
    """How many BatchNorm layers the model has; what is asked for learns and moves again in each of them.

    The layers take up the model's own mode, training or evaluation. Every affine parameter learns again, also
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
    """The layer's own train(), after which the layer, but none of its children, is in evaluation mode."""
    type(layer).train(layer, mode)
    layer.training = False
    return layer
