"""A training epoch on a CPU, ours and as users write it today: photos a second.

    python benchmarks/training_speed.py [ROUNDS [SETTING ...]]

Today: torchvision's ImageFolder, PIL, RandomResizedCrop, flip, ColorJitter 0.4, ToTensor, Normalize, a
DataLoader with 2 workers that live on, float32, AdamW. Ours: photos decoded once into mapped uint8, the same
views by 2 threads, bf16 where the CPU computes in it, channels last, AdamW; and all else that our loop does.
The same networks with random weights, batches of 32, torch's own number of threads. A first epoch warms both;
then epochs in turn. JPEGs as in loader.py; the cache was made before, and its cost is said. Settings are
numbered from 0. What it does to accuracy is in training_accuracy.py.

Wall time is what a user waits for, on a machine that does nothing else. CPU time, with that of workers, holds
on a busy machine too, where one thread computes (OMP_NUM_THREADS=1): threads that wait for others burn it.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import timm
import torch

from kiyome.models.compute import choose_compute
from kiyome.training.loop import fit
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import new_accelerator
from loader import BATCH, NUM_CLASSES, NUM_PHOTOS, WORKERS, torchvision_loader, write_photos
from measured import show
from small_training_data import SmallTrainingData, small_training_data

SETTINGS = (("tf_efficientnet_lite0", 128), ("tf_efficientnet_lite0", 224), ("resnet18", 224))
JITTER = 0.4
Pass = Callable[[], object]


def lines(folder: Path, num_rounds: int, chosen: list[int]) -> Iterator[str]:
    origin, paths = write_photos(folder / "photos")
    yield f"{NUM_PHOTOS} JPEGs of 800 x 600 ({origin}), {num_rounds} rounds of epochs in turn"
    yield f"ours in {choose_compute().precision}; torch computes with {torch.get_num_threads()} thread(s)"
    yield f"{'':<30}photos a second, wall: today, ours, ratio  and a second of CPU: today, ours, ratio"
    for architecture, size in [SETTINGS[each] for each in chosen]:
        started = time.perf_counter()
        labels = np.arange(NUM_PHOTOS) % NUM_CLASSES
        data = small_training_data(paths, labels, size=size, cache=folder / "cache")
        seconds = time.perf_counter() - started
        theirs, ours = (
            today(folder / "photos", architecture, size),
            our_epochs(data, architecture, size),
        )
        rounds = [(timed(theirs), timed(ours)) for _ in range(1 + num_rounds)][1:]
        yield (
            f"{architecture + f' at {size}':<30}{rates(rounds, 0)}  {rates(rounds, 1)}  "
            f"the cache took {seconds:.1f} s, once"
        )


def timed(run: Pass) -> tuple[float, float]:
    """Seconds of wall and of CPU."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    run()
    return time.perf_counter() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Of this process and of its workers, which live on."""
    stats = [Path(f"/proc/{child.pid}/stat").read_text() for child in multiprocessing.active_children()]
    ticks = sum(int(ticks) for stat in stats for ticks in stat.rpartition(")")[2].split()[11:13])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def rates(rounds: list[tuple[tuple[float, float], tuple[float, float]]], clock: int) -> str:
    theirs, ours = ([way[clock] for way in ways] for ways in zip(*rounds, strict=True))
    ratios = [today / own for today, own in zip(theirs, ours, strict=True)]
    rate = "".join(f"{NUM_PHOTOS / statistics.median(seconds):>7.1f}" for seconds in (theirs, ours))
    return f"{rate}{statistics.median(ratios):>6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def today(root: Path, architecture: str, size: int) -> Pass:
    """One epoch as users write it."""
    loader = torchvision_loader(root, size, JITTER)
    model = timm.create_model(architecture, num_classes=NUM_CLASSES).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()

    return epoch


def our_epochs(data: SmallTrainingData, architecture: str, size: int) -> Pass:
    """The next epoch of one training by our loop."""
    jitter = {"brightness": JITTER, "contrast": JITTER, "saturation": JITTER}
    recipe = Recipe.of(
        architecture=architecture,
        pretrained=False,
        image_size=size,
        epochs=1000,
        batch_size=BATCH,
        augment={"scale": (0.08, 1.0), "horizontal_flip": 0.5, **jitter},
    )
    compute = choose_compute(recipe.model.precision)
    epochs = fit(
        data.train_state(recipe, compute),
        data.loader(recipe, num_threads=WORKERS),
        data.targets(),
        recipe=recipe,
        accelerator=new_accelerator(compute),
        seed=0,
    )
    return lambda: next(epochs)


if __name__ == "__main__":
    arguments = [int(each) for each in sys.argv[1:]] or [4]
    with tempfile.TemporaryDirectory() as place:
        show(
            __file__,
            lines(Path(place), arguments[0], arguments[1:] or list(range(len(SETTINGS)))),
            "torch",
            "torchvision",
            "timm",
            "accelerate",
            "pillow",
        )
