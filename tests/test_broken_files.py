"""Broken and hostile files: a message that names the file and the remedy, in bounded time and memory."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kiyome.errors import InputError, KiyomeError, UnreadablePhoto
from kiyome.images.decode import read_photo_file
from kiyome.training.recipe_files import read_recipes


@contextmanager
def bounded(*, seconds: float = 20, megabytes: float = 100) -> Iterator[None]:
    """A block that ends within this time and memory; the time is generous, since machines are busy."""
    tracemalloc.start()
    begun = time.monotonic()
    try:
        yield
        assert time.monotonic() - begun < seconds
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


def aliases(depth: int) -> str:
    """YAML of some hundred bytes that stands for 10**depth texts."""
    lines = ["a0: &a0 much"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


RECIPES = {
    "aliases.yaml": (aliases(7), r"aliases\.yaml: an alias; write out what it stands for.*line 2"),
    "itself.yaml": ("a: &a [*a]", "an alias"),
    "merged.yaml": ("a: &a {epochs: 3}\nb: {<<: *a}", "an alias"),
    "lists.yaml": ("name: " + "[" * 20_000, "nested more than 16 deep"),
    "maps.yaml": ("name: " + "{a: " * 300 + "}" * 300, "nested"),
    "lists.toml": ("name = " + "[" * 20_000, "nested without end"),
    "deep.toml": ("name = " + "[" * 40 + "]" * 40, "nested more than 16 deep"),
    "dots.toml": ("\na" + ".a" * 30_000 + " = 1", r"a key of more than 16 parts \(at line 2\)"),
    "quoted.toml": ("[a" + " . 'a'" * 30_000 + "]", "a key of more than 16 parts"),
    "large.toml": ("#" * (1 << 20), "at most 512 KiB"),
    "large.yaml": ("#" * (1 << 20), "at most 512 KiB"),
    "numbers.yaml": ("1: 2", "A recipe holds fields"),
    "nothing.yaml": ("", "A recipe holds fields"),
    "empty_int.yaml": ("epochs: !!int ''", "sound TOML or YAML"),
    "no_bool.yaml": ("epochs: !!bool foo", "sound TOML or YAML"),
    "no_time.yaml": ("epochs: !!timestamp foo", "sound TOML or YAML"),
    "object.yaml": ("epochs: !!python/object/apply:os.system [ls]", "sound TOML or YAML"),
    "long.toml": (f'epochs = "{"3" * 400_000}"', "epochs is a whole number"),
    "latin.toml": (b'about = "caf\xe9"', "text in UTF-8"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_hostile_recipe_is_refused_at_once(name, tmp_path) -> None:
    content, said = RECIPES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with bounded(), pytest.raises(InputError, match=said) as refused:
        read_recipes(tmp_path / name)
    assert len(str(refused.value)) < 3_200


def test_a_message_holds_the_beginning_and_the_end_of_what_is_long() -> None:
    error = KiyomeError("It fits.", came=f"{'x' * 10**6} in line 3", remedy="Cut it.")
    assert len(str(error)) < 1_100
    assert "xxx ... xxx" in error.came
    assert error.of("mine").came.endswith("in line 3")


def test_a_photo_takes_the_memory_of_its_file(tmp_path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" * 5_000)
    with bounded(megabytes=1):
        assert len(read_photo_file(tmp_path / "photo.jpg")) == 10_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_photo_that_grows_while_it_is_read_is_refused() -> None:
    """The kernel says of its files that they are empty, and then they are not."""
    with pytest.raises(UnreadablePhoto) as refused:
        read_photo_file(Path("/proc/self/status"))
    assert refused.value.came == "a file that grows while it is read"
