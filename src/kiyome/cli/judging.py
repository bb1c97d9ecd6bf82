"""The verbs that say what a score is worth: evaluate, diary."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kiyome.cli import words
from kiyome.cli.answers import answering, line
from kiyome.cli.options import Json
from kiyome.errors import InputError

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
    words_given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUNS] [NAME=NUMBER]...",
            help="The folder that holds the runs and their diary, else runs; with --note, scores to keep.",
        ),
    ] = None,
    note: Annotated[
        Path | None,
        typer.Option(help="Keep scores of this run, such as a leaderboard's: public=0.903 private=0.899."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The run to compare with; the first on the same rows and folds if not given."),
    ] = None,
    sort: Annotated[str, typer.Option(help="score: the best first; or time: the oldest first.")] = "score",
    as_json: Json = False,
) -> None:
    """Show every experiment, its score with an interval, and whether it beats the baseline by more than luck.

    The diary is kept by the verbs themselves, in the folder of the run folders.

    Examples:
      kiyome diary
      kiyome diary runs --baseline leaves-train-2
      kiyome diary --sort time
      kiyome diary --note runs/leaves-train public=0.903 private=0.899
      kiyome diary runs --json
    """
    with answering(as_json) as (say, _):
        from kiyome.experiments import note_scores
        from kiyome.recipes.diary import Sort
        from kiyome.recipes.diary import diary as read_all

        folders, scores = _folders_and_scores(words_given or [], note)
        folder = folders or (note.parent if note is not None and len(note.parts) > 1 else Path("runs"))
        if note is not None:
            note_scores(folder / note.name, scores)
        result = read_all(folder, baseline=baseline, sort=cast("Sort", sort))
        say(result.summary(), lambda: words.show_diary(result))


def _folders_and_scores(given: list[str], note: Path | None) -> tuple[Path | None, dict[str, float]]:
    """The folder of the runs, if one is named, and scores by name."""
    folders = [word for word in given if "=" not in word]
    pairs = [word.split("=", 1) for word in given if "=" in word]
    if len(folders) > 1:
        came = ", ".join(folders)
        raise InputError("One folder of runs is named.", came=came, remedy="Scores read NAME=NUMBER.")
    if pairs and note is None:
        came = "=".join(pairs[0])
        raise InputError("Scores belong to a run.", came=f"{came} without --note", remedy="Say --note RUN.")
    scores: dict[str, float] = {}
    for name, number in pairs:
        try:
            score = float(number)
        except ValueError as error:
            remedy = "Say public=0.903, for example."
            raise InputError("A score is a number.", came=f"{name}={number}", remedy=remedy) from error
        if name in scores:
            raise InputError("Each score is given once.", came=f"{name} twice", remedy="Leave one out.")
        scores[name] = score
    return Path(folders[0]) if folders else None, scores


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
