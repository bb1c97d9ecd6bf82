"""The verb: what it prints, where it listens, how it ends; as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kiyome.recipes.find import find
from kiyome.testing import write_digits

SERVE = (sys.executable, "-m", "kiyome", "review")
OLDER = "import sys; sys.modules['fastapi'] = None; from kiyome.cli import main; main()"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    write_digits(place / "digits", num_photos=120)
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place).folder


@contextmanager
def serving(*arguments: object, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """What is printed up to the address, and the process."""
    command, variables = [*SERVE, *map(str, arguments), "--no-browser"], {**os.environ, **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=variables, **pipes) as server:
        try:
            said = ""
            while "Stop" not in said:
                line = server.stdout.readline()
                assert line, server.stderr.read()
                said += line
            yield said, server
        finally:
            server.kill()


def address_in(said: str) -> str:
    return re.search(r"^Open +(\S+)$", said, re.MULTILINE)[1]


def test_the_address_is_printed_and_ctrl_c_is_a_good_end(run: Path) -> None:
    with serving(run, "--port", 0, "--as", "Ann") as (said, server):
        assert said.startswith("120 rows\n")
        assert "decisions.sqlite" in said
        address = address_in(said)
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}api/review") as answer:
            assert b'"reviewer_suggested":"Ann"' in answer.read()
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
        assert (server.returncode, out) == (0, "Stopped. Every decision that was answered is kept.\n")
        assert "Traceback" not in err


def test_another_address_gets_a_token_and_nobody_comes_in_without_it(run: Path) -> None:
    with serving(run, "--host", "0.0.0.0", "--port", 0) as (said, _):
        port, token = re.search(r":(\d+)/\?token=(\S+)", address_in(said)).groups()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/review")
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with visitor.open(f"http://127.0.0.1:{port}/?token={token}") as page:
            assert token not in page.url
            assert b'<div id="app">' in page.read()
        with visitor.open(f"http://127.0.0.1:{port}/api/review") as answer:
            assert b'"reviewer_suggested":null' in answer.read()  # the user of this machine is none of theirs


def test_a_token_of_ones_own_is_asked_for_on_loopback_too(run: Path) -> None:
    with serving(run, "--port", 0, KIYOME_TOKEN="my-own-long-token") as (said, _):
        assert address_in(said).endswith("/?token=my-own-long-token")


def test_decisions_may_lie_elsewhere(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "team.sqlite"
    with serving(run, "--port", 0, "--store", f"sqlite:///{store}", "--blind") as (said, _):
        assert "120 rows, blind" in said
        assert str(store) in said
        assert store.is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "error: "),
        (["RUN", "--token", "short"], "error: A token has at least 16"),
        (["RUN", "--host", "192.0.2.1"], "error: The server can listen on its host and port."),
        (["RUN", "--store", "mysql://x"], "error: A store of decisions is a file of SQLite"),
        (["RUN", "--port", "70000"], "65535"),
    ],
)
def test_what_cannot_be_served_ends_with_2_and_says_why(run: Path, arguments: list[str], words: str) -> None:
    command = [*SERVE, *(str(run) if each == "RUN" else each for each in arguments), "--no-browser"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert words in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_missing_extra_is_named(run: Path) -> None:
    command = [sys.executable, "-c", OLDER, "review", str(run), "--no-browser"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 2
    assert "pip install 'kiyome[review]'" in shown.stderr
