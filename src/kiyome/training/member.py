"""One member: a recipe, a fold and a seed on given training data; its key, its files and its events.

    members/resnext-fold0-seed0-1f3a.../
      checkpoints/           the last two epochs, until the member is finished
      dynamics/epoch-0003    margin and loss of each row
      models/epoch-0010/     what predicts, a folder that timm loads; one for each epoch that counts
      metrics.jsonl          one line an epoch
      pred_probs.npy         (n, K) of the fold's rows and of those outside train, the mean over epochs that
                             count and over views
      member.json            written last: key, facts, SHA-256 of all of these

The key is a digest of all that decides the result: recipe, table, labels, targets, folds, photos, fold, seed,
and the link from logits to probabilities if it is not softmax. A member with that key and whole files is
finished, whatever the name of its folder.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from kiyome.artifacts.manifest import versions
from kiyome.artifacts.predictions import floored_log
from kiyome.artifacts.storage import is_machine_failure, map_array, reading, sha256_of_file
from kiyome.artifacts.table import TRAIN, Table
from kiyome.images.photo_features import Features
from kiyome.images.pixel_cache import CachedPhotos
from kiyome.inference import Probs
from kiyome.losses import SOFTMAX, Link
from kiyome.models.compute import Compute
from kiyome.progress import MemberEvent, State
from kiyome.training.processes import num_processes
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import derive_seed

METHOD = 2
"""To be raised when the same recipe trains other members than before; those of before are then not reused."""

PREDICTION_BATCH = 64
SEAL = "member.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """The photos and targets of all members of a recipe, before a fold is held out. N rows, K classes."""

    table: Table
    """With folds."""
    photos: CachedPhotos | Features
    """N photos, all readable, stored for the recipe's size; or their features, if the recipe is frozen."""
    targets: NDArray[np.float32]
    """(N, K) shares; one-hot unless labels are softened. NaN outside train or where nested forms hold out."""
    in_training: NDArray[np.bool_]
    """(N,) rows that may be trained on; the others are only predicted."""
    notes: tuple[str, ...] = ()
    """Notes for people; not part of the digest."""

    @cached_property
    def digest(self) -> str:
        """Digest of everything here that decides a member."""
        table, parts = self.table, hashlib.sha256()
        weights = b"" if table.weights is None else table.weights.tobytes()
        assert table.folds is not None  # noqa: S101
        for content in (
            table.fingerprint.encode(),
            table.labels.tobytes(),
            table.folds.tobytes(),
            weights,
            self.targets.tobytes(),
            self.in_training.tobytes(),
            self.photos.digest.encode(),
        ):
            parts.update(hashlib.sha256(content).digest())
        return parts.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One model to train: a recipe, a fold and a seed on given data."""

    recipe: Recipe
    fold: int
    seed: int
    data: TrainingData
    second_fold: int | None = None
    """The second held-out fold of a pair, for nested recipes."""

    @property
    def label(self) -> str:
        """The name for people, such as quick-fold0-seed0."""
        return f"{self.recipe.title}-fold{self.held_out_folds}-seed{self.seed}"

    @property
    def is_pair(self) -> bool:
        """Whether it holds out two folds."""
        return self.second_fold is not None

    @property
    def held_out_folds(self) -> str:
        """The fold, or both as in 0+1."""
        return f"{self.fold}+{self.second_fold}" if self.is_pair else f"{self.fold}"

    @cached_property
    def key(self) -> str:
        """Digest of all that decides the result."""
        fold = self.held_out_folds if self.is_pair else self.fold
        parts = [METHOD, self.recipe.digest, self.data.digest, fold, self.seed]
        parts += [] if self.link == SOFTMAX else [self.link.as_dict()]  # softmax was all there was
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def folder_name(self) -> str:
        """The name of the folder below `members`."""
        return f"{self.label}-{self.key[:12]}"

    @property
    def link(self) -> Link:
        """The link from logits to probabilities that its loss trains."""
        return self.recipe.loss.link

    @property
    def own_seed(self) -> int:
        """The seed of all that is random in this member."""
        return member_seed(self.seed, self.held_out_folds if self.is_pair else self.fold)

    @property
    def held_out(self) -> NDArray[np.int64]:
        """(n,) rows that this member does not see in training."""
        return np.flatnonzero(self._holds_out)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(n,) rows that it predicts once trained: held-out ones and, unless a pair, those outside train."""
        outside = ~self.data.table.in_split(TRAIN)
        return self.held_out if self.is_pair else np.flatnonzero(self._holds_out | outside)

    @property
    def training_rows(self) -> NDArray[np.int64]:
        """(m,) rows of train in the other folds that are in training and have a positive weight."""
        table = self.data.table
        has_weight = np.ones(len(table), bool) if table.weights is None else table.weights > 0
        of_train = table.in_split(TRAIN) & ~self._holds_out
        return np.flatnonzero(of_train & self.data.in_training & has_weight)

    @property
    def _holds_out(self) -> NDArray[np.bool_]:
        folds = np.asarray(self.data.table.folds)
        return np.isin(folds, [each for each in (self.fold, self.second_fold) if each is not None])


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedMember:
    """A trained member, whose files are as they were written."""

    member: Member
    folder: Path
    facts: dict[str, Any]
    """The content of member.json."""

    @property
    def pred_probs(self) -> Probs:
        """(n, K) of the rows in `Member.predicted`."""
        with reading(path := self.folder / "pred_probs.npy"):
            probs: Probs = np.array(map_array(path))
        return probs

    def dynamics(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield margins and losses (N,) of each epoch."""
        for path in sorted((self.folder / "dynamics").glob("epoch-*.safetensors")):
            with reading(path):
                tensors = safetensors.torch.load_file(path)
                margins, losses = tensors["margins"].numpy(), tensors["losses"].numpy()
            yield margins, losses

    def metrics(self) -> list[dict[str, Any]]:
        """Return one entry for each epoch."""
        with reading(path := self.folder / "metrics.jsonl"):
            return [json.loads(line) for line in path.read_text().splitlines()]


def read_member_facts(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folder of each finished member of a run, and the content of its member.json.

    The run may be a stranger's: a member.json that is not as kiyome writes it is a StaleArtifact.
    """
    found = []
    for path in sorted((run / "members").glob(f"*/{SEAL}")):
        with reading(path):
            facts = json.loads(path.read_bytes())
            Recipe.of(**facts["recipe"])
            below = [(path.parent / name).resolve().is_relative_to(run.resolve()) for name in facts["models"]]
            sound = all(below) and isinstance(facts["seed"], int) and isinstance(facts["member"], str)
            if not sound or not isinstance(facts["fold"], int | str):
                raise ValueError("another shape")
        found.append((path.parent, facts))
    return found


def member_seed(seed: int, fold: int | str) -> int:
    """Return the seed of all that is random in the member of this fold, or pair of folds."""
    return derive_seed(seed, "fold", fold)


def environment(recipe: Recipe, compute: Compute) -> dict[str, Any]:
    """Return what decides the last bits of a member beside its key, as in member.json."""
    is_cpu = compute.device.type == "cpu"
    kind = torch.backends.cpu.get_cpu_capability() if is_cpu else torch.cuda.get_device_name(compute.device)
    weights = Path(recipe.model.weights)
    return {
        "processes": num_processes(),
        "threads": torch.get_num_threads(),
        "device": compute.device.type,
        "precision": compute.precision,
        "processor": f"{platform.machine()} {kind}",
        "versions": versions(),
        "weights_sha256": sha256_of_file(weights) if recipe.model.weights and weights.is_file() else None,
    }


def finished_member(member: Member, folder: Path) -> FinishedMember | None:
    """Return the member if `folder` holds it finished and unchanged, else None."""
    try:
        facts = json.loads((folder / SEAL).read_bytes())
        whole = facts["key"] == member.key and all(
            sha256_of_file(folder / name) == sha256 for name, sha256 in facts["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if is_machine_failure(error):
            raise  # otherwise hours of training would be repeated
        return None
    return FinishedMember(member=member, folder=folder, facts=facts) if whole else None


def event_of(member: Member, state: State, metrics: Sequence[Mapping[str, Any]] = ()) -> MemberEvent:
    """Return the event of a member in this state."""
    config = {**member.recipe.as_dict(), "fold": member.held_out_folds, "seed": member.seed}
    return MemberEvent(member=member.label, state=state, config=config, metrics=tuple(metrics))


def event_on_disk(member: Member, folder: Path) -> MemberEvent:
    """Return the event of a member that another command trains, without checking digests."""
    metrics = metrics_until(folder, member.recipe.optimizer.epochs)
    state: State = "finished" if (folder / SEAL).is_file() else "remote"
    return event_of(member, state, metrics)


def remote_event(member: Member, folder: Path) -> MemberEvent:
    """Return the event of a member that a worker of ours trains, or will train."""
    metrics = metrics_until(folder, member.recipe.optimizer.epochs)
    begun: State = "predicting" if len(metrics) == member.recipe.optimizer.epochs else "learning"
    return event_of(member, begun if folder.is_dir() else "waiting", metrics)


def metrics_until(folder: Path, epochs_done: int) -> list[dict[str, Any]]:
    """Return the metrics of the epochs that a resumed training does not repeat."""
    try:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError) as error:
        if is_machine_failure(error):
            raise
        return []
    return [line for line in lines if line["epoch"] <= epochs_done]


def agreement(probs: Probs, labels: NDArray[np.int32], prefix: str) -> dict[str, float]:
    """Return accuracy and log loss on the labels, which may be wrong.

    >>> agreement(np.float32([[0.5, 0.5], [0.25, 0.75]]), np.int32([1, 1]), "held_out")
    {'held_out_accuracy_on_labels': 0.5, 'held_out_log_loss': 0.490415}
    """
    own = probs[np.arange(len(labels)), labels].astype(np.float64)
    return {
        f"{prefix}_accuracy_on_labels": round(float((probs.argmax(axis=1) == labels).mean()), 6),
        f"{prefix}_log_loss": round(float(-floored_log(own).mean()), 6),
    }
