"""From photos, or from predictions at hand, to a ranked list of wrong labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.predictions import read_out_of_fold
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.spreadsheet import notes_on_formulas
from kiyome.artifacts.storage import sha256_of_file
from kiyome.bars import shows_progress
from kiyome.errors import InputError
from kiyome.executors import HERE, Executor, choose_executor
from kiyome.experiments import note_run
from kiyome.features import embed_elsewhere
from kiyome.models import load_backbone
from kiyome.noise import confident_joint, find_label_issues
from kiyome.noise.adaptive import (
    ADAPTIVE,
    issues,
    judge_labels,
    judged_joint,
    precision_note,
    quality,
    weakness_note,
)
from kiyome.noise.adaptive_rate import adaptive_noise_rate
from kiyome.noise.arrays import check_arrays
from kiyome.noise.label_issues import check_filter
from kiyome.progress import Progress, silent
from kiyome.recipes.check import missing_list_of, open_table, run_place
from kiyome.recipes.evidence import Evidence, look_at_photos
from kiyome.recipes.found import FindResult, write_found
from kiyome.recipes.split import Split


@shows_progress
def find(
    data: Path | str,
    *,
    images: Path | str | None = None,
    pred_probs: Path | str | None = None,
    output: Path | str | None = None,
    backbone: str | None = None,
    weights: Path | str | None = None,
    method: str = "adaptive",
    precision: float | None = None,
    num_folds: int | None = None,
    executor: str | Executor = HERE,
    seed: int | None = None,
    class_map: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = silent,
) -> FindResult:
    """Which labels of these photos are probably wrong, with a run folder that holds the evidence.

    Parameters
    ----------
    data, images, class_map, id_column, label_column
        As for `kiyome.artifacts.sources.read_table`.
    pred_probs
        A file of out-of-fold predictions, matched by id: then no photo is needed and no model is fitted. Its
        column `fold`, or the table's, says on which folds they were made, which `stack` and others must know.
    output
        The run folder; the next free ``runs/NAME`` where not given. The same command finds its own again.
    backbone, weights
        As for `kiyome.models.load_backbone`.
    method, precision
        As for `kiyome.find_label_issues`.
    num_folds, seed
        Where either is given, a new split into so many folds (5) by this seed (0). Without them the folds are
        those of the oldest run of the same rows and labels beside the run folder, if there is one. A `fold`
        column in the data comes first.
    executor
        Where photos are embedded, as for `kiyome.executors.choose_executor`. Results are the same.
    cache_folder
        Where features are kept between runs.
    on_progress
        Called as ``on_progress(stage, done, total)``.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    FindResult
        Its folder holds ``report.html``, ``label_issues``, ``oof`` and ``table`` as CSV and Parquet (the
        first with the chance that a label is wrong), ``noise.json``, ``predictions/``, ``features.npy`` and
        the photo lists of `check`.

    Raises
    ------
    TableError
        With file, row and remedy, where the data are no table of photos and labels.
    MissingExtra
        With the pip line, where the backbone needs a package that is absent.

    Examples
    --------
    >>> import tempfile
    >>> from kiyome.testing import write_digits
    >>> folder = Path(tempfile.mkdtemp())
    >>> true_labels = write_digits(folder / "digits", num_photos=300)
    >>> result = find(folder / "digits", backbone="tiny", output=folder / "run", cache_folder=folder)
    >>> wrong = result.table.given_labels != true_labels
    >>> bool(wrong[result.is_label_issue].mean() > 5 * wrong.mean())
    True
    """
    check_filter(method, precision)
    where = choose_executor(executor)
    place = run_place(data, output)
    options = {"images": images, "class_map": class_map, "id_column": id_column, "label_column": label_column}
    table = open_table(
        data,
        allow_missing=pred_probs is not None,
        missing_list=missing_list_of(place),
        on_progress=on_progress,
        **options,
    )
    asks_for_new = num_folds is not None or seed is not None
    num_folds, seed = 5 if num_folds is None else num_folds, seed or 0
    config: dict[str, Any] = {"method": method, "precision": precision, "num_folds": num_folds, "seed": seed}
    if asks_for_new:
        config["new_split"] = True
    if pred_probs is None:
        network = load_backbone(backbone, weights=weights)
        config |= {"backbone": network.name, "backbone_fingerprint": network.fingerprint}
    else:
        _refuse_both(backbone, weights)
        config |= {"pred_probs_sha256": sha256_of_file(pred_probs)}
    run_folder = RunFolder.create_or_reopen(
        place, command="find", config=config, table=table, named_by_user=output is not None
    )
    with run_folder as run:
        if pred_probs is None:
            embed_elsewhere(
                table.photo_paths(),
                network,
                executor=where,
                weights=weights,
                cache_folder=cache_folder,
                on_progress=on_progress,
            )
            evidence = look_at_photos(
                table,
                network,
                split=Split(
                    run=run.path,
                    num_folds=num_folds,
                    seed=seed,
                    is_own=asks_for_new or table.folds is not None,
                    fewest=3,  # of which the head keeps one to choose its regularization
                ),
                cache_folder=cache_folder,
                on_progress=on_progress,
            )
        else:
            table, predictions = read_out_of_fold(pred_probs, table)
            evidence = Evidence(
                table=table,
                predictions=predictions,
                facts=(("predictions", Path(pred_probs).name),),
            )
        result = examine(run.path, evidence, method=method, precision=precision, seed=seed)
        write_found(result, title=Path(data).resolve().name, seed=seed, on_progress=on_progress)
    note_run(result.folder)
    return result


def examine(
    folder: Path, evidence: Evidence, *, method: str, seed: int, precision: float | None = None
) -> FindResult:
    """What the predictions say about the labels."""
    labels, pred_probs = check_arrays(evidence.table.given_labels, evidence.predictions.pred_probs)
    judged = judge_labels(labels, pred_probs)
    if method == ADAPTIVE:
        flagged = issues(judged, precision=precision)
    else:
        flagged = find_label_issues(labels, pred_probs, method=method)
    found = (weakness_note(judged), None if precision is None else precision_note(judged))
    exact = notes_on_formulas(evidence.table, ["oof.csv", "table.csv"])
    notes = (*evidence.notes, *(note for note in found if note), *exact)
    scores, joint = quality(judged), judged_joint(judged)
    return FindResult(
        folder=folder,
        evidence=replace(evidence, notes=notes),
        method=method,
        is_label_issue=flagged,
        label_quality=scores,
        probability=judged.probability,
        ranking=np.lexsort((scores, ~flagged)),
        confident_joint=confident_joint(labels, pred_probs),
        expected_joint=joint * (len(labels) / joint.sum()),
        noise_rate=adaptive_noise_rate(judged, seed=seed),
    )


def _refuse_both(backbone: str | None, weights: Path | str | None) -> None:
    if backbone is not None or weights is not None:
        raise InputError(
            "Predictions come from a file or from a backbone.",
            came="--pred-probs and --backbone or --weights",
            remedy="Leave one of them out.",
        )
