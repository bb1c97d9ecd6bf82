"""The verb that says what a score is worth: evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kiyome.cli.answers import answering, line

if TYPE_CHECKING:
    from kiyome.recipes.evaluate import EvaluateResult


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document for machines, no words.")
    ] = False,
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


def show_evaluate(result: "EvaluateResult") -> None:
    """The answer in sentences, and where to look."""
    for mark in result.marks:
        line(f"mark: {mark}")
    for each in (*result.under_noise.in_words(), *result.compared(), *result.luck()):
        line(each)
    line()
    line(f"Look at   {result.folder / 'report.html'}")
    line(f"To know   kiyome audit-sample {result.folder.parent / result.run}")
