"""What learns: network, optimizer, loss and moving average of one member, and how fast it learns."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kiyome.errors import KiyomeError
from kiyome.losses import LossFunction, link_of_loss, make_loss
from kiyome.models import Network, build_model
from kiyome.models.compute import Compute
from kiyome.training.averages import start_average
from kiyome.training.processes import join_processes
from kiyome.training.recipe import Recipe
from kiyome.training.seeds import derive_seed

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(kw_only=True, eq=False)
class Learner:
    """All that changes while a member learns, and that a checkpoint holds."""

    network: Network
    optimizer: torch.optim.Optimizer
    loss_fn: LossFunction
    average: nn.Module | None
    """The moving average of the network, where the recipe asks for one."""
    scaler: "torch.amp.GradScaler | None" = None
    """Of fp16, whose scale is learned on the way."""
    epochs_done: int = 0

    @property
    def best_module(self) -> nn.Module:
        """What predicts: the moving average where there is one."""
        return self.network.module if self.average is None else self.average


def new_learner(recipe: Recipe, *, num_classes: int, num_rows: int, seed: int, compute: Compute) -> Learner:
    """A learner that has learned nothing yet, on the device.

    Examples
    --------
    >>> from kiyome.models.compute import choose_compute
    >>> recipe = Recipe(architecture="tiny", ema_decay=0.9)
    >>> learner = new_learner(recipe, num_classes=3, num_rows=8, seed=0, compute=choose_compute("float32"))
    >>> learner.epochs_done, learner.best_module is learner.average
    (0, True)
    """
    network = new_network(recipe, num_classes=num_classes, seed=derive_seed(seed, "network"))
    module = compute.ready(network.module, channels_last=recipe.channels_last)
    sizes = {"num_rows": num_rows, "num_classes": num_classes} if recipe.loss == "early_learning" else {}
    return Learner(
        network=network.with_link(link_of_loss(recipe.loss, recipe.loss_options)),
        optimizer=OPTIMIZERS[recipe.optimizer](weight_groups(module, recipe.weight_decay)),
        loss_fn=make_loss(recipe.loss, **recipe.loss_options, **sizes),
        average=start_average(module) if recipe.ema_decay else None,
    )


def new_network(recipe: Recipe, *, num_classes: int, seed: int) -> Network:
    """The recipe's network before training, as `build_model` makes it."""
    return build_model(
        recipe.architecture,
        num_classes=num_classes,
        pretrained=recipe.pretrained,
        weights=recipe.weights or None,
        image_size=recipe.image_size,
        dropout=recipe.dropout,
        drop_path=recipe.drop_path,
        seed=seed,
    )


def check_networks(recipes: Iterable[Recipe]) -> None:
    """Refuse a recipe whose network cannot be built here; weights that the hub has are fetched on the way.

    Raises
    ------
    InputError, MissingExtra
        As for `build_model`, naming the model.
    """
    for recipe in recipes:
        try:
            new_network(recipe, num_classes=2, seed=0)
        except KiyomeError as error:
            raise error.of(recipe.name) from error


def weight_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters for an optimizer: those of two dimensions and more decay; biases and norms do not.

    >>> [len(group["params"]) for group in weight_groups(nn.Linear(2, 2), 0.1)]
    [1, 1]
    """
    parameters = list(module.parameters())
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate_share(step: int, *, num_steps: int, warmup_steps: float) -> float:
    """The share of the highest learning rate at a step from 0: a linear rise, then a cosine towards zero.

    >>> [round(learning_rate_share(step, num_steps=6, warmup_steps=2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    passed = (step - warmup_steps) / max(1.0, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * passed))


def set_learning_rate(optimizer: Any, recipe: Recipe, *, step: int, num_steps: int) -> None:
    """Set what this step learns with; a function of the step alone, so there is no state to lose."""
    warmup_steps = recipe.warmup_epochs * num_steps / recipe.epochs
    share = learning_rate_share(step, num_steps=num_steps, warmup_steps=min(warmup_steps, num_steps))
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * share


def new_accelerator(compute: Compute, *, frozen_at_times: bool = False) -> "Accelerator":
    """Accelerate's view of devices, processes and precision, for one member.

    Raises
    ------
    MissingExtra
        If Accelerate is not installed.
    InputError
        As for `join_processes`.
    """
    join_processes()
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # noqa: SLF001  (else the first member's precision holds for all)
    return Accelerator(
        mixed_precision="no" if compute.precision == "float32" else compute.precision,
        cpu=compute.device.type == "cpu",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)] * frozen_at_times,
    )


OPTIMIZERS: dict[str, Any] = {
    "adamw": partial(torch.optim.AdamW, lr=0.0, fused=True),
    "sgd": partial(torch.optim.SGD, lr=0.0, momentum=0.9, nesterov=True, fused=True),
}
