"""From photos, or from predictions at hand, to a ranked list of wrong labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import formula_warnings
from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import sha256_of_file, write_text, writing
from kiyome.artifacts.table import Table
from kiyome.checks import check_arrays
from kiyome.errors import InputError
from kiyome.executors import HERE, Executor, choose_executor
from kiyome.experiments import note_run
from kiyome.features import embed_elsewhere
from kiyome.folds import join_groups
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.models import load_backbone
from kiyome.noise import NoiseRate, confident_joint, find_label_issues, posterior_of, transition_of
from kiyome.noise.adaptive import (
    ADAPTIVE,
    adaptive_joint,
    adaptive_mask,
    adaptive_quality,
    fit_adaptive,
    precision_note,
    weakness_note,
)
from kiyome.noise.label_issues import check_filter
from kiyome.noise.noise_rate import adaptive_noise_rate
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.predictions import read_out_of_fold
from kiyome.report.find_report import FindReport, Repeats, write_report
from kiyome.workflows.inputs import missing_list_path, open_table, run_folder_path
from kiyome.workflows.outputs import write_photo_lists, write_scored_table
from kiyome.workflows.scored_table import ScoredTable, embed_and_cross_fit
from kiyome.workflows.split import Split

REPORT_SIDE = 256
"""Photos are decoded at about this short side for the thumbnails of the report."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FindResult:
    """What `find` found; everything here is in the run folder, too. N rows, K classes."""

    folder: Path
    scored: ScoredTable
    method: str
    is_label_issue: NDArray[np.bool_]
    """(N,) rows that are flagged."""
    label_quality: NDArray[Any]
    """(N,) 0 to 1, low is suspicious."""
    probability: NDArray[Any]
    """(N,) chance that the given label is wrong."""
    ranking: NDArray[np.int64]
    """All N rows: flagged ones first, the most suspicious at the head."""
    confident_joint: NDArray[np.int64]
    """(K, K) [true, given] rows that the predictions place with confidence, calibrated to all rows."""
    expected_joint: NDArray[np.float64]
    """(K, K) [true, given] expected counts under the adaptive method: what the report shows."""
    noise_rate: NoiseRate

    @property
    def table(self) -> Table:
        """The N rows that have a score."""
        return self.scored.table

    @property
    def pred_probs(self) -> NDArray[np.float32]:
        """(N, K) out-of-fold probabilities."""
        return self.scored.predictions.pred_probs

    @property
    def num_issues(self) -> int:
        """How many rows are flagged."""
        return int(self.is_label_issue.sum())

    @property
    def expected_precision(self) -> float | None:
        """Mean chance to be wrong of the flagged rows; None where no row is flagged."""
        return float(self.probability[self.is_label_issue].mean()) if self.num_issues else None

    @property
    def predicted_labels(self) -> NDArray[np.int64]:
        """(N,) likeliest class of each row."""
        labels: NDArray[np.int64] = self.pred_probs.argmax(axis=1)
        return labels

    @property
    def suggested_labels(self) -> NDArray[np.int64]:
        """(N,) the likeliest class where a row is flagged, the given label elsewhere."""
        return np.where(self.is_label_issue, self.predicted_labels, self.table.given_labels)

    def summary(self) -> dict[str, Any]:
        """The answer as JSON can hold it."""
        return {"folder": str(self.folder), **self.findings()}

    def findings(self) -> dict[str, Any]:
        """The answer, wherever the run folder lies."""
        return {
            "rows": len(self.table),
            "flagged": self.num_issues,
            "expected_precision": self.expected_precision,
            "method": self.method,
            "noise_rate": vars(self.noise_rate),
            "class_names": list(self.table.class_names),
            "confident_joint": self.confident_joint.tolist(),
            "expected_joint": self.expected_joint.tolist(),
            "transition_matrix": transition_of(self.confident_joint).tolist(),
            "posterior_matrix": posterior_of(self.confident_joint).tolist(),
            "made_by": dict(self.scored.facts),
            "notes": list(self.scored.notes),
            **self.scored.photo_summary(),
        }


def write_find(result: FindResult, *, title: str, seed: int, on_progress: Progress) -> None:
    """Put everything that was found into its run folder."""
    folder, scored = result.folder, result.scored
    if scored.photos is not None and scored.whole_table is not None:
        write_photo_lists(folder, scored.whole_table, scored.photos)
    if scored.features is not None:
        with writing(folder / "features.npy") as file:
            np.save(file, scored.features, allow_pickle=False)
    write_scored_table(folder, result.table, scored.predictions)
    write_issue_files(
        folder,
        result.table,
        is_label_issue=result.is_label_issue,
        label_quality=result.label_quality,
        predicted_labels=result.predicted_labels,
        suggested_labels=result.suggested_labels,
        probability=result.probability,
        ranked_rows=result.ranking,
    )
    write_text(folder / "noise.json", json.dumps(result.findings(), indent=2))
    write_report(_as_report(result, title, seed), folder / "report.html", on_progress=on_progress)


def _as_report(result: FindResult, title: str, seed: int) -> FindReport:
    table, rate, photos = result.table, result.noise_rate, result.scored.photos
    whole = result.scored.whole_table or table
    paths = table.photo_paths()
    facts = (
        *result.scored.facts,
        ("flagged by", result.method),
        ("seed", str(seed)),
        ("table", table.fingerprint[:16]),
    )
    return FindReport(
        title=title,
        class_names=table.class_names,
        image_ids=table.image_ids.tolist(),
        given_labels=table.given_labels,
        suggested_labels=result.predicted_labels,
        label_quality=result.label_quality,
        probability=result.probability,
        is_label_issue=result.is_label_issue,
        ranking=result.ranking[: result.num_issues],
        likely_true_joint=result.expected_joint,
        noise_rate=rate.value,
        noise_rate_low=rate.low,
        noise_rate_high=rate.high,
        noise_rate_how=rate.method,
        set_aside=[(whole.image_ids[row], reason) for row, reason in photos.set_aside.items()]
        if photos
        else (),
        findings=photos.finding_counts if photos else {},
        duplicates=_repeats(photos.duplicates.groups[photos.readable], table) if photos else None,
        groups=None if table.groups is None else _repeats(join_groups(table.groups), table),
        facts=facts,
        photo=_PhotosOf(paths) if all(paths) else None,
    )


@dataclass(frozen=True)
class _PhotosOf:
    """Pixels of a row, decoded when asked for."""

    paths: Sequence[str]

    def __call__(self, row: int) -> NDArray[np.uint8]:
        return decode_photo(read_photo_file(self.paths[row]), shrink_to=REPORT_SIDE).pixels


def _repeats(groups: NDArray[np.int64], table: Table) -> Repeats:
    """How many groups of rows there are, and pairs in them whose labels differ."""
    order = np.argsort(groups, kind="stable")
    first_of = np.r_[True, groups[order][1:] != groups[order][:-1]]
    runs = [
        rows
        for rows in np.split(order, np.flatnonzero(first_of)[1:])
        if len(rows) > 1 and groups[rows[0]] >= 0
    ]
    differing = [rows for rows in runs if len(set(table.given_labels[rows].tolist())) > 1]
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
    on_progress: Progress = no_progress,
) -> FindResult:
    """Which labels of these photos are probably wrong, with a run folder that holds the evidence.

    Parameters
    ----------
    data, images, class_map, id_column, label_column
        As for `kiyome.reading.read_table.read_table`.
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
    place = run_folder_path(data, output)
    options = {"images": images, "class_map": class_map, "id_column": id_column, "label_column": label_column}
    table = open_table(
        data,
        allow_missing=pred_probs is not None,
        missing_list=missing_list_path(place),
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
            scored = embed_and_cross_fit(
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
            scored = ScoredTable(
                table=table,
                predictions=predictions,
                facts=(("predictions", Path(pred_probs).name),),
            )
        result = examine(run.path, scored, method=method, precision=precision, seed=seed)
        write_find(result, title=Path(data).resolve().name, seed=seed, on_progress=on_progress)
    note_run(result.folder)
    return result


def examine(
    folder: Path, scored: ScoredTable, *, method: str, seed: int, precision: float | None = None
) -> FindResult:
    """What the predictions say about the labels."""
    labels, pred_probs = check_arrays(scored.table.given_labels, scored.predictions.pred_probs)
    fit = fit_adaptive(labels, pred_probs)
    if method == ADAPTIVE:
        flagged = adaptive_mask(fit, precision=precision)
    else:
        flagged = find_label_issues(labels, pred_probs, method=method)
    found = (weakness_note(fit), None if precision is None else precision_note(fit))
    exact = formula_warnings(scored.table, ["oof.csv", "table.csv"])
    notes = (*scored.notes, *(note for note in found if note), *exact)
    scores, joint = adaptive_quality(fit), adaptive_joint(fit)
    return FindResult(
        folder=folder,
        scored=replace(scored, notes=notes),
        method=method,
        is_label_issue=flagged,
        label_quality=scores,
        probability=fit.probability,
        ranking=np.lexsort((scores, ~flagged)),
        confident_joint=confident_joint(labels, pred_probs),
        expected_joint=joint * (len(labels) / joint.sum()),
        noise_rate=adaptive_noise_rate(fit, seed=seed),
    )


def _refuse_both(backbone: str | None, weights: Path | str | None) -> None:
    if backbone is not None or weights is not None:
        raise InputError(
            "Predictions come from a file or from a backbone.",
            came="--pred-probs and --backbone or --weights",
            remedy="Leave one of them out.",
        )
