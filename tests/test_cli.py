import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kiyome.cli import VERBS, app, visible
from kiyome.cli.command import command_output
from kiyome.testing import write_digits


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kiyome", *map(str, arguments)]
    variables = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    shown = run(*verb.split(), "--help")
    assert shown.returncode == 0
    assert f"  kiyome {verb}" in shown.stdout


IMPORTED = """
import runpy, sys
sys.argv = ["kiyome", "--help"]
try:
    runpy.run_module("kiyome", run_name="__main__")
finally:
    print(*sys.modules, file=sys.stderr)
"""


def test_help_imports_the_command_line_alone() -> None:
    """How long help takes, `benchmarks/waits.py` says."""
    shown = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    imported = set(shown.stderr.split())
    assert {name.split(".")[1] for name in imported if name.startswith("kiyome.")} == {
        *("cli", "errors", "progress")
    }
    assert not imported & {"numpy", "pandas", "pyarrow", "sklearn", "PIL", "openvino", "torch", "sqlalchemy"}


def test_find_prints_words_or_json(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", num_photos=200)
    arguments = ("find", tmp_path / "digits", "--backbone", "tiny", "-o", tmp_path / "run")
    words = run(*arguments, KIYOME_CACHE=str(tmp_path))
    assert words.returncode == 0
    assert "200 of 200 photos read; 0 set aside" in words.stdout
    assert "rows are flagged. The most suspicious:" in words.stdout
    answer = json.loads(run(*arguments, "--json", KIYOME_CACHE=str(tmp_path)).stdout)
    assert answer["rows"] == 200
    assert answer["noise_rate"]["low"] <= answer["noise_rate"]["value"] <= answer["noise_rate"]["high"]


def test_wrong_input_is_one_plain_line_and_exit_code_2(tmp_path: Path) -> None:
    shown = run("find", tmp_path / "nowhere")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "error: There is no folder or table at '" in shown.stderr
    assert "Traceback" not in shown.stderr
    answer = json.loads(run("check", tmp_path / "nowhere", "--json").stdout)
    assert answer["error"]["kind"] == "TableError"
    assert answer["error"]["remedy"] == "Check the path."
    assert {*answer["error"]} == {"kind", "problem", "expected", "remedy"}


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_failing_machine_is_an_error_as_json_too(error: Exception, capsys) -> None:
    with pytest.raises(typer.Exit) as stopped, command_output(as_json=True):
        raise error
    parts = json.loads(capsys.readouterr().out)["error"]
    assert stopped.value.exit_code == 2
    assert {*parts} == {"kind", "problem", "expected", "remedy"}
    assert parts["remedy"] == "What was finished before is complete."


def test_an_unknown_method_lists_the_known_ones(tmp_path: Path) -> None:
    write_digits(tmp_path, num_photos=100)
    shown = run("find", tmp_path, "--method", "magic", "--backbone", "tiny", KIYOME_CACHE=str(tmp_path))
    assert shown.returncode == 2
    assert "prune_by_noise_rate" in shown.stderr


DEFAULTS = {
    signal.SIGINT: "signal.default_int_handler",
    signal.SIGTERM: "signal.SIG_DFL",
    signal.SIGHUP: "signal.SIG_DFL",
}
"""As a shell in the foreground hands them on; behind `&` or nohup some are ignored."""


@pytest.mark.parametrize("sign", DEFAULTS, ids=lambda sign: sign.name)
def test_who_is_told_to_stop_says_so(sign: signal.Signals) -> None:
    """Ctrl-C, `kill` and a terminal that closes end alike."""
    code = (
        "import time, typer\nfrom kiyome.cli.command import command_output\n"
        "def verb():\n    with command_output(False):\n"
        "        print('ready', flush=True)\n        time.sleep(60)\n"
        "typer.run(verb)"
    )
    command = [sys.executable, "-c", f"import signal; signal.signal({sign:d}, {DEFAULTS[sign]})\n{code}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sign)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, "Stopped." in told) == (128 + sign, True), told


def test_names_of_strangers_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2J\u202eb\r") == "a\\x1b[2J\\u202eb\\r"


@pytest.mark.parametrize(
    ("command", "present"),
    [
        ("correct runs/a --anyway", "--allow-double-noise"),
        ("correct runs/a --reading=true", "--direction"),
        ("evaluate runs/a --wrong 12/200", "--measured-errors"),
    ],
)
def test_the_former_name_of_an_option_is_answered_with_the_present_one(command: str, present: str) -> None:
    done = CliRunner().invoke(app, command.split(), env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert f"is now {present}." in done.output
