"""The state of a member in training, its averages of weights, and its checkpoints on disk.

    checkpoints/epoch-0003.safetensors    weights, moving average, optimizer, loss memory, scale of fp16
    checkpoints/epoch-0003.json           written last: epoch, key of the member, SHA-256 of the other file

The last two are kept. A damaged file gives a note, and the one before it is used. Nothing random is stored:
all of it comes from the epoch's number.
"""

import copy
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kiyome.artifacts.storage import is_machine_failure, sha256_of_file, write_bytes, write_text
from kiyome.errors import KiyomeError
from kiyome.images.photo_features import Features
from kiyome.losses import EarlyLearning, LossFunction
from kiyome.models import Network, build_head, build_model
from kiyome.models.compute import Compute
from kiyome.training.processes import join_processes
from kiyome.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


def derive_seed(*parts: int | str) -> int:
    """A seed of 63 bits that these parts alone decide.

    >>> derive_seed(0, "fold", 1) == derive_seed(0, "fold", 1) != derive_seed(0, "fold", 2)
    True
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def start_average(module: nn.Module) -> nn.Module:
    """A copy of the module that `move_average` moves along; it never learns by itself.

    >>> module = nn.Linear(1, 1)
    >>> average = start_average(module)
    >>> any(parameter.requires_grad for parameter in average.parameters())
    False
    """
    return copy.deepcopy(module).eval().requires_grad_(False)  # noqa: FBT003


def move_average(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move each weight and buffer of `average` towards those of `module`: average <- d average + (1-d) new.

    Early on d is (1 + step) / (10 + step), as in TensorFlow, so that a short training does not end with the
    weights that it began with; buffers that are counts are copied.

    >>> one, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.ones_(other.weight), nn.init.zeros_(one.weight)
    >>> move_average(one, other, decay=0.9, step=1000)
    >>> one.weight.item()
    0.10000000149011612
    """
    kept, new = (list(each.state_dict().values()) for each in (average, module))
    floats = [index for index, value in enumerate(kept) if value.is_floating_point()]
    for index, value in enumerate(kept):
        if not value.is_floating_point():
            value.copy_(new[index])
    move = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))
    move([kept[index] for index in floats], [new[index] for index in floats], step)


def mean_of_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several states of one network, name by name; counts are those of the last.

    >>> mean_of_weights([{"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}])
    {'w': tensor([1.5000])}
    """
    last = states[-1]
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in last.items()
    }


@dataclass(kw_only=True, eq=False)
class TrainState:
    """All that changes while a member trains, and that a checkpoint holds."""

    network: Network
    optimizer: torch.optim.Optimizer
    loss_fn: LossFunction
    average: nn.Module | None
    """The moving average of the network, where the recipe asks for one."""
    scaler: "torch.amp.GradScaler | None" = None
    """The gradient scaler of fp16."""
    epochs_done: int = 0

    @property
    def best_module(self) -> nn.Module:
        """The module that predicts: the moving average if there is one."""
        return self.network.module if self.average is None else self.average


def new_train_state(
    recipe: Recipe,
    *,
    num_classes: int,
    num_rows: int,
    seed: int,
    compute: Compute,
    features: Features | None = None,
) -> TrainState:
    """The state before the first step, on the device; `features` are for the head of a frozen network.

    Examples
    --------
    >>> from kiyome.models.compute import choose_compute
    >>> recipe = Recipe.of(architecture="tiny", ema_decay=0.9)
    >>> state = new_train_state(recipe, num_classes=3, num_rows=8, seed=0, compute=choose_compute("float32"))
    >>> state.epochs_done, state.best_module is state.average
    (0, True)
    """
    own_seed = derive_seed(seed, "network")
    if features is None:
        network = new_network(recipe, num_classes=num_classes, seed=own_seed)
    else:
        network = build_head(
            *features.mean_and_deviation,
            num_classes=num_classes,
            hidden=recipe.model.hidden,
            dropout=recipe.model.dropout,
            seed=own_seed,
        )
    module = compute.ready(network.module, channels_last=recipe.model.channels_last)
    return TrainState(
        network=network.with_link(recipe.loss.link),
        optimizer=OPTIMIZERS[recipe.optimizer.name](weight_groups(module, recipe.optimizer.weight_decay)),
        loss_fn=recipe.loss.function(num_rows=num_rows, num_classes=num_classes),
        average=start_average(module) if recipe.optimizer.ema_decay else None,
    )


def new_network(recipe: Recipe, *, num_classes: int, seed: int) -> Network:
    """The recipe's network before training, as `build_model` makes it."""
    return build_model(
        recipe.model.architecture,
        num_classes=num_classes,
        pretrained=recipe.model.pretrained,
        weights=recipe.model.weights or None,
        image_size=recipe.data.image_size,
        dropout=recipe.model.dropout,
        drop_path=recipe.model.drop_path,
        seed=seed,
    )


def check_networks(recipes: Iterable[Recipe]) -> None:
    """Refuse a recipe whose network cannot be built here; weights that the hub has are fetched on the way.

    A frozen network is built where features are read, before any training.
    """
    for recipe in [each for each in recipes if not each.model.frozen]:
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
    """Return the share of the highest learning rate at a step from 0: a linear rise, then a cosine to zero.

    >>> [round(learning_rate_share(step, num_steps=6, warmup_steps=2), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    passed = (step - warmup_steps) / max(1.0, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * passed))


def set_learning_rate(optimizer: Any, recipe: Recipe, *, step: int, num_steps: int) -> None:
    """Set the learning rate of this step, which depends on the step alone, so there is no state to lose."""
    warmup_steps = recipe.optimizer.warmup_epochs * num_steps / recipe.optimizer.epochs
    share = learning_rate_share(step, num_steps=num_steps, warmup_steps=min(warmup_steps, num_steps))
    for group in optimizer.param_groups:
        group["lr"] = recipe.optimizer.learning_rate * share


def new_accelerator(compute: Compute, *, frozen_at_times: bool = False) -> "Accelerator":
    """Return Accelerate's view of devices, processes and precision, for one member."""
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

KEPT = 2
GROWTH = "_growth_tracker"
SCALER = ("scale", GROWTH)
"""The state of a gradient scaler; the rest of it is constant."""
Tensors = dict[str, Tensor]


def save_checkpoint(state: TrainState, folder: Path, *, key: str) -> None:
    """Write the state after `state.epochs_done` epochs into `folder`, where the last two checkpoints stay."""
    name = f"epoch-{state.epochs_done:04d}"
    content = safetensors.torch.save({name: _plain(value) for name, value in _tensors_of(state).items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / f"{name}.safetensors", content)
        facts = {"epochs_done": state.epochs_done, "key": key, "torch": torch.__version__}
        facts["sha256"] = sha256_of_file(folder / f"{name}.safetensors")
        write_text(folder / f"{name}.json", json.dumps(facts, indent=2) + "\n")
    except OSError as error:
        raise KiyomeError(
            f"A checkpoint of {len(content) / 1e6:.1f} MB cannot be written to {folder}:"
            f" {error.strerror or error}.",
            remedy="Free some space and repeat the command: it resumes from the last whole checkpoint.",
        ) from error
    for path in sorted(folder.glob("epoch-*.json"))[:-KEPT]:
        path.unlink()
        path.with_suffix(".safetensors").unlink(missing_ok=True)


def load_last_checkpoint(state: TrainState, folder: Path, *, key: str) -> list[str]:
    """Restore the last whole checkpoint of this key, and return notes on damaged ones after it.

    Without a whole one the state stays as it is.
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
            _restore(state, tensors)
            state.epochs_done = int(facts["epochs_done"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            if is_machine_failure(error):
                raise
            notes.append(f"checkpoint {path.stem} is damaged ({error}); the one before it is used")
            continue
        if facts["torch"] != torch.__version__:
            notes.append(
                f"resumed under torch {torch.__version__}, begun under {facts['torch']}: last bits differ"
            )
        break
    return notes


def _tensors_of(state: TrainState) -> Tensors:
    tensors = _prefixed("network", state.network.module.state_dict())
    if state.average is not None:
        tensors |= _prefixed("average", state.average.state_dict())
    for number, moments in state.optimizer.state_dict()["state"].items():
        kept = {name: value for name, value in moments.items() if isinstance(value, Tensor)}
        tensors |= _prefixed(f"optimizer.{number}", kept)
    if isinstance(state.loss_fn, EarlyLearning):
        tensors |= _prefixed("loss", state.loss_fn.state_dict())
    if state.scaler is not None:
        scale = state.scaler.state_dict()
        tensors |= {f"scaler.{name}": torch.tensor(scale[name], dtype=torch.float64) for name in SCALER}
    return tensors


def _restore(state: TrainState, tensors: Tensors) -> None:
    state.network.module.load_state_dict(_under("network", tensors))
    if state.average is not None:
        state.average.load_state_dict(_under("average", tensors))
    parameters = [each for group in state.optimizer.param_groups for each in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimizer", tensors).items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        # fused optimizers need moments in the memory layout of their parameter
        moments.setdefault(int(number), {})[key] = (
            torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        )
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if isinstance(state.loss_fn, EarlyLearning):
        state.loss_fn.load_state_dict(_under("loss", tensors))
    if state.scaler is not None:
        stored = _under("scaler", tensors)
        learned = {"scale": stored["scale"].item(), GROWTH: int(stored[GROWTH])}
        state.scaler.load_state_dict({**state.scaler.state_dict(), **learned})


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _plain(value: Tensor) -> Tensor:
    """A copy on the CPU, since safetensors refuses tensors that share memory."""
    return value.detach().cpu().contiguous().clone()
