"""Pairs of folds that another run has trained: copied from its folder instead of trained again.

    runs/a/nested/members/quick-fold0+1-seed0-0f28.../    finished, and of the same key
    runs/b/nested/members/quick-fold0+1-seed0-0f28.../    gets a copy, once its digests are right

A key decides a member but for its last bits. These depend on versions, processor, threads and trained
weights, which must be equal, too: a copy is byte for byte what training would give. A copy that does not fit
is ignored. The members of a run itself are always trained in it.
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.escapes import stays_inside
from kiyome.artifacts.manifest import MANIFEST, is_ours, read_manifest
from kiyome.artifacts.storage import open_regular, write_text, writing
from kiyome.errors import StaleArtifact
from kiyome.models.compute import Compute
from kiyome.training.member import SEAL, FinishedMember, Member, environment, finished_member

STAGING = ".taken"


UNSOUND = (StaleArtifact, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""The errors of a damaged folder, whose member is then trained."""


def copy_from_other_run(member: Member, folder: Path, compute: Compute) -> None:
    """Copy the member into its folder if a run beside this one holds it finished, whole and alike."""
    wanted = {"key": member.key, "member": member.label, **environment(member.recipe, compute)}
    for run, found in _beside(folder):
        with suppress(*UNSOUND):
            with open_regular(found / SEAL) as file:
                facts = json.load(file)
            if {name: facts.get(name) for name in wanted} == wanted:
                facts |= {"recipe": member.recipe.as_dict(), "taken_from": run.name}
                _copy(member, facts, found, folder)
                return


def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield our runs beside the one of this folder, each with the same member's folder there."""
    for own in folder.resolve().parents:
        if (own / MANIFEST).is_file():
            below = folder.resolve().relative_to(own)
            others = (run for run in sorted(own.parent.iterdir()) if run != own and (run / below).is_dir())
            signed = (run for run in others if (manifest := read_manifest(run)) and is_ours(manifest))
            yield from ((run, run / below) for run in signed)
            return


def _copy(member: Member, facts: dict[str, Any], found: Path, folder: Path) -> None:
    """Copy the files that the facts name, member.json last, once all copies are whole and sound.

    Otherwise raise a ValueError, with the folder as it was.
    """
    staging = folder / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name in facts["files"]:
            if not stays_inside(name):
                raise ValueError(name)
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            with open_regular(found / name) as source, writing(staging / name) as file:
                shutil.copyfileobj(source, file)
        write_text(staging / SEAL, json.dumps(facts, indent=2) + "\n")
        copied = finished_member(member, staging)
        if copied is None or not _is_sound(copied):
            raise ValueError(found)
        for name in [*facts["files"], SEAL]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_sound(finished: FinishedMember) -> bool:
    """Whether probabilities and metrics have the form in which a training writes them."""
    member, probs = finished.member, finished.pred_probs
    shape = (len(member.predicted), member.data.table.num_classes)
    lines = finished.metrics()
    return (
        probs.shape == shape
        and probs.dtype == np.float32
        and bool(np.isfinite(probs).all())
        and [line["epoch"] for line in lines] == list(range(1, member.recipe.optimizer.epochs + 1))
        and all(
            math.isfinite(line[name])
            for line in lines
            for name in ("train_loss", "held_out_accuracy_on_labels")
        )
    )
