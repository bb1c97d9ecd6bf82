"""What pip may install: no release with a known hole, and the versions and the bytes that were tested."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in texts
]
HOLES = {
    "h11": "0.14.0",  # CVE-2025-43859
    "jinja2": "3.1.5",  # CVE-2025-27516
    "lightgbm": "4.5.0",  # CVE-2024-43598
    "mlflow": "3.10.1",  # CVE-2025-14279, CVE-2026-2614, CVE-2026-2652
    "opencv-python-headless": "4.11.0.86",  # CVE-2025-53644
    "pillow": "11.2.1",  # CVE-2025-48379
    "ray": "2.53.0",  # CVE-2026-27482
    "starlette": "1.0.0",  # CVE-2026-48710, CVE-2025-62727
    "torch": "2.9.1",  # CVE-2026-24747
}
"""The last release with a hole that is known."""


def pinned(file: str) -> dict[str, str]:
    pins = re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


@pytest.mark.parametrize("name", HOLES)
def test_no_release_with_a_known_hole_is_let_in(name) -> None:
    named = [each for each in REQUIREMENTS if canonicalize_name(each.name) == name]
    assert named
    assert not any(each.specifier.contains(HOLES[name]) for each in named)


@pytest.mark.parametrize("file", ["constraints.txt", "constraints-hashed.txt"])
def test_every_pin_is_let_in(file) -> None:
    pins = pinned(file)
    refused = [
        str(each)
        for each in REQUIREMENTS
        if (pin := pins.get(canonicalize_name(each.name))) and not each.specifier.contains(pin)
    ]
    assert refused == []


def test_both_lists_of_pins_say_the_same_and_each_has_its_digests() -> None:
    plain, hashed = pinned("constraints.txt"), pinned("constraints-hashed.txt")
    assert {name: hashed.get(name) for name in plain} == plain
    blocks = re.split(r"\n(?=[a-z])", (ROOT / "constraints-hashed.txt").read_text("utf-8"))[1:]
    assert len(blocks) == len(hashed)
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}", block) for block in blocks)
