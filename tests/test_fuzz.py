"""Whatever lies in a file, a reader gives a value or a KiyomeError, in bounded time.

Longer by hand: `KIYOME_FUZZ=20000 pytest -m slow tests/test_fuzz.py` tries so many files a reader.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kiyome.artifacts.manifest import read_manifest
from kiyome.decisions.exchange.formats import parse_file
from kiyome.decisions.journal import read_journal
from kiyome.errors import KiyomeError
from kiyome.reading.files import read_records
from kiyome.training.recipe_files import read_recipes

EVENT = b'{"review": "r", "number": 1, "batch": "b", "row": 0, "verdict": "keep"}\n'
SEEDS = {
    "r.toml": b'epochs = 3\nloss_options = {label_smoothing = 0.1}\n[models.a]\ncrop = "whole"\n',
    "r.yaml": b"epochs: !!int 3\nseeds: [1, 2]\nmodels: {a: {crop: whole}}\nabout: &a 2001-01-01\n",
    "t.csv": b'image_id,label\n"a.jpg",0\nb.jpg;1,2\r\n',
    "t.jsonl": b'{"image_id": "a.jpg", "label": 1.5}\n{"image_id": null, "label": []}\n',
    "run.json": b'{"command": "find", "table": {"rows": 1}, "seal": "0"}',
    "j.jsonl": EVENT * 2,
    "s.json": b'[{"data": {"image": "a.jpg"}, "annotations": [{"result": [{"value": {"choices": ["a"]}}]}]}]',
    "f.json": b'{"labels": {"a.jpg": "a", "b": [0, 1]}, "classes": ["a", "b"]}',
    "c.xml": b'<annotations><image name="a.jpg"><tag label="a"/></image><track/></annotations>',
    "d.csv": b"image_id,decision,label,reviewer\na.jpg,relabel,a,Ann\nb.jpg,keep,,\n",
}
"""A whole file, or nearly, for each reader; what is tried is made of pieces of it."""
READERS: dict[str, Callable[[Path], object]] = {
    "r.toml": read_recipes,
    "r.yaml": read_recipes,
    "t.csv": read_records,
    "t.jsonl": read_records,
    "run.json": lambda path: read_manifest(path.parent),
    "j.jsonl": read_journal,
    **dict.fromkeys(("s.json", "f.json", "c.xml", "d.csv"), lambda path: parse_file(path, ["a", "b"])),
}
ODD = (b"", b"\0", b"\xff", b"[" * 500, b'"', b"'", b"\n", b"\r", b"&a *a", b"!!int", b"1e999", b"9" * 5000)


@st.composite
def files_like(draw: st.DrawFn, whole: bytes) -> bytes:
    """The file with some pieces replaced, doubled or taken out."""
    content = whole
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(content)))
        end = draw(st.integers(begin, min(len(content), begin + 20)))
        piece = draw(st.one_of(st.sampled_from(ODD), st.binary(max_size=8), st.just(whole[begin:end] * 2)))
        content = content[:begin] + piece + content[end:]
    return content


def try_files(name: str, folder: Path, max_examples: int) -> None:
    @settings(
        max_examples=max_examples,
        deadline=20_000,
        derandomize="KIYOME_FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(content=files_like(SEEDS[name]))
    @example(content=SEEDS[name])
    def gives_a_value_or_a_told_error(content: bytes) -> None:
        (folder / name).write_bytes(content)
        with suppress(KiyomeError):
            READERS[name](folder / name)

    gives_a_value_or_a_told_error()


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_gives_a_value_or_a_told_error(name, tmp_path) -> None:
    try_files(name, tmp_path, 25)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_broken_files_give_values_or_told_errors(name, tmp_path) -> None:
    try_files(name, tmp_path, int(os.environ.get("KIYOME_FUZZ", "1500")))
