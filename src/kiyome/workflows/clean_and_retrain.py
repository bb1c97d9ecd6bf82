"""The second round as one flow to copy and change: train, find, curate, train again, blend.

data ── train ── find ── (people decide) ── curate ── train again ──┐
          └──────────────────────── blend ──────────────────────────┴── diary
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiyome.curation import MAX_LEFT_OUT
from kiyome.executors import HERE, Executor
from kiyome.progress import OnEvent, Progress, ignore_event, no_progress, shows_progress
from kiyome.training.processes import TimeLimit
from kiyome.workflows.blend import blend
from kiyome.workflows.combine import CombinedResult
from kiyome.workflows.curate import CurateResult, curate
from kiyome.workflows.diary import DiaryResult, diary
from kiyome.workflows.find import find
from kiyome.workflows.find_result import FindResult
from kiyome.workflows.inputs import run_folder_path
from kiyome.workflows.train import train
from kiyome.workflows.train_result import TrainResult


@dataclass(frozen=True, kw_only=True, eq=False)
class CleanAndRetrainResult:
    """Every step of the second round; each has its own run folder in `folder`."""

    folder: Path
    first: TrainResult
    found: FindResult
    curated: CurateResult
    again: TrainResult
    blended: CombinedResult
    history: DiaryResult
    """Every step with its score, on all rows and given labels."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all steps for people, each once."""
        return tuple(dict.fromkeys([*self.first.notes, *self.curated.curated.notes, *self.again.notes]))

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "flagged": self.found.num_issues,
            "changed": self.curated.curated.num_changed,
            "verdicts": {entry.run: entry.verdict() for entry in self.history.entries},
            "leaks": list(self.blended.leaks),
            "notes": list(self.notes),
        }


@shows_progress
def clean_and_retrain(
    data: Path | str,
    *,
    recipe: Path | str = "quick",
    changes: Sequence[str] = (),
    action: str = "drop",
    min_chance: float = 0.0,
    max_left_out: float = MAX_LEFT_OUT,
    decisions: Path | str | None = None,
    images: Path | str | None = None,
    output: Path | str | None = None,
    executor: str | Executor = HERE,
    stop_after: str | TimeLimit | None = None,
    seed: int | None = None,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
) -> CleanAndRetrainResult:
    """Train, find wrong labels by these members, act on them, train again, and blend both rounds.

    Parameters
    ----------
    data, recipe, changes, images, executor, seed, cache_folder, on_progress, on_event
        As for `train`.
    action, min_chance, max_left_out, decisions
        As for `kiyome.workflows.curate.curate`: the action on flagged rows, and the decisions of people.
    stop_after
        As for `train`; both trainings share it.
    output
        The folder of all steps; ``runs/NAME-clean-and-retrain`` if not given. The same command resumes in it.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    CleanAndRetrainResult
        In its folder: ``first``, ``found``, ``curated``, ``again``, ``blended``, and the diary of these.

    Raises
    ------
    KiyomeError
        As the steps.
    TimeLimitReached
        As for `train`; its `folder` is that of the training that stopped.

    Notes
    -----
    Each score is on all rows against given labels. The second round still leaks: labels of a held-out fold
    influenced what was cleaned. ``train(..., labels="clean")`` does not leak.
    """
    limit = TimeLimit.of(stop_after)
    folder = run_folder_path(data, output, "-clean-and-retrain")
    how: dict[str, Any] = {"recipe": recipe, "seed": seed, "cache_folder": cache_folder}
    how |= {"executor": executor, "stop_after": limit, "on_progress": on_progress, "on_event": on_event}
    first = train(data, images=images, changes=changes, output=folder / "first", **how)
    found = find(
        first.folder / "table.parquet", pred_probs=first.folder / "oof.parquet", output=folder / "found"
    )
    curated = curate(
        found.folder,
        action=action,
        min_chance=min_chance,
        max_left_out=max_left_out,
        decisions=decisions,
        output=folder / "curated",
    )
    softened = [f"soft_labels=global:{curated.folder}", "given_share=0"]
    again = train(
        curated.folder / "table.parquet",
        images=first.table.root,
        changes=[*changes, *(softened if curated.curated.targets is not None else ())],
        output=folder / "again",
        **how,
    )
    blended = blend([first.folder, again.folder], output=folder / "blended")
    return CleanAndRetrainResult(
        folder=folder,
        first=first,
        found=found,
        curated=curated,
        again=again,
        blended=blended,
        history=diary(folder),
    )
