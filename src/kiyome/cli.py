"""The command line: a verb is a function of the same name, and only this file prints or exits.

Exit codes: 0 done; 1 a defect of ours; 2 the input or the command must change; 130 stopped by the user.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiyome.errors import KiyomeError
from kiyome.progress import Progress, silent

if TYPE_CHECKING:
    from kiyome.recipes.check import CheckResult
    from kiyome.recipes.demo import DemoResult
    from kiyome.recipes.found import FindResult
    from kiyome.recipes.predict import PredictResult
    from kiyome.recipes.train import TrainResult

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
    with _answering(as_json) as (say, on_progress):
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
        say(result.summary(), lambda: _show_find(result, top))


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
    with _answering(as_json) as (say, on_progress):
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
        say(result.summary(), lambda: _show_check(result))


def demo(output: Output = None, as_json: Json = False) -> None:
    """Find doubtful labels among 2,624 real photographs of solar cells, then ask the experts' doubt.

    The experts graded each cell 0, 1/3, 2/3 or 1. kiyome sees two classes only (defect from 2/3 up); the
    doubtful grades 1/3 and 2/3 are hidden from it, and should be far more frequent among the rows it flags.

    The photographs come in the package elpv-dataset, licence CC BY-NC-SA 4.0.

    Examples:
      kiyome demo
    """
    with _answering(as_json) as (say, on_progress):
        from kiyome.recipes.demo import demo as run_demo

        result = run_demo(output=output, on_progress=on_progress)
        say(result.summary(), lambda: _show_demo(result))


def train(
    data: Annotated[
        Path, typer.Argument(help="As for find; with --print-recipe it may be left out.")
    ] = Path(),
    changes: Annotated[
        list[str] | None, typer.Argument(help="Changes to the recipe: epochs=3 augment.cutout=0.5 ...")
    ] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml or .yaml file.")] = "quick",
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
    as_json: Json = False,
) -> None:
    """Train models over folds; predict each photo by models that never saw it, and new photos by all.

    Killed at any moment, the same command goes on where it was, and ends with the same result.

    Examples:
      kiyome train photos/ --recipe quick                minutes on two cores
      kiyome train train.csv --recipe talk-best-public --test sample_submission.csv
      kiyome train photos/ epochs=5 loss=bi_tempered     changes to the recipe
      kiyome train photos/ --members fold=0              one of several machines on one --output
      kiyome train --recipe modern --print-recipe > mine.toml
    """
    with _answering(as_json) as (say, on_progress):
        wanted = list(changes or [])
        if print_recipe:
            from kiyome.training.recipe_files import read_recipes, recipe_text

            wanted = [str(data), *wanted] if "=" in str(data) else wanted
            recipes = read_recipes(recipe, wanted)
            say({each.name: each.as_dict() for each in recipes}, lambda: _line(recipe_text(recipes)))
            return
        from kiyome.recipes.train import train as train_members
        from kiyome.training.processes import is_main_process

        result = train_members(
            data,
            recipe=recipe,
            changes=wanted,
            images=images,
            output=output,
            test=test,
            test_images=test_images,
            members=members or (),
            seed=seed,
            class_map=class_map,
            id_column=id_column,
            label_column=label_column,
            on_progress=on_progress if is_main_process() else silent,
        )
        if is_main_process():
            say(result.summary(), lambda: _show_train(result))


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
    with _answering(as_json) as (say, on_progress):
        from kiyome.recipes.predict import predict as predict_photos

        result = predict_photos(
            run, photos, output=output, sample=sample, images=images, on_progress=on_progress
        )
        say(result.summary(), lambda: _show_predict(result))


VERBS: dict[str, Callable[..., None]] = {
    "find": find,
    "check": check,
    "train": train,
    "predict": predict,
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


# What the user sees while a verb works, and when it ends.

Say = Callable[[dict[str, Any], Callable[[], None]], None]


@contextmanager
def _answering(as_json: bool) -> Iterator[tuple[Say, Progress]]:
    """Bars on stderr, the answer on stdout, errors in words (or JSON) with their exit code."""

    def say(summary: dict[str, Any], in_words: Callable[[], None]) -> None:
        answer.append((summary, in_words))

    answer: list[tuple[dict[str, Any], Callable[[], None]]] = []
    try:
        with _bars() as on_progress:
            yield say, on_progress
    except KiyomeError as error:
        if as_json:
            parts = {"kind": type(error).__name__, "must": error.must, "came": error.came}
            print(json.dumps({"error": {**parts, "remedy": error.remedy}}))
        else:
            print(f"error: {visible(str(error))}", file=sys.stderr)
        raise typer.Exit(2) from error
    except OSError as error:
        print(f"error: {visible(str(error))}. What was finished before is whole.", file=sys.stderr)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as stop:
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        raise typer.Exit(130) from stop
    for summary, in_words in answer:
        if as_json:
            print(json.dumps(summary, indent=2))
        else:
            in_words()


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bars = RichProgress(*columns, console=Console(stderr=True))
    tasks: dict[str, Any] = {}

    def on_progress(stage: str, done: int, total: int) -> None:
        bars.start()
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    try:
        yield on_progress
    finally:
        if tasks:
            bars.stop()


def visible(text: str) -> str:
    r"""Text with nothing in it that a terminal would obey: names and labels come from strangers.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def chance(value: float) -> str:
    """A chance for people, who should never read of certainty.

    >>> chance(0.347), chance(0.9996), chance(0.001)
    ('35%', '>99%', '<1%')
    """
    return "<1%" if value < 0.005 else ">99%" if value > 0.995 else f"{value:.0%}"


def _show_find(result: "FindResult", top: int) -> None:
    rate, rows = result.noise_rate, len(result.table)
    for note in result.evidence.notes:
        _line(f"note: {note}")
    for name, value in result.evidence.facts:
        _line(f"{name:<38} {value}")
    if result.evidence.photos is not None:
        _show_photos(result.summary())
    _line()
    _line(
        f"About {rate.value:.1%} of the labels are probably wrong; {rate.low:.1%} to {rate.high:.1%} is what"
        " predictions leave open."
    )
    _line("Mistakes that the model shares with people stay hidden.")
    _line(f"{result.num_issues:,} of {rows:,} rows are flagged. The most suspicious:")
    _line()
    _show_rows(result, top)
    _line()
    _line(f"Look at   {result.folder / 'report.html'}")
    _line(f"Lists     {result.folder / 'label_issues.csv'}")


def _show_rows(result: "FindResult", top: int) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = result.ranking[: min(top, result.num_issues)].tolist()
    names = result.table.class_names
    shown = Table(box=SIMPLE, pad_edge=False)
    for column in ("rank", "photo", "given", "likely", "wrong"):
        shown.add_column(column, justify="right" if column in ("rank", "wrong") else "left")
    for rank, row in enumerate(rows, start=1):
        given, likely = names[result.table.given_labels[row]], names[result.suggested_labels[row]]
        cells = (str(rank), result.table.image_ids[row], given, likely, chance(result.probability[row]))
        shown.add_row(*(Text(visible(cell)) for cell in cells))
    Console().print(shown)


def _show_photos(summary: dict[str, Any]) -> None:
    _line(f"{summary['readable']:,} of {summary['photos']:,} photos read; {summary['set_aside']:,} set aside")
    for reason, count in summary["reasons"].items():
        _line(f"  {count:>6,}  {reason}")
    for finding, count in summary["findings"].items():
        _line(f"  {count:>6,}  {finding}")
    if groups := summary["duplicate_groups"]:
        differing = summary["duplicate_groups_with_different_labels"]
        _line(f"  {groups:>6,}  groups of photos that show the same, {differing:,} with different labels")
    if files := summary["files_that_are_no_row"]:
        _line(f"  {files:>6,}  files that are no row of the table")


def _show_check(result: "CheckResult") -> None:
    summary = result.summary()
    _show_photos(summary)
    _line()
    for name, counts in summary["classes"].items():
        aside = f", {counts['set_aside']:,} set aside" if counts["set_aside"] else ""
        _line(f"  {counts['readable']:>6,}  {name}{aside}")
    _line()
    _line(f"Lists     {result.folder}")


def _show_train(result: "TrainResult") -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    for note in result.notes:
        _line(f"note: {note}")
    _line(f"{len(result.members)} members; {result.num_rows_taught:,} of {len(result.table):,} rows taught")
    if result.scores:
        shown = Table("out of fold", box=SIMPLE, pad_edge=False)
        shown.add_column("agrees with labels", justify="right")
        shown.add_column("log loss", justify="right")
        for name, score in result.scores.items():
            agrees, log_loss = score["out_of_fold_accuracy_on_labels"], score["out_of_fold_log_loss"]
            shown.add_row(visible(name), f"{agrees:.1%}", f"{log_loss:.4f}")
        Console().print(shown)
        _line("The labels may be wrong: agreement with them is not accuracy.")
    if result.submission is not None:
        _show_predict(result.submission)
    _line()
    _line(f"Models    {result.folder / 'members'}")
    if result.scores:
        _line(f"Look at   {result.folder / 'report.html'}")
        _line(f"Then      kiyome find DATA --pred-probs {result.folder / 'oof.parquet'}")


def _show_predict(result: "PredictResult") -> None:
    summary = result.summary()
    _line(f"{summary['photos']:,} photos predicted by {summary['models']} models")
    for name, number in summary["classes"].items():
        _line(f"  {number:>6,}  {name}")
    for image_id, reason in summary["set_aside"].items():
        _line(f"note: {image_id} cannot be read ({reason}) and gets what is most likely overall")
    _line(f"Submission  {summary['output']}")


def _show_demo(result: "DemoResult") -> None:
    _show_find(result.found, top=10)
    _line()
    _line("The experts' own doubt (grades 1/3 and 2/3), which kiyome was not told:")
    _line(f"  among flagged cells    {result.doubt_in_flagged.as_percent()}")
    _line(f"  among the rest         {result.doubt_in_rest.as_percent()}")
    lift = result.lift
    _line(f"  times richer           {lift.value:.1f} ({lift.low:.1f} to {lift.high:.1f})")
    _line(f"  {result.summary()['data']}")


def _line(text: str = "") -> None:
    print(visible(text))


if __name__ == "__main__":
    main()
