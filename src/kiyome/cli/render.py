"""Results as text for the terminal."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kiyome.cli.command import line, print_notes, visible

if TYPE_CHECKING:
    from kiyome.workflows.check import CheckResult
    from kiyome.workflows.clean_and_retrain import CleanAndRetrainResult
    from kiyome.workflows.combine import CombinedResult
    from kiyome.workflows.curate import CurateResult
    from kiyome.workflows.demo import DemoResult
    from kiyome.workflows.diary import DiaryResult
    from kiyome.workflows.export import ExportResult
    from kiyome.workflows.find_result import FindResult
    from kiyome.workflows.noise_classifier import NoiseClassifierResult
    from kiyome.workflows.predict import PredictResult
    from kiyome.workflows.train_result import TrainResult
if TYPE_CHECKING:
    from kiyome.decisions.agreement import Pair
    from kiyome.decisions.consensus import Consensus
    from kiyome.workflows.decisions import DecisionsResult, TransferResult


def chance(value: float) -> str:
    """Return a probability in whole percent, and never certain.

    >>> chance(0.347), chance(0.9996), chance(0.001)
    ('35%', '>99%', '<1%')
    """
    return "<1%" if value < 0.005 else ">99%" if value > 0.995 else f"{value:.0%}"


def show_find(result: "FindResult", top: int) -> None:
    """Print the noise rate and the most suspicious rows."""
    rate, rows = result.noise_rate, len(result.table)
    print_notes(result.scored.notes)
    for name, value in result.scored.facts:
        line(f"{name:<38} {value}")
    if result.scored.photos is not None:
        _photos(result.summary())
    line()
    if result.doubt_hides_errors:
        line(f"Up to {rate.high:.1%} of the labels may be wrong, or hardly any: doubt hides errors here.")
    else:
        line(
            f"About {rate.value:.1%} of the labels are probably wrong; the predictions allow"
            f" {rate.low:.1%} to {rate.high:.1%}."
        )
    line("Errors that the model shares with the labels stay hidden.")
    _splits(result)
    if num_none := int(result.shows_none.sum()):
        photos = "1 photo probably shows" if num_none == 1 else f"{num_none:,} photos probably show"
        line(f"{photos} none of the classes.")
    line(f"{result.num_issues:,} of {rows:,} rows are flagged. The most suspicious:")
    line()
    _rows(result, top)
    line()
    line(f"Look at   {result.folder / 'report.html'}")
    line(f"Lists     {result.folder / 'label_issues.csv'}")
    line(f"Correct   kiyome review {result.folder}")
    if result.scored.heads is not None:
        line(f"Predict   kiyome predict {result.folder} PHOTOS")


def _splits(result: "FindResult") -> None:
    """Print the noise of each split, whether it differs from that of train, and whether the split does."""
    from kiyome.artifacts.table import TRAIN
    from kiyome.workflows.shift import describe_shift

    if result.table.splits is None:
        return
    for name, split in result.by_split.items():
        about, flagged = split.describe_rate(), int(split.is_label_issue.sum())
        compared = "" if name == TRAIN or TRAIN not in result.by_split else f"; {split.describe_difference()}"
        line(f"  {name:<9} {len(split.rows):>7,} rows, {about}, {flagged:,} flagged{compared}")
    if unlabeled := int((~result.table.is_labeled).sum()):
        line(f"  unlabeled {unlabeled:>7,} rows, predicted only")
    for sentence in describe_shift(result.shift):
        line(sentence)


def _rows(result: "FindResult", top: int) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = result.ranking[: min(top, result.num_issues)].tolist()
    names = result.table.class_names
    shown = Table(box=SIMPLE, pad_edge=False)
    last = "suspicion" if result.doubt_hides_errors else "wrong"
    has_splits = result.table.splits is not None
    for column in ("rank", "photo", *["split"] * has_splits, "given", "likely", last):
        shown.add_column(column, justify="right" if column in ("rank", last) else "left", overflow="fold")
    for rank, row in enumerate(rows, start=1):
        given, likely = names[result.table.given_labels[row]], names[result.suggested_labels[row]]
        likely = "none of the classes" if result.shows_none[row] else likely
        place = f"top {chance(rank / len(result.table))}"
        wrong = place if result.doubt_hides_errors else chance(result.probability[row])
        split = [result.table.split_names[row]] * has_splits
        cells = (str(rank), result.table.image_ids[row], *split, given, likely, wrong)
        shown.add_row(*(Text(visible(cell)) for cell in cells))
    Console().print(shown)


def _photos(summary: dict[str, Any]) -> None:
    line(f"{summary['readable']:,} of {summary['photos']:,} photos read; {summary['set_aside']:,} set aside")
    for reason, count in summary["reasons"].items():
        line(f"  {count:>6,}  {reason}")
    for finding, count in summary["findings"].items():
        line(f"  {count:>6,}  {finding}")
    if groups := summary["duplicate_groups"]:
        differing = summary["duplicate_groups_with_different_labels"]
        line(f"  {groups:>6,}  groups of photos that show the same, {differing:,} with different labels")
    if leaks := summary.get("leaks"):
        differing = leaks["pairs_with_different_labels"]
        line(f"  {leaks['pairs']:>6,}  pairs of copies in two splits, {differing:,} with different labels")
    if files := summary["files_that_are_no_row"]:
        line(f"  {files:>6,}  files and rows that are left out, listed in skipped.csv")


def show_check(result: "CheckResult") -> None:
    """Print the findings about the photos, the classes, and their shares by split."""
    from kiyome.workflows.shift import describe_shift

    summary = result.summary()
    print_notes(summary["notes"])
    _photos(summary)
    line()
    for name, counts in summary["classes"].items():
        aside = f", {counts['set_aside']:,} set aside" if counts["set_aside"] else ""
        line(f"  {counts['readable']:>6,}  {name}{aside}")
    for sentence in describe_shift(result.shift):
        line(sentence)
    line()
    line(f"Lists     {result.folder}")


def tell(note: str) -> None:
    """Print a note on stderr at once, before the work begins."""
    print_notes([note], file=sys.stderr)


def show_train(result: "TrainResult") -> None:
    """Print the members and their out-of-fold scores."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    print_notes(result.notes)
    line(
        f"{len(result.members)} members; {result.num_training_rows:,} training rows of {len(result.table):,}"
    )
    if result.scores:
        shown = Table("out of fold", box=SIMPLE, pad_edge=False)
        left_out = any("rows_not_flagged" in score for score in result.scores.values())
        shown.add_column("agrees with labels" + ", all rows" * left_out, justify="right")
        shown.add_column("balanced", justify="right")
        shown.add_column("log loss", justify="right")
        if left_out:
            shown.add_column("unflagged", justify="right")
        for name, score in result.scores.items():
            agrees, log_loss = score["out_of_fold_accuracy_on_labels"], score["out_of_fold_log_loss"]
            kept = score.get("out_of_fold_rows_not_flagged_only_accuracy_on_labels")
            balanced = score["out_of_fold_balanced_accuracy_on_labels"]
            cells = [visible(name), f"{agrees:.1%}", f"{balanced:.1%}", f"{log_loss:.4f}"]
            cells.append("" if kept is None else f"{kept:.1%}")
            shown.add_row(*cells[: len(shown.columns)])
        Console().print(shown)
        line("The labels may be wrong: agreement with them is not accuracy. Balanced: the mean over classes.")
        if left_out:
            line("Rows that are not flagged are the easy ones: do not compare that column with other scores.")
    if result.submission is not None:
        show_predict(result.submission)
    line()
    line(f"Models    {result.folder / 'members'}")
    if result.scores:
        line(f"Look at   {result.folder / 'report.html'}")
        table, predictions = (result.folder / name for name in ("table.parquet", "oof.parquet"))
        line(f"Then      kiyome find {table} --pred-probs {predictions}")


def show_combined(result: "CombinedResult") -> None:
    """Print the out-of-fold scores, and whether the result is better than the best input."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    print_notes(result.notes)
    of_train = "" if result.table.splits is None else " of train"
    line(f"Out of fold, on all {result.score.accuracy_on_given.num_rows:,} rows{of_train}:")
    shown = Table("", box=SIMPLE, pad_edge=False)
    for column in ("agrees with labels", "95 % interval", "log loss", "calibration error"):
        shown.add_column(column, justify="right")
    for name, score in {result.verb: result.score, **result.inputs}.items():
        agrees, error = score.accuracy_on_given, score.calibration_error.value
        between = f"{agrees.low:.2%} to {agrees.high:.2%}"
        shown.add_row(visible(name), f"{agrees.value:.2%}", between, f"{score.log_loss:.4f}", f"{error:.4f}")
    Console().print(shown)
    line(result.describe())
    line("The labels may be wrong: agreement with them is not accuracy.")
    line()
    line(f"Look at   {result.folder / 'report.html'}")
    then = f"predict {result.folder} PHOTOS" if result.predicts_photos else f"evaluate {result.folder}"
    line(f"Then      kiyome {then}")


def show_predict(result: "PredictResult") -> None:
    """Print the number of predicted photos by class, and the path of the submission."""
    summary = result.summary()
    line(f"{summary['photos']:,} photos predicted by {summary['models']} models")
    for name, number in summary["classes"].items():
        line(f"  {number:>6,}  {name}")
    for image_id, reason in summary["set_aside"].items():
        line(f"note: {image_id} cannot be read ({reason}) and gets the most likely answer overall")
    print_notes(summary["notes"])
    aside = f", {len(result.set_aside):,} of them not readable" if result.set_aside else ""
    line(f"Submission  {summary['output']}: {summary['photos']:,} ids{aside}; {summary['written']}")


def show_curate(result: "CurateResult") -> None:
    """Print the changes of the labels, and how to train on them."""
    summary = result.summary()
    print_notes(summary["notes"])
    changed = ", ".join(f"{number:,} {action}" for action, number in summary["changed"].items()) or "none"
    line(f"{summary['rows']:,} rows; changed: {changed}")
    line(f"{summary['decided_by_people']:,} rows decided by people")
    if "dropped_as_leaks" in summary:
        line(f"{summary['dropped_as_leaks']:,} rows dropped as copies of rows of another split")
    line()
    line(f"Lists     {result.folder / 'changes.csv'}, {result.folder / 'corrected_labels.csv'}")
    photos = "" if any(result.table.paths) else " --images PHOTOS"
    if result.curated.targets is None:
        line(f"Then      kiyome train {summary['table']}{photos}")
    elif result.table.folds is None:  # soft labels are taught fold by fold
        line(f"Targets   {result.folder / 'predictions'}")
    else:
        soft = f"soft_labels=global:{result.folder} given_share=0"
        line(f"Then      kiyome train {summary['table']}{photos} {soft}")


def show_export(result: "ExportResult") -> None:
    """Print the files, and their largest difference to torch."""
    summary = result.summary()
    for name in summary["files"]:
        line(f"  {name}")
    line(f"{len(result.files)} ONNX files, {summary['megabytes']} MB; on {result.num_photos} photos each")
    line(f"their probabilities are within {result.largest_difference:.1g} of torch's")
    line(f"Files     {result.folder}")


def show_noise_classifier(result: "NoiseClassifierResult") -> None:
    """Print how well flags are predicted from photos, and from the confidence of the model."""
    photo, doubt, gain = result.by_photo, result.by_doubt, result.gain
    print_notes(result.trained.notes)
    precision = "no photo is" if photo.precision is None else photo.precision.as_percent()
    line(f"share of flagged rows (chance)       {photo.chance.as_percent()}")
    line(f"average precision by photo           {photo.average_precision.as_percent()}")
    line(f"average precision by 1 - max prob    {doubt.average_precision.as_percent()}")
    line(f"difference                           {gain.as_percent()}")
    line(f"of {photo.num_above:,} photos called flagged, are so  {precision}")
    line(f"flagged rows that are called so      {photo.recall.as_percent()}")
    line()
    line(f"Lists     {result.folder}")


def show_diary(result: "DiaryResult") -> None:
    """Print every experiment with its interval, verdict and leaderboard scores, at most 100 columns wide."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    splits = any(each.by_split for each in result.lines)
    names = tuple(dict.fromkeys(name for each in result.lines for name in each.leaderboard))
    shown = Table(box=SIMPLE, pad_edge=False)
    shown.add_column("run", overflow="fold", min_width=16)
    for column in ("out of fold, %" if splits else "agrees, %", "against the baseline, points"):
        shown.add_column(column, overflow="fold", min_width=20)
    for name in names:
        shown.add_column(visible(name), justify="right", overflow="fold")
    for each in result.lines:
        score = [each.score, f"n = {each.num_rows:,}"] if each.score else []
        score += [text for name, cell in each.by_split.items() for text in (f"{name} {cell[0]}", cell[1])]
        cells = (
            "\n".join([each.run, each.finished, f"by {each.command}"]),
            "\n".join([*score, *(f"leak {mark}" for mark in each.leaks), *each.beside]),
            "\n".join(filter(None, [each.verdict, each.difference, each.changed])),
            *("\n".join(each.leaderboard.get(name, ())) for name in names),
        )
        shown.add_row(*(Text(visible(cell)) for cell in cells), end_section=True)
    console = Console()
    Console(width=min(console.width, 100)).print(shown)
    for number, leak in enumerate(result.leaks, start=1):
        line(f"leak {number}: {leak}")
    for chart in result.leaderboards:
        line(f"{chart.name}: {chart.caption}")
    rows = "all rows of train" if splits else "all rows"
    line(f"Out of fold, {rows}, against labels that may be wrong: agreement with labels is not accuracy.")
    line(f"Look at   {result.page}")
    line(f"Lists     {result.csv}")


def show_clean_and_retrain(result: "CleanAndRetrainResult") -> None:
    """Print the notes on all steps, each once, and every step with its score."""
    print_notes(result.notes)
    show_diary(result.history)


def show_demo(result: "DemoResult") -> None:
    """Print the findings, and the doubt of the experts beside them."""
    show_find(result.found, top=10)
    line()
    line("Cells with a doubtful grade (1/3 or 2/3) by the experts, which kiyome did not see:")
    line(f"  among flagged cells    {result.doubt_in_flagged.as_percent()}")
    line(f"  among the rest         {result.doubt_in_rest.as_percent()}")
    lift = result.lift
    line(f"  ratio                  {lift.value:.1f} ({lift.low:.1f} to {lift.high:.1f})")
    line(f"  {result.summary()['data']}")


SHOWN = 20


def show_decisions(result: "DecisionsResult") -> None:
    """Print counts by reviewer, the agreement of each two, and the disputed rows."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows, decided = len(result.items), len({each.image_id for each in result.decisions})
    line(f"{decided:,} of {rows:,} rows decided, {len(result.disputed):,} disputed")
    if result.num_skipped:
        reason = "photos or classes that are not in the table (see kiyome decisions repair)"
        line(f"{result.num_skipped:,} events skipped: {reason}")
    shown = Table("reviewer", box=SIMPLE, pad_edge=False)
    verdicts = ("keep", "relabel", "both", "none_of_these", "drop", "unsure")
    for verdict in verdicts:
        shown.add_column(verdict.replace("_", " "), justify="right")
    for name, counts in result.by_reviewer().items():
        shown.add_row(Text(visible(name)), *(f"{counts.get(verdict, 0):,}" for verdict in verdicts))
    Console().print(shown)
    for one, other in result.look_alikes():
        line(f"'{visible(one)}' and '{visible(other)}' look alike: one person under both names counts twice")
    for pair in result.pairs:
        line(_agreement(pair))
    disputes = result.disputes()
    for dispute in disputes[:SHOWN]:
        answers = ", ".join(f"{label} ({name})" for name, label in dispute["decisions"].items())
        line(f"disputed  {dispute['image_id']}: {answers}")
    if len(disputes) > SHOWN:
        line(f"          and {len(disputes) - SHOWN:,} more; --json names all")


def _agreement(pair: "Pair") -> str:
    """Two reviewers on the rows that both decided.

    >>> from kiyome.decisions.agreement import Kappa, Pair
    >>> kappa = Kappa(num_rows=2, num_agreed=2, value=None, low=None, high=None)
    >>> _agreement(Pair(a="Ann", b="Ben", kappa=kappa))
    'Ann and Ben agree on 2 of 2 rows'
    """
    kappa = pair.kappa
    agreed = f"{pair.a} and {pair.b} agree on {kappa.num_agreed:,} of {kappa.num_rows:,} rows"
    if kappa.value is None:
        return agreed
    return f"{agreed}, kappa {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"


def show_people(people: "Consensus | None", run: Path) -> None:
    """Print who decided, and how many rows they dispute, after a curation."""
    if people is None:
        return
    if names := [name for name in people.reviewers if name]:
        line(f"Decided by {', '.join(names)}")
    if people.disputed:
        line(
            f"{len(people.disputed):,} rows that people dispute stay as they are: kiyome decisions show {run}"
        )


def show_export_of_decisions(written: "TransferResult") -> None:
    """Print how many decisions are in the file, and what is not."""
    line(f"{written.decisions:,} decisions")
    _left_out(written.left_out, "not in the file")
    if written.hint:
        line(written.hint)
    line(f"File      {written.file}")


def show_import_of_decisions(taken: "TransferResult", run: Path) -> None:
    """Print how many decisions are new, by reviewer, and what was skipped."""
    line(f"{taken.decisions:,} decisions added")
    for name, number in taken.by_reviewer.items():
        line(f"  {number:>6,}  {name}")
    _left_out(taken.left_out, "skipped")
    line(f"Then      kiyome curate {run}")


def _left_out(counts: Mapping[str, int], what: str) -> None:
    for reason, number in counts.items():
        line(f"  {number:>6,}  {what}: {reason}")
