"""Depthwise convolutions in bf16 on a CPU, whose gradients do not take oneDNN's slow ways.

oneDNN has fast bf16 kernels for a depthwise convolution forward, for the gradient of its images at stride 1,
and for the gradient of its weights where the kernel is 3 x 3. The other gradients run 10 to 50 times slower,
and with them the whole network. Here the gradient of images at a larger stride is taken in float32, and that
of a larger kernel in windows of 3 x 3 weights.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Pair = tuple[int, int]
WINDOW = 3
"""Side of the largest kernel whose weights have a fast gradient."""


def make_depthwise_fast(module: nn.Module) -> nn.Module:
    """The same module, whose depthwise convolutions compute in bf16 within autocast, with fast gradients.

    Those that are dilated, say, compute in float32. Outside of autocast all stays as it is.

    Examples
    --------
    >>> layer = make_depthwise_fast(nn.Conv2d(8, 8, 5, padding=2, groups=8))
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     layer(torch.zeros(1, 8, 6, 6)).dtype
    torch.bfloat16
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels:
            layer.forward = _Forward(layer)
    return module


class _Forward:
    """What stands in for a layer's forward; an object, so that a copied module calls its own layer."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer = layer

    def __call__(self, images: Tensor) -> Tensor:
        layer, device = self.layer, images.device.type
        if not torch.is_autocast_enabled(device):
            plain: Tensor = type(layer).forward(layer, images)
            return plain
        with torch.autocast(device, enabled=False):
            if not _is_common(layer):
                result: Tensor = type(layer).forward(layer, images.float())
                return result
            images, padding = _padded(layer, images)
            result = _Depthwise.apply(images.bfloat16(), layer.weight.bfloat16(), layer.stride, padding)
            return result if layer.bias is None else result + layer.bias.bfloat16().view(-1, 1, 1)


def _is_common(layer: nn.Conv2d) -> bool:
    side, other = layer.kernel_size
    return (
        side == other
        and side % 2 == 1
        and side >= WINDOW
        and layer.out_channels == layer.in_channels
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _padded(layer: nn.Conv2d, images: Tensor) -> tuple[Tensor, Pair]:
    """Images, and what the convolution is to pad; timm's TensorFlow networks pad by the images' shape."""
    from timm.layers import Conv2dSame
    from timm.layers.padding import pad_same

    if isinstance(layer, Conv2dSame):
        return pad_same(images, layer.kernel_size, layer.stride), (0, 0)
    return images, layer.padding


class _Depthwise(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, images: Tensor, weights: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(images, weights)
        ctx.stride, ctx.padding = stride, padding
        result: Tensor = torch.conv2d(images, weights, None, stride, padding, 1, len(weights))
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        arguments = (grad, *ctx.saved_tensors, ctx.stride, ctx.padding)
        of_images, of_weights, *_ = ctx.needs_input_grad
        return (
            _of_images(*arguments) if of_images else None,
            _of_weights(*arguments) if of_weights else None,
            None,
            None,
        )


def _of_images(grad: Tensor, images: Tensor, weights: Tensor, stride: Pair, padding: Pair) -> Tensor:
    if stride == (1, 1):
        return _gradient(grad, images, weights, stride, padding, of=0)
    shaped = torch.empty_like(images, dtype=torch.float32)  # of which only the shape counts
    return _gradient(grad.float(), shaped, weights.float(), stride, padding, of=0).to(images.dtype)


def _of_weights(grad: Tensor, images: Tensor, weights: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Window by window: the weights from (a, b) on met the images from (a, b) on."""
    if weights.shape[-1] == WINDOW:
        return _gradient(grad, images, weights, stride, padding, of=1)
    (above, left), (down, right) = padding, stride
    images = pad(images, (left, left, above, above))
    height, width = (grad.shape[2] - 1) * down + WINDOW, (grad.shape[3] - 1) * right + WINDOW
    found, corners = torch.empty_like(weights), range(0, weights.shape[-1] - 1, WINDOW - 1)
    for a, b in product(corners, corners):
        window, seen = found[..., a : a + WINDOW, b : b + WINDOW], images[..., a : a + height, b : b + width]
        window.copy_(_gradient(grad, seen, torch.empty_like(window), stride, (0, 0), of=1))
    return found


def _gradient(
    grad: Tensor, images: Tensor, weights: Tensor, stride: Pair, padding: Pair, *, of: int
) -> Tensor:
    """Of images (0) or of weights (1), by oneDNN."""
    wanted = (of == 0, of == 1, False)
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        grad, images, weights, None, stride, padding, (1, 1), 0, (0, 0), len(weights), wanted
    )
    return found[of]
