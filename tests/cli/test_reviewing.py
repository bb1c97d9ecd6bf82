"""The verb: what it prints, where it listens, how it ends; as a process of its own."""

import html
import os
import re
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kiyome.testing import write_digits
from kiyome.workflows.find import find

SERVE = (sys.executable, "-m", "kiyome", "review")
OLDER = "import sys; sys.modules['fastapi'] = None; from kiyome.cli import main; main()"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    write_digits(place / "digits", num_photos=120)
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place).folder


@contextmanager
def serving(
    *arguments: object, browser: bool = False, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """What is printed up to the address, and the process."""
    command, variables = [*SERVE, *map(str, arguments)], {**os.environ, **environment}
    command += [] if browser else ["--no-browser"]
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
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        visitor.open(address).close()
        with visitor.open(f"{address.partition('?')[0]}api/review") as answer:
            assert b'"reviewer_suggested":"Ann"' in answer.read()
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
        assert (server.returncode, out) == (0, "Stopped. Every confirmed decision is stored.\n")
        assert "Traceback" not in err


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_nobody_comes_in_without_the_token(run: Path, host: str) -> None:
    with serving(run, "--host", host, "--port", 0, "--as", "Ann") as (said, _):
        port, token = re.search(r":(\d+)/\?token=(\S+)", address_in(said)).groups()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/review")
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with visitor.open(f"http://127.0.0.1:{port}/?token={token}") as page:
            assert token not in page.url
            assert b'<div id="app">' in page.read()
        with visitor.open(f"http://127.0.0.1:{port}/api/review") as answer:
            assert b'"reviewer_suggested":"Ann"' in answer.read()


def test_who_runs_the_server_is_suggested_on_loopback_only(run: Path) -> None:
    with serving(run, "--host", "0.0.0.0", "--port", 0) as (said, _):
        visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        address = f"http://127.0.0.1:{urlsplit(address_in(said)).port}/"
        visitor.open(f"{address}?{urlsplit(address_in(said)).query}").close()
        with visitor.open(f"{address}api/review") as answer:
            assert b'"reviewer_suggested":null' in answer.read()  # the user of this machine is none of theirs


def test_without_a_token_all_of_this_machine_come_in(run: Path) -> None:
    with (
        serving(run, "--port", 0, "--no-token") as (said, _),
        urllib.request.urlopen(f"{address_in(said)}api/review") as answer,
    ):
        assert "token" not in address_in(said)
        assert b'"title":"run"' in answer.read()


def test_the_browser_is_opened_without_the_token_on_its_command_line(run: Path, tmp_path: Path) -> None:
    seen, browser = tmp_path / "seen", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    with serving(run, "--port", 0, browser=True, BROWSER=str(browser), DISPLAY=":7") as (said, server):
        token = address_in(said).partition("token=")[2]
        while not seen.exists():
            time.sleep(0.01)
        assert token not in seen.read_text()
        way = Path(urlsplit(seen.read_text().strip()).path)
        assert way.parent == run / "review"
        assert stat.S_IMODE(way.stat().st_mode) == 0o600
        assert f"0;url={html.escape(address_in(said))}" in way.read_text()
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)
        assert not way.exists()


def test_in_a_blind_review_a_name_is_given_to_whoever_it_belongs_to(run: Path) -> None:
    with serving(run, "--port", 0, "--blind", "--as", "Ann") as (said, _):
        own = re.search(r"^Only Ann +(\S+)$", said, re.MULTILINE)[1]
        assert re.fullmatch(re.escape(address_in(said)) + r"&word=[0-9a-f]{32}", own)
        jar = urllib.request.HTTPCookieProcessor()
        with urllib.request.build_opener(jar).open(own) as page:
            assert "word" not in page.url
        assert {cookie.name[:13] for cookie in jar.cookiejar} == {
            "kiyome-names-",
            f"kiyome-{urlsplit(own).port}",
        }
    with serving(run, "--port", 0, "--blind") as (said, _):
        assert "Only" not in said


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
        (["RUN", "--token", "short"], "error: The token of 5 characters is not valid. Expected at least 16"),
        (
            ["RUN", "--no-token", "--host", "0.0.0.0"],
            "error: --no-token came with --host 0.0.0.0. A server without a token",
        ),
        (["RUN", "--host", "192.0.2.1"], "error: The server cannot listen on 192.0.2.1, port"),
        (["RUN", "--store", "mysql://x"], "error: The store 'mysql':... is neither a file of SQLite nor"),
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


def test_the_measured_share_is_told_and_a_wrong_one_is_named(run: Path) -> None:
    with serving(run, "--port", 0, "--measure", "25 %") as (said, _):
        assert "Measured   25% of the looks go to photos drawn at random (--measure)\n" in said
    refused = subprocess.run([*SERVE, run, "--measure", "ten"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--measure ten is no share." in refused.stderr
    assert "Use --measure 10% for one look in ten, --measure 0% for none." in refused.stderr
