"""What our training step costs over a bare PyTorch loop on the same network, loader and precision.

    python benchmarks/step_overhead.py

Bare is what one writes by hand: batch, normalize, autocast, forward, cross entropy, backward, clip, step.
Ours does that, keeps each row's loss and margin, sets the learning rate, refuses numbers that are not finite,
and can mix, accumulate, average and run under `accelerate launch`. Each takes 2 epochs of 5 batches of 32
photos, in turn; "bare again" says how far two timings of the same differ. One thread computes and one loads:
CPU time then counts work, where wall time also counts what else the machine does.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from kiyome.models.compute import Compute, choose_compute
from kiyome.training.loop import fit
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import new_accelerator
from loader import NUM_CLASSES, NUM_PHOTOS, write_photos
from measured import show
from small_training_data import SmallTrainingData, small_training_data

NETWORKS = {"tf_efficientnet_lite0": 96, "resnet18": 128}
EPOCHS, ROUNDS = 2, 7
Seconds = tuple[float, float]
"""Of CPU and of wall, a step."""


def lines(folder: Path) -> Iterator[str]:
    torch.set_num_threads(1)
    origin, paths = write_photos(folder / "photos")
    labels, compute = np.arange(NUM_PHOTOS) % NUM_CLASSES, choose_compute()
    yield f"{NUM_PHOTOS} photos ({origin}), batches of 32, {compute.precision}; {ROUNDS} rounds in turn"
    for architecture, size in NETWORKS.items():
        recipe = Recipe.of(
            architecture=architecture, pretrained=False, image_size=size, epochs=EPOCHS, batch_size=32
        )
        data = small_training_data(paths, labels, size=size, cache=folder / "cache")
        ways = {"ours": ours, "bare": bare, "bare again": bare}
        rounds = [{name: way(data, recipe, compute) for name, way in ways.items()} for _ in range(1 + ROUNDS)]
        yield f"\n{architecture} at {size} px: a bare step takes {spread(rounds[1:], 'bare')}"
        for name in ("ours", "bare again"):
            yield f"  {name:<12}{compared(rounds[1:], name)}"


def spread(rounds: list[dict[str, Seconds]], name: str) -> str:
    cpu, wall = ([1000 * each[name][clock] for each in rounds] for clock in (0, 1))
    return (
        f"{statistics.median(cpu):.0f} ms of CPU ({min(cpu):.0f} to {max(cpu):.0f}), "
        f"{statistics.median(wall):.0f} ms of wall"
    )


def compared(rounds: list[dict[str, Seconds]], name: str) -> str:
    said = []
    for clock, of in ((0, "CPU"), (1, "wall")):
        over = sorted(100 * (each[name][clock] / each["bare"][clock] - 1) for each in rounds)
        said.append(f"{of} {statistics.median(over):+.1f} % (rounds {over[0]:+.1f} to {over[-1]:+.1f})")
    best = min(each[name][0] for each in rounds) / min(each["bare"][0] for each in rounds) - 1
    return ", ".join([*said, f"least CPU {100 * best:+.1f} %"])


def ours(data: SmallTrainingData, recipe: Recipe, compute: Compute) -> Seconds:
    state, accelerator = data.train_state(recipe, compute), new_accelerator(compute)
    loader = data.loader(recipe, num_threads=1)
    epochs = fit(state, loader, data.targets(), recipe=recipe, accelerator=accelerator, seed=0)
    return timed(lambda: list(epochs), EPOCHS * len(loader))


def bare(data: SmallTrainingData, recipe: Recipe, compute: Compute) -> Seconds:
    state, loader = (
        data.train_state(recipe, compute),
        data.loader(recipe, num_threads=1),
    )
    network, optimizer = state.network, state.optimizer
    module, labels = network.module.train(), data.targets().labels

    def run() -> None:
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.learning_rate
        for epoch in range(EPOCHS):
            for batch in loader.epoch(epoch):
                with compute.autocast():
                    logits = module(network.normalize(torch.from_numpy(batch.inputs)))
                loss = torch.nn.functional.cross_entropy(logits.float(), labels[batch.rows])
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.optimizer.clip_norm)
                optimizer.step()

    return timed(run, EPOCHS * len(loader))


def timed(run: Callable[[], object], num_steps: int) -> Seconds:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return (time.process_time() - cpu) / num_steps, (time.perf_counter() - wall) / num_steps


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        show(__file__, lines(Path(place)), "torch", "timm", "accelerate")
