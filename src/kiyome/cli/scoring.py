"""The verbs for honest scores: audit-sample, audit, evaluate, diary."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kiyome.cli import render
from kiyome.cli.command import Group, Images, Json, Run, Store, command_output, line
from kiyome.errors import InputError

if TYPE_CHECKING:
    from kiyome.decisions.agreement import Rule
if TYPE_CHECKING:
    from kiyome.workflows.evaluate_result import EvaluateResult


def audit_sample(
    run: Run,
    rows: Annotated[
        int | None,
        typer.Option("-n", "--rows", help="How many rows people check; 200, or all of fewer, if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the draw.")] = 0,
    split: Annotated[
        str | None,
        typer.Option(
            help="Rows to draw from: test, val, train or unlabeled; the first that has rows, if not given."
        ),
    ] = None,
    images: Images = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The run folder; RUN-audit, or RUN-audit-SPLIT, if not given."),
    ] = None,
    group: Group = None,
    as_json: Json = False,
) -> None:
    """Draw a random sample of rows for people to check, to estimate the true accuracy of all rows.

    Examples:
      kiyome audit-sample runs/leaves            200 rows; prints how many are needed for 1, 2 and 3 points
      kiyome audit-sample runs/leaves -n 500
      kiyome audit-sample runs/leaves --split test
      kiyome audit-sample runs/leaves --split unlabeled    a score where nobody gave labels
    """
    with command_output(as_json) as (emit, _):
        from kiyome.artifacts.audit_folder import AUDIT_FILE
        from kiyome.workflows.audit_sample import audit_sample as draw

        sample = draw(run, n=rows, seed=seed, split=split, images=images, output=output, group=group)

        def show() -> None:
            expected = 100 * sample.design.expected_half_width()
            drawn, rows = len(sample.design.rows), len(sample.predicted_labels)
            of_split = "" if sample.split is None else f"{sample.split} "
            line(f"{drawn:,} of {rows:,} {of_split}rows drawn. Expected 95 % interval of")
            line(f"true accuracy: +-{expected:.1f} points. Estimated before anyone has looked,")
            for half, needed in sample.rows_needed.items():
                line(f"  +-{100 * half:.0f} points need {needed:>8,} rows")
            line()
            line(f"Fill      {sample.folder / AUDIT_FILE} (see how_to.txt beside it)")
            line(f"Or        kiyome review {sample.folder}, blind in the browser")
            line(f"Then      kiyome audit {sample.folder}")

        emit(sample.summary(), show)


def audit(
    answers: Annotated[Path, typer.Argument(help="The filled audit.csv, or the folder of the sample.")],
    sample: Annotated[
        Path | None,
        typer.Option(help="The folder that kiyome audit-sample wrote; the file's own if not given."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(help="Another run on the same rows, to score it, too; may be repeated."),
    ] = None,
    rule: Annotated[
        str, typer.Option(help="When reviewers agree: unanimous, or majority, so that a third decides.")
    ] = "unanimous",
    disputed_unsure: Annotated[
        bool, typer.Option("--disputed-unsure", help="Count rows that reviewers dispute as unsure.")
    ] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Estimate true accuracy, wrong labels and noise by class of all rows from a checked sample.

    Examples:
      kiyome audit runs/leaves-audit/audit.csv
      kiyome audit runs/leaves-audit                     answers from kiyome review runs/leaves-audit
      kiyome audit filled.csv --sample runs/leaves-audit
      kiyome audit runs/leaves-audit --run runs/vit      true accuracy of another run, from the same rows
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.audit import audit as judge
        from kiyome.workflows.audit_scores import score_others

        result = judge(
            answers, sample=sample, store=store, rule=cast("Rule", rule), disputed_unsure=disputed_unsure
        )
        others = score_others(result.folder, run or ())

        def show() -> None:
            for sentence in result.describe():
                line(sentence)
            for name, found in others.items():
                line(f"True accuracy of {name}, from the same rows: {found.as_percent()}.")
            line()
            line(f"Look at   {result.folder / 'report.html'}")
            line(f"Numbers   {result.folder / 'audit.json'}, the noise by class too")

        emit({**result.summary(), "others": {name: asdict(each) for name, each in others.items()}}, show)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A finished run of find or train, or made of such.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another run on the same rows and folds; may be repeated."),
    ] = None,
    measured_errors: Annotated[
        str | None,
        typer.Option(help="WRONG/CHECKED, such as 12/200: wrong ones of labels drawn and checked at random."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Rows to evaluate: test, val or train; the first of these that has rows, if not given."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="Another metric, too: balanced_accuracy, macro_f1, log_loss, auc or quadratic_kappa."
        ),
    ] = None,
    public_rows: Annotated[
        int | None,
        typer.Option(
            help="Rows of a public leaderboard, to choose a submission by the scores in the diary; with"
            " --split test, to say how far so many of its rows can be believed."
        ),
    ] = None,
    private_rows: Annotated[
        int | None,
        typer.Option(
            help="Rows of the private part; the table's test and unlabeled rows that are not public if not"
            " given."
        ),
    ] = None,
    leaks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a kiyome check that lists rows that lie in train; the run's if not given."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run folder; RUN-evaluate if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the bootstraps.")] = 0,
    as_json: Json = False,
) -> None:
    """Evaluate a run on labels that may be wrong: true accuracy, ceiling, comparisons, selection bias.

    Examples:
      kiyome evaluate runs/leaves-train
      kiyome evaluate runs/leaves-train --against runs/vit --against runs/effnet
      kiyome evaluate runs/leaves-train --measured-errors 12/200     12 of 200 checked labels were wrong
      kiyome evaluate runs/leaves-train --metric macro_f1
      kiyome evaluate runs/leaves-train --public-rows 4650           which submission to choose
      kiyome evaluate runs/leaves-train --public-rows 4650 --private-rows 10350    private scores to expect
      kiyome evaluate runs/leaves-train --split test --public-rows 500   what 500 test rows say of the rest
      kiyome evaluate runs/leaves-train --split train                the out-of-fold score, beside a test set
    """
    with command_output(as_json) as (emit, _):
        from kiyome.workflows.evaluate import evaluate as evaluate_run

        result = evaluate_run(
            run,
            against=against or (),
            measured_errors=measured_errors,
            split=split,
            metric=metric,
            public_rows=public_rows,
            private_rows=private_rows,
            leaks=leaks,
            output=output,
            seed=seed,
        )
        emit(result.summary(), lambda: show_evaluate(result))


def diary(
    words_given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUNS] [NAME=NUMBER[/ROWS]]...",
            help="The folder of the runs and their diary, else runs; with --note, scores to note.",
        ),
    ] = None,
    note: Annotated[
        Path | None,
        typer.Option(
            help="Note scores of this run, such as a leaderboard's, with its rows if known: public=0.9/1200."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The run to compare with; the first on the same rows and folds if not given."),
    ] = None,
    sort: Annotated[str, typer.Option(help="score: the best first; or time: the oldest first.")] = "score",
    as_json: Json = False,
) -> None:
    """Show every experiment, its score with an interval, and its comparison with the baseline.

    Every verb that makes a run adds an entry to the diary, in the folder of the run folders.

    Examples:
      kiyome diary
      kiyome diary runs --baseline leaves-train-2
      kiyome diary --sort time
      kiyome diary --note runs/leaves-train public=0.903 private=0.899
      kiyome diary --note runs/leaves-train public=0.903/1200        90.3 % of 1,200 rows, with an interval
      kiyome diary runs --json
    """
    with command_output(as_json) as (emit, _):
        from kiyome.experiments import note_scores
        from kiyome.workflows.diary import Sort
        from kiyome.workflows.diary import diary as read_all

        folders, scores, rows = _folders_and_scores(words_given or [], note)
        folder = folders or (note.parent if note is not None and len(note.parts) > 1 else Path("runs"))
        if note is not None:
            note_scores(folder / note.name, scores, rows=rows)
        result = read_all(folder, baseline=baseline, sort=cast("Sort", sort))
        emit(result.summary(), lambda: render.show_diary(result))


def _folders_and_scores(
    given: list[str], note: Path | None
) -> tuple[Path | None, dict[str, float], dict[str, int]]:
    """Return the folder of the runs, if one is named, and by name the scores and their rows, if given."""
    folders = [word for word in given if "=" not in word]
    pairs = [word.split("=", 1) for word in given if "=" in word]
    if len(folders) > 1:
        raise InputError(
            f"Several folders are named: {', '.join(folders)}.",
            expected="Expected one folder of runs; scores have the form NAME=NUMBER.",
            remedy="Leave the others out.",
        )
    if pairs and note is None:
        raise InputError(f"The score {'='.join(pairs[0])} has no run.", remedy="Add --note RUN.")
    scores: dict[str, float] = {}
    rows: dict[str, int] = {}
    for name, text in pairs:
        number, slash, of_rows = text.partition("/")
        try:
            score = float(number)
            rows |= {name: int(of_rows)} if slash else {}
        except ValueError as error:
            remedy = "Pass public=0.903 or, of 1,200 rows, public=0.903/1200, for example."
            raise InputError(f"{name}={text} is not a number.", remedy=remedy) from error
        if name in scores:
            raise InputError(f"The score {name} is given twice.", remedy="Leave one out.")
        scores[name] = score
    return Path(folders[0]) if folders else None, scores, rows


def show_evaluate(result: "EvaluateResult") -> None:
    """Print the result in sentences, and where to look."""
    for caveat in result.caveats:
        line(f"caveat: {caveat}")
    for each in (*result.splits(), *result.describe(), *result.on_metric(), *result.on_unlabeled()):
        line(each)
    for each in (*result.compared(), *result.compared_on_metric(), *result.selection()):
        line(each)
    line()
    line(f"Look at   {result.folder / 'report.html'}")
    if result.audit is None:
        split = f" --split {result.split}" if result.splits() else ""
        line(f"To know   kiyome audit-sample {result.folder.parent / result.run}{split}")
