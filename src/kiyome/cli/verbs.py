"""What can be said: one function a verb, each a thin call of the recipe of that name."""

from collections.abc import Callable
from inspect import getdoc
from pathlib import Path
from typing import Annotated

import typer

from kiyome.cli import words
from kiyome.cli.answers import answering, line
from kiyome.cli.auditing import audit, audit_sample
from kiyome.cli.combining import blend, calibrate, correct, stack
from kiyome.cli.judging import evaluate
from kiyome.cli.member_table import watching
from kiyome.progress import silent

Data = Annotated[
    Path,
    typer.Argument(
        help="A folder of class folders, a CSV or Parquet table, or a Hugging Face style metadata file."
    ),
]
Images = Annotated[
    Path | None, typer.Option(help="The folder of photos that a table speaks of; found by itself if near.")
]
ClassMap = Annotated[Path | None, typer.Option(help="JSON file: label number to class name.")]
IdColumn = Annotated[str | None, typer.Option(help="Column of photo names; found by itself if usual.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of labels; found by itself if usual.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; runs/NAME if not given.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines, no words.")]


def find(
    data: Data,
    images: Images = None,
    pred_probs: Annotated[
        Path | None,
        typer.Option(
            help="Out-of-fold predictions that you have: CSV or Parquet with one column a class, or .npy."
        ),
    ] = None,
    output: Output = None,
    backbone: Annotated[
        str | None, typer.Option(help="A timm name, 'lite0' (no torch) or 'tiny' (no weights).")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the backbone from this file, not the hub.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="Which rows are flagged: 'adaptive', or one of cleanlab's filters by name.")
    ] = "adaptive",
    precision: Annotated[
        float | None,
        typer.Option(
            help="Flag rows while about this share of them is wrong, 0.9 say; 'adaptive' chooses if absent."
        ),
    ] = None,
    num_folds: Annotated[int, typer.Option("--folds", help="Number of folds, at least 3.")] = 5,
    seed: Annotated[int, typer.Option(help="Decides the deal of the folds.")] = 0,
    class_map: ClassMap = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    top: Annotated[int, typer.Option(help="How many suspicious rows to print.")] = 10,
    as_json: Json = False,
) -> None:
    """Rank the labels that are probably wrong, and write a run folder with a report.

    Examples:
      kiyome find photos/                           one folder a class
      kiyome find train.csv --images train_images   a Kaggle table
      kiyome find train.csv --pred-probs oof.csv    predictions at hand, no photos
      kiyome find photos/ --precision 0.9           fewer rows, nearly all of them wrong
      kiyome find photos/ --backbone vit_small_patch14_dinov2.lvd142m
    """
    with answering(as_json) as (say, on_progress):
        from kiyome.recipes.find import find as find_labels

        result = find_labels(
            data,
            images=images,
            pred_probs=pred_probs,
            output=output,
            backbone=backbone,
            weights=weights,
            method=method,
            precision=precision,
            num_folds=num_folds,
            seed=seed,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            on_progress=on_progress,
        )
        say(result.summary(), lambda: words.show_find(result, top))


def check(
    data: Data,
    images: Images = None,
    output: Output = None,
    class_map: ClassMap = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
    as_json: Json = False,
) -> None:
    """Read every photo, and list what is unreadable, odd, doubled, or labeled in two ways.

    Examples:
      kiyome check photos/
      kiyome check train.csv --images train_images --json
    """
    with answering(as_json) as (say, on_progress):
        from kiyome.recipes.check import check as check_photos

        result = check_photos(
            data,
            images=images,
            output=output,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            on_progress=on_progress,
        )
        say(result.summary(), lambda: words.show_check(result))


def demo(output: Output = None, as_json: Json = False) -> None:
    """Find doubtful labels among 2,624 real photographs of solar cells, then ask the experts' doubt.

    The experts graded each cell 0, 1/3, 2/3 or 1. kiyome sees two classes only (defect from 2/3 up); the
    doubtful grades 1/3 and 2/3 are hidden from it, and should be far more frequent among the rows it flags.

    The photographs come in the package elpv-dataset, licence CC BY-NC-SA 4.0.

    Examples:
      kiyome demo
    """
    with answering(as_json) as (say, on_progress):
        from kiyome.recipes.demo import demo as run_demo

        result = run_demo(output=output, on_progress=on_progress)
        say(result.summary(), lambda: words.show_demo(result))


def train(
    data: Annotated[
        Path, typer.Argument(help="As for find; with --print-recipe it may be left out.")
    ] = Path(),
    changes: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: epochs=3 augment.cutout=0.5 ...")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
    labels: Annotated[
        str | None,
        typer.Option(
            help="'all' rows, as most recipes; 'clean': without those flagged by models that saw nothing of"
            " the held-out fold; 'clean-global': without those that --flags names, which leaks."
        ),
    ] = None,
    flags: Annotated[
        Path | None, typer.Option(help="With clean-global: the run of find or train whose flags are taken.")
    ] = None,
    images: Images = None,
    output: Output = None,
    test: Annotated[
        Path | None, typer.Option(help="Photos to predict: a folder, or a sample submission.")
    ] = None,
    test_images: Annotated[
        Path | None, typer.Option(help="The folder of photos that the sample submission speaks of.")
    ] = None,
    members: Annotated[
        list[str] | None, typer.Option(help="Train these only: fold=0, fold=0,2, recipe=NAME, seed=1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the deal of the folds.")] = 0,
    class_map: ClassMap = None,
    id_column: IdColumn = None,
    label_column: LabelColumn = None,
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

    Killed at any moment, the same command goes on where it was, and ends with the same result.

    Examples:
      kiyome train photos/ --recipe quick                minutes on two cores
      kiyome train train.csv --recipe talk-best-public --test sample_submission.csv
      kiyome train photos/ epochs=5 loss=bi_tempered     changes to the recipe
      kiyome train photos/ --labels clean                without rows whose label is probably wrong
      kiyome train photos/ soft_labels=nested            labels softened by models that saw no row of theirs
      kiyome train photos/ --members fold=0              one of several machines on one --output
      kiyome train photos/ --tracker tensorboard         curves in RUN/tracking, besides metrics.jsonl
      WANDB_MODE=online kiyome train photos/ --tracker wandb
      kiyome train --recipe modern --print-recipe > mine.toml
    """
    with answering(as_json) as (say, _), watching() as (on_progress, on_news):
        wanted = list(changes or [])
        if print_recipe:
            from kiyome.recipes.lessons import changes_for_labels
            from kiyome.training.recipe_files import read_recipes, recipe_text

            wanted = [str(data), *wanted] if "=" in str(data) else wanted
            recipes = read_recipes(recipe, [*wanted, *changes_for_labels(labels, flags)])
            say({each.name: each.as_dict() for each in recipes}, lambda: line(recipe_text(recipes)))
            return
        from kiyome.recipes.train import train as train_members
        from kiyome.training.processes import is_main_process

        result = train_members(
            data,
            recipe=recipe,
            changes=wanted,
            labels=labels,
            flags=flags,
            images=images,
            output=output,
            test=test,
            test_images=test_images,
            members=members or (),
            seed=seed,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            trackers=tracker or (),
            on_progress=on_progress if is_main_process() else silent,
            on_news=on_news,
        )
        if is_main_process():
            say(result.summary(), lambda: words.show_train(result))


def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `kiyome train`.")],
    photos: Annotated[Path, typer.Argument(help="A folder of photos, or a table with their ids.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file of ids and labels.")] = Path(
        "submission.csv"
    ),
    sample: Annotated[
        Path | None, typer.Option(help="A sample submission whose ids, order and columns are taken.")
    ] = None,
    images: Images = None,
    as_json: Json = False,
) -> None:
    """Predict photos with the models of a training; no network is needed, and no label.

    Examples:
      kiyome predict runs/leaves-train test_images -o submission.csv
      kiyome predict runs/leaves-train sample_submission.csv --images test_images
      kiyome predict runs/leaves-train test_images --sample sample_submission.csv
    """
    with answering(as_json) as (say, on_progress):
        from kiyome.recipes.predict import predict as predict_photos

        result = predict_photos(
            run, photos, output=output, sample=sample, images=images, on_progress=on_progress
        )
        say(result.summary(), lambda: words.show_predict(result))


def curate(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `kiyome find`.")],
    action: Annotated[
        str | None,
        typer.Option(
            help="What becomes of flagged rows: drop, relabel, weight, soften or keep;"
            " drop if absent, keep where --decisions are given."
        ),
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="What people decided: a file with image_id, decision and label.")
    ] = None,
    min_chance: Annotated[
        float, typer.Option(help="Act only where the label is wrong with at least this chance.")
    ] = 0.0,
    max_lost: Annotated[float, typer.Option(help="The largest share of a class that may be lost.")] = 0.5,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Make the next version of a table from what was flagged and what people decided.

    No row leaves the table: a dropped one is never taught, and still predicted and scored. The new labels
    are in corrected_labels.csv, every change in changes.csv.

    Examples:
      kiyome curate runs/leaves                          flagged rows teach nothing from now on
      kiyome curate runs/leaves --action relabel --min-chance 0.9
      kiyome curate runs/leaves --decisions decisions.csv
      kiyome train runs/leaves-drop/table.parquet --images photos
    """
    with answering(as_json) as (say, _):
        from kiyome.recipes.curate import curate as curate_run

        result = curate_run(
            run, action=action, decisions=decisions, min_chance=min_chance, max_lost=max_lost, output=output
        )
        say(result.summary(), lambda: words.show_curate(result))


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `kiyome train`.")],
    photos: Annotated[Path, typer.Argument(help="Real photos to check with: a folder, or a table.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the files go; RUN/onnx if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write each model of a training as ONNX, once it gives torch's probabilities on real photos.

    Photos go in as uint8, probabilities come out; a JSON file beside each says classes, size and cut.
    timm needs no export: timm.create_model("local-dir:RUN/members/MEMBER/models/EPOCH") loads what is there.

    Examples:
      kiyome export runs/leaves-train photos/
      kiyome export runs/leaves-train test_images -o onnx
    """
    with answering(as_json) as (say, on_progress):
        from kiyome.recipes.export import export as export_models

        result = export_models(run, photos, output=output, on_progress=on_progress)
        say(result.summary(), lambda: words.show_export(result))


def clean_and_retrain(
    data: Data,
    changes: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: epochs=3 ...")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
    action: Annotated[
        str, typer.Option(help="What becomes of flagged rows: drop, relabel, weight, soften or keep.")
    ] = "drop",
    min_chance: Annotated[
        float, typer.Option(help="Act only where the label is wrong with at least this chance.")
    ] = 0.0,
    decisions: Annotated[
        Path | None, typer.Option(help="What people decided: a file with image_id, decision and label.")
    ] = None,
    images: Images = None,
    output: Output = None,
    seed: Annotated[int, typer.Option(help="Decides the deal of the folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Train, find wrong labels by these members, act on them, train again, blend; the diary tells each step.

    Examples:
      kiyome clean-and-retrain photos/
      kiyome clean-and-retrain photos/ --action relabel --min-chance 0.9 epochs=5
    """
    with answering(as_json) as (say, _), watching() as (on_progress, on_news):
        from kiyome.recipes.clean_and_retrain import clean_and_retrain as second_round

        result = second_round(
            data,
            recipe=recipe,
            changes=changes or (),
            action=action,
            min_chance=min_chance,
            decisions=decisions,
            images=images,
            output=output,
            seed=seed,
            on_progress=on_progress,
            on_news=on_news,
        )
        say(result.summary(), lambda: words.show_diary(result.history))


def noise_classifier(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `kiyome find` on photos.")],
    changes: Annotated[list[str] | None, typer.Argument(help="Changes to the recipe: epochs=3 ...")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Train models to tell from a photo whether its label was flagged, and say how well that works.

    Examples:
      kiyome noise-classifier runs/leaves
      kiyome noise-classifier runs/leaves epochs=5
    """
    with answering(as_json) as (say, on_progress):
        from kiyome.recipes.noise_classifier import noise_classifier as classify

        result = classify(run, recipe=recipe, changes=changes or (), output=output, on_progress=on_progress)
        say(result.summary(), lambda: words.show_noise_classifier(result))


def diary(
    runs: Annotated[Path, typer.Argument(help="The folder that holds the runs and their diary.")] = Path(
        "runs"
    ),
    baseline: Annotated[
        str | None, typer.Option(help="The run to compare with; the first on the same rows if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show every experiment, its score with an interval, and whether it beats the baseline by more than luck.

    The diary is kept by the verbs themselves, in the folder of the run folders.

    Examples:
      kiyome diary
      kiyome diary runs --baseline leaves-train-2
      kiyome diary runs --json
    """
    with answering(as_json) as (say, _):
        from kiyome.recipes.diary import diary as read_all

        result = read_all(runs, baseline=baseline)
        say(result.summary(), lambda: words.show_diary(result))


VERBS: dict[str, Callable[..., None]] = {
    "find": find,
    "check": check,
    "train": train,
    "predict": predict,
    "export": export,
    "blend": blend,
    "stack": stack,
    "calibrate": calibrate,
    "correct": correct,
    "curate": curate,
    "clean-and-retrain": clean_and_retrain,
    "noise-classifier": noise_classifier,
    "evaluate": evaluate,
    "audit-sample": audit_sample,
    "audit": audit,
    "diary": diary,
    "demo": demo,
}

app = typer.Typer(
    name="kiyome",
    help="Find wrong labels in image classification sets, and score models honestly in spite of them.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for _name, _verb in VERBS.items():
    # The backspace tells click to keep the lines of the examples apart.
    app.command(_name, help=(getdoc(_verb) or "").replace("Examples:", "\b\nExamples:"))(_verb)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"kiyome {version('kiyome')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Carry the options that stand before a verb."""


def main() -> None:
    """Run the command line."""
    app()
