"""The command line: each verb calls the function of the same name, and only this room prints or exits.

finding · training · combining · scoring · reviewing · decisions    the verbs, with their options and examples
command         options that verbs share, progress, errors, exit codes
options         options that messages name, and the verbs that have them
member_table    the members of a training, live
render          results as text
"""

from collections.abc import Callable
from inspect import getdoc
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from kiyome.cli import decisions
from kiyome.cli.combining import blend, calibrate, correct, stack
from kiyome.cli.command import visible
from kiyome.cli.finding import check, curate, demo, find
from kiyome.cli.options import CONTEXT
from kiyome.cli.reviewing import review
from kiyome.cli.scoring import audit, audit_sample, diary, evaluate
from kiyome.cli.training import clean_and_retrain, export, noise_classifier, predict, train

__all__ = ["VERBS", "app", "main", "visible"]

VERBS: dict[str, Callable[..., None]] = {
    "find": find,
    "check": check,
    "review": review,
    "decisions show": decisions.show,
    "decisions export": decisions.export,
    "decisions import": decisions.import_,
    "decisions backup": decisions.backup,
    "decisions restore": decisions.restore,
    "decisions repair": decisions.repair,
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
decisions_app = typer.Typer(
    cls=decisions.DecisionsGroup,
    help="Show the decisions about a run, exchange them with other tools, back them up, restore them.",
    no_args_is_help=True,
)
app.add_typer(decisions_app, name="decisions")
GROUPS = {"": app, "decisions": decisions_app}
RENAMED = {
    "--anyway": "--allow-double-noise",
    "--reading": "--direction",
    "--wrong": "--measured-errors",
}
"""Former names of options, by their present ones."""


class Command(TyperCommand):
    """A command that knows the former names of its options, and that messages know."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that remain after parsing."""
        options = {option for parameter in self.params for option in parameter.opts}
        for former in (argument.partition("=")[0] for argument in args):
            if former not in options and RENAMED.get(former) in options:
                ctx.fail(f"The option {former} is now {RENAMED[former]}.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, of which messages can tell the options."""
        before = CONTEXT.set(ctx)
        try:
            return super().invoke(ctx)
        finally:
            CONTEXT.reset(before)


for _name, _verb in VERBS.items():
    _group, _, _command = _name.rpartition(" ")
    # The backspace tells click to keep the lines of the examples apart.
    _help = (getdoc(_verb) or "").replace("Examples:", "\b\nExamples:")
    GROUPS[_group].command(_command, cls=Command, help=_help)(_verb)


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
    """Options before a verb."""


def main() -> None:
    """Run the command line."""
    app()
