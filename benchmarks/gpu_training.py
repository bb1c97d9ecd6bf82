"""On a GPU: photos a second into EfficientNet-B3 at 512 px, from our cache and by other loaders; a recipe.

    python benchmarks/gpu_training.py [--workers N] [--pretrained]
    python benchmarks/gpu_training.py --tiny        the same path on a CPU in seconds; its figures say nothing

The same step for all: channels last, bf16 or fp16 autocast, AdamW, batches of 32. "Step alone" trains on one
batch again and again: what no loader can beat. Ours reads photos decoded once, and normalizes on the GPU;
"ours, whole loop" is `fit`, with all that it keeps. timm's loader is with its prefetcher; torchvision's is
ImageFolder and a DataLoader with pinned memory. Views: RandomResizedCrop and flip. A first epoch is not
counted. Then the recipe `talk-best-public` for two epochs, one fold of three, both of its networks. JPEGs of
800 x 600 are leaves enlarged, as in loader.py. Weights are random unless --pretrained finds the hub.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timm.data import ImageDataset, create_loader
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

import kiyome
from kiyome.models import Network
from kiyome.models.compute import Compute, choose_compute
from kiyome.training.loop import fit
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import new_accelerator
from loader import NUM_CLASSES, NUM_PHOTOS, write_photos
from measured import show
from small_training_data import SmallTrainingData, small_training_data

Batches = Iterable[tuple[Tensor, Tensor]]
"""Images on the device with their labels."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is timed."""

    architecture: str = "tf_efficientnet_b3"
    size: int = 512
    repeats: int = 8
    """Times that the photos are gone through in an epoch."""
    rounds: int = 5
    workers: int = 4
    talk: tuple[str, ...] = ("epochs=2", "average_last=2", "num_folds=3")
    """Changes to the talk's recipe."""


TINY = Setting(
    architecture="tiny",
    size=32,
    repeats=1,
    rounds=1,
    workers=1,
    talk=("architecture=tiny", "image_size=32", "epochs=2", "average_last=2", "num_folds=3", "views=2"),
)


def lines(folder: Path, setting: Setting, *, pretrained: bool) -> Iterator[str]:
    """The lines to print."""
    origin, paths = write_photos(folder / "photos")
    compute = choose_compute()
    labels = np.arange(NUM_PHOTOS) % NUM_CLASSES
    name = torch.cuda.get_device_name() if compute.device.type == "cuda" else "no GPU"
    yield f"{name}, {compute.precision}; {setting.repeats * NUM_PHOTOS} JPEGs of 800 x 600 ({origin})"
    started = time.perf_counter()
    data = small_training_data(
        paths * setting.repeats,
        np.tile(labels, setting.repeats),
        size=setting.size,
        cache=folder / "cache",
    )
    yield f"the cache took {time.perf_counter() - started:.1f} s, once"
    yield from speeds(folder / "photos", data, setting, compute)
    yield from talk(folder, setting, pretrained=pretrained)


def speeds(root: Path, data: SmallTrainingData, setting: Setting, compute: Compute) -> Iterator[str]:
    recipe = Recipe.of(
        architecture=setting.architecture,
        pretrained=False,
        image_size=setting.size,
        epochs=1000,
        batch_size=32,
        augment={"scale": (0.08, 1.0), "horizontal_flip": 0.5},
    )
    network = data.train_state(recipe, compute).network
    step = plain_step(network.module, compute)
    num_photos = setting.repeats * NUM_PHOTOS
    batch = next(iter(ours(data, recipe, network, compute, setting.workers, 0)))
    whole = fit(
        data.train_state(recipe, compute),
        data.loader(recipe, num_threads=setting.workers),
        data.targets(compute.device),
        recipe=recipe,
        accelerator=new_accelerator(compute),
        seed=0,
    )
    loaders = {"timm": timm_loader, "torchvision": torchvision_loader}
    theirs = {name: make(root, network, setting, compute) for name, make in loaders.items()}
    ways: dict[str, Callable[[int], object]] = {
        "step alone": lambda _: through(step, [batch] * -(-num_photos // 32)),
        "ours, the same step": lambda epoch: through(
            step, ours(data, recipe, network, compute, setting.workers, epoch)
        ),
        "ours, whole loop": lambda _: next(whole),
        **{
            name: lambda _, loader=loader: [through(step, loader) for _ in range(setting.repeats)]
            for name, loader in theirs.items()
        },
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(1 + setting.rounds):
        for name, run in ways.items():
            rates[name].append(num_photos / timed(lambda run=run, epoch=epoch: run(epoch)))
    for name, each in rates.items():
        counted = each[1:]
        median = statistics.median(counted)
        yield f"  {name:<22}{median:>8.1f} photos a second ({min(counted):.1f} to {max(counted):.1f})"


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def plain_step(module: nn.Module, compute: Compute) -> Callable[[Tensor, Tensor], None]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
    module.train()

    def step(images: Tensor, labels: Tensor) -> None:
        with compute.autocast():
            logits = module(images.contiguous(memory_format=torch.channels_last))
        scaler.scale(nn.functional.cross_entropy(logits.float(), labels)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def through(step: Callable[[Tensor, Tensor], None], batches: Batches) -> None:
    for images, labels in batches:
        step(images, labels)


def ours(
    data: SmallTrainingData,
    recipe: Recipe,
    network: Network,
    compute: Compute,
    workers: int,
    epoch: int,
) -> Batches:
    labels = data.targets(compute.device).labels
    for batch in data.loader(recipe, num_threads=workers).epoch(epoch):
        pixels = torch.from_numpy(batch.inputs).to(compute.device)
        yield network.normalize(pixels), labels[torch.from_numpy(batch.rows).to(compute.device)]


def timm_loader(root: Path, network: Network, setting: Setting, compute: Compute) -> Batches:
    """With its prefetcher, which normalizes on the device, where there is a GPU."""
    return create_loader(
        ImageDataset(str(root)),
        input_size=(3, setting.size, setting.size),
        batch_size=32,
        is_training=True,
        color_jitter=None,
        interpolation="bilinear",
        mean=network.mean,
        std=network.std,
        num_workers=setting.workers,
        persistent_workers=True,
        device=compute.device,
        use_prefetcher=compute.device.type == "cuda",
        pin_memory=compute.device.type == "cuda",
    )


def torchvision_loader(root: Path, network: Network, setting: Setting, compute: Compute) -> "OnDevice":
    steps = [transforms.RandomResizedCrop(setting.size), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize(network.mean, network.std)]
    loader = DataLoader(
        ImageFolder(root, transforms.Compose(steps)),
        batch_size=32,
        shuffle=True,
        num_workers=setting.workers,
        persistent_workers=True,
        pin_memory=compute.device.type == "cuda",
    )
    return OnDevice(loader=loader, device=compute.device)


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """Batches of a loader, brought to the device."""

    loader: DataLoader
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.loader:
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


def talk(folder: Path, setting: Setting, *, pretrained: bool) -> Iterator[str]:
    """Two epochs of the talk's recipe, on one fold."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    trained = kiyome.train(
        folder / "photos",
        recipe="talk-best-public",
        changes=[f"pretrained={str(pretrained).lower()}", *setting.talk],
        members=["fold=0"],
        output=folder / "talk",
        cache_folder=folder / "cache",
    )
    memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else float("nan")
    yield (
        f"talk-best-public, {len(trained.members)} members of {NUM_PHOTOS} photos, two epochs and their "
        f"prediction: {time.perf_counter() - started:.0f} s, {memory:.1f} GB at most on the GPU"
    )
    for member in trained.members:
        views = [view["held_out_accuracy_on_labels"] for view in member["by_number_of_views"]]
        yield f"  {member['member']}: held out {views[0]:.3f} by one view, {views[-1]:.3f} by {len(views)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args()
    if not (asked.tiny or torch.cuda.is_available()):
        print("There is no GPU here: nothing was measured. With --tiny the same path runs on the CPU.")
        sys.exit()
    with tempfile.TemporaryDirectory() as place:
        if asked.tiny:
            for line in lines(Path(place), TINY, pretrained=False):
                print(line, flush=True)
        else:
            full = Setting(workers=asked.workers)
            show(
                __file__,
                lines(Path(place), full, pretrained=asked.pretrained),
                "torch",
                "torchvision",
                "timm",
            )
