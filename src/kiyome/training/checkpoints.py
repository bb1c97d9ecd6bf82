"""A member's state at the end of an epoch, on disk: whole or absent, and known by its digest.

    checkpoints/epoch-0003.safetensors    weights, moving average, optimizer, loss memory, scale of fp16
    checkpoints/epoch-0003.json           written last: epoch, key of the member, SHA-256 of the other file

The last two are kept. A file that was damaged is told, and the one before it is taken. Nothing random is
stored: it comes from the epoch's number.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kiyome.artifacts.storage import is_machine_failure, sha256_of_file, write_bytes, write_text
from kiyome.errors import KiyomeError
from kiyome.losses import EarlyLearning
from kiyome.training.learner import Learner

KEPT = 2
GROWTH = "_growth_tracker"
SCALER = ("scale", GROWTH)
"""What a gradient scaler learns; the rest of it are constants."""
Tensors = dict[str, Tensor]


def save_checkpoint(learner: Learner, folder: Path, *, key: str) -> None:
    """Put the learner's state after `learner.epochs_done` epochs into `folder`; older ones than the last go.

    Raises
    ------
    KiyomeError
        When the disk is full; what was there stays whole.
    """
    name = f"epoch-{learner.epochs_done:04d}"
    content = safetensors.torch.save({place: _plain(value) for place, value in _tensors_of(learner).items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / f"{name}.safetensors", content)
        facts = {"epochs_done": learner.epochs_done, "key": key, "torch": torch.__version__}
        facts["sha256"] = sha256_of_file(folder / f"{name}.safetensors")
        write_text(folder / f"{name}.json", json.dumps(facts, indent=2) + "\n")
    except OSError as error:
        raise KiyomeError(
            f"There is room for a checkpoint of {len(content) / 1e6:.1f} MB.",
            came=f"{error.strerror or error} in {folder}",
            remedy="Free some space and give the same command: it goes on after the last whole checkpoint.",
        ) from error
    for path in sorted(folder.glob("epoch-*.json"))[:-KEPT]:
        path.unlink()
        path.with_suffix(".safetensors").unlink(missing_ok=True)


def load_last_checkpoint(learner: Learner, folder: Path, *, key: str) -> list[str]:
    """Bring the learner to the last whole checkpoint; what was wrong with later ones, in plain words.

    A checkpoint of another member (another key) is none. Without a whole one the learner stays as it is.
    """
    notes = []
    for path in sorted(folder.glob("epoch-*.json"), reverse=True):
        try:
            facts = json.loads(path.read_bytes())
            tensors_path = path.with_suffix(".safetensors")
            if facts["key"] != key:
                continue
            if sha256_of_file(tensors_path) != facts["sha256"]:
                raise ValueError("other bytes than were written")
            tensors = safetensors.torch.load(tensors_path.read_bytes())
            _bring_back(learner, tensors)
            learner.epochs_done = int(facts["epochs_done"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            if is_machine_failure(error):
                raise
            notes.append(f"checkpoint {path.stem} is damaged ({error}); the one before it is taken")
            continue
        if facts["torch"] != torch.__version__:
            notes.append(
                f"resumed under torch {torch.__version__}, begun under {facts['torch']}: last bits differ"
            )
        break
    return notes


def _tensors_of(learner: Learner) -> Tensors:
    tensors = _prefixed("network", learner.network.module.state_dict())
    if learner.average is not None:
        tensors |= _prefixed("average", learner.average.state_dict())
    for number, state in learner.optimizer.state_dict()["state"].items():
        kept = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        tensors |= _prefixed(f"optimizer.{number}", kept)
    if isinstance(learner.loss_fn, EarlyLearning):
        tensors |= _prefixed("loss", learner.loss_fn.state_dict())
    if learner.scaler is not None:
        state = learner.scaler.state_dict()
        tensors |= {f"scaler.{name}": torch.tensor(state[name], dtype=torch.float64) for name in SCALER}
    return tensors


def _bring_back(learner: Learner, tensors: Tensors) -> None:
    learner.network.module.load_state_dict(_under("network", tensors))
    if learner.average is not None:
        learner.average.load_state_dict(_under("average", tensors))
    parameters = [each for group in learner.optimizer.param_groups for each in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer", tensors).items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        # Fused optimizers read memory as it lies: a state lies as its parameter does.
        state.setdefault(int(number), {})[key] = (
            torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        )
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": state, "param_groups": groups})
    if isinstance(learner.loss_fn, EarlyLearning):
        learner.loss_fn.load_state_dict(_under("loss", tensors))
    if learner.scaler is not None:
        was = _under("scaler", tensors)
        learned = {"scale": was["scale"].item(), GROWTH: int(was[GROWTH])}
        learner.scaler.load_state_dict({**learner.scaler.state_dict(), **learned})


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _plain(value: Tensor) -> Tensor:
    """On the CPU, in memory of its own, since safetensors refuses tensors that share."""
    return value.detach().cpu().contiguous().clone()
