"""From photos, or from predictions at hand, to a ranked list of wrong labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.predictions import Predictions, read_pred_probs, write_out_of_fold
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.storage import sha256_of_file, write_text, writing
from kiyome.artifacts.table import Table, write_table
from kiyome.errors import InputError
from kiyome.features import cross_fit_head, extract_features
from kiyome.folds import deal_folds, join_groups
from kiyome.images.check import PhotoCheck, check_records
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.models import Backbone, load_backbone
from kiyome.noise import NoiseRate, confident_joint, find_label_issues, posterior_of, transition_of
from kiyome.noise.adaptive import ADAPTIVE, issues, judge_labels, precision_note, quality, weakness_note
from kiyome.noise.adaptive_rate import adaptive_noise_rate
from kiyome.noise.arrays import check_arrays
from kiyome.noise.label_issues import check_filter
from kiyome.progress import Progress, silent
from kiyome.recipes.check import missing_list_of, open_table, photo_summary, run_place, write_photo_lists
from kiyome.report.find_report import FindReport, Repeats, write_report

REPORT_SIDE = 256
"""Photos are decoded at about this short side for the thumbnails of the report."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Out-of-fold predictions for the rows of a table, and where they came from. N rows, K classes."""

    table: Table
    """The N rows that have a score, with folds where the predictions are ours."""
    predictions: Predictions
    photos: PhotoCheck | None = None
    """Of all rows, the unreadable ones too; None where predictions were brought."""
    whole_table: Table | None = None
    """The table that `photos` speaks of."""
    features: NDArray[np.float16] | None = None
    """(N, D) of the backbone."""
    facts: tuple[tuple[str, str], ...] = ()
    """What made the predictions, for people."""
    notes: tuple[str, ...] = ()
    """What people should hear about how it went."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FindResult:
    """What `find` found; everything here is in the run folder, too. N rows, K classes."""

    folder: Path
    evidence: Evidence
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
    """(K, K) [true, given] estimated counts."""
    noise_rate: NoiseRate

    @property
    def table(self) -> Table:
        """The N rows that have a score."""
        return self.evidence.table

    @property
    def pred_probs(self) -> NDArray[np.float32]:
        """(N, K) out-of-fold probabilities."""
        return self.evidence.predictions.pred_probs

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
            "transition_matrix": transition_of(self.confident_joint).tolist(),
            "posterior_matrix": posterior_of(self.confident_joint).tolist(),
            "made_by": dict(self.evidence.facts),
            "notes": list(self.evidence.notes),
            **_photo_part(self.evidence),
        }


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
    num_folds: int = 5,
    seed: int = 0,
    class_map: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    cache_folder: Path | str | None = None,
    on_progress: Progress = silent,
) -> FindResult:
    """Which labels of these photos are probably wrong, with a run folder that holds the evidence.

    Parameters
    ----------
    data, images, class_map, id_column, label_column
        As for `kiyome.artifacts.sources.read_table`.
    pred_probs
        A file of out-of-fold predictions, matched by id: then no photo is needed and no model is fitted.
    output
        The run folder; the next free ``runs/NAME`` where not given. The same command finds its own again.
    backbone, weights
        As for `kiyome.models.load_backbone`.
    method, precision
        As for `kiyome.find_label_issues`.
    num_folds, seed
        The deal of the folds; a `fold` column in the data is taken instead.
    cache_folder
        Where features are kept between runs.
    on_progress
        Called as ``on_progress(stage, done, total)``.

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
    place = run_place(data, output)
    options = {"images": images, "class_map": class_map, "id_column": id_column, "label_column": label_column}
    table = open_table(
        data,
        allow_missing=pred_probs is not None,
        missing_list=missing_list_of(place),
        on_progress=on_progress,
        **options,
    )
    config: dict[str, Any] = {"method": method, "precision": precision, "num_folds": num_folds, "seed": seed}
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
            evidence = look_at_photos(
                table,
                network,
                num_folds=num_folds,
                seed=seed,
                cache_folder=cache_folder,
                on_progress=on_progress,
            )
        else:
            evidence = Evidence(
                table=table,
                predictions=read_pred_probs(pred_probs, table),
                facts=(("predictions", Path(pred_probs).name),),
            )
        result = examine(run.path, evidence, method=method, precision=precision, seed=seed)
        _write(result, title=Path(data).resolve().name, seed=seed, on_progress=on_progress)
    return result


def look_at_photos(
    table: Table,
    backbone: Backbone,
    *,
    num_folds: int = 5,
    seed: int = 0,
    cache_folder: Path | str | None = None,
    on_progress: Progress = silent,
) -> Evidence:
    """Out-of-fold predictions from one pass over the photos and a cross-fitted head on their features."""
    features = extract_features(
        table.photo_paths(), backbone, cache_folder=cache_folder, on_progress=on_progress
    )
    names = np.array(table.class_names, object)[table.given_labels].tolist()
    photos = check_records(features.records, labels=names, on_progress=on_progress)
    readable = photos.readable
    _refuse_nothing_readable(photos)
    scored = table.take(readable)
    folds = scored.folds
    if folds is None:
        folds = _deal(scored, photos.duplicates.groups[readable], num_folds=num_folds, seed=seed)
        scored = scored.with_folds(folds)
    head = cross_fit_head(
        features.values, scored.labels, folds, num_classes=scored.num_classes, on_progress=on_progress
    )
    predictions = Predictions(
        pred_probs=head.pred_probs,
        kind="out_of_fold",
        source=f"{backbone.name} frozen, cross-fitted logistic regression",
        table_fingerprint=scored.fingerprint,
    )
    facts = (
        ("backbone", f"{backbone.name}, {backbone.num_features:,} features at {backbone.size} px"),
        ("weights", backbone.source),
        ("engine", backbone.engine),
        ("folds", f"{folds.max() + 1}, near duplicates kept together"),
        ("regularization C of each fold", ", ".join(f"{c:g}" for c in head.regularization)),
        ("log loss on given labels, out of fold", f"{head.log_loss:.4f}"),
    )
    notes = tuple(note for note in (backbone.note, *features.notes) if note)
    return Evidence(
        table=scored,
        predictions=predictions,
        photos=photos,
        whole_table=table,
        features=features.values,
        facts=facts,
        notes=notes,
    )


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
    notes = (*evidence.notes, *(note for note in found if note))
    scores = quality(judged)
    return FindResult(
        folder=folder,
        evidence=replace(evidence, notes=notes),
        method=method,
        is_label_issue=flagged,
        label_quality=scores,
        probability=judged.probability,
        ranking=np.lexsort((scores, ~flagged)),
        confident_joint=confident_joint(labels, pred_probs),
        noise_rate=adaptive_noise_rate(judged, seed=seed),
    )


def _deal(
    table: Table, duplicate_groups: NDArray[np.int64], *, num_folds: int, seed: int
) -> NDArray[np.int16]:
    """Folds that part neither the user's groups nor photos that show the same."""
    groups = duplicate_groups if table.groups is None else join_groups(table.groups, duplicate_groups)
    return deal_folds(
        table.given_labels, num_folds=num_folds, groups=groups, seed=seed, class_names=table.class_names
    )


def _refuse_both(backbone: str | None, weights: Path | str | None) -> None:
    if backbone is not None or weights is not None:
        raise InputError(
            "Predictions come from a file or from a backbone.",
            came="--pred-probs and --backbone or --weights",
            remedy="Leave one of them out.",
        )


def _refuse_nothing_readable(photos: PhotoCheck) -> None:
    if not photos.readable.any():
        row, reason = next(iter(photos.set_aside.items()))
        raise InputError(
            "At least some photos can be read.",
            came=f"none of {photos.num_photos}; row {row}: {reason}",
            remedy="Run `kiyome check` for the list.",
        )


def _photo_part(evidence: Evidence) -> dict[str, Any]:
    if evidence.photos is None or evidence.whole_table is None:
        return {}
    return photo_summary(evidence.whole_table, evidence.photos)


def _write(result: FindResult, *, title: str, seed: int, on_progress: Progress) -> None:
    folder, evidence = result.folder, result.evidence
    if evidence.photos is not None and evidence.whole_table is not None:
        write_photo_lists(folder, evidence.whole_table, evidence.photos)
    if evidence.features is not None:
        with writing(folder / "features.npy") as file:
            np.save(file, evidence.features, allow_pickle=False)
    for name in ("table.csv", "table.parquet"):
        write_table(result.table, folder / name)
    evidence.predictions.save(folder / "predictions")
    write_out_of_fold(evidence.predictions, result.table, folder)
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
    table, rate, photos = result.table, result.noise_rate, result.evidence.photos
    whole = result.evidence.whole_table or table
    paths = table.photo_paths()
    facts = (
        *result.evidence.facts,
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
        is_label_issue=result.is_label_issue,
        ranking=result.ranking[: result.num_issues],
        likely_true_joint=result.confident_joint,
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
