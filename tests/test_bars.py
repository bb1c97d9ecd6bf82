"""Python functions show bars where somebody looks on, and nowhere else."""

import inspect
import os
import pty
import subprocess
import sys

import kiyome
from kiyome.testing import write_digits

SCRIPT = """
import sys, kiyome
kiyome.check(sys.argv[1], output=sys.argv[2] + "/one")
print("--- with progress=False", file=sys.stderr, flush=True)
kiyome.check(sys.argv[1], output=sys.argv[2] + "/two", progress=False)
print("--- with a listener", file=sys.stderr, flush=True)
kiyome.check(sys.argv[1], output=sys.argv[2] + "/three", on_progress=lambda stage, done, total: None)
"""


def written_to(stderr, tmp_path, read):
    """What the script writes there, read by `read` while it runs."""
    command = [sys.executable, "-c", SCRIPT, tmp_path / "digits", tmp_path / "runs"]
    with subprocess.Popen(command, stderr=stderr, env={**os.environ, "TERM": "xterm"}) as process:
        text = read(process)
    assert process.returncode == 0
    return text


def test_a_terminal_sees_bars_by_default_and_a_pipe_sees_none(tmp_path):
    write_digits(tmp_path / "digits", num_photos=12)
    ours, theirs = pty.openpty()

    def read_terminal(process):
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # Linux says so at the end
                part = b""
            if not part:
                return b"".join(parts).decode()
            parts.append(part)

    shown, *rest = written_to(theirs, tmp_path, read_terminal).split("--- ")
    os.close(ours)
    assert "12/12" in shown
    assert [part.split("\r\n")[1:] for part in rest] == [[""], [""]]
    piped = written_to(subprocess.PIPE, tmp_path, lambda process: process.stderr.read().decode())
    assert piped.splitlines() == ["--- with progress=False", "--- with a listener"]


def test_every_function_that_tells_of_its_progress_can_be_silenced():
    functions = [each for name in kiyome.__all__ if inspect.isfunction(each := getattr(kiyome, name))]
    telling = [each for each in functions if "on_progress" in inspect.signature(each).parameters]
    assert {kiyome.check, kiyome.find, kiyome.train, kiyome.predict} <= set(telling)
    for function in telling:
        assert inspect.signature(function).parameters["progress"].default is True
        assert hasattr(function, "__wrapped__")
