"""How well flags are predicted from photos alone, out of fold, compared with chance and with doubt.

find run ── flags ── table of two classes, same folds ── train ── out of fold ── precision, recall
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import read_issues
from kiyome.artifacts.manifest import refuse_photos_from_elsewhere
from kiyome.artifacts.run import RunFolder, RunIdentity
from kiyome.artifacts.storage import sha256_of_file, write_text
from kiyome.artifacts.table import UNKNOWN, Table
from kiyome.artifacts.table_files import write_table
from kiyome.estimates import Estimate
from kiyome.evaluation.metrics import Detection, detection, gain_in_average_precision
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.finished_run import FinishedRun, open_run
from kiyome.training.processes import TimeLimit
from kiyome.training.recipe_files import read_recipes
from kiyome.workflows.train import check_models, train
from kiyome.workflows.train_result import TrainResult

CLASSES = ("not flagged", "flagged")


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseClassifierResult:
    """How well photos predict flags, out of fold."""

    folder: Path
    trained: TrainResult
    by_photo: Detection
    by_doubt: Detection
    """The baseline: 1 less the largest probability of the predictor behind the flags."""
    gain: Estimate
    """Average precision by photo less that by doubt."""

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "by_photo": asdict(self.by_photo),
            "by_doubt": asdict(self.by_doubt),
            "gain_in_average_precision": asdict(self.gain),
            "notes": list(self.trained.notes),
        }


@shows_progress
def noise_classifier(
    run: Path | str,
    *,
    recipe: Path | str = "quick",
    changes: Sequence[str] = (),
    images: Path | str | None = None,
    output: Path | str | None = None,
    stop_after: str | TimeLimit | None = None,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> NoiseClassifierResult:
    """Train members to predict from a photo whether its label was flagged, and score them.

    Parameters
    ----------
    run
        The folder of a finished `find` on photos.
    recipe, changes, stop_after, cache_folder
        As for `train`.
    images
        Where the photos of the run lie, as for `kiyome.review`.
    output
        The run folder; ``RUN-noise-classifier`` beside the run if not given.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    NoiseClassifierResult
        Its folder holds the table of flags, the training in ``train/``, and ``noise_classifier.json``.

    Raises
    ------
    InputError
        Where the run is none of `find`, its photos are gone, or it flagged nothing.
    TimeLimitReached
        As for `train`; its `folder` is that of the training in the run folder.

    Notes
    -----
    A label that is wrong by accident leaves no trace in its photo: what a classifier finds are photos of a
    kind that is often mislabeled. The talk reached a precision of 22 % and gave up.
    """
    limit = TimeLimit.of(stop_after)
    if images is None:
        refuse_photos_from_elsewhere(run)
    opened = open_run(run, images=images)
    issues = read_issues(opened.path / "label_issues.parquet", opened.table)
    doubt = 1 - opened.predictions.pred_probs.max(axis=1).astype(np.float64)
    by_doubt = detection(issues.is_label_issue, doubt)  # errors in the flags come before training
    folder = Path(output) if output else opened.path.with_name(f"{opened.name}-noise-classifier")
    config = {
        "issues": sha256_of_file(opened.path / "label_issues.parquet"),
        "recipe": str(recipe),
        "changes": list(changes),
    }
    identity: RunIdentity = {
        "command": "noise-classifier",
        "config": config,
        "table": opened.table,
        "named_by_user": output is not None,
    }
    check_models(read_recipes(recipe, changes), folder, **identity)
    with RunFolder.create_or_reopen(folder, **identity) as run_folder:
        table = _table_of_flags(opened, issues.is_label_issue)
        write_table(table, run_folder.path / "flags.parquet")
        trained = train(
            run_folder.path / "flags.parquet",
            images=table.root,
            recipe=recipe,
            changes=changes,
            output=run_folder.path / "train",
            stop_after=limit,
            cache_folder=cache_folder,
            on_progress=on_progress,
        )
        result = _scored(run_folder.path, trained, issues.is_label_issue, doubt, by_doubt)
        write_text(run_folder.path / "noise_classifier.json", json.dumps(result.summary(), indent=2))
    return result


def _table_of_flags(run: FinishedRun, is_flagged: NDArray[np.bool_]) -> Table:
    """The same rows and folds, with a label of whether the row was flagged."""
    table = run.table
    return Table(
        root=table.root,
        image_ids=table.image_ids,
        paths=table.paths,
        given_labels=np.where(table.is_labeled, is_flagged, UNKNOWN).astype(np.int32),
        class_names=CLASSES,
        groups=table.groups,
        folds=table.folds,
        splits=table.splits,
    )


def _scored(
    folder: Path,
    trained: TrainResult,
    is_flagged: NDArray[np.bool_],
    doubt: NDArray[np.float64],
    by_doubt: Detection,
) -> NoiseClassifierResult:
    assert trained.predictions is not None  # noqa: S101 - all members were trained
    probs = trained.predictions.pred_probs[:, 1]
    return NoiseClassifierResult(
        folder=folder,
        trained=trained,
        by_photo=detection(is_flagged, probs),
        by_doubt=by_doubt,
        gain=gain_in_average_precision(is_flagged, probs, doubt),
    )
