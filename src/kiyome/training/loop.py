"""The training loop, in sight: the same on a CPU, one GPU, or many under `accelerate launch`.

    epoch ── batch of rows ── parts ── images, mixed ── logits ── a loss for each row ── backward
                                                          └── dynamics of each row
                              all parts ── clip ── step ── moving average

Nothing random is remembered: shuffling, views, mixing and dropout come from (seed, epoch, step, row), so a
training that was cut off after an epoch goes on to the same bits.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kiyome.artifacts.table import Table
from kiyome.batchnorm import batchnorm_frozen, freeze_batchnorm, unfreeze_batchnorm
from kiyome.errors import KiyomeError
from kiyome.images.loader import Batch, Loader
from kiyome.losses import EarlyLearning, keep_small_losses
from kiyome.progress import Progress, no_progress
from kiyome.training.mixing import Mixed, cut_mix, mix_up, snap_mix
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import TrainState, derive_seed, move_average, set_learning_rate

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochDynamics:
    """One epoch of one member; NaN where a row was not trained on. In training, not in evaluation mode."""

    margins: Tensor
    """(N,) score of the row's label minus the highest other one; negative where another class is likelier."""
    losses: Tensor
    """(N,) the loss that was minimized."""

    @classmethod
    def start(cls, num_rows: int, device: torch.device | str = "cpu") -> "EpochDynamics":
        """Nothing seen yet."""
        return cls(
            margins=torch.full((num_rows,), torch.nan, device=device),
            losses=torch.full((num_rows,), torch.nan, device=device),
        )

    def record(self, rows: Tensor, scores: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Take up what a training step saw: (n,) rows, (n, K) scores, (n,) labels and losses."""
        self.margins.index_copy_(0, rows, margins_of(scores, labels))
        self.losses.index_copy_(0, rows, losses.detach().float())


def margins_of(scores: Tensor, labels: Tensor) -> Tensor:
    """The score, mostly the logit, of each label minus the highest other one (n,).

    >>> margins_of(torch.tensor([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]), torch.tensor([1, 0]))
    tensor([-1.,  1.])
    """
    z = scores.detach().float()
    own = z.gather(1, labels[:, None])
    others = z.scatter(1, labels[:, None], -torch.inf)
    return own.squeeze(1) - others.amax(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dynamics:
    """The dynamics of each row over all epochs and members; NaN where a row was never trained on."""

    area_under_margin: NDArray[np.float32]
    """(N,) mean margin over epochs and members; low is suspicious."""
    mean_loss: NDArray[np.float32]
    """(N,)"""
    wrong_share: NDArray[np.float32]
    """(N,) share of the passes in which the likeliest class was not the row's label."""
    passes: NDArray[np.int64]
    """(N,) how many passes there were."""


def summarize_dynamics(
    margins: Sequence[NDArray[np.float32]], losses: Sequence[NDArray[np.float32]]
) -> Dynamics:
    """The dynamics of each row over many epochs (N,) of one or of several members.

    Examples
    --------
    >>> nan = np.float32("nan")
    >>> margins = [np.float32([1, -2]), np.float32([3, -4]), np.float32([nan, 6])]
    >>> found = summarize_dynamics(margins, [np.ones(2, np.float32)] * 2 + [np.float32([nan, 1])])
    >>> found.area_under_margin, found.wrong_share.round(2), found.passes
    (array([2., 0.], dtype=float32), array([0.  , 0.67], dtype=float32), array([2, 3]))
    """
    num_rows = len(margins[0])
    sums = {name: np.zeros(num_rows) for name in ("margin", "loss", "wrong", "passes")}
    for margin, loss in zip(margins, losses, strict=True):
        seen = ~np.isnan(margin)
        sums["margin"][seen] += margin[seen]
        sums["loss"][seen] += loss[seen]
        sums["wrong"][seen] += margin[seen] < 0
        sums["passes"][seen] += 1
    with np.errstate(invalid="ignore"):
        means = {name: (total / sums["passes"]).astype(np.float32) for name, total in sums.items()}
    return Dynamics(
        area_under_margin=means["margin"],
        mean_loss=means["loss"],
        wrong_share=means["wrong"],
        passes=sums["passes"].astype(np.int64),
    )


DIVERGED = "Lower learning_rate, or set precision=float32. Nothing of this epoch was kept."


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Labels, targets and weights of all rows, on the device that trains. N rows, K classes."""

    labels: Tensor
    """(N,) of the table, for the training dynamics."""
    probs: Tensor
    """(N, K) target probabilities; soft where the recipe softens labels."""
    weights: Tensor
    """(N,) weight of each row's loss."""

    @classmethod
    def of(cls, table: Table, probs: NDArray[np.float32], device: torch.device) -> "Targets":
        """Return copies of a table's labels and weights, and of its targets, on the device."""
        weights = np.ones(len(table), np.float32) if table.weights is None else table.weights.copy()
        return cls(
            labels=torch.from_numpy(table.labels.astype(np.int64)).to(device),
            probs=torch.from_numpy(probs.copy()).to(device),
            weights=torch.from_numpy(weights).to(device),
        )


def fit(
    state: TrainState,
    loader: Loader,
    targets: Targets,
    *,
    recipe: Recipe,
    accelerator: "Accelerator",
    seed: int,
    parts: int = 1,
    on_progress: Progress = no_progress,
) -> Iterator[EpochDynamics]:
    """Train, and yield the dynamics of each epoch; `state` changes in place and resumes after `epochs_done`.

    Each batch of `loader` is one step of the optimizer, shared by all processes, and is split into `parts`
    whose gradients are summed. A loss or weight that is not finite is an error before the epoch is yielded,
    so that nothing of it is kept.
    """
    network = state.network
    model: Any = torch.compile(network.module) if recipe.model.compile else network.module
    model, optimizer = accelerator.prepare(model, state.optimizer)
    num_steps = recipe.optimizer.epochs * len(loader)
    link = recipe.loss.link
    for epoch in range(state.epochs_done, recipe.optimizer.epochs):
        torch.manual_seed(derive_seed(seed, "epoch", epoch, accelerator.process_index))
        _set_batchnorm(network.module, recipe, epoch)
        model.train()
        dynamics = EpochDynamics.start(len(targets.labels), accelerator.device)
        loss = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(loader.epoch(epoch)):
            step, loss_before = epoch * len(loader) + number, loss
            set_learning_rate(optimizer, recipe, step=step, num_steps=num_steps)
            pieces = _pieces(batch, parts, accelerator.device)
            for rows, pixels in pieces:
                is_last = rows is pieces[-1][0]  # several processes exchange gradients once a step
                with nullcontext() if is_last else accelerator.no_sync(model):
                    mixed = _mixed(
                        state, pixels, targets.probs[rows], recipe, epoch=epoch, step=step, seed=seed
                    )
                    logits = model(mixed.images).float()
                    losses = _losses(state.loss_fn, logits, mixed.targets, rows)
                    dynamics.record(rows, link.scores(logits), targets.labels[rows], losses)
                    losses = losses * mixed.weights * targets.weights[rows]
                    share = len(rows) / len(batch.rows) * loader.weight(number)
                    loss = _kept(losses, recipe, epoch).mean() * share
                    accelerator.backward(loss)
            if recipe.optimizer.clip_norm:
                accelerator.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            if state.average is not None:
                move_average(state.average, network.module, decay=recipe.optimizer.ema_decay, step=step)
            loss = loss.detach()
            _refuse_not_finite(loss_before, dynamics, epoch)  # one step late, so that a GPU need not wait
            on_progress("train", step + 1, num_steps)
        _refuse_not_finite(loss, dynamics, epoch)
        _refuse_broken_weights(state, epoch)
        state.epochs_done = epoch + 1
        yield _of_all_processes(dynamics, state, accelerator)


def _set_batchnorm(module: torch.nn.Module, recipe: Recipe, epoch: int) -> None:
    if batchnorm_frozen(epoch, recipe.optimizer.epochs, fraction=recipe.optimizer.freeze_batchnorm):
        freeze_batchnorm(module)
    elif recipe.optimizer.freeze_batchnorm:
        unfreeze_batchnorm(module)


def _pieces(batch: Batch, parts: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """The batch in so many parts: (n,) rows and their pixels or features on the device."""
    rows = torch.from_numpy(batch.rows).to(device)
    inputs = torch.from_numpy(batch.inputs).to(device)
    return list(zip(rows.chunk(parts), inputs.chunk(parts), strict=True))


def _mixed(
    state: TrainState,
    pixels: Tensor,
    targets: Tensor,
    recipe: Recipe,
    *,
    epoch: int,
    step: int,
    seed: int,
) -> Mixed:
    """Normalized images with their targets; mixed where this step is."""
    images = state.network.normalize(pixels)
    mix_seed = derive_seed(seed, "mix", step)
    chosen = np.random.default_rng(mix_seed).random() < recipe.data.mixing_share
    if (
        recipe.data.mixing == "none"
        or not chosen
        or epoch >= recipe.optimizer.epochs - recipe.data.plain_last
    ):
        return Mixed(images, targets, torch.ones(len(images), device=images.device))
    strength = recipe.data.mixing_strength
    if recipe.data.mixing == "snap_mix":
        return snap_mix(images, targets, seed=mix_seed, model=state.network.module, beta=strength)
    mix = mix_up if recipe.data.mixing == "mix_up" else cut_mix
    return mix(images, targets, seed=mix_seed, alpha=strength)


def _losses(loss_fn: Any, logits: Tensor, targets: Tensor, rows: Tensor) -> Tensor:
    """(n,) losses; one with a memory of each row gets the rows, too."""
    arguments = (logits, targets, rows) if isinstance(loss_fn, EarlyLearning) else (logits, targets)
    losses: Tensor = loss_fn(*arguments)
    return losses


def _kept(losses: Tensor, recipe: Recipe, epoch: int) -> Tensor:
    if not recipe.loss.omit_largest:
        return losses
    return losses[
        keep_small_losses(
            losses, epoch=epoch, warmup_epochs=recipe.loss.omit_after, num_omitted=recipe.loss.omit_largest
        )
    ]


def _refuse_not_finite(loss: Tensor, dynamics: EpochDynamics, epoch: int) -> None:
    if torch.isfinite(loss):
        return
    broken = ~torch.isnan(dynamics.margins) & ~torch.isfinite(dynamics.losses)
    rows = torch.nonzero(broken | dynamics.margins.isinf()).flatten().tolist()
    at = f", first at row {rows[0]}" if rows else ""
    raise KiyomeError(
        f"The loss is {loss.item()} in epoch {epoch + 1}{at}, not a finite number.", remedy=DIVERGED
    )


def _refuse_broken_weights(state: TrainState, epoch: int) -> None:
    """Refuse weights that are not finite: BatchNorm and averages break before the loss shows it."""
    modules = [state.network.module] + ([] if state.average is None else [state.average])
    for name, value in chain.from_iterable(module.state_dict().items() for module in modules):
        # a sum is ten times faster, and finite only where all are
        if not torch.isfinite(value.sum()) and not torch.isfinite(value).all():
            raise KiyomeError(f"{name} is not finite after epoch {epoch + 1}.", remedy=DIVERGED)


def _of_all_processes(
    dynamics: EpochDynamics, state: TrainState, accelerator: "Accelerator"
) -> EpochDynamics:
    """The dynamics of the rows of all processes; the memory of a loss is merged, too."""
    if accelerator.num_processes == 1:
        return dynamics
    seen = ~torch.isnan(dynamics.margins)
    times: Tensor = accelerator.reduce(seen.float(), "sum")

    def mean(values: Tensor, unseen: Tensor | float) -> Tensor:
        """The mean of each row over the processes that saw it, mostly one."""
        own = torch.where(_beside(seen, values), values, 0.0)
        total: Tensor = accelerator.reduce(own, "sum")
        return torch.where(_beside(times > 0, values), total / _beside(times, values), unseen)

    if isinstance(state.loss_fn, EarlyLearning):
        beliefs = state.loss_fn.beliefs
        state.loss_fn.beliefs = mean(beliefs, beliefs)
    return EpochDynamics(margins=mean(dynamics.margins, torch.nan), losses=mean(dynamics.losses, torch.nan))


def _beside(of_rows: Tensor, values: Tensor) -> Tensor:
    """One number a row, in the shape that meets values (N,) or (N, K)."""
    return of_rows.view(-1, *[1] * (values.ndim - 1))
