"""Pairs that another run has trained already: taken from its folder instead of trained again.

    runs/a/nested/members/quick-fold0+1-seed0-0f28.../    finished, and of the same key
    runs/b/nested/members/quick-fold0+1-seed0-0f28.../    gets a copy, which counts once its digests are right

A key holds all that decides a member but its last bits. These depend on versions, processor, threads and
trained weights, which must be the same, too: a copy is what training would give, byte for byte. What cannot
be used is left alone. The members of a run itself are always trained in it.
"""

import json
import math
import platform
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kiyome.artifacts.escapes import stays_inside
from kiyome.artifacts.manifest import MANIFEST, is_ours, read_manifest, versions
from kiyome.artifacts.storage import open_regular, sha256_of_file, write_text, writing
from kiyome.errors import StaleArtifact
from kiyome.models.compute import Compute
from kiyome.training.member import SEAL, FinishedMember, Member, finished_member
from kiyome.training.processes import num_processes
from kiyome.training.recipe import Recipe

STAGING = ".taken"


def surroundings(recipe: Recipe, compute: Compute) -> dict[str, Any]:
    """What decides the last bits of a member beside its key, as member.json holds it."""
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


UNSOUND = (StaleArtifact, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What a spoiled folder raises while it is looked at: its member is trained then."""


def take_over(member: Member, folder: Path, compute: Compute) -> None:
    """Copy the member into its folder where a run beside this one holds it, finished, whole and alike."""
    wanted = {"key": member.key, "member": member.label, **surroundings(member.recipe, compute)}
    for run, found in _beside(folder):
        with suppress(
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, StaleArtifact
        ):
            with open_regular(found / SEAL) as file:
                facts = json.load(file)
            if {name: facts.get(name) for name in wanted} == wanted:
                facts |= {"recipe": member.recipe.as_dict(), "taken_from": run.name}
                _copy(member, facts, found, folder)
                return


def _beside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Our runs beside the one that the folder lies in, each with the same member's folder there."""
    for own in folder.resolve().parents:
        if (own / MANIFEST).is_file():
            place = folder.resolve().relative_to(own)
            others = (run for run in sorted(own.parent.iterdir()) if run != own and (run / place).is_dir())
            signed = (run for run in others if (manifest := read_manifest(run)) and is_ours(manifest))
            yield from ((run, run / place) for run in signed)
            return


def _copy(member: Member, facts: dict[str, Any], found: Path, folder: Path) -> None:
    """Copy what the facts name into the folder, member.json last, once the copies prove whole and sound.

    Raises
    ------
    ValueError
        Where they do not; the folder is then as it was.
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
    """Whether its probabilities and metrics have the shape in which a training writes them."""
    member, probs = finished.member, finished.pred_probs
    shape = (len(member.held_out), member.data.table.num_classes)
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
