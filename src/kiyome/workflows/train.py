"""From labeled photos to members, their out-of-fold predictions, and a submission.

table ── photos decoded once ── folds ── members: recipe x fold x seed ── out of fold ── report
                                                    └── models that timm loads ── submission
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np

from kiyome.artifacts.escapes import formula_warnings
from kiyome.artifacts.run import RunFolder, RunIdentity, announce_run, is_finished, path_of_run
from kiyome.artifacts.storage import cache_notes, default_cache_folder, write_text
from kiyome.artifacts.table import Table
from kiyome.executors import HERE, Executor, choose_executor
from kiyome.experiments import note_run
from kiyome.images.check import PhotoCheck, check_records
from kiyome.progress import Notes, OnEvent, Progress, ignore_event, ignore_note, no_progress, shows_progress
from kiyome.reading.photo_list import PhotoList, read_photo_list
from kiyome.reading.submission import SubmissionForm, known_label_texts, submission_form
from kiyome.reading.test_set import is_labeled_test_set
from kiyome.training.processes import (
    TimeLimit,
    check_executor,
    is_main_process,
    main_process_first,
    wait_for_everyone,
)
from kiyome.training.recipe import Recipe
from kiyome.training.recipe_files import read_recipes, recipe_text
from kiyome.training.tracking import check_trackers, tracking
from kiyome.workflows.cleaning import apply_nested_cleaning, changes_for_labels, prepare_training_data
from kiyome.workflows.inputs import as_path, missing_list_path, open_table, run_folder_path
from kiyome.workflows.member_photos import MemberPhotos, Source, read_member_photos, source_of
from kiyome.workflows.outputs import lost_classes, set_aside_note, write_photo_lists
from kiyome.workflows.predict import PredictResult, predict_photos, write_submission
from kiyome.workflows.run_folds import RunFolds, usable_photos
from kiyome.workflows.train_result import TrainResult, result_of_some, result_of_training, write_result

if TYPE_CHECKING:
    from kiyome.training.member import TrainingData

Photos = Mapping[Source, MemberPhotos]
"""All photos of the table, once for each size or backbone that some recipe needs."""


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
    label_from_name: str | None = None,
    group_column: str | None = None,
    weight_column: str | None = None,
    split_column: str | None = None,
    ignore_splits: bool = False,
    follow_links: bool = False,
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
    data, images, class_map, id_column, label_column, group_column, weight_column, split_column, follow_links
        As for `kiyome.reading.read_table.read_table`; `data` may also be a frame of pandas or polars.
    ignore_splits
        Whether all rows are for training, whatever folders or a column say.
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
        The run folder; the next free ``runs/NAME-train`` if not given. The same command resumes in its own.
    label_from_name
        A regular expression for the names of photos without their ending, whose only group is the class.
    test, test_images
        A test set with labels, as for `kiyome.find`: its rows join the table, no member learns from them, and
        all predict them. Without labels, or a sample submission: photos to predict into ``submission.csv``
        when all members are finished, and their folder; as `photos` and `images` of
        `kiyome.workflows.predict.predict`.
    members
        Train only these, such as ``fold=0``, for several processes or machines on one run folder. The same
        command without it then puts all together. ``fold=0+1`` is a pair behind a nested recipe.
    executor
        Where members are trained: ``here``, ``processes:2``, ``ray``, ``slurm:gpu`` and so on, as for
        `kiyome.executors.choose_executor`. Results do not depend on it.
    stop_after
        ``8h``, ``30m`` or ``90s``: stop after a whole epoch when another one as long would end after that
        time, which begins with this call. The same call resumes, to the same result.
    seed
        Seed of new folds; ``num_folds=`` among the changes asks for new folds, too. Without
        them the folds are those of the oldest run of the same rows and labels beside the run folder, if there
        is one, else new folds by seed 0. A `fold` column in the data comes first.
    cache_folder
        Where decoded photos are kept between runs.
    trackers
        Of ``wandb``, ``trackio``, ``tensorboard``, ``mlflow``: each gets the metrics as well, one tracked run
        a member, below ``tracking/`` in the run folder. Nothing goes over a network unless WANDB_MODE=online,
        TRACKIO_SPACE_ID, TRACKIO_SERVER_URL or MLFLOW_TRACKING_URI ask for it. Results stay the same.
    on_progress
        Called as ``on_progress(stage, done, total)``; a stage for each member counts its steps.
    on_event
        Called with a `MemberEvent` when the state of a member changes, and after each epoch.
    on_note
        Called, before photos are read, with each note on what a change to the recipe entails.
    progress
        Show bars on stderr in a terminal or a notebook, unless `on_progress` listens; False is silent.

    Returns
    -------
    TrainResult
        Its folder holds ``members/`` (models that timm loads), ``oof`` and ``table`` as CSV and Parquet,
        ``predictions/``, ``metrics.jsonl``, ``training_dynamics`` as CSV and Parquet, ``recipe.toml``,
        ``report.html``, and ``submission.csv`` where test photos without labels were given.

    Raises
    ------
    InputError
        With the known names, for a recipe, a field or a loss that is unknown.
    MissingExtra
        With the pip line, where a package is absent.
    KiyomeError
        Where a training stops; the same command resumes after its last whole epoch.
    TimeLimitReached
        Where `stop_after` came first; its `folder` is the run folder.
    """
    data = as_path(data)
    limit = TimeLimit.of(stop_after)
    check_trackers(trackers)
    check_executor(where := choose_executor(executor))
    notes: list[str] = []
    recipes = read_recipes(recipe, [*changes, *changes_for_labels(labels, flags)], on_note=notes.append)
    for note in notes:
        on_note(note)
    folder = run_folder_path(data, output, _ending(recipes))
    options: dict[str, Any] = {
        "images": images,
        "class_map": class_map,
        "id_column": id_column,
        "label_column": label_column,
        "label_from_name": label_from_name,
        "group_column": group_column,
        "weight_column": weight_column,
        "split_column": split_column,
        "ignore_splits": ignore_splits,
        "follow_links": follow_links,
        "missing_list": missing_list_path(folder),
        "on_progress": on_progress,
    }
    table, submission = open_table(data, **options), None
    if test is not None and is_labeled_test_set(test, table):
        table = open_table(data, test=test, test_images=test_images, **options)
    elif test is not None:
        submission = _Submission.of(test, test_images, data, table, class_map)
    for note in table.notes:
        on_note(note)
    has_new_folds = seed is not None or any("num_folds" in each.partition("=")[0] for each in changes)
    identity: RunIdentity = {
        "command": "train",
        "config": _config(recipes, seed or 0, has_new_folds=has_new_folds),
        "table": table,
        "named_by_user": output is not None,
    }
    cache = Path(cache_folder or default_cache_folder())
    with main_process_first():
        check_models(recipes, folder, **identity)
        photos = {
            source: read_member_photos(
                source,
                table.photo_paths(),
                deep_bits=table.deep_bits,
                cache_folder=cache,
                on_progress=on_progress,
            )
            for source in dict.fromkeys(map(source_of, recipes))
        }
    run_folds = RunFolds(
        run=path_of_run(folder, **identity),
        num_folds=recipes[0].data.num_folds,
        seed=seed or 0,
        is_own=has_new_folds or table.folds is not None,
        fewest=3 if any(recipe.cleaning.is_nested for recipe in recipes) else 2,
    )
    check = usable_photos(table, _check_photos(table, next(iter(photos.values())), on_progress))
    scored = run_folds.assign(table, check)
    training = _Training(
        folder=folder,
        identity=identity,
        recipes=recipes,
        run_folds=run_folds,
        table=scored,
        data=prepare_training_data(scored, recipes, _readable_photos(recipes, photos, check)),
        how={"executor": where, "limit": limit, "on_progress": on_progress},
        trackers=trackers,
        on_event=on_event,
        notes=(
            *notes,
            *scored.notes,
            *set_aside_note(check),
            *lost_classes(check),
            *(() if cache_folder else cache_notes()),
            *run_folds.note(scored, say=f"num_folds={run_folds.num_folds}"),
        ),
    )
    if members or not is_main_process():
        return _train_some(training, members)
    return _train_all(training, photos, check, submission, cache, title=Path(data).resolve().name)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Training:
    """A training that is checked and ready to begin."""

    folder: Path
    identity: RunIdentity
    recipes: Sequence[Recipe]
    run_folds: RunFolds
    table: Table
    """The rows whose photo can be read, with folds."""
    data: Mapping[str, "TrainingData"]
    """For each recipe's name."""
    how: Mapping[str, Any]
    """Executor, time limit and progress of `train_members`."""
    trackers: Sequence[str]
    on_event: OnEvent
    notes: tuple[str, ...]


def _train_all(
    training: _Training,
    photos: Photos,
    check: PhotoCheck,
    submission: "_Submission | None",
    cache: Path,
    *,
    title: str,
) -> TrainResult:
    """Train every member, write the run folder, and note the experiment in the diary."""
    from kiyome.training.cross_validate import cross_validate, plan_members

    recipes, table = training.recipes, training.table
    with (
        RunFolder.create_or_reopen(training.folder, **training.identity) as run,
        tracking(training.trackers, run.path, on_event=training.on_event) as tracked,
    ):
        training.run_folds.keep(table)
        wait_for_everyone()  # the other processes enter the folder now
        write_text(run.path / "recipe.toml", recipe_text(recipes))
        write_photo_lists(run.path, training.identity["table"], check)
        how = {**training.how, "on_event": tracked}
        members = apply_nested_cleaning(plan_members(recipes, training.data), run.path, **how)
        trained = cross_validate(members, run.path, **how)
        formulas = formula_warnings(table, ["oof.csv", "table.csv"])
        notes = [*training.notes, *formulas, *_run_notes(photos, run), *tracked.notes]
        result = result_of_training(run.path, recipes, trained, notes)
        if submission is not None:
            written = submission.write(run.path, table, cache, training.how["on_progress"])
            result = replace(result, submission=written)
        write_result(result, trained, recipes, title=title)
    left_out = result.is_kept is not None and not result.is_kept.all()
    note_run(result.folder, leaks=result.leaks, is_kept=result.is_kept if left_out else None)
    return result


def _train_some(training: _Training, only: Sequence[str]) -> TrainResult:
    """Train the members that `only` picks in a run folder that other processes share."""
    from kiyome.training.cross_validate import pick_members, plan_members, train_members
    from kiyome.training.nested import plan_pairs, train_pairs

    with main_process_first():  # it holds the folder, or has announced it
        folder = announce_run(training.folder, **training.identity)
        training.run_folds.keep(training.table)
    with tracking(training.trackers, folder, on_event=training.on_event) as tracked:
        how = {**training.how, "on_event": tracked}
        planned = plan_members(training.recipes, training.data)
        picked = pick_members([*plan_pairs(planned), *planned], only)
        others = [each for each in planned if each not in picked]
        trained = train_pairs([each for each in picked if each.is_pair], folder, **how)
        members = apply_nested_cleaning([each for each in picked if not each.is_pair], folder, **how)
        trained += train_members(members, folder, others=others, **how)
        notes = [*training.notes, *tracked.notes]
        return result_of_some(folder, training.recipes, trained, members or planned, notes)


class _Submission(NamedTuple):
    """Test photos and the form in which their predictions are written."""

    photos: PhotoList
    form: SubmissionForm

    @classmethod
    def of(
        cls,
        test: Path | str,
        images: Path | str | None,
        data: Path | str,
        table: Table,
        class_map: Path | str | None,
    ) -> "_Submission":
        """Return the test photos, found near the training data if need be; errors come before training."""
        near = (Path(data).parent, Path(data), table.root.parent, table.root)
        photos = read_photo_list(test, images=images, near=near, images_option="--test-images")
        texts = known_label_texts(
            table.class_names, table.label_texts, sample=photos.source, class_map=class_map
        )
        return cls(photos, submission_form(photos, texts))

    def write(self, run: Path, table: Table, cache: Path, on_progress: Progress) -> PredictResult:
        """Predict the photos with the members of a run, and write its submission.csv."""
        predicted = predict_photos(
            run, self.photos, class_names=table.class_names, cache_folder=cache, on_progress=on_progress
        )
        return write_submission(predicted, self.form, run / "submission.csv")


def check_models(recipes: Sequence[Recipe], folder: Path, **identity: Unpack[RunIdentity]) -> None:
    """Refuse models that cannot be built, for lack of weights say; a finished run needs none."""
    if not is_finished(folder, **identity):
        from kiyome.training.train_state import check_networks

        check_networks(recipes)


def _config(recipes: Sequence[Recipe], seed: int, *, has_new_folds: bool) -> dict[str, Any]:
    """The settings that identify a run: all fields of its recipes but `about`, and the seed of its folds."""
    fields = [{key: value for key, value in each.settings.items() if key != "about"} for each in recipes]
    config: dict[str, Any] = {"recipes": fields, "seed": seed}
    return {**config, "new_split": True} if has_new_folds else config


def _check_photos(table: Table, photos: MemberPhotos, on_progress: Progress) -> PhotoCheck:
    """The check of the photos, from the pass that cached them."""
    names = table.given_names.tolist()
    return check_records(photos.records, labels=names, on_progress=on_progress)


def _readable_photos(recipes: Sequence[Recipe], photos: Photos, check: PhotoCheck) -> dict[str, MemberPhotos]:
    """The photos that can be read, as each recipe sees them, for its name."""
    rows = np.flatnonzero(check.readable)
    readable = {source: each.take(rows) for source, each in photos.items()}
    return {recipe.name: readable[source_of(recipe)] for recipe in recipes}


def _ending(recipes: Sequence[Recipe]) -> str:
    """The end of the run folder's name, with the form that all models share, such as -clean-global."""
    forms = {recipe.cleaning.suffix for recipe in recipes}
    mixed = "-mixed-global" if any("-global" in form for form in forms) else "-mixed"
    return "-train" + (forms.pop() if len(forms) == 1 else mixed)


def _run_notes(photos: Photos, run: RunFolder) -> list[str]:
    notes = [note for each in photos.values() for note in each.notes]
    for package, (before, now) in run.changed_versions.items():
        notes.append(f"{package} was {before} and is {now}: not bit for bit the same run")
    return notes
