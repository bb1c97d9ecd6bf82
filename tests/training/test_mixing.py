"""Mixing: torchvision's own results, SnapMix against loops over pixels, and what must not change."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, one_hot
from torchvision.transforms import v2

from kiyome.batchnorm import freeze_batchnorm
from kiyome.errors import InputError
from kiyome.models.tiny_net import KiyomeTiny
from kiyome.training import mixing
from kiyome.training.mixing import Mixed, activation_maps, cut_mix, mix_up, snap_mix

SIDE, K = 32, 5
Mix = Callable[..., Mixed]


@pytest.fixture
def model() -> KiyomeTiny:
    torch.manual_seed(0)
    model = KiyomeTiny(num_classes=K)
    model(torch.rand(16, 3, SIDE, SIDE))  # statistics that are not the initial ones
    return model


@pytest.fixture(params=["mix_up", "cut_mix", "snap_mix"])
def mix(request: pytest.FixtureRequest, model: KiyomeTiny) -> Mix:
    given = {"model": model} if request.param == "snap_mix" else {}
    return lambda *args, **options: getattr(mixing, request.param)(*args, **given | options)


def batch(num: int, *, soft: bool = True, side: int = SIDE) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(num)
    images = torch.rand(num, 3, side, side, generator=draws)
    if soft:
        return images, torch.rand(num, K, generator=draws).softmax(dim=1)
    return images, one_hot(torch.randint(K, (num,), generator=draws), K).float()


@pytest.mark.parametrize("num", [1, 2, 5, 8])
@pytest.mark.parametrize("soft", [False, True])
def test_any_batch_and_any_targets_come_back_in_their_shapes(mix: Mix, num: int, *, soft: bool):
    images, targets = batch(num, soft=soft)
    before = images.clone(), targets.clone()
    for seed in range(5):
        mixed = mix(images, targets, seed=seed)
        assert mixed.images.shape == images.shape
        assert torch.allclose(mixed.targets.sum(dim=1), torch.ones(num))
        assert (mixed.targets >= 0).all()
        assert mixed.weights.shape == (num,)
        assert ((mixed.weights >= 0) & (mixed.weights <= 2)).all()
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])


def test_a_mix_is_a_function_of_the_seed_and_leaves_torchs_generator_alone(mix: Mix):
    images, targets = batch(4)
    torch.manual_seed(1)
    first = mix(images, targets, seed=9)
    state = torch.get_rng_state()
    again, other = mix(images, targets, seed=9), mix(images, targets, seed=10)
    assert torch.equal(state, torch.get_rng_state())
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize(("mix", "transform"), [(mix_up, v2.MixUp), (cut_mix, v2.CutMix)])
def test_mixup_and_cutmix_are_torchvisions(mix: Mix, transform: type):
    images, targets = batch(7)
    mixed = mix(images, targets, seed=3, alpha=0.4)
    torch.manual_seed(3)
    theirs = transform(alpha=0.4)(images, targets)
    assert torch.equal(mixed.images, theirs[0])
    assert torch.equal(mixed.targets, theirs[1])
    assert torch.equal(mixed.weights, torch.ones(7))


def plain_snap_mix(
    images: Tensor, targets: Tensor, model: KiyomeTiny, covered: tuple[slice, slice], cut: tuple[slice, slice]
) -> tuple[Tensor, list[float], list[float]]:
    """Images and both label weights, image by image and pixel by pixel, in double precision."""
    model = copy.deepcopy(model).eval().double()
    num, _, height, width = images.shape
    maps = []
    for image, target in zip(images.double(), targets.double(), strict=True):
        features = model.forward_features(image[None])[0].detach()
        small = torch.zeros(features.shape[1:], dtype=torch.float64)
        for k in range(K):
            for channel in range(features.shape[0]):
                small += target[k] * model.head.weight[k, channel].detach() * features[channel].clamp(min=0)
        large = interpolate(small[None, None], size=(height, width), mode="bilinear")[0, 0]
        maps.append((large - large.min()).numpy())
    mixed, own, other = images.clone(), [], []
    for i in range(num):
        j = i - 1
        piece = images[j : j + 1, :, cut[0], cut[1]] if j >= 0 else images[num - 1 :, :, cut[0], cut[1]]
        size = covered[0].stop - covered[0].start, covered[1].stop - covered[1].start
        mixed[i, :, covered[0], covered[1]] = interpolate(piece, size=size, mode="bilinear")[0]
        hidden = sum(maps[i][y, x] for y in range(height)[covered[0]] for x in range(width)[covered[1]])
        shown = sum(maps[j][y, x] for y in range(height)[cut[0]] for x in range(width)[cut[1]])
        own.append(1 - hidden / maps[i].sum())
        other.append(shown / maps[j].sum())
    return mixed, own, other


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("soft", [False, True])
def test_snap_mix_equals_a_plain_loop(model: KiyomeTiny, seed: int, *, soft: bool):
    images, targets = batch(5, soft=soft)
    rng = np.random.default_rng(seed)
    boxes = [mixing._random_box(rng, SIDE, SIDE, beta=5.0) for _ in range(2)]
    mixed = snap_mix(images, targets, seed=seed, model=model)
    plain, own, other = plain_snap_mix(images, targets, model, *boxes)
    assert torch.allclose(mixed.images, plain, atol=1e-6)
    assert mixed.weights.tolist() == pytest.approx([a + b for a, b in zip(own, other, strict=True)], abs=1e-5)
    # The loss of the paper: a CE(y_i) + b CE(y_j), here with label smoothing.
    logits = torch.randn(5, K, generator=torch.Generator().manual_seed(seed))
    smooth = {"reduction": "none", "label_smoothing": 0.1}
    ours = mixed.weights * cross_entropy(logits, mixed.targets, **smooth)
    theirs = torch.tensor(own) * cross_entropy(logits, targets, **smooth)
    theirs = theirs + torch.tensor(other) * cross_entropy(logits, targets.roll(1, 0), **smooth)
    assert ours.tolist() == pytest.approx(theirs.tolist(), abs=1e-5)


def test_boxes_have_their_share_and_lie_anywhere():
    rng = np.random.default_rng(0)
    boxes = [mixing._random_box(rng, 200, 300, beta=5.0) for _ in range(4000)]
    inner = [
        box for box in boxes if box[0].start > 0 < box[1].start and box[0].stop < 200 and box[1].stop < 300
    ]
    shares = np.array([mixing._area(box) for box in boxes]) / (200 * 300)
    assert all(0 <= s.start <= s.stop for box in boxes for s in box)
    assert 0.25 < shares.mean() < 0.4  # half the area, less what lies outside
    assert len(inner) > 100
    middles = np.array([[(s.start + s.stop) / 2 for s in box] for box in boxes])
    assert middles.mean(axis=0) == pytest.approx([100, 150], rel=0.03)


@pytest.mark.parametrize("case", ["no weights", "even features", "not a number"])
def test_a_map_that_says_nothing_weighs_by_area(model: KiyomeTiny, case: str):
    if case == "even features":
        model.forward_features = lambda images: torch.ones(len(images), 32, 4, 4)  # type: ignore[method-assign]
    else:
        nn.init.constant_(model.head.weight, 0.0 if case == "no weights" else torch.nan)
    images, targets = batch(3)
    rng = np.random.default_rng(2)
    covered, _ = (mixing._random_box(rng, SIDE, SIDE, beta=5.0) for _ in range(2))
    area = mixing._area(covered) / SIDE**2
    mixed = snap_mix(images, targets, seed=2, model=model)
    assert mixed.weights.tolist() == pytest.approx([1.0] * 3)
    assert torch.allclose(mixed.targets, (1 - area) * targets + area * targets.roll(1, 0), atol=1e-6)


def test_what_is_wholly_hidden_and_not_shown_counts_nothing(
    model: KiyomeTiny, monkeypatch: pytest.MonkeyPatch
):
    everything = slice(0, SIDE), slice(0, SIDE)
    corner = slice(0, 1), slice(0, 1)
    boxes = iter([everything, corner])
    monkeypatch.setattr(mixing, "_random_box", lambda *_, **__: next(boxes))
    spot = torch.zeros(2, SIDE, SIDE)
    spot[:, 20, 20] = 1
    monkeypatch.setattr(mixing, "activation_maps", lambda *_: spot)
    images, targets = batch(2)
    mixed = snap_mix(images, targets, seed=0, model=model)
    assert mixed.weights.tolist() == [0, 0]
    assert torch.equal(mixed.targets, targets)


def test_an_empty_box_leaves_the_batch_alone(model: KiyomeTiny):
    images, targets = batch(3, side=8)
    unmixed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        if min(mixing._area(mixing._random_box(rng, 8, 8, beta=0.3)) for _ in range(2)) == 0:
            mixed = snap_mix(images, targets, seed=seed, model=model, beta=0.3)
            assert torch.equal(mixed.images, images)
            assert torch.equal(mixed.weights, torch.ones(3))
            unmixed += 1
    assert unmixed > 3


@pytest.mark.parametrize("frozen", [False, True])
def test_the_network_is_left_as_it_was(model: KiyomeTiny, *, frozen: bool):
    model.train()
    if frozen:
        freeze_batchnorm(model)
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    snap_mix(*batch(4), seed=0, model=model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_come_back_after_an_error_too(model: KiyomeTiny):
    model.train()
    with pytest.raises(RuntimeError):
        activation_maps(model, torch.rand(2, 4, SIDE, SIDE), torch.eye(K)[:2])
    assert all(module.training for module in model.modules())


def test_maps_point_at_the_object(model: KiyomeTiny):
    """A network that sees brightness: its map is highest where the bright spot is."""
    features = nn.AvgPool2d(4)
    model.forward_features = lambda images: features(images).repeat(1, 11, 1, 1)[:, :32]  # type: ignore[method-assign]
    nn.init.ones_(model.head.weight)
    images = torch.zeros(2, 3, SIDE, SIDE)
    images[0, :, 4:8, 20:24] = 1
    images[1, :, 28:32, 0:4] = 1
    maps = activation_maps(model, images, torch.eye(K)[:2])
    (down, right), (low, left) = (divmod(int(found.argmax()), SIDE) for found in maps)
    assert 4 <= down < 8
    assert 20 <= right < 24
    assert low >= 28
    assert left < 4
    assert maps.amin() == 0


@pytest.mark.parametrize("name", ["resnet10t", "efficientnet_lite0", "swin_s3_tiny_224"])
@pytest.mark.slow
def test_networks_of_timm_have_maps(name: str):
    import timm

    network = timm.create_model(name, num_classes=K)
    side = 224 if "swin" in name else 64
    images, targets = torch.rand(2, 3, side, side), torch.eye(K)[:2]
    maps = activation_maps(network, images, targets)
    assert maps.shape == (2, side, side)
    assert maps.amax() > 0


@pytest.mark.slow
def test_a_vision_transformer_has_none():
    import timm

    network = timm.create_model("vit_tiny_patch16_224", num_classes=K)
    with pytest.raises(InputError, match=r"the network VisionTransformer\. .*map of features.*Use CutMix"):
        snap_mix(torch.rand(2, 3, 224, 224), torch.eye(K)[:2], seed=0, model=network)


def test_a_network_without_a_classifier_is_refused():
    with pytest.raises(InputError, match="cannot use the network Linear"):
        snap_mix(*batch(2), seed=0, model=nn.Linear(2, 2))


def test_bytes_and_labels_are_refused(mix: Mix):
    images, targets = batch(2)
    with pytest.raises(InputError, match=r"Images to mix are torch\.\w+ .*Expected floats.*Normalize them"):
        mix((255 * images).byte(), targets, seed=0)
    with pytest.raises(InputError, match=r"probabilities of shape \(2, K\).*Make labels one-hot"):
        mix(images, torch.tensor([0, 1]), seed=0)
    with pytest.raises(InputError, match=r"probabilities of shape \(2, K\)"):
        mix(images, targets[:1], seed=0)
