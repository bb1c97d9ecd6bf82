"""The training loop, in sight: the same on a CPU, one GPU, or many under `accelerate launch`.

    epoch ── batch of rows ── parts ── images, mixed ── logits ── a loss for each row ── backward
                                                          └── dynamics of each row
                              all parts ── clip ── step ── moving average

Nothing random is remembered: shuffling, views, mixing and dropout come from (seed, epoch, step, row), so a
training that was cut off after an epoch goes on to the same bits.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kiyome.batchnorm import batchnorm_frozen, freeze_batchnorm, unfreeze_batchnorm
from kiyome.errors import KiyomeError
from kiyome.images.loader import Batch, Loader
from kiyome.losses import EarlyLearning, keep_small_losses, link_of_loss
from kiyome.progress import Progress, no_progress
from kiyome.training.averages import derive_seed, move_average
from kiyome.training.dynamics import EpochDynamics
from kiyome.training.mixing import Mixed, cut_mix, mix_up, snap_mix
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import Learner, set_learning_rate

if TYPE_CHECKING:
    from accelerate import Accelerator


CALM_DOWN = "Lower learning_rate, or say precision=float32. Nothing of this epoch was kept."


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What is to be learned, on the device that learns. N rows, K classes."""

    labels: Tensor
    """(N,) of the table, which training dynamics speak of."""
    targets: Tensor
    """(N, K) shares, each row's sum is one; soft ones where the recipe softens labels."""
    weights: Tensor
    """(N,) of each row's loss."""


def fit(
    learner: Learner,
    loader: Loader,
    truth: Truth,
    *,
    recipe: Recipe,
    accelerator: "Accelerator",
    seed: int,
    parts: int = 1,
    on_progress: Progress = no_progress,
) -> Iterator[EpochDynamics]:
    """Train, and yield after each epoch what it said about each row; `learner` holds the rest.

    Parameters
    ----------
    learner
        From `new_learner`, or brought back from a checkpoint; training goes on after `epochs_done`.
    loader
        Over the training rows; each batch is one step of the optimizer, shared by all processes.
    truth
        Of all rows of the table.
    recipe, seed
        Decide everything else.
    accelerator
        Of Hugging Face Accelerate: devices, mixed precision, processes.
    parts
        Each batch is passed in so many parts, whose gradients are summed.
    on_progress
        Hears ``("train", step, steps)`` after each step.

    Raises
    ------
    KiyomeError
        Where a loss or a weight is not finite; before the epoch is yielded, so nothing of it is kept.
    """
    network = learner.network
    model: Any = torch.compile(network.module) if recipe.compile else network.module
    model, optimizer = accelerator.prepare(model, learner.optimizer)
    num_steps = recipe.epochs * len(loader)
    link = link_of_loss(recipe.loss, recipe.loss_options)
    for epoch in range(learner.epochs_done, recipe.epochs):
        torch.manual_seed(derive_seed(seed, "epoch", epoch, accelerator.process_index))
        _set_batchnorm(network.module, recipe, epoch)
        model.train()
        dynamics = EpochDynamics.start(len(truth.labels), accelerator.device)
        loss = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(loader.epoch(epoch)):
            step, loss_before = epoch * len(loader) + number, loss
            set_learning_rate(optimizer, recipe, step=step, num_steps=num_steps)
            pieces = _pieces(batch, parts, accelerator.device)
            for rows, pixels in pieces:
                is_last = rows is pieces[-1][0]  # several processes exchange gradients once a step
                with nullcontext() if is_last else accelerator.no_sync(model):
                    mixed = _mixed(
                        learner, pixels, truth.targets[rows], recipe, epoch=epoch, step=step, seed=seed
                    )
                    logits = model(mixed.images).float()
                    losses = _losses(learner.loss_fn, logits, mixed.targets, rows)
                    dynamics.record(rows, link.scores(logits), truth.labels[rows], losses)
                    losses = losses * mixed.weights * truth.weights[rows]
                    share = len(rows) / len(batch.rows) * loader.weight(number)
                    loss = _kept(losses, recipe, epoch).mean() * share
                    accelerator.backward(loss)
            if recipe.clip_norm:
                accelerator.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            if learner.average is not None:
                move_average(learner.average, network.module, decay=recipe.ema_decay, step=step)
            loss = loss.detach()
            _refuse_not_finite(loss_before, dynamics, epoch)  # one step late, so that a GPU need not wait
            on_progress("train", step + 1, num_steps)
        _refuse_not_finite(loss, dynamics, epoch)
        _refuse_broken_weights(learner, epoch)
        learner.epochs_done = epoch + 1
        yield _of_all_processes(dynamics, learner, accelerator)


def _set_batchnorm(module: torch.nn.Module, recipe: Recipe, epoch: int) -> None:
    if batchnorm_frozen(epoch, recipe.epochs, fraction=recipe.freeze_batchnorm):
        freeze_batchnorm(module)
    elif recipe.freeze_batchnorm:
        unfreeze_batchnorm(module)


def _pieces(batch: Batch, parts: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """The batch in so many parts: (n,) rows and (n, S, S, 3) uint8 pixels on the device."""
    rows = torch.from_numpy(batch.rows).to(device)
    pixels = torch.from_numpy(batch.pixels).to(device)
    return list(zip(rows.chunk(parts), pixels.chunk(parts), strict=True))


def _mixed(
    learner: Learner, pixels: Tensor, targets: Tensor, recipe: Recipe, *, epoch: int, step: int, seed: int
) -> Mixed:
    """Normalized images with their targets; mixed where this step is."""
    images = learner.network.normalize(pixels)
    mix_seed = derive_seed(seed, "mix", step)
    chosen = np.random.default_rng(mix_seed).random() < recipe.mixing_share
    if recipe.mixing == "none" or not chosen or epoch >= recipe.epochs - recipe.plain_last:
        return Mixed(images, targets, torch.ones(len(images), device=images.device))
    strength = recipe.mixing_strength
    if recipe.mixing == "snap_mix":
        return snap_mix(images, targets, seed=mix_seed, model=learner.network.module, beta=strength)
    mix = mix_up if recipe.mixing == "mix_up" else cut_mix
    return mix(images, targets, seed=mix_seed, alpha=strength)


def _losses(loss_fn: Any, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
    """One number a row; a loss with a memory is told which rows they are."""
    arguments = (logits, targets, rows) if isinstance(loss_fn, EarlyLearning) else (logits, targets)
    losses: Tensor = loss_fn(*arguments)
    return losses


def _kept(losses: Tensor, recipe: Recipe, epoch: int) -> Tensor:
    if not recipe.omit_largest:
        return losses
    return losses[
        keep_small_losses(
            losses, epoch=epoch, warmup_epochs=recipe.omit_after, num_omitted=recipe.omit_largest
        )
    ]


def _refuse_not_finite(loss: Tensor, dynamics: EpochDynamics, epoch: int) -> None:
    if torch.isfinite(loss):
        return
    broken = ~torch.isnan(dynamics.margins) & ~torch.isfinite(dynamics.losses)
    rows = torch.nonzero(broken | dynamics.margins.isinf()).flatten().tolist()
    at = f", first at row {rows[0]}" if rows else ""
    raise KiyomeError(
        "The loss stays a finite number.", came=f"{loss.item()} in epoch {epoch + 1}{at}", remedy=CALM_DOWN
    )


def _refuse_broken_weights(learner: Learner, epoch: int) -> None:
    """BatchNorm and averages take up a broken number before the loss shows it; none may reach a file."""
    modules = [learner.network.module] + ([] if learner.average is None else [learner.average])
    for name, value in chain.from_iterable(module.state_dict().items() for module in modules):
        # a sum is ten times faster, and finite only where all are
        if not torch.isfinite(value.sum()) and not torch.isfinite(value).all():
            raise KiyomeError(
                "Weights stay finite numbers.", came=f"{name} after epoch {epoch + 1}", remedy=CALM_DOWN
            )


def _of_all_processes(dynamics: EpochDynamics, learner: Learner, accelerator: "Accelerator") -> EpochDynamics:
    """What all processes saw of the epoch together, and what a loss remembers of it; each saw other rows."""
    if accelerator.num_processes == 1:
        return dynamics
    seen = ~torch.isnan(dynamics.margins)
    times: Tensor = accelerator.reduce(seen.float(), "sum")

    def mean(values: Tensor, unseen: Tensor | float) -> Tensor:
        """Of each row over the processes that saw it, mostly one."""
        own = torch.where(_beside(seen, values), values, 0.0)
        total: Tensor = accelerator.reduce(own, "sum")
        return torch.where(_beside(times > 0, values), total / _beside(times, values), unseen)

    if isinstance(learner.loss_fn, EarlyLearning):
        beliefs = learner.loss_fn.beliefs
        learner.loss_fn.beliefs = mean(beliefs, beliefs)
    return EpochDynamics(margins=mean(dynamics.margins, torch.nan), losses=mean(dynamics.losses, torch.nan))


def _beside(of_rows: Tensor, values: Tensor) -> Tensor:
    """One number a row, in the shape that meets values (N,) or (N, K)."""
    return of_rows.view(-1, *[1] * (values.ndim - 1))
