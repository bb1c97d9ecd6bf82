"""Depthwise convolutions in bf16: values and gradients against float32, and what they leave alone."""

import copy
from itertools import product

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from kiyome.models import build_model
from kiyome.models.depthwise import make_depthwise_fast

CHANNELS = 24
SHAPES = [*product([Conv2dSame, nn.Conv2d], [3, 5, 7], [1, 2])]


def both_ways(layer, images):
    """Result and gradients of images and parameters, plain in float32 and fast in bf16."""
    fast = make_depthwise_fast(copy.deepcopy(layer))
    for each, enabled in ((layer, False), (fast, True)):
        seen = images.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            result = each(seen)
        result.float().sin().sum().backward()
        yield [result, seen.grad, *(parameter.grad for parameter in each.parameters())]


def assert_near(found, expected):
    """As near as bf16 is, whose numbers are 0.4 % apart."""
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert (a.float() - b.float()).norm() < 0.01 * b.norm()


@pytest.mark.parametrize(("kind", "side", "stride"), SHAPES)
def test_values_and_gradients_are_those_of_float32(kind, side, stride):
    torch.manual_seed(side + stride)
    padding = 0 if kind is Conv2dSame else side // 2
    layer = kind(CHANNELS, CHANNELS, side, stride=stride, padding=padding, groups=CHANNELS)
    images = torch.randn(4, CHANNELS, 15, 18).to(memory_format=torch.channels_last)
    expected, found = both_ways(layer, images)
    assert found[0].dtype == torch.bfloat16
    assert_near(found, expected)


@pytest.mark.parametrize(
    "options",
    [{"dilation": 2}, {"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}, {"out_channels": 48}],
)
def test_layers_of_odd_make_compute_in_float32(options):
    torch.manual_seed(0)
    layer = nn.Conv2d(
        **{"in_channels": CHANNELS, "out_channels": CHANNELS, "kernel_size": 3, **options}, groups=24
    )
    expected, found = both_ways(layer, torch.randn(2, CHANNELS, 9, 9))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_outside_of_autocast_nothing_changes():
    torch.manual_seed(0)
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
    images = torch.randn(2, CHANNELS, 9, 9)
    expected = layer(images)
    assert torch.equal(make_depthwise_fast(layer)(images), expected)


def test_a_copy_calls_its_own_weights():
    layer = make_depthwise_fast(nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS))
    copied = copy.deepcopy(layer)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        copied.weight.zero_()
        copied.bias.zero_()
        assert not copied(torch.ones(1, CHANNELS, 5, 5)).any()
        assert layer(torch.ones(1, CHANNELS, 5, 5)).any()


def test_a_whole_network_keeps_its_gradients():
    """Directions of all gradients of lite0 in bf16 against float32, with and without the fast ways."""
    torch.manual_seed(0)
    images, labels = torch.randn(8, 3, 64, 64), torch.arange(8)
    gradients = []
    for fast, enabled in ((False, False), (False, True), (True, True)):
        module = build_model("lite0", num_classes=8, pretrained=False, seed=1).module
        module = make_depthwise_fast(module) if fast else module
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = module(images)
        nn.functional.cross_entropy(logits.float(), labels).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in module.parameters()]))
    plain, autocast, fast = (each / each.norm() for each in gradients)
    assert plain @ fast > 0.99 * (plain @ autocast)
