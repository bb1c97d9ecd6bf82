"""One member: a recipe, a fold and a seed, from the first epoch to probabilities of the rows it never saw.

    members/resnext-fold0-seed0-1f3a.../
      checkpoints/           the last two epochs, until the member is finished
      dynamics/epoch-0003    margin and loss of each row
      models/epoch-0010/     what predicts, a folder that timm loads; one for each epoch that counts
      metrics.jsonl          one line an epoch
      pred_probs.npy         (n, K) of the fold's rows, the mean over epochs that count and over views
      member.json            written last: key, facts, SHA-256 of all of these

The key holds all that decides the result: recipe, table, labels, targets, deal, photos, fold and seed; and
the link from logits to probabilities, where it is not softmax. A member with that key and whole files is
finished, whatever its folder is called.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray

from kiyome.artifacts.predictions import floored_log
from kiyome.artifacts.storage import is_machine_failure, map_array, reading, sha256_of_file
from kiyome.artifacts.table import Table
from kiyome.images.pixel_cache import CachedPhotos
from kiyome.inference import Probs
from kiyome.losses import SOFTMAX, Link
from kiyome.progress import MemberEvent, State
from kiyome.training.recipe import Recipe
from kiyome.training.train_state import derive_seed

METHOD = 2
"""Raise it when members come out otherwise from the same recipe: those of before are then not taken."""

PREDICTION_BATCH = 64
SEAL = "member.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """What the members of a recipe learn from, before folds part them. N rows, K classes."""

    table: Table
    """With folds."""
    photos: CachedPhotos
    """N photos, all readable, stored for the recipe's size."""
    targets: NDArray[np.float32]
    """(N, K) shares; one-hot unless labels are softened. NaN in the held-out rows of nested forms."""
    in_training: NDArray[np.bool_]
    """(N,) rows that may be trained on; the others are predicted only."""
    notes: tuple[str, ...] = ()
    """What people should hear of it; decides nothing."""

    @cached_property
    def digest(self) -> str:
        """Of everything here that decides a member."""
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
            "".join(photo.pixels_sha256 for photo in self.photos.photos if photo).encode(),
        ):
            parts.update(hashlib.sha256(content).digest())
        return parts.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Member:
    """One model to be: a recipe, a fold and a seed on given data."""

    recipe: Recipe
    fold: int
    seed: int
    data: TrainingData
    second_fold: int | None = None
    """Held out as well, by the pairs behind nested forms."""

    @property
    def label(self) -> str:
        """What people call it."""
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
        """Where it lies below `members`."""
        return f"{self.label}-{self.key[:12]}"

    @property
    def link(self) -> Link:
        """From this member's logits to probabilities, as its loss reads them."""
        return self.recipe.loss.link

    @property
    def own_seed(self) -> int:
        """Of all that is random in this member."""
        return member_seed(self.seed, self.held_out_folds if self.is_pair else self.fold)

    @property
    def held_out(self) -> NDArray[np.int64]:
        """(n,) rows that this member never sees in training."""
        return np.flatnonzero(self._holds_out)

    @property
    def training_rows(self) -> NDArray[np.int64]:
        """(m,) rows of the other folds that are taught and have some weight."""
        table = self.data.table
        has_weight = np.ones(len(table), bool) if table.weights is None else table.weights > 0
        return np.flatnonzero(~self._holds_out & self.data.in_training & has_weight)

    @property
    def _holds_out(self) -> NDArray[np.bool_]:
        folds = np.asarray(self.data.table.folds)
        return np.isin(folds, [each for each in (self.fold, self.second_fold) if each is not None])


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedMember:
    """A member that was trained; its files are as they were written."""

    member: Member
    folder: Path
    facts: dict[str, Any]
    """What member.json holds."""

    @property
    def pred_probs(self) -> Probs:
        """(n, K) of the held-out rows."""
        with reading(path := self.folder / "pred_probs.npy"):
            probs: Probs = np.array(map_array(path))
        return probs

    def dynamics(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Margins and losses (N,) of one epoch after another."""
        for path in sorted((self.folder / "dynamics").glob("epoch-*.safetensors")):
            with reading(path):
                tensors = safetensors.torch.load_file(path)
                margins, losses = tensors["margins"].numpy(), tensors["losses"].numpy()
            yield margins, losses

    def metrics(self) -> list[dict[str, Any]]:
        """One entry an epoch."""
        with reading(path := self.folder / "metrics.jsonl"):
            return [json.loads(line) for line in path.read_text().splitlines()]


def read_member_facts(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The folder of each finished member of a run, and what its member.json holds.

    Raises
    ------
    StaleArtifact
        Where one is not as it was written: the run may be a stranger's.
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
    """The seed of all that is random in the member of this fold, or pair of folds."""
    return derive_seed(seed, "fold", fold)


def finished_member(member: Member, folder: Path) -> FinishedMember | None:
    """The member where `folder` holds it, finished and unchanged; else None."""
    try:
        facts = json.loads((folder / SEAL).read_bytes())
        whole = facts["key"] == member.key and all(
            sha256_of_file(folder / name) == sha256 for name, sha256 in facts["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if is_machine_failure(error):
            raise  # lest hours of training be done again
        return None
    return FinishedMember(member=member, folder=folder, facts=facts) if whole else None


def event_of(member: Member, state: State, metrics: Sequence[Mapping[str, Any]] = ()) -> MemberEvent:
    """What listeners are told of a member."""
    config = {**member.recipe.as_dict(), "fold": member.held_out_folds, "seed": member.seed}
    return MemberEvent(member=member.label, state=state, config=config, metrics=tuple(metrics))


def event_on_disk(member: Member, folder: Path) -> MemberEvent:
    """What lies in the folder of a member that another process sees to, without a look at digests."""
    metrics = metrics_until(folder, member.recipe.optimizer.epochs)
    state: State = "finished" if (folder / SEAL).is_file() else "remote"
    return event_of(member, state, metrics)


def remote_event(member: Member, folder: Path) -> MemberEvent:
    """The same of a member that a worker of ours sees to, or will."""
    metrics = metrics_until(folder, member.recipe.optimizer.epochs)
    begun: State = "predicting" if len(metrics) == member.recipe.optimizer.epochs else "learning"
    return event_of(member, begun if folder.is_dir() else "waiting", metrics)


def metrics_until(folder: Path, epochs_done: int) -> list[dict[str, Any]]:
    """Lines of the epochs that a resumed training does not go through again."""
    try:
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError) as error:
        if is_machine_failure(error):
            raise
        return []
    return [line for line in lines if line["epoch"] <= epochs_done]


def agreement(probs: Probs, labels: NDArray[np.int32], prefix: str) -> dict[str, float]:
    """Accuracy on the labels and log loss, which may be as wrong as the labels are.

    >>> agreement(np.float32([[0.5, 0.5], [0.25, 0.75]]), np.int32([1, 1]), "held_out")
    {'held_out_accuracy_on_labels': 0.5, 'held_out_log_loss': 0.490415}
    """
    own = probs[np.arange(len(labels)), labels].astype(np.float64)
    return {
        f"{prefix}_accuracy_on_labels": round(float((probs.argmax(axis=1) == labels).mean()), 6),
        f"{prefix}_log_loss": round(float(-floored_log(own).mean()), 6),
    }
