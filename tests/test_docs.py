"""Pages say what is true: their commands exist, their links lead somewhere."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer.main

from kiyome.cli import VERBS, app
from kiyome.training.recipe_files import read_recipes
from kiyome.workflows.cleaning import changes_for_labels

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """What follows `kiyome` on the lines of the page's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    return [match[1] for line in lines if (match := re.match(r"(?:\.venv/bin/)?kiyome (.+)", line))]


SHOWN = [(page.name, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=lambda text: text)
def test_every_command_on_a_page_can_be_parsed(page: str, command: str) -> None:
    verb, words = typer.main.get_command(app), shlex.split(command)
    while commands_of := getattr(verb, "commands", None):
        name, *words = words
        verb = commands_of[name]
    verb.make_context(name, words, resilient_parsing=False)


HELP = [
    (name, match[1])
    for name, verb in VERBS.items()
    for match in re.finditer(r"^ +kiyome (.+?)(?:   .*)?$", verb.__doc__ or "", flags=re.MULTILINE)
]
WITH_RECIPE = [
    (page, command)
    for page, command in [*SHOWN, *HELP]
    if command.split()[0] in ("train", "clean-and-retrain", "noise-classifier")
]


@pytest.mark.parametrize(("page", "command"), WITH_RECIPE, ids=lambda text: text)
def test_every_recipe_with_changes_that_is_shown_can_be_made(page: str, command: str) -> None:
    name, *words = shlex.split(command.partition(" > ")[0])
    given = typer.main.get_command(app).commands[name].make_context(name, words).params
    first = [str(given["data"])] if given.get("print_recipe") else []
    changes = [*(word for word in first if "=" in word), *(given["changes"] or ())]
    changes += changes_for_labels(given.get("labels"), given.get("flags"))
    assert read_recipes(given["recipe"], changes)


def test_each_row_of_the_table_of_switches_is_what_the_benchmarks_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    alone = runpy.run_path(str(BENCHMARKS / "countermeasures.py"))["COUNTERMEASURES"]
    beside = runpy.run_path(str(BENCHMARKS / "clean_and_soft.py"))
    trained = [*alone.values(), *([*beside["PLAIN"], *form] for form in beside["FORMS"].values())]
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = page.partition("| switches |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `([^`]+)`", table.replace("--labels clean", "leave_out=nested"), re.MULTILINE)

    def recipe(changes: list[str]) -> str:
        return str(read_recipes("quick", [change.replace("{plain}", "RUN") for change in changes]))

    assert len(rows) == 14
    assert {recipe(shlex.split(row)) for row in rows} == {recipe(changes) for changes in trained}


def test_there_are_commands_to_parse() -> None:
    assert len(SHOWN) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert all((page.parent / target).exists() for target in targets)
