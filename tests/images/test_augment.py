"""Views: their numbers against torchvision's own draws, their pixels against plain operations."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from kiyome.errors import InputError
from kiyome.images.augment import Augment, Views, draw_views, render

NUM = 3000


def drawn(augment: Augment, shape: tuple[int, int], num: int = NUM, **keys: int) -> Views:
    shapes = np.tile(np.array(shape), (num, 1))
    return draw_views(augment, shapes, rows=np.arange(num), **{"seed": 0, "epoch": 0} | keys)


def rendered(photo: np.ndarray, views: Views, index: int, size: int) -> np.ndarray:
    out = np.zeros((size, size, 3), np.uint8)
    render(photo, views, index, out)
    return out


def described(boxes: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    top, left, height, width = boxes.T.astype(float)
    return {
        "area": height * width / (shape[0] * shape[1]),
        "aspect": np.log(width / height),
        "middle down": (top + height / 2) / shape[0],
        "middle right": (left + width / 2) / shape[1],
    }


def their_boxes(transform: Any, shape: tuple[int, int]) -> np.ndarray:
    torch.manual_seed(0)
    image = torch.empty(3, *shape, dtype=torch.uint8)
    made = [transform.make_params([image]) for _ in range(NUM)]
    names = ("top", "left", "height", "width") if "top" in made[0] else ("i", "j", "h", "w")
    return np.array([[params[name] for name in names] for params in made if params.get("v", 0) is not None])


@pytest.mark.parametrize("shape", [(150, 200), (200, 150), (64, 64), (30, 300), (300, 30)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 0.9)])
def test_crops_have_the_distribution_of_torchvision(shape: tuple[int, int], scale: tuple[float, float]):
    ours = described(drawn(Augment(size=32, scale=scale), shape).boxes, shape)
    theirs = described(their_boxes(v2.RandomResizedCrop(32, scale=scale), shape), shape)
    for name in ours:
        assert ks_2samp(ours[name], theirs[name]).pvalue > 1e-3, name
        assert ours[name].mean() == pytest.approx(theirs[name].mean(), abs=0.02), name
        assert ours[name].std() == pytest.approx(theirs[name].std(), abs=0.02), name


def test_that_comparison_sees_a_scale_that_is_a_little_off():
    theirs = described(their_boxes(v2.RandomResizedCrop(32, scale=(0.13, 1.0)), (150, 200)), (150, 200))
    ours = described(drawn(Augment(size=32), (150, 200)).boxes, (150, 200))
    assert ks_2samp(ours["area"], theirs["area"]).pvalue < 1e-3


def test_hidden_boxes_have_the_distribution_of_random_erasing():
    shape = (64, 64)
    boxes = drawn(Augment(size=64, cutout=1.0), (150, 200)).hidden
    ours = described(boxes[boxes[:, 2] > 0], shape)
    theirs = described(their_boxes(v2.RandomErasing(p=1.0), shape), shape)
    for name in ours:
        assert ks_2samp(ours[name], theirs[name]).pvalue > 1e-3, name
    some = drawn(Augment(size=64, cutout=0.3), (150, 200)).hidden
    assert (some[:, 2] > 0).mean() == pytest.approx(0.3, abs=0.04)
    assert np.array_equal(some[some[:, 2] > 0], boxes[some[:, 2] > 0])  # the box does not depend on whether


def test_flips_come_as_often_as_asked():
    flips = drawn(Augment(size=8, horizontal_flip=0.5, vertical_flip=0.2), (9, 9), num=20_000).flips
    assert flips.mean(axis=0) == pytest.approx([0.5, 0.2], abs=0.015)
    assert (flips[:, 0] & flips[:, 1]).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epoch": 1}, {"view": 1}])
def test_seed_epoch_and_view_change_all_numbers(changed: dict[str, int]):
    augment = Augment(size=32, horizontal_flip=0.5, hue=0.1, cutout=0.5)
    one, other = drawn(augment, (150, 200), num=200), drawn(augment, (150, 200), num=200, **changed)
    assert (one.boxes == other.boxes).all(axis=1).mean() < 0.05
    assert not np.array_equal(one.flips, other.flips)
    assert one.colors is not None
    assert other.colors is not None
    assert not np.isclose(one.colors[0], other.colors[0]).all(axis=(1, 2)).any()


def test_numbers_of_a_row_depend_on_nothing_but_its_row_and_shape():
    augment = Augment(size=32, horizontal_flip=0.5, brightness=0.4, contrast=0.4, hue=0.1, cutout=0.5)
    rng = np.random.default_rng(0)
    shapes = rng.integers(20, 300, (50, 2))
    together = draw_views(augment, shapes, seed=3, epoch=4, rows=np.arange(50), view=5)
    for row in (0, 17, 49):
        alone = draw_views(augment, shapes[row : row + 1], seed=3, epoch=4, rows=np.array([row]), view=5)
        for name in ("boxes", "flips", "hidden"):
            assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[row])
        assert alone.colors is not None
        assert together.colors is not None
        for mine, all_of_them in zip(alone.colors, together.colors, strict=True):
            assert np.array_equal(mine[0], all_of_them[row])


def test_switching_one_step_on_does_not_move_the_others():
    plain, more = (
        drawn(Augment(size=32), (150, 200)),
        drawn(Augment(size=32, hue=0.1, cutout=1.0), (150, 200)),
    )
    assert np.array_equal(plain.boxes, more.boxes)


def test_a_view_equals_the_plain_operations(china: np.ndarray):
    """Cut, resize, flip, color and hide in floats, one after the other, without OpenCV."""
    size = 128  # no crop is twice as large, so all are interpolated
    augment = Augment(size=size, horizontal_flip=0.5, vertical_flip=0.5, cutout=0.5)
    augment = dataclasses.replace(augment, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    views = drawn(augment, china.shape[:2], num=40)
    assert views.colors is not None
    for index in range(40):
        top, left, height, width = views.boxes[index]
        cut = torch.from_numpy(china[top : top + height, left : left + width].copy()).permute(2, 0, 1)[None]
        plain = torch.nn.functional.interpolate(cut.double(), size=(size, size), mode="bilinear")[0]
        pixels = plain.permute(1, 2, 0).numpy()
        if views.flips[index, 0]:
            pixels = pixels[:, ::-1]
        if views.flips[index, 1]:
            pixels = pixels[::-1]
        pixels = pixels @ views.colors[0][index].T + views.colors[1][index] @ pixels.mean((0, 1))
        pixels = np.clip(pixels, 0, 255)
        top, left, height, width = views.hidden[index]
        pixels[top : top + height, left : left + width] = augment.cutout_color
        difference = np.abs(rendered(china, views, index, size) - pixels)
        assert difference.max() < 4
        assert difference.mean() < 0.6


@pytest.mark.parametrize("strengths", [(0.4, 0.4, 0.4, 0.0), (0.4, 0.4, 0.4, 0.1)])
def test_colors_of_a_photo_have_the_statistics_of_color_jitter(
    china: np.ndarray, strengths: tuple[float, float, float, float]
):
    brightness, contrast, saturation, hue = strengths
    photo, num = np.ascontiguousarray(china[:192:3, 50:242:3]), 600
    augment = Augment(size=64, crop="whole", brightness=brightness, contrast=contrast)
    views = drawn(dataclasses.replace(augment, saturation=saturation, hue=hue), (64, 64), num=num, seed=1)
    ours = np.stack([rendered(photo, views, index, 64) for index in range(num)])
    torch.manual_seed(0)
    jitter, image = v2.ColorJitter(*strengths), torch.from_numpy(photo).permute(2, 0, 1)
    theirs = np.stack([jitter(image).permute(1, 2, 0).numpy() for _ in range(num)])
    for statistic in (np.mean, np.std):
        our, their = (statistic(views.astype(np.float32), axis=(1, 2)) for views in (ours, theirs))
        # They round down at each of up to four steps, we round once.
        assert our.mean(axis=0) == pytest.approx(their.mean(axis=0), abs=3.5)
        assert our.std(axis=0) == pytest.approx(their.std(axis=0), rel=0.1, abs=0.3)
        assert max(ks_2samp(our[:, c], their[:, c]).statistic for c in range(3)) < 0.1


@pytest.mark.parametrize("shape", [(40, 60), (41, 60), (60, 40), (7, 9)])
def test_center_and_whole_are_the_middle_and_everything(shape: tuple[int, int]):
    top, left, height, width = drawn(Augment(size=8, crop="center", crop_pct=0.5), shape, num=1).boxes[0]
    assert height == width == round(min(shape) / 2)
    assert abs(2 * top + height - shape[0]) <= 1
    assert abs(2 * left + width - shape[1]) <= 1
    assert drawn(Augment(size=8, crop="whole"), shape, num=1).boxes.tolist() == [[0, 0, *shape]]


def test_a_photo_of_the_wanted_size_comes_back_as_it_is(china: np.ndarray):
    photo = np.ascontiguousarray(china[:64, :64])
    photo.flags.writeable = False
    views = drawn(Augment(size=64, crop="whole"), (64, 64), num=1)
    assert np.array_equal(rendered(photo, views, 0, 64), photo)


def test_large_photos_are_averaged_and_not_aliased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    views = drawn(Augment(size=16, crop="whole"), (64, 64), num=1)
    assert np.array_equal(rendered(stripes, views, 0, 16), np.full((16, 16, 3), 100, np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size=0 is out of range. Expected at least one pixel."),
        ({"crop": "centre"}, "The crop 'centre' is unknown. Expected one of random, center, whole."),
        (
            {"horizontal_flip": 1.5},
            "horizontal_flip=1.5 is out of range. Expected a number from 0 to 1.",
        ),
        ({"hue": 0.6}, "hue=0.6 is out of range. Expected a number from 0 to 0.5."),
        (
            {"brightness": float("nan")},
            "brightness=nan is out of range. Expected a number from 0 to inf.",
        ),
        (
            {"scale": (1.0, 0.08)},
            "scale=(1.0, 0.08) is out of range. Expected two rising numbers, above 0 and at most 1.",
        ),
        (
            {"ratio": (0.0, 1.0)},
            "ratio=(0.0, 1.0) is out of range. Expected two rising numbers, above 0 and at most inf.",
        ),
    ],
)
def test_options_that_make_no_view_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(InputError) as error:
        Augment(**{"size": 8} | options)
    assert message in str(error.value)
