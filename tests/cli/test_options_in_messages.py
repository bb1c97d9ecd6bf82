"""An option in an error, a remedy or a note is one of the verb that prints it, or the message says whose."""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import kiyome
from kiyome.cli import VERBS, app
from kiyome.cli.options import CONTEXT, OPTION, options_of, with_verbs
from kiyome.errors import TableError
from kiyome.testing import write_digits
from kiyome.workflows.inputs import open_table

OF_OTHER_PROGRAMS = {
    *("--force-reinstall", "--no-deps"),  # pip
    *("--query-gpu", "--format"),  # nvidia-smi
    *("--multi_gpu", "--nproc-per-node"),  # accelerate, torchrun
    *("--encoding", "--template"),  # createdb
}
NAMED_VERB = re.compile(r"kiyome ((?:decisions )?[a-z-]+)((?: [^`\n]*)?)")


def command_of(verb: str):
    command = get_command(app)
    for name in verb.split():
        command = command.commands[name]
    return command


OPTIONS = {verb: options_of(command_of(verb)) for verb in VERBS}


def messages() -> Iterator[tuple[str, str]]:
    """Yield every text in the sources but docstrings, with its place; `{}` for what is filled in."""
    for path in sorted(Path(kiyome.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text())
        inside = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                yield "".join(parts), f"{path.name}:{node.lineno}"
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                yield node.value, f"{path.name}:{node.lineno}"


MESSAGES = list(messages())


def test_every_option_in_a_text_is_one_of_a_verb():
    known = set.union(*OPTIONS.values(), OF_OTHER_PROGRAMS, {"--help", "--version"})
    named = {(option, place) for text, place in MESSAGES for option in OPTION.findall(text)}
    assert len(named) > 100
    former = {"--anyway", "--reading", "--wrong"}
    assert {(option, place) for option, place in named if option not in known | former} == set()


def test_every_command_in_a_text_has_its_options():
    commands = [(*found, place) for text, place in MESSAGES for found in NAMED_VERB.findall(text)]
    commands = [(verb, rest, place) for verb, rest, place in commands if verb in VERBS]
    assert len(commands) > 30
    wrong = {
        (place, verb, option)
        for verb, rest, place in commands
        for option in OPTION.findall(rest)
        if option not in OPTIONS[verb]
    }
    assert wrong == set()


@contextmanager
def using(context) -> Iterator[None]:
    before = CONTEXT.set(context)
    try:
        yield
    finally:
        CONTEXT.reset(before)


@pytest.mark.parametrize("verb", VERBS)
def test_a_message_says_whose_an_option_is_that_the_verb_lacks(verb):
    every = set.union(*OPTIONS.values())
    root = get_command(app).make_context("kiyome", ["find", "x"])
    context = command_of(verb).make_context(verb, [], parent=root, resilient_parsing=True)
    with using(context):
        for option in filter(OPTION.fullmatch, every):
            told = with_verbs(f"Add {option} x. `kiyome train {option}` and pip install {option} differ.")
            sentence = told.partition("differ.")[2].strip()
            if option in OPTIONS[verb]:
                assert sentence == ""
            else:
                assert sentence.startswith(f"{option} is an option of `kiyome ")
                [first, *_] = re.findall(r"`kiyome ([^`]+)`", sentence)
                assert option in OPTIONS[first]


def test_outside_of_a_command_a_message_stays_as_it_is():
    assert with_verbs("Add --weight-column x.") == "Add --weight-column x."


@pytest.fixture
def weighed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with a column `weight` of kilograms and labels in the column `kind`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    write_digits(tmp_path / "digits", num_photos=30)
    lines = (tmp_path / "digits" / "train.csv").read_text().splitlines()
    rows = [f"{line},{40 + row},{row}" for row, line in enumerate(lines[1:])]
    table = tmp_path / "digits" / "weighed.csv"
    table.write_text("\n".join(["image_id,kind,weight,age", *rows]))
    return table


def test_check_says_which_verbs_weigh_rows(weighed: Path):
    done = CliRunner().invoke(
        app, ["check", str(weighed), "--label-column", "kind", "--images", "digits/train_images"]
    )
    assert done.exit_code == 0, done.output
    said = "add --weight-column weight. --weight-column is an option of `kiyome find` and `kiyome train`."
    assert said in done.stdout


def test_a_verb_without_the_option_of_a_remedy_says_which_have_it(weighed: Path):
    done = CliRunner().invoke(app, ["clean-and-retrain", str(weighed)])
    assert done.exit_code == 2
    assert "Name the right column with --label-column. --label-column is an option of" in done.stderr


def test_a_remedy_for_photos_of_the_test_set_names_its_option(weighed: Path):
    (weighed.parent / "test.csv").write_text("image_id,label\nx.jpg,1\ny.jpg,2\n")
    options = {"label_column": "kind", "images": "digits/train_images", "missing_list": Path("missing.csv")}
    with pytest.raises(TableError, match="or name the right folder with --test-images"):
        open_table(weighed, test=weighed.parent / "test.csv", **options)
    with pytest.raises(TableError, match="Check the path of --test-images"):
        open_table(weighed, test=weighed.parent / "test.csv", test_images="nowhere", **options)
