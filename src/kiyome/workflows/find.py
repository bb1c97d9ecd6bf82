"""Ranked list of labels that are probably wrong, from photos or from predictions of the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import formula_warnings
from kiyome.artifacts.predictions import ARRAY_FILE
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import cache_notes, sha256_of_file
from kiyome.artifacts.table import TRAIN, Table
from kiyome.errors import InputError
from kiyome.executors import HERE, Executor, choose_executor
from kiyome.experiments import note_run
from kiyome.features import embed_elsewhere
from kiyome.folds import join_groups
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.models import load_backbone
from kiyome.noise.label_issues import check_filter
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.finished_run import check_rows_of, open_run
from kiyome.report.label_findings import Repeats, SplitLine
from kiyome.workflows.cross_fit import check_cross_fit, cross_fit_inside
from kiyome.workflows.find_result import FindResult, write_find
from kiyome.workflows.inputs import as_path, missing_list_path, open_table, refuse_splits, run_folder_path
from kiyome.workflows.run_folds import RunFolds
from kiyome.workflows.scored_table import (
    SOFT_LABELS_LEAK,
    ScoredTable,
    cross_fit_features,
    embed_and_cross_fit,
    read_scored_table,
)
from kiyome.workflows.shift import SplitComparison, compare_with_train
from kiyome.workflows.split_findings import (
    SplitFindings,
    find_in_splits,
    noise_rate_of_all,
    notes_of_splits,
    probability_none_of_rows,
)
from kiyome.workflows.with_runs import blend_with_runs, open_other_runs

REPORT_SIDE = 256
"""Short side of photos that are decoded for thumbnails."""


@dataclass(frozen=True)
class _PhotosOf:
    """Pixels of a row, decoded on demand."""

    paths: Sequence[str]
    deep_bits: int

    def __call__(self, row: int) -> NDArray[np.uint8]:
        data = read_photo_file(self.paths[row])
        return decode_photo(data, shrink_to=REPORT_SIDE, deep_bits=self.deep_bits).pixels


def _repeats(groups: NDArray[np.int64], table: Table) -> Repeats:
    """Count groups of rows, and list pairs in them whose labels differ."""
    order = np.argsort(groups, kind="stable")
    first_of = np.r_[True, groups[order][1:] != groups[order][:-1]]
    runs = [
        rows
        for rows in np.split(order, np.flatnonzero(first_of)[1:])
        if len(rows) > 1 and groups[rows[0]] >= 0
    ]
    labeled = [rows[table.is_labeled[rows]] for rows in runs]
    differing = [rows for rows in labeled if len(set(table.given_labels[rows].tolist())) > 1]
    pairs = [
        (int(rows[0]), int(rows[table.given_labels[rows] != table.given_labels[rows[0]]][0]))
        for rows in differing
    ]
    return Repeats(num_groups=len(runs), num_differing=len(differing), pairs=pairs)


@shows_progress
def find(
    data: Path | str,
    *,
    images: Path | str | None = None,
    test: Path | str | None = None,
    test_images: Path | str | None = None,
    pred_probs: Path | str | None = None,
    pred_scale: str = "probabilities",
    features: Path | str | None = None,
    with_runs: Sequence[Path | str] = (),
    soft_labels: Path | str | None = None,
    cross_fit: str | None = None,
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
    label_from_name: str | None = None,
    group_column: str | None = None,
    weight_column: str | None = None,
    split_column: str | None = None,
    ignore_splits: bool = False,
    follow_links: bool = False,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> FindResult:
    """Rank the labels of photos that are probably wrong, and write a run folder with a report.

    Parameters
    ----------
    data, images, class_map, id_column, label_column, group_column, weight_column, split_column, follow_links
        As for `kiyome.reading.read_table.read_table`; `data` may also be a frame of pandas or polars, or a
        mapping of splits to frames, such as a `DatasetDict` of Hugging Face.
    label_from_name
        A regular expression for the names of photos without their ending, whose only group is the class.
    test, test_images
        A table, a sample submission or a folder whose rows join those of `data`: as `test` where they have a
        label, else as `unlabeled`. Their photos are in `test_images`, or in `images`.
    ignore_splits
        Whether all rows are for training, whatever folders or a column say.
    pred_probs
        A file of out-of-fold predictions, matched by id: no photo is needed and no model is fitted. A column
        `fold`, here or in the table, holds their folds, which `stack` and others need.
    pred_scale
        What its numbers are: probabilities, percent or logits.
    features
        A .npy or .npz file of your own embeddings (N, D), one row for each row of the table, of photos, texts
        or sounds: a head is cross-fitted on them, and no photo is needed. Ids beside them in .npz say which
        row is whose.
    with_runs
        Finished runs on the same rows, such as those of `train`, whose folds are used. The out-of-fold
        predictions of each are blended in if they lower the log loss of held-out rows by two standard errors
        and 3 %: on given labels, or on 50 or more labels that people decided in the reviews of these runs.
        Rows outside train are blended by what labels of train say.
    soft_labels
        The folder of ``curate --action soften``, or another finished run on the same rows, whose folds are
        used: its predictions are what the heads are taught in place of the labels. They saw the labels of
        all folds, so the score out of fold is too high; rows are still ranked by their given labels.
    cross_fit
        ``test`` or ``val``: labels of this split are judged by heads that are cross-fitted on its own rows as
        well, in equal parts with those of train. Predictions, scores and saved heads are of train alone.
    output
        The run folder; by default the next free ``runs/NAME``. The same command finds its folder again.
    backbone, weights
        As for `kiyome.models.load_backbone`.
    method, precision
        As for `kiyome.find_label_issues`.
    num_folds, seed
        This many new folds (5) with this seed (0). Without either, the folds are those of the
        oldest run of the same rows and labels beside the run folder, if there is one. A `fold` column in the
        data takes precedence.
    executor
        Where photos are embedded, as for `kiyome.executors.choose_executor`. Results are the same.
    cache_folder
        Cache of features between runs.
    on_progress
        Called as ``on_progress(stage, done, total)``.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` is given.

    Returns
    -------
    FindResult
        Its folder holds ``report.html``, ``label_issues`` (with the probability that a label is wrong),
        ``oof`` and ``table`` as CSV and Parquet, ``noise.json``, ``predictions/``, ``features.npy``,
        ``head/``, with which `predict` classifies new photos, all photo lists of `check` and, where the table
        has splits, ``shift.csv``: the rows that tell them from train most.

    Raises
    ------
    TableError
        If the data are not a table of photos and labels; the message names file, row and remedy.
    MissingExtra
        If the backbone needs a package that is not installed; the message holds the pip line.

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
    data = as_path(data)
    check_filter(method, precision)
    where = choose_executor(executor)
    has_new_split = num_folds is not None or seed is not None
    _refuse_conflicts(
        {
            "--pred-probs": pred_probs,
            "--features": features,
            "--backbone or --weights": backbone or weights,
            "--with": with_runs or None,
            "--soft-labels": soft_labels,
            "--cross-fit": cross_fit,
            "--folds or --seed": has_new_split or None,
        }
    )
    others = open_other_runs(with_runs) if with_runs else None
    softened = None if soft_labels is None else open_run(soft_labels)
    path = run_folder_path(data, output)
    table = open_table(
        data,
        images=images,
        test=test,
        test_images=test_images,
        class_map=class_map,
        id_column=id_column,
        label_column=label_column,
        label_from_name=label_from_name,
        group_column=group_column,
        weight_column=weight_column,
        split_column=split_column,
        ignore_splits=ignore_splits,
        follow_links=follow_links,
        allow_missing=pred_probs is not None or features is not None,
        missing_list=missing_list_path(path),
        on_progress=on_progress,
    )
    if cross_fit is not None:
        check_cross_fit(cross_fit, table)
    num_folds, seed = 5 if num_folds is None else num_folds, seed or 0
    config: dict[str, Any] = {"method": method, "precision": precision, "num_folds": num_folds, "seed": seed}
    if has_new_split:
        config["new_split"] = True
    if features is not None:
        config |= {"features_sha256": _digest_of_input(features, "--features")}
    elif pred_probs is None:
        network = replace(load_backbone(backbone, weights=weights), deep_bits=table.deep_bits)
        config |= {"backbone": network.name, "backbone_fingerprint": network.fingerprint}
    else:
        config |= {"pred_probs_sha256": _digest_of_input(pred_probs, "--pred-probs")}
        if pred_scale != "probabilities":
            config["pred_scale"] = pred_scale
    if others is not None:
        check_rows_of(others.runs[0], table, option="--with")
        config["with"] = others.config()
    if softened is not None:
        refuse_splits(table, "find --soft-labels")
        check_rows_of(softened, table, option="--soft-labels")
        config["soft_labels_sha256"] = sha256_of_file(softened.path / "predictions" / ARRAY_FILE)
    if cross_fit is not None:
        config["cross_fit"] = cross_fit
    run_folder = RunFolder.create_or_reopen(
        path, command="find", config=config, table=table, named_by_user=output is not None
    )
    with run_folder as run:
        is_own = has_new_split or table.folds is not None
        # of three folds the head keeps one to choose its regularization
        like = softened.path if softened else None if others is None else others.runs[0].path
        run_folds = RunFolds(run=run.path, num_folds=num_folds, seed=seed, is_own=is_own, fewest=3, like=like)
        if features is not None:
            scored = cross_fit_features(
                features, table, run_folds=run_folds, softened=softened, on_progress=on_progress
            )
        elif pred_probs is None:
            cache: dict[str, Any] = {"cache_folder": cache_folder, "on_progress": on_progress}
            embed_elsewhere(table.photo_paths(), network, executor=where, weights=weights, **cache)
            scored = embed_and_cross_fit(
                table, network, run_folds=run_folds, softened=softened, weights=weights, **cache
            )
            scored = replace(scored, notes=(*scored.notes, *(() if cache_folder else cache_notes())))
        else:
            scored = read_scored_table(pred_probs, table, scale=pred_scale)
        if others is not None:
            scored = blend_with_runs(scored, others, run=run.path)
        if cross_fit is not None:
            scored = cross_fit_inside(scored, cross_fit, seed=seed, on_progress=on_progress)
        title = Path(data).resolve().name
        result = examine(run.path, scored, title=title, method=method, precision=precision, seed=seed)
        write_find(result, on_progress=on_progress)
    note_run(result.folder, leaks=() if softened is None else (SOFT_LABELS_LEAK,))
    return result


def examine(
    folder: Path,
    scored: ScoredTable,
    *,
    title: str,
    method: str,
    seed: int,
    precision: float | None = None,
) -> FindResult:
    """Findings about the labels of a table, from its out-of-fold predictions."""
    table = scored.table
    shift = compare_with_train(
        table, features=scored.features, pred_probs=scored.by_one_model, alike=scored.alike, seed=seed
    )
    found = find_in_splits(scored, method=method, precision=precision, seed=seed)
    flagged = np.zeros(len(table), np.bool_)
    scores, probability = np.full((2, len(table)), np.nan)
    for split in found.values():
        flagged[split.rows] = split.is_label_issue
        scores[split.rows], probability[split.rows] = split.label_quality, split.fit.probability
    exact = formula_warnings(table, ["oof.csv", "table.csv"])
    can_cross_fit = scored.features is not None and scored.judging_probs is None
    weak = notes_of_splits(found, precision, can_cross_fit=can_cross_fit)
    notes = (*table.notes, *scored.notes, *weak, *exact)
    facts = (("flagged by", method), ("seed", str(seed)), ("table", table.fingerprint[:16]))
    return FindResult(
        folder=folder,
        scored=replace(scored, notes=notes),
        title=title,
        method=method,
        class_names=table.class_names,
        image_ids=table.image_ids.tolist(),
        given_labels=table.given_labels,
        predicted_labels=scored.judging.argmax(axis=1),
        is_label_issue=flagged,
        label_quality=scores,
        probability=probability,
        doubt_hides_errors=next(iter(found.values())).fit.model.statistics.is_weak,
        probability_none=probability_none_of_rows(scored),
        ranking=np.lexsort((scores, ~flagged)),
        confident_joint=np.sum([split.confident_joint for split in found.values()], axis=0),
        expected_joint=np.sum([split.expected_joint for split in found.values()], axis=0),
        noise_rate=noise_rate_of_all(found),
        by_split=found,
        shift=shift,
        split_names=() if table.splits is None else table.split_names.tolist(),
        splits=_split_lines(table, found, shift),
        facts=(*scored.facts, *facts),
        groups=None if table.groups is None else _repeats(join_groups(table.groups), table),
        **_about_photos(scored),
    )


def _split_lines(
    table: Table, found: Mapping[str, SplitFindings], shift: Mapping[str, SplitComparison]
) -> list[SplitLine]:
    """The splits as the page shows them; none where all rows are train."""
    if table.splits is None:
        return []
    return [
        SplitLine(
            name=name,
            num_rows=int(table.in_split(name).sum()),
            flagged=int(found[name].is_label_issue.sum()) if name in found else None,
            noise=found[name].describe_rate() if name in found else "predicted only",
            difference=found[name].describe_difference()
            if name != TRAIN and {name, TRAIN} <= found.keys()
            else "",
            sentences=shift[name].describe() if name in shift else (),
            expected_joint=found[name].expected_joint if name in found else None,
        )
        for name in table.splits_in_use
    ]


def _about_photos(scored: ScoredTable) -> dict[str, Any]:
    """The part of the findings that is about photos; empty where predictions were brought without any."""
    table, photos, paths = scored.table, scored.photos, scored.table.photo_paths()
    found: dict[str, Any] = {"photo": _PhotosOf(paths, table.deep_bits) if all(paths) else None}
    if photos is not None:
        ids = (scored.whole_table or table).image_ids
        found["set_aside"] = [(ids[row], reason) for row, reason in photos.set_aside.items()]
        found["photo_findings"] = photos.finding_counts
        found["duplicates"] = _repeats(photos.duplicates.groups[photos.readable], table)
    return found


CONFLICTS = (
    ("--with", "--folds or --seed", "the folds of the other runs"),
    ("--soft-labels", "--folds or --seed", "the folds of the soft labels"),
    ("--soft-labels", "--with", "heads that the soft labels teach, and no other predictions"),
    ("--soft-labels", "--pred-probs", "heads that the soft labels teach, and no other predictions"),
    ("--cross-fit", "--pred-probs", "photos or features, on which heads can be fitted"),
    ("--pred-probs", "--features", "predictions from one of them"),
    ("--pred-probs", "--backbone or --weights", "predictions from one of them"),
    ("--features", "--backbone or --weights", "predictions from one of them"),
)
"""Options that contradict each other, and what is expected instead."""


def _digest_of_input(path: Path | str, option: str) -> str:
    """Return the SHA-256 of a file of the user; InputError where there is none."""
    if not Path(path).is_file():
        raise InputError(f"There is no file {str(path)!r}.", remedy=f"Correct the path in {option}.")
    return sha256_of_file(path)


def _refuse_conflicts(given: Mapping[str, object]) -> None:
    """Raise InputError where two options are given that contradict each other."""
    for one, other, expected in CONFLICTS:
        if given[one] is not None and given[other] is not None:
            raise InputError(
                f"{one} is given together with {other}.",
                expected=f"Expected {expected}.",
                remedy=f"Leave out {one}, or leave out {other}.",
            )
