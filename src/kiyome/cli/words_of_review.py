"""What people decided, in words, for people who read a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kiyome.cli.answers import line, visible

if TYPE_CHECKING:
    from kiyome.recipes.decided import PeopleDecided
    from kiyome.recipes.decisions import DecisionsResult, Exchanged
    from kiyome.reviewing.agreement import Pair

SHOWN = 20


def show_decisions(result: "DecisionsResult") -> None:
    """Counts by reviewer, agreement of each two, and the disputed rows."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows, decided = len(result.subject), len({held.row for held in result.held})
    line(f"{decided:,} of {rows:,} rows decided, {len(result.disputed):,} disputed")
    if result.num_skipped:
        line(f"{result.num_skipped:,} events skipped: photos or classes not in the table (see --repair)")
    shown = Table("reviewer", box=SIMPLE, pad_edge=False)
    verdicts = ("keep", "relabel", "drop", "unsure")
    for verdict in verdicts:
        shown.add_column(verdict, justify="right")
    for name, counts in result.by_reviewer().items():
        shown.add_row(Text(visible(name)), *(f"{counts.get(verdict, 0):,}" for verdict in verdicts))
    Console().print(shown)
    for one, other in result.look_alikes():
        line(f"'{visible(one)}' and '{visible(other)}' look alike: one person under both names counts twice")
    for pair in result.pairs:
        line(_agreement(pair))
    disputes = result.disputes()
    for dispute in disputes[:SHOWN]:
        said = ", ".join(f"{label} ({name})" for name, label in dispute["said"].items())
        line(f"disputed  {dispute['image_id']}: {said}")
    if len(disputes) > SHOWN:
        line(f"          and {len(disputes) - SHOWN:,} more; --json names all")


def _agreement(pair: "Pair") -> str:
    """Two reviewers on the rows that both decided.

    >>> from kiyome.reviewing.agreement import Kappa, Pair
    >>> kappa = Kappa(num_rows=2, num_agreed=2, value=None, low=None, high=None)
    >>> _agreement(Pair(a="Ann", b="Ben", kappa=kappa))
    'Ann and Ben agree on 2 of 2 rows'
    """
    kappa = pair.kappa
    agreed = f"{pair.a} and {pair.b} agree on {kappa.num_agreed:,} of {kappa.num_rows:,} rows"
    if kappa.value is None:
        return agreed
    return f"{agreed}, kappa {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"


def show_people(people: "PeopleDecided | None", run: Path) -> None:
    """Who decided, and what they dispute, after a curation."""
    if people is None:
        return
    if names := [name for name in people.reviewers if name]:
        line(f"Decided by {', '.join(names)}")
    if people.disputed:
        line(f"{len(people.disputed):,} rows that people dispute stay as they are: kiyome decisions {run}")


def show_export_of_decisions(written: "Exchanged") -> None:
    """How much went into the file, and what did not."""
    line(f"{written.decisions:,} decisions stand")
    _left_out(written.left_out, "not in the file")
    if written.to_know:
        line(written.to_know)
    line(f"File      {written.file}")


def show_import_of_decisions(taken: "Exchanged", run: Path) -> None:
    """How much is new, by reviewer, and what was passed over."""
    line(f"{taken.decisions:,} decisions added")
    for name, number in taken.by_reviewer.items():
        line(f"  {number:>6,}  {name}")
    _left_out(taken.left_out, "not taken")
    line(f"Then      kiyome curate {run}")


def _left_out(counts: Mapping[str, int], what: str) -> None:
    for reason, number in counts.items():
        line(f"  {number:>6,}  {what}: {reason}")
