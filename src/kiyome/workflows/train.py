"""From labeled photos to members, their out-of-fold predictions, and a submission.

table ── photos decoded once ── folds ── members: recipe x fold x seed ── out of fold ── report
                                                    └── models that timm loads ── submission
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.escapes import formula_warnings
from kiyome.artifacts.run import RunFolder, announce_run, is_finished, path_of_run
from kiyome.artifacts.storage import default_cache_folder, write_text
from kiyome.artifacts.table import Table
from kiyome.executors import HERE, Executor, choose_executor
from kiyome.experiments import note_run
from kiyome.images.check import PhotoCheck, check_records
from kiyome.images.pixel_cache import CachedPhotos, StoredSize, cache_photos
from kiyome.images.reader import PhotoRecord
from kiyome.progress import (
    Notes,
    OnEvent,
    Progress,
    ignore_event,
    ignore_note,
    no_progress,
    shows_progress,
)
from kiyome.reading.photo_list import PhotoList, read_photo_list
from kiyome.reading.submission import SubmissionForm, known_label_texts, submission_form
from kiyome.training.processes import (
    TimeLimit,
    check_executor,
    is_main_process,
    main_process_first,
    wait_for_everyone,
)
from kiyome.training.recipe import Recipe
from kiyome.training.recipe_files import read_recipes, recipe_text
from kiyome.training.tracking import Tracking, check_trackers, tracking
from kiyome.workflows.cleaning import (
    apply_nested_cleaning,
    changes_for_labels,
    notes_on_rows,
    num_training_rows,
    prepare_training_data,
)
from kiyome.workflows.inputs import missing_list_path, open_table, run_folder_path
from kiyome.workflows.outputs import write_photo_lists
from kiyome.workflows.predict import predict_photos, write_submission
from kiyome.workflows.split import Split
from kiyome.workflows.train_result import TrainResult, result_of_training, write_trained

if TYPE_CHECKING:
    from kiyome.training.member import TrainingData


@shows_progress
def train(
    data: Path | str,
    *,
    recipe: Path | str = "quick",
    changes: Sequence[str] = (),
    labels: str | None = None,
    flags: Path | str | None = None,
    images: Path | str | None = None,
    output: Path | str | None = None,
    test: Path | str | None = None,
    test_images: Path | str | None = None,
    members: Sequence[str] = (),
    executor: str | Executor = HERE,
    stop_after: str | TimeLimit | None = None,
    seed: int | None = None,
    class_map: Path | str | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    cache_folder: Path | str | None = None,
    trackers: Sequence[str] = (),
    progress: bool = True,  # noqa: ARG001  (for shows_progress)
    on_progress: Progress = no_progress,
    on_event: OnEvent = ignore_event,
    on_note: Notes = ignore_note,
) -> TrainResult:
    """Train the members of a recipe over folds, and predict every row by members that never saw it.

    Parameters
    ----------
    data, images, class_map, id_column, label_column
        As for `kiyome.reading.read_table.read_table`.
    recipe, changes
        As for `kiyome.training.recipe_files.read_recipes`: a name or a file, and texts ``key=value``, such as
        ``loss=sce``, ``epochs=3`` or, for one model of the recipe, ``NAME.weights=FILE``.
    labels
        ``all`` rows are trained on; or ``clean``, those that models which saw nothing of the held-out fold do
        not flag; or ``clean-global``, those that the earlier run `flags` does not flag, which leaks. As the
        recipe says where not given.
    flags
        The folder of a `find` or `train` run, for clean-global only.
    output
        The run folder; the next free ``runs/NAME-train`` if not given. The same command goes on in its own.
    test, test_images
        Photos to predict when all members are finished, and their folder; as `photos` and `images` of
        `kiyome.workflows.predict.predict`.
    members
        Train these only, ``fold=0`` say, and stop: for several processes or machines on one run folder. The
        same command without it then puts all together. ``fold=0+1`` is a pair behind a nested recipe.
    executor
        Where members are trained: ``here``, ``processes:2``, ``ray``, ``slurm:gpu`` and so on, as for
        `kiyome.executors.choose_executor`. It decides nothing about results.
    stop_after
        ``8h``, ``30m`` or ``90s``: stop after a whole epoch when another one as long would end after that
        time, which begins with this call. The same call goes on, to the same result.
    seed
        A new split into folds by this seed; ``num_folds=`` among the changes asks for a new split, too.
        Without them the folds are those of the oldest run of the same rows and labels beside the run folder,
        if there is one; else new ones, as many as the recipe says, by seed 0. A `fold` column in the data
        comes first.
    cache_folder
        Where decoded photos are kept between runs.
    trackers
        Of ``wandb``, ``trackio``, ``tensorboard``, ``mlflow``: each gets the metrics as well, one tracked run
        a member, below ``tracking/`` in the run folder. Nothing goes over a network unless WANDB_MODE=online,
        TRACKIO_SPACE_ID, TRACKIO_SERVER_URL or MLFLOW_TRACKING_URI say so. Results stay the same.
    on_progress
        Called as ``on_progress(stage, done, total)``; a stage for each member counts its steps.
    on_event
        Called with a `MemberEvent` when something becomes of a member, and after each epoch.
    on_note
        Called, before photos are read, with each note on what a change to the recipe brings with it.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    TrainResult
        Its folder holds ``members/`` (models that timm loads), ``oof`` and ``table`` as CSV and Parquet,
        ``predictions/``, ``metrics.jsonl``, ``training_dynamics`` as CSV and Parquet, ``recipe.toml``,
        ``report.html``, and ``submission.csv`` where test photos were given.

    Raises
    ------
    InputError
        With the known names, for a recipe, a field or a loss that is unknown.
    MissingExtra
        With the pip line, where a package is absent.
    KiyomeError
        Where a training stops; the same command goes on after its last whole epoch.
    TimeLimitReached
        Where `stop_after` came first; its `folder` is the run folder.
    """
    limit = TimeLimit.of(stop_after)
    check_trackers(trackers)
    check_executor(where := choose_executor(executor))
    notes: list[str] = []
    recipes = read_recipes(recipe, [*changes, *changes_for_labels(labels, flags)], on_note=notes.append)
    for note in notes:
        on_note(note)
    place = run_folder_path(data, output, _ending(recipes))
    cache = Path(cache_folder or default_cache_folder())
    table = open_table(
        data,
        images=images,
        missing_list=missing_list_path(place),
        class_map=class_map,
        id_column=id_column,
        label_column=label_column,
        on_progress=on_progress,
    )
    to_submit = _to_submit(test, test_images, data, table, class_map) if test else None  # errors come early
    asks_for_new = seed is not None or any("num_folds" in each.partition("=")[0] for each in changes)
    config: dict[str, Any] = {"recipes": [_deciding(each) for each in recipes], "seed": seed or 0}
    identity: dict[str, Any] = {
        "command": "train",
        "config": {**config, "new_split": True} if asks_for_new else config,
        "table": table,
        "named_by_user": output is not None,
    }
    with main_process_first():
        check_models(recipes, place, **identity)
        photos = _cached(table, recipes, cache, on_progress)
    split = Split(
        run=path_of_run(place, **identity),
        num_folds=recipes[0].data.num_folds,
        seed=seed or 0,
        is_own=asks_for_new or table.folds is not None,
        fewest=3 if any(recipe.cleaning.is_nested for recipe in recipes) else 2,
    )
    check = _checked(table, next(iter(photos.values())), on_progress)
    scored, rows = split.assign(table, check), np.flatnonzero(check.readable)
    notes = [*notes, *split.note(scored, say=f"num_folds={split.num_folds}")]
    taken = {recipe.name: _taken(photos[_size_of(recipe)], rows) for recipe in recipes}
    training_data = prepare_training_data(scored, recipes, taken)
    if members or not is_main_process():
        with main_process_first():  # it holds the folder, or has announced it
            shared = announce_run(place, **identity)
            split.keep(scored)
        with tracking(trackers, shared, on_event=on_event) as tracked:
            how: dict[str, Any] = {"executor": where, "limit": limit, "on_progress": on_progress}
            some = _some_members(recipes, training_data, shared, members, tracked, **how)
            return replace(some, notes=(*notes, *some.notes))
    with (
        RunFolder.create_or_reopen(place, **identity) as run,
        tracking(trackers, run.path, on_event=on_event) as tracked,
    ):
        from kiyome.training.cross_validate import cross_validate, plan_members

        split.keep(scored)
        wait_for_everyone()  # others come into the folder now
        write_text(run.path / "recipe.toml", recipe_text(recipes))
        write_photo_lists(run.path, table, check)
        planned = plan_members(recipes, training_data)
        how = {"executor": where, "limit": limit, "on_progress": on_progress, "on_event": tracked}
        taught = apply_nested_cleaning(planned, run.path, **how)
        trained = cross_validate(taught, run.path, **how)
        exact = formula_warnings(scored, ["oof.csv", "table.csv"])
        told = [*notes, *exact, *_notes(photos, run), *tracked.notes]
        result = result_of_training(run.path, recipes, trained, told)
        if to_submit is not None:
            listed, form = to_submit
            predicted = predict_photos(
                run.path,
                listed,
                class_names=table.class_names,
                cache_folder=cache,
                on_progress=on_progress,
            )
            submission = write_submission(predicted, form, run.path / "submission.csv")
            result = replace(result, submission=submission)
        write_trained(result, trained, recipes, title=Path(data).resolve().name)
    left_out = result.is_kept is not None and not result.is_kept.all()
    note_run(result.folder, leaks=result.leaks, is_kept=result.is_kept if left_out else None)
    return result


def check_models(recipes: Sequence[Recipe], place: Path, **identity: Any) -> None:
    """Refuse models that cannot be built, for want of weights say; a run that is finished needs none.

    Raises
    ------
    InputError, MissingExtra
        As for `kiyome.artifacts.run.is_finished` and `kiyome.training.train_state.check_networks`.
    """
    if not is_finished(place, **identity):
        from kiyome.training.train_state import check_networks

        check_networks(recipes)


def _to_submit(
    test: Path | str,
    images: Path | str | None,
    data: Path | str,
    table: Table,
    class_map: Path | str | None,
) -> tuple[PhotoList, SubmissionForm]:
    """The photos to predict, found near the training data if need be, and the form of the submission."""
    near = (Path(data).parent, Path(data), table.root.parent, table.root)
    listed = read_photo_list(test, images=images, near=near, images_option="--test-images")
    ways = known_label_texts(table.class_names, table.label_texts, sample=listed.source, class_map=class_map)
    return listed, submission_form(listed, ways)


def _cached(
    table: Table, recipes: Sequence[Recipe], cache: Path, on_progress: Progress
) -> dict[StoredSize, CachedPhotos]:
    """All photos of the table, once for each size that some recipe needs."""
    return {
        size: cache_photos(table.photo_paths(), stored=size, folder=cache, on_progress=on_progress)
        for size in dict.fromkeys(map(_size_of, recipes))
    }


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The fields of a recipe, but what is said about it."""
    return {key: value for key, value in recipe.as_dict().items() if key != "about"}


def _size_of(recipe: Recipe) -> StoredSize:
    return recipe.data.stored_size


def _checked(table: Table, photos: CachedPhotos, on_progress: Progress) -> PhotoCheck:
    """What the pass that stored the photos found, beside the labels."""
    names = np.array(table.class_names, object)[table.given_labels].tolist()
    return check_records(_records(photos), labels=names, on_progress=on_progress)


def _records(photos: CachedPhotos) -> list[PhotoRecord[Any]]:
    """What the pass that stored the photos learned of them."""
    return [
        PhotoRecord(
            row=row,
            reason=reason,
            sha256=photo.sha256 if photo else None,
            facts=photo.facts if photo else None,
            findings=photo.facts.findings if photo else (),
            prepared=None,
        )
        for row, (photo, reason) in enumerate(zip(photos.photos, photos.reasons, strict=True))
    ]


def _taken(photos: CachedPhotos, rows: NDArray[np.intp]) -> CachedPhotos:
    kept = rows.tolist()
    return replace(
        photos,
        photos=tuple(photos.photos[row] for row in kept),
        offsets=photos.offsets[rows],
        reasons=tuple(photos.reasons[row] for row in kept),
    )


def _some_members(
    recipes: Sequence[Recipe],
    training_data: Mapping[str, "TrainingData"],
    place: Path,
    only: Sequence[str],
    tracked: Tracking,
    **how: Any,
) -> TrainResult:
    from kiyome.training.cross_validate import pick_members, plan_members, train_members
    from kiyome.training.nested import plan_pairs, train_pairs

    members = plan_members(recipes, training_data)
    picked = pick_members([*plan_pairs(members), *members], only)
    others = [each for each in members if each not in picked]
    pairs, own = ([each for each in picked if each.is_pair == is_pair] for is_pair in (True, False))
    how["on_event"] = tracked
    trained = train_pairs(pairs, place, **how)
    taught = apply_nested_cleaning(own, place, **how)
    trained += train_members(taught, place, others=others, **how)
    return TrainResult(
        folder=place,
        table=members[0].data.table,
        predictions=None,
        members=tuple(member.facts for member in trained),
        scores={},
        num_training_rows=num_training_rows(taught or members),
        models=tuple(recipe.title for recipe in recipes),
        notes=(
            "only some members were trained; the same command without --members puts all together",
            *notes_on_rows(taught),
            *tracked.notes,
        ),
    )


def _ending(recipes: Sequence[Recipe]) -> str:
    """How the name of the run folder ends: with the form that all models share, such as -clean-global."""
    forms = {recipe.title.removeprefix(recipe.name) for recipe in recipes}
    mixed = "-mixed-global" if any("-global" in form for form in forms) else "-mixed"
    return "-train" + (forms.pop() if len(forms) == 1 else mixed)


def _notes(photos: Mapping[StoredSize, CachedPhotos], run: RunFolder) -> list[str]:
    notes = [note for each in photos.values() for note in each.notes]
    for package, (before, now) in run.changed_versions.items():
        notes.append(f"{package} was {before} and is {now}: not bit for bit the same run")
    return notes
