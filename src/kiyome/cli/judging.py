"""The verbs that say what a score is worth: evaluate, diary."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiyome.cli import words
from kiyome.cli.answers import answering, line
from kiyome.cli.options import Json

if TYPE_CHECKING:
    from kiyome.recipes.evaluated import EvaluateResult


def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run of find or train, or made of such.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another run on the same rows and folds; may be said several times."),
    ] = None,
    wrong: Annotated[
        str | None,
        typer.Option(help="WRONG/CHECKED, such as 12/200: labels drawn at random that people found wrong."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder; RUN-evaluate if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the bootstraps.")] = 0,
    as_json: Json = False,
) -> None:
    """Say what a score on noisy labels is worth: in truth, at best, against others, and by luck.

    Examples:
      kiyome evaluate runs/leaves-train
      kiyome evaluate runs/leaves-train --against runs/vit --against runs/effnet
      kiyome evaluate runs/leaves-train --wrong 12/200     of 200 labels drawn at random, 12 were wrong
    """
    with answering(as_json) as (say, _):
        from kiyome.recipes.evaluate import evaluate as evaluate_run

        result = evaluate_run(run, against=against or (), wrong=wrong, output=output, seed=seed)
        say(result.summary(), lambda: show_evaluate(result))


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


def show_evaluate(result: "EvaluateResult") -> None:
    """The answer in sentences, and where to look."""
    for mark in result.marks:
        line(f"mark: {mark}")
    for each in (*result.told(), *result.compared(), *result.luck()):
        line(each)
    line()
    line(f"Look at   {result.folder / 'report.html'}")
    if result.audit is None:
        line(f"To know   kiyome audit-sample {result.folder.parent / result.run}")
