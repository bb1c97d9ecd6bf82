"""The page's modules without a browser: their types fit, and those that need no window do what they say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "javascript"
TYPESCRIPT = "typescript@7.0.2"
OLDEST_NODE = 20, 19
"""Node before this takes a file for a module only where a package.json says so."""
PATIENCE = 60
"""Seconds; what takes longer is not at hand."""


def test_types_fit() -> None:
    # kept below .venv, where ./run test writes; one repeat, since npm's own patience is minutes
    kept = f"--cache={Path(sys.prefix) / 'npm'}", "--prefer-offline", "--fetch-retries=1"
    compiler = [found("npx"), "--yes", *kept, f"--package={TYPESCRIPT}", "--", "tsc"]
    try:
        ready = run(*compiler, "--version")
    except subprocess.TimeoutExpired:
        pytest.skip(f"types of the page's JavaScript are not checked: no {TYPESCRIPT} in {PATIENCE} s")
    if ready.returncode:
        said = " ".join(ready.stderr.split())[:200]
        pytest.skip(f"types of the page's JavaScript are not checked: npx brings no {TYPESCRIPT}: {said}")
    checked = run(*compiler, "--project", str(HERE))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pure_modules_do_what_they_say() -> None:
    node = found("node")
    version = run(node, "--version").stdout.strip()
    if tuple(int(part) for part in version.lstrip("v").split(".")[:2]) < OLDEST_NODE:
        pytest.skip(f"the page's JavaScript is not tested: node is {version}, and 20.19 or newer is needed")
    tested = run(node, "--test", *map(str, sorted(HERE.glob("*.test.mjs"))))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def found(program: str) -> str:
    """The program's path; without it the test is skipped."""
    return shutil.which(program) or pytest.skip(
        f"the page's JavaScript is not checked: there is no {program}"
    )


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A finished program and what it said."""
    options = {"cwd": HERE, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    return subprocess.run(command, timeout=PATIENCE, check=False, **options)
