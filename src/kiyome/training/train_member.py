"""One member trained, or resumed where it was cut off, until its folder is sealed.

    train, with a checkpoint after each epoch ► predict the held-out rows with the epochs that count ► seal

The time limit is checked before the first epoch and after each. Where memory runs out, batches are split into
more parts. Several processes share every batch; the main one writes.
"""

import gc
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from kiyome.artifacts.storage import is_temporary, sha256_of_file, write_bytes, write_text, writing
from kiyome.artifacts.table import TRAIN
from kiyome.errors import InputError, KiyomeError, TimeLimitReached
from kiyome.images.loader import Loader
from kiyome.images.photo_features import Features
from kiyome.inference import predict, predict_views
from kiyome.models import Network, load_timm_folder, save_timm_folder
from kiyome.models.compute import Compute, choose_compute
from kiyome.progress import OnEvent, Progress, ignore_event, no_progress
from kiyome.training.loop import EpochDynamics, Targets, fit
from kiyome.training.member import (
    PREDICTION_BATCH,
    SEAL,
    FinishedMember,
    Member,
    agreement,
    environment,
    event_of,
    finished_member,
    metrics_until,
)
from kiyome.training.processes import (
    TimeLimit,
    as_main_process_says,
    is_main_process,
    main_process_first,
    num_processes,
    wait_for_everyone,
)
from kiyome.training.reuse import copy_from_other_run
from kiyome.training.train_state import (
    TrainState,
    load_last_checkpoint,
    mean_of_weights,
    new_accelerator,
    new_train_state,
    save_checkpoint,
)

CHECKPOINTS = "checkpoints"


def train_member(
    member: Member,
    folder: Path,
    *,
    limit: TimeLimit | None = None,
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> FinishedMember:
    """Return the finished member, resumed from what lies in `folder` already.

    Where memory runs out, the batch is split into twice as many parts, once, with a note in member.json. On
    every error the last whole checkpoint stays, and the same call resumes from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if finished := cached_member(member, folder, on_event=on_event):
        return finished
    if member.is_pair and (finished := _copied_member(member, folder, on_event)):
        return finished
    _check_limit(limit, member, folder, epochs_done=0)
    how: dict[str, Any] = {"on_progress": on_progress, "on_event": on_event}
    if num_processes() > 1:
        return _train_together(member, folder, limit, **how)
    _remove_leftovers(folder)
    compute = choose_compute(member.recipe.model.precision)
    parts = member.recipe.optimizer.accumulate
    try:
        notes = _train(member, folder, compute, parts=parts, limit=limit, **how)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        notes = [f"memory ran out ({str(error).splitlines()[0][:120]}): batches pass in {2 * parts} parts"]
    else:
        return _finish(member, folder, compute, notes=notes, parts=parts, **how)
    _free_memory()  # outside of the except, whose traceback holds what is to be freed
    parts *= 2
    with _out_of_memory_as_error():
        notes += _train(member, folder, compute, parts=parts, limit=limit, **how)
        return _finish(member, folder, compute, notes=notes, parts=parts, **how)


def _copied_member(member: Member, folder: Path, on_event: OnEvent) -> FinishedMember | None:
    """Return a member that a run beside this one has trained, copied from there."""
    with main_process_first():
        if is_main_process():
            copy_from_other_run(member, folder, choose_compute(member.recipe.model.precision))
    return cached_member(member, folder, on_event=on_event)


def cached_member(member: Member, folder: Path, *, on_event: OnEvent = ignore_event) -> FinishedMember | None:
    """Return the member if `folder` holds it finished and unchanged, else None."""
    if finished := finished_member(member, folder):
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)  # where a kill came in between
        if is_main_process():
            on_event(event_of(member, "cached", finished.metrics()))
    return finished


def _train_together(
    member: Member, folder: Path, limit: TimeLimit | None, *, on_progress: Progress, on_event: OnEvent
) -> FinishedMember:
    """Train by several processes, each with its share of every batch; the main one writes."""
    if member.recipe.loss.omit_largest:
        raise InputError(
            f"omit_largest={member.recipe.loss.omit_largest} does not work in {num_processes()} processes:"
            " it compares the losses of a whole batch.",
            remedy="Train members apart with --members fold=..., or set omit_largest=0.",
        )
    if is_main_process():
        _remove_leftovers(folder)
    compute = choose_compute(member.recipe.model.precision)
    parts = member.recipe.optimizer.accumulate
    with _out_of_memory_as_error():
        notes = _train(
            member, folder, compute, parts=parts, limit=limit, on_progress=on_progress, on_event=on_event
        )
    if is_main_process():
        notes.append(f"trained by {num_processes()} processes")
        _finish(member, folder, compute, notes=notes, parts=parts, on_progress=on_progress, on_event=on_event)
    wait_for_everyone()
    if finished := finished_member(member, folder):
        return finished
    raise InputError(
        f"This process does not see the finished {member.label} in {folder}.",
        expected="All processes must share the run folder.",
        remedy="Name a folder that every host shares with --output.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, for which torch raises a plain RuntimeError on a CPU.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    known = ("not enough memory", "can't allocate memory", "out of memory")
    is_known_type = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_known_type or any(words in str(error) for words in known)


def _train(
    member: Member,
    folder: Path,
    compute: Compute,
    *,
    parts: int,
    limit: TimeLimit | None,
    on_progress: Progress,
    on_event: OnEvent,
) -> list[str]:
    """Train to the last epoch, with a checkpoint after each, and return notes for people."""
    recipe, table = member.recipe, member.data.table
    accelerator = new_accelerator(compute, frozen_at_times=recipe.optimizer.freeze_batchnorm > 0)
    photos = member.data.photos
    state = new_train_state(
        recipe,
        num_classes=table.num_classes,
        num_rows=len(table),
        seed=member.own_seed,
        compute=compute,
        features=photos.take(np.flatnonzero(table.in_split(TRAIN))) if isinstance(photos, Features) else None,
    )
    state.scaler = accelerator.scaler
    notes = load_last_checkpoint(state, folder / CHECKPOINTS, key=member.key)
    metrics = metrics_until(folder, state.epochs_done)
    if accelerator.is_main_process:
        on_event(event_of(member, "learning", metrics))
    loader = _new_loader(member, rank=accelerator.process_index, num_ranks=accelerator.num_processes)
    epochs = fit(
        state,
        loader,
        Targets.of(member.data.table, member.data.targets, accelerator.device),
        recipe=recipe,
        accelerator=accelerator,
        seed=member.own_seed,
        parts=parts,
        on_progress=on_progress,
    )
    began = monotonic()
    for dynamics in epochs:
        if accelerator.is_main_process:
            metrics.append(_score(member, state, dynamics, compute))
            _keep_epoch(member, state, dynamics, folder, metrics)
            on_event(event_of(member, "learning", metrics))
        accelerator.wait_for_everyone()
        if limit is not None:
            limit.count_epoch(monotonic() - began)
            began = monotonic()
        _check_limit(limit, member, folder, epochs_done=state.epochs_done)
    return notes


def _new_loader(member: Member, *, rank: int, num_ranks: int) -> Loader:
    recipe, rows = member.recipe, member.training_rows
    return Loader(
        photos=member.data.photos,
        rows=rows,
        augment=recipe.data.training_view(),
        batch_size=recipe.optimizer.batch_size,
        seed=member.own_seed,
        shuffle=True,
        drop_last=len(rows) % recipe.optimizer.batch_size == 1,  # BatchNorm needs two
        rank=rank,
        num_ranks=num_ranks,
    )


def _check_limit(limit: TimeLimit | None, member: Member, folder: Path, *, epochs_done: int) -> None:
    """Stop all processes at the limit; after the last epoch prediction still remains."""
    if limit is not None and as_main_process_says(limit.is_reached):
        raise TimeLimitReached(
            f"Training stopped at its limit of {limit.text}: {member.label} after {epochs_done} of"
            f" {member.recipe.optimizer.epochs} epochs.",
            remedy="The same call resumes there, to the same result.",
            folder=folder,
        )


def _keep_epoch(
    member: Member,
    state: TrainState,
    dynamics: EpochDynamics,
    folder: Path,
    metrics: list[dict[str, Any]],
) -> None:
    """Write the results of an epoch, the checkpoint last, since it marks the epoch as done."""
    name = f"epoch-{state.epochs_done:04d}"
    tensors = {"margins": dynamics.margins.cpu(), "losses": dynamics.losses.cpu()}
    (folder / "dynamics").mkdir(exist_ok=True)
    write_bytes(folder / "dynamics" / f"{name}.safetensors", safetensors.torch.save(tensors))
    if state.epochs_done > member.recipe.optimizer.epochs - member.recipe.prediction.average_last:
        _save_model(member, state.network, state.best_module, folder / "models" / name)
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))
    save_checkpoint(state, folder / CHECKPOINTS, key=member.key)


def _save_model(member: Member, network: Network, module: torch.nn.Module, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    save_timm_folder(
        network.with_module(module),
        folder,
        class_names=member.data.table.class_names,
        image_size=member.recipe.data.image_size,
        note=member.label,
    )


def _score(member: Member, state: TrainState, dynamics: EpochDynamics, compute: Compute) -> dict[str, Any]:
    """One line of metrics, of the training rows and of the held-out rows predicted from one plain view."""
    recipe, held_out = member.recipe, member.held_out
    network = state.network.with_module(state.best_module)
    views = [recipe.data.prediction_view(0, crop_pct=network.crop_pct)]
    probs = predict(
        network,
        member.data.photos,
        held_out,
        views=views,
        compute=compute,
        batch_size=PREDICTION_BATCH,
        seed=member.own_seed,
    )
    seen = ~torch.isnan(dynamics.margins)
    return {
        "member": member.label,
        "epoch": state.epochs_done,
        "train_loss": round(dynamics.losses[seen].mean().item(), 6),
        "train_agreement": round((dynamics.margins[seen] > 0).float().mean().item(), 6),
        **agreement(probs, member.data.table.labels[held_out], "held_out"),
    }


def _finish(
    member: Member,
    folder: Path,
    compute: Compute,
    *,
    notes: list[str],
    parts: int,
    on_progress: Progress,
    on_event: OnEvent,
) -> FinishedMember:
    """Predict the rows that are not trained on with each epoch that counts, and seal the folder."""
    metrics = metrics_until(folder, member.recipe.optimizer.epochs)
    on_event(event_of(member, "predicting", metrics))
    models = _models_to_predict_with(member, folder)
    by_view = np.mean([_by_view(member, path, compute, on_progress) for path in models], axis=0)
    with writing(folder / "pred_probs.npy") as file:
        np.save(file, by_view.mean(axis=0, dtype=np.float64).astype(np.float32), allow_pickle=False)
    facts = {
        "key": member.key,
        "member": member.label,
        "recipe": member.recipe.as_dict(),
        "fold": member.fold,
        "second_fold": member.second_fold,
        "seed": member.seed,
        "parts": parts,
        **environment(member.recipe, compute),
        "link": member.link.as_dict(),
        "models": [str(path.relative_to(folder)) for path in models],
        "by_number_of_views": _by_number_of_views(member, by_view),
        "notes": notes,
    }
    _seal(folder, facts)
    on_event(event_of(member, "finished", metrics))
    return FinishedMember(member=member, folder=folder, facts=facts)


def _by_number_of_views(member: Member, by_view: NDArray[np.float32]) -> list[dict[str, float]]:
    """Agreement with labels of held-out rows, by the mean over the first view, the first two, and so on."""
    labels = member.data.table.labels[member.held_out]
    by_view = by_view[:, np.isin(member.predicted, member.held_out)]
    counts = range(1, member.recipe.prediction.views + 1)
    return [agreement(by_view[:count].mean(axis=0), labels, "held_out") for count in counts]


def _seal(folder: Path, facts: dict[str, Any]) -> None:
    """Write member.json with the digest of every other file, and remove the checkpoints."""
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [name for name in names if name != SEAL and not name.startswith(CHECKPOINTS)]
    facts["files"] = {name: sha256_of_file(folder / name) for name in kept}
    write_text(folder / SEAL, json.dumps(facts, indent=2) + "\n")
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _models_to_predict_with(member: Member, folder: Path) -> list[Path]:
    """The model folders to predict with: one for each epoch that counts, or one that holds their mean."""
    recipe = member.recipe
    last = range(recipe.optimizer.epochs - recipe.prediction.average_last + 1, recipe.optimizer.epochs + 1)
    paths = [folder / "models" / f"epoch-{epoch:04d}" for epoch in last]
    if recipe.prediction.average == "predictions" or len(paths) == 1:
        return paths
    mean = folder / "models" / f"mean-of-last-{len(paths)}"
    if not (mean / "config.json").is_file():
        networks = [load_timm_folder(path) for path in paths]
        weights = mean_of_weights([network.module.state_dict() for network in networks])
        networks[-1].module.load_state_dict(weights)
        _save_model(member, networks[-1], networks[-1].module, mean)
    return [mean]


def _by_view(member: Member, model: Path, compute: Compute, on_progress: Progress) -> NDArray[np.float32]:
    """Probabilities (V, n, K) of the rows that are not trained on from each view."""
    network, recipe = load_timm_folder(model).with_link(member.link), member.recipe
    compute.ready(network.module, channels_last=recipe.model.channels_last)
    by_view = predict_views(
        network,
        member.data.photos,
        member.predicted,
        views=recipe.prediction_views(crop_pct=network.crop_pct),
        compute=compute,
        batch_size=PREDICTION_BATCH,
        seed=member.own_seed,
        on_progress=on_progress,
    )
    return np.stack(list(by_view))


def _remove_leftovers(folder: Path) -> None:
    """Remove the half-written files of a killed writer."""
    for path in folder.rglob(".*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif is_temporary(path):
            path.unlink()


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _out_of_memory_as_error() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise KiyomeError(
            f"A batch does not fit into memory: {str(error).splitlines()[0][:200] or 'not enough memory'}.",
            remedy="Raise accumulate=, lower batch_size= or image_size=, and repeat the command.",
        ) from error
