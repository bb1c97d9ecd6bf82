"""The verbs that train members and use them: train, predict, export, and the flows around training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kiyome.cli import render
from kiyome.cli.command import (
    ClassMap,
    Data,
    Emit,
    ExecutorName,
    FollowLinks,
    GroupColumn,
    IdColumn,
    IgnoreSplits,
    Images,
    Json,
    LabelColumn,
    LabelFromName,
    MaxLeftOut,
    Output,
    Seed,
    SplitColumn,
    StopAfter,
    WeightColumn,
    command_output,
    line,
)
from kiyome.cli.member_table import watching
from kiyome.progress import ignore_note, no_progress


def train(
    data: Annotated[
        Path, typer.Argument(help="As for find; with --print-recipe it may be left out.")
    ] = Path(),
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the recipe: epochs=3 augment.cutout=0.5 NAME.weights=FILE ..."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
    labels: Annotated[
        str | None,
        typer.Option(
            help="'all' rows, as most recipes; 'clean': without those flagged by models that saw nothing of"
            " the held-out fold (with F folds, F (F - 1) / 2 more trainings for each model and seed);"
            " 'clean-global': without those that --flags names, which leaks."
        ),
    ] = None,
    flags: Annotated[
        Path | None, typer.Option(help="With clean-global: the run of find or train whose flags are used.")
    ] = None,
    images: Images = None,
    output: Output = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="A test set with labels, whose rows join the run as for find; or photos to predict: a"
            " folder, or a sample submission, whose form is used."
        ),
    ] = None,
    test_images: Annotated[
        Path | None,
        typer.Option(help="The folder of the photos of --test; looked for nearby if not given."),
    ] = None,
    members: Annotated[
        list[str] | None, typer.Option(help="Train these only: fold=0, fold=0,2, recipe=NAME, seed=1.")
    ] = None,
    executor: ExecutorName = "here",
    stop_after: StopAfter = None,
    seed: Seed = None,
    class_map: ClassMap = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    label_from_name: LabelFromName = None,
    group_column: GroupColumn = None,
    weight_column: WeightColumn = None,
    split_column: SplitColumn = None,
    ignore_splits: IgnoreSplits = False,
    follow_links: FollowLinks = False,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Print the recipe with its changes, and stop.")
    ] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="Metrics to wandb, trackio, tensorboard or mlflow, too; in the run folder, offline."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train models over folds; predict each photo by models that never saw it, and new photos by all.

    Killed at any moment, the same command resumes where it was, to the same result.

    Examples:
      kiyome train photos/ --recipe quick                minutes on two cores
      kiyome train train.csv --recipe talk-best-public --test sample_submission.csv
      kiyome train train.csv --test test.csv             a test set with labels: then kiyome evaluate RUN
      kiyome train photos/ epochs=5 loss=bi_tempered     changes to the recipe; losses in short: sce, gce, elr
      kiyome train photos/ --recipe talk-best-public resnext50.weights=resnext50.safetensors
      kiyome train photos/ num_folds=3                   new folds; else the folds of an earlier run here
      kiyome train photos/ --labels clean                without rows whose label is probably wrong
      kiyome train photos/ soft_labels=nested            labels softened by models that saw no row of theirs
      kiyome train photos/ --executor processes          one process a GPU; or ray, slurm:PARTITION
      kiyome train photos/ --members fold=0              one of several machines on one --output
      kiyome train photos/ --stop-after 8h               for sessions of 9 hours; run again to resume
      kiyome train photos/ --tracker tensorboard         curves in RUN/tracking, besides metrics.jsonl
      WANDB_MODE=online kiyome train photos/ --tracker wandb
      kiyome train --recipe modern --print-recipe > mine.toml
    """
    with command_output(as_json) as (emit, _), watching() as (on_progress, on_event):
        if print_recipe:
            first = [str(data)] if "=" in str(data) else []
            _emit_recipe(emit, recipe, [*first, *(changes or ())], labels, flags)
            return
        from kiyome.training.processes import is_main_process
        from kiyome.workflows.train import train as train_members

        result = train_members(
            data,
            recipe=recipe,
            changes=changes or (),
            labels=labels,
            flags=flags,
            images=images,
            output=output,
            test=test,
            test_images=test_images,
            members=members or (),
            executor=executor,
            stop_after=stop_after,
            seed=seed,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            label_from_name=label_from_name,
            group_column=group_column,
            weight_column=weight_column,
            split_column=split_column,
            ignore_splits=ignore_splits,
            follow_links=follow_links,
            trackers=tracker or (),
            on_progress=on_progress if is_main_process() else no_progress,
            on_event=on_event,
            on_note=render.tell if is_main_process() else ignore_note,
        )
        if is_main_process():
            emit(result.summary(), lambda: render.show_train(result))


def _emit_recipe(
    emit: Emit, recipe: str, changes: Sequence[str], labels: str | None, flags: Path | None
) -> None:
    """Print the recipe with its changes, as a file that --recipe reads."""
    from kiyome.training.recipe_files import read_recipes, recipe_text
    from kiyome.workflows.cleaning import changes_for_labels

    notes: list[str] = []
    recipes = read_recipes(recipe, [*changes, *changes_for_labels(labels, flags)], on_note=notes.append)
    summary = {"recipes": {each.name: each.as_dict() for each in recipes}, "notes": notes}
    text = "".join(f"# note: {note}\n" for note in notes) + recipe_text(recipes)
    emit(summary, lambda: line(text))


def predict(
    run: Annotated[Path, typer.Argument(help="A finished run of find or train, or made of such.")],
    photos: Annotated[Path, typer.Argument(help="A folder of photos, or a table with their ids.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The submission.")] = Path("submission.csv"),
    sample: Annotated[
        Path | None,
        typer.Option(help="A sample submission whose ids, order, columns and form are used."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="The folder of a table's photos; test_images or test nearby if not given."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(help="'labels' or 'probabilities', where no sample decides it."),
    ] = None,
    class_map: Annotated[
        Path | None,
        typer.Option(help="JSON file: what numbers or names in the sample mean, number to class."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict photos with the models of a training; no network is needed, and no label.

    Labels are written as in the training data. A sample submission decides ids, order, columns and
    form: labels, the probability of one class, or probabilities with one column a class.

    Examples:
      kiyome predict runs/leaves-train test_images -o submission.csv
      kiyome predict runs/leaves-train sample_submission.csv
      kiyome predict runs/leaves-train test_images --sample sample_submission.csv
      kiyome predict runs/leaves-train test_images --form probabilities
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.predict import predict as predict_photos

        result = predict_photos(
            run,
            photos,
            output=output,
            sample=sample,
            images=images,
            form=form,
            class_map=class_map,
            on_progress=on_progress,
        )
        emit(result.summary(), lambda: render.show_predict(result))


def export(
    run: Annotated[Path, typer.Argument(help="A finished run of find or train, or made of such.")],
    photos: Annotated[Path, typer.Argument(help="Real photos to check with: a folder, or a table.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the files go; RUN/onnx if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write each model of a training as ONNX, once it gives torch's probabilities on real photos.

    Photos go in as uint8, probabilities come out; a JSON file beside each lists classes, size and crop.
    timm needs no export: timm.create_model("local-dir:RUN/members/MEMBER/models/EPOCH") loads what is there.

    Examples:
      kiyome export runs/leaves-train photos/
      kiyome export runs/leaves-train test_images -o onnx
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.export import export as export_models

        result = export_models(run, photos, output=output, on_progress=on_progress)
        emit(result.summary(), lambda: render.show_export(result))


def noise_classifier(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `kiyome find` on photos.")],
    changes: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: epochs=3 ...")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
    stop_after: StopAfter = None,
    images: Images = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Train models to predict from a photo whether its label was flagged, and score them.

    Examples:
      kiyome noise-classifier runs/leaves
      kiyome noise-classifier runs/leaves epochs=5
    """
    with command_output(as_json) as (emit, on_progress):
        from kiyome.workflows.noise_classifier import noise_classifier as classify

        result = classify(
            run,
            recipe=recipe,
            changes=changes or (),
            stop_after=stop_after,
            images=images,
            output=output,
            on_progress=on_progress,
        )
        emit(result.summary(), lambda: render.show_noise_classifier(result))


def clean_and_retrain(
    data: Data,
    changes: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: epochs=3 ...")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
    action: Annotated[
        str, typer.Option(help="The action on flagged rows: drop, relabel, weight, soften or keep.")
    ] = "drop",
    min_chance: Annotated[
        float, typer.Option(help="Act only where the label is wrong with at least this chance.")
    ] = 0.0,
    max_left_out: MaxLeftOut = 0.5,
    decisions: Annotated[
        Path | None, typer.Option(help="Decisions of people: a file with image_id, decision and label.")
    ] = None,
    images: Images = None,
    output: Output = None,
    executor: ExecutorName = "here",
    stop_after: StopAfter = None,
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Train, find wrong labels by these members, act on them, train again, blend; the diary lists each step.

    Examples:
      kiyome clean-and-retrain photos/
      kiyome clean-and-retrain photos/ --action relabel --min-chance 0.9 epochs=5
    """
    with command_output(as_json) as (emit, _), watching() as (on_progress, on_event):
        from kiyome.workflows.clean_and_retrain import clean_and_retrain as second_round

        result = second_round(
            data,
            recipe=recipe,
            changes=changes or (),
            action=action,
            min_chance=min_chance,
            max_left_out=max_left_out,
            decisions=decisions,
            images=images,
            output=output,
            executor=executor,
            stop_after=stop_after,
            seed=seed,
            on_progress=on_progress,
            on_event=on_event,
        )
        emit(result.summary(), lambda: render.show_clean_and_retrain(result))
