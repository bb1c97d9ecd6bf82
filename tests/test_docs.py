"""Pages say what is true: their commands exist, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from kiyome.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """What follows `kiyome` on the lines of the page's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    return [match[1] for line in lines if (match := re.match(r"(?:\.venv/bin/)?kiyome (.+)", line))]


SHOWN = [(page.name, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=lambda text: text)
def test_every_command_on_a_page_can_be_parsed(page: str, command: str) -> None:
    verbs = typer.main.get_command(app)
    words = shlex.split(command)
    verb = verbs.commands[words[0]]
    verb.make_context(words[0], words[1:], resilient_parsing=False)


def test_there_are_commands_to_parse() -> None:
    assert len(SHOWN) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert all((page.parent / target).exists() for target in targets)
