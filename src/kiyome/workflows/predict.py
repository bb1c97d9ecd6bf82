"""From a finished run and new photos to a submission; needs no network and no label."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.manifest import Manifest, photos_of_run
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import default_cache_folder, sweep, write_csv, write_parquet
from kiyome.artifacts.table import ALL_BITS
from kiyome.artifacts.table_files import load_table
from kiyome.errors import InputError
from kiyome.features import has_heads
from kiyome.progress import Progress, no_progress, shows_progress
from kiyome.reading.photo_list import PhotoList, read_photo_list
from kiyome.reading.submission import SubmissionForm, known_label_texts, submission_form
from kiyome.workflows.combine import PREDICTORS, check_predicts_photos, inputs_of, predict_combined
from kiyome.workflows.head_of_run import predict_with_heads
from kiyome.workflows.member_photos import MemberPhotos, Source, read_member_photos, source_of

Probs = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictResult:
    """Predictions of N photos by the members of a run. K classes."""

    photos: PhotoList
    class_names: tuple[str, ...]
    pred_probs: Probs
    """(N, K) mean over members; for a photo that cannot be read, the mean of all other rows."""
    set_aside: dict[int, str]
    """Row and reason of each photo that cannot be read."""
    num_models: int
    form: SubmissionForm | None = None
    """The form of the submission; None where none was written."""
    output: Path | None = None
    notes: tuple[str, ...] = ()
    """Notes for people."""

    @property
    def predicted_labels(self) -> NDArray[np.int64]:
        """(N,) the likeliest class."""
        labels: NDArray[np.int64] = self.pred_probs.argmax(axis=1)
        return labels

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        names = [self.class_names[label] for label in self.predicted_labels]
        return {
            "photos": len(self.photos.image_ids),
            "models": self.num_models,
            "classes": dict(Counter(names).most_common()),
            "set_aside": {self.photos.image_ids[row]: reason for row, reason in self.set_aside.items()},
            "columns": list(self.form.header) if self.form else [],
            "written": self.form.description if self.form else None,
            "output": str(self.output) if self.output else None,
            "notes": list(self.notes),
        }


@shows_progress
def predict(
    run: Path | str,
    photos: Path | str,
    *,
    output: Path | str | None = "submission.csv",
    sample: Path | str | None = None,
    images: Path | str | None = None,
    form: str | None = None,
    class_map: Path | str | None = None,
    cache_folder: Path | str | None = None,
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
) -> PredictResult:
    """Predict new photos with the members of a finished training, and write a submission.

    Parameters
    ----------
    run
        The folder of a finished `train` run, of a `find` run on photos, whose heads predict on features of
        its backbone, or of a `blend`, `stack`, `calibrate` or `correct` of such runs; each file in it is
        checked first.
    photos
        A folder, or a table with an id column such as Kaggle's sample_submission.csv.
    output
        The CSV file: a row for each photo, in the form of the sample, or else an id and a label as the
        training table wrote it. Beside it ``<stem>.probs.parquet`` holds the probabilities. None writes
        nothing.
    sample
        A sample submission that gives ids, order, columns and form, where `photos` is a folder: one column of
        labels or of the probability of one class, or a column of probabilities for each class.
    images
        The folder that a table's photos lie under. Without it: ``test_images`` or ``test`` beside the table,
        or beside the photos that the run was trained on.
    form
        ``labels`` or ``probabilities``, where there is no sample or its only column may mean either.
    class_map
        What numbers or names in the sample mean: a JSON file, number to class. Without it, a
        ``label_num_to_disease_map.json`` beside the sample.
    cache_folder
        Where decoded photos are kept between runs.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Raises
    ------
    StaleArtifact
        Where the run did not finish, or a file in it was changed.
    TableError
        Where an id of the sample has no photo.
    InputError
        Where columns or labels of the sample are not those of the run, or are ambiguous.
    """
    source = _source(Path(run))
    trained_on = photos_of_run(run)
    listed = read_photo_list(
        sample or photos,
        images=images or (photos if sample else None),
        near=(trained_on.parent, trained_on) if trained_on else (),
    )
    cache = Path(cache_folder or default_cache_folder())
    if output is None:
        return _predict_by(source, listed, cache, on_progress)
    if listed.source and Path(output).resolve() == listed.source.resolve():
        raise InputError(
            f"{output} is the sample itself, which the submission would replace.",
            remedy="Name another file with --output.",
        )
    table = source.manifest["table"]
    label_texts = table.get("label_texts")  # runs before 2026-11-28 have names only
    ways = known_label_texts(table["classes"], label_texts, sample=listed.source, class_map=class_map)
    written = submission_form(listed, ways, form=form)  # errors come before photos are read
    return write_submission(_predict_by(source, listed, cache, on_progress), written, Path(output))


class _Source(NamedTuple):
    """A run that can predict photos, and those that it was made of."""

    run: Path
    manifest: Manifest
    inputs: tuple["_Source", ...]


def _source(run: Path) -> _Source:
    """Return the run with its inputs down to trainings, all verified before the first photo is read."""
    manifest = verify_run(run)
    if manifest["command"] in PREDICTORS:
        check_predicts_photos(run, manifest)
        return _Source(run, manifest, tuple(map(_source, inputs_of(run, manifest))))
    if manifest["command"] != "train" and not has_heads(run):
        raise InputError(
            f"{run} is a run of {manifest['command']!r}, which has no models.",
            expected="Expected a run of `kiyome train`, or of `kiyome find` on photos, or a combination.",
            remedy="Name the folder of such a run; after `kiyome find --with`, one without --with.",
        )
    return _Source(run, manifest, ())


def _predict_by(source: _Source, listed: PhotoList, cache: Path, on_progress: Progress) -> PredictResult:
    """The predictions of the runs below, combined as the run combined their out-of-fold predictions."""
    classes = tuple(source.manifest["table"]["classes"])
    if source.manifest["command"] == "find":
        found = predict_with_heads(source.run, listed.paths, cache_folder=cache, on_progress=on_progress)
        return PredictResult(photos=listed, class_names=classes, **found._asdict())
    if not source.inputs:
        return predict_photos(
            source.run, listed, class_names=classes, cache_folder=cache, on_progress=on_progress
        )
    inputs = [_predict_by(each, listed, cache, on_progress) for each in source.inputs]
    probs = predict_combined(source.run, source.manifest, [each.pred_probs for each in inputs]).astype(
        np.float32
    )
    first = inputs[0]
    read = [row for row in range(len(probs)) if row not in first.set_aside]
    probs[list(first.set_aside)] = probs[read].mean(axis=0)
    return replace(
        first,
        pred_probs=probs,
        num_models=sum(each.num_models for each in inputs),
        notes=tuple(dict.fromkeys(note for each in inputs for note in each.notes)),
    )


def predict_photos(
    run: Path,
    listed: PhotoList,
    *,
    class_names: Sequence[str],
    cache_folder: Path,
    on_progress: Progress = no_progress,
) -> PredictResult:
    """Return the mean prediction of all members in a run folder, with equal weight for each member."""
    from kiyome.training.member import read_member_facts
    from kiyome.training.recipe import Recipe

    members = read_member_facts(run)
    if not members:
        raise InputError(f"There is no finished member in {run}.", remedy="Run its training to the end.")
    table = run / "table.parquet"
    deep_bits = load_table(table).deep_bits if table.is_file() else ALL_BITS
    total = np.zeros((len(listed.paths), len(class_names)))
    cached: dict[Source, MemberPhotos] = {}
    for number, (folder, facts) in enumerate(members, start=1):
        source = source_of(Recipe.of(**facts["recipe"]))
        if source not in cached:
            cached[source] = read_member_photos(
                source,
                listed.paths,
                deep_bits=deep_bits,
                cache_folder=cache_folder,
                on_progress=on_progress,
            )
        photos = cached[source]
        rows = np.flatnonzero(photos.readable)
        if not len(rows):
            reason = next(reason for reason in photos.reasons if reason)
            raise InputError(f"None of the photos can be read: {reason}.", remedy="Check the photos.")
        for probs in _predict_by_member(folder, facts, photos, rows):
            total[rows] += probs / (len(facts["models"]) * len(members))
        on_progress("predict", number, len(members))
    total[~photos.readable] = total[rows].mean(axis=0)
    return PredictResult(
        photos=listed,
        class_names=tuple(class_names),
        pred_probs=total.astype(np.float32),
        set_aside={row: reason for row, reason in enumerate(photos.reasons) if reason},
        num_models=sum(len(facts["models"]) for _, facts in members),
        notes=_notes_on_links([facts for _, facts in members]),
    )


def _predict_by_member(
    folder: Path, facts: dict[str, Any], photos: MemberPhotos, rows: NDArray[np.intp]
) -> Iterator[Probs]:
    """Yield the probabilities (n, K) of these rows from each model of a member."""
    from kiyome.inference import predict as predict_rows
    from kiyome.losses import stored_link
    from kiyome.models import load_timm_folder
    from kiyome.models.compute import choose_compute
    from kiyome.training.member import PREDICTION_BATCH, member_seed
    from kiyome.training.recipe import Recipe

    recipe = Recipe.of(**facts["recipe"])
    compute = choose_compute(recipe.model.precision)
    for name in facts["models"]:
        network = load_timm_folder(folder / name).with_link(stored_link(facts))
        compute.ready(network.module, channels_last=recipe.model.channels_last)
        yield predict_rows(
            network,
            photos,
            rows,
            views=recipe.prediction_views(crop_pct=network.crop_pct),
            compute=compute,
            batch_size=PREDICTION_BATCH,
            seed=member_seed(facts["seed"], facts["fold"]),
        )


def _notes_on_links(members: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Notes on members that were trained before links were stored, where their loss has a link of its own."""
    from kiyome.losses import SOFTMAX, link_of_loss

    old = [facts["recipe"] for facts in members if "link" not in facts]
    losses = {each["loss"] for each in old if link_of_loss(each["loss"], each["loss_options"]) != SOFTMAX}
    return tuple(
        f"members of an earlier version are read by softmax, as their out-of-fold predictions were; train"
        f" again to read {loss} by its own link (less log loss, hardly another accuracy)"
        for loss in sorted(losses)
    )


def write_submission(result: PredictResult, form: SubmissionForm, path: Path) -> PredictResult:
    """Write the result as CSV in this form, with all probabilities as Parquet beside it."""
    import pyarrow as pa

    listed = result.photos
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    write_csv(path, form.rows(listed.image_ids, result.pred_probs))  # exact ids: a contest matches them
    columns = {f"p_{name}": pa.array(result.pred_probs[:, k]) for k, name in enumerate(result.class_names)}
    write_parquet(
        path.with_suffix(".probs.parquet"), {listed.id_column: pa.array(listed.image_ids), **columns}
    )
    return replace(result, form=form, output=path, notes=(*result.notes, *form.notes))
