"""Broken and hostile files: a message that names the file and the remedy, in bounded time and memory."""

import os
import resource
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.storage import write_parquet
from kiyome.cli import app
from kiyome.decisions.exchange.cvat import read_cvat
from kiyome.errors import InputError, KiyomeError, StaleArtifact, TableError, UnreadablePhoto
from kiyome.images.decode import read_photo_file
from kiyome.reading import files as records
from kiyome.reading.files import read_records
from kiyome.reading.predictions import read_out_of_fold
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
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
    "aliases.yaml": (
        aliases(7),
        r"aliases\.yaml is not valid TOML or YAML: an alias; write out what it stands for.*line 2",
    ),
    "itself.yaml": ("a: &a [*a]", "an alias"),
    "merged.yaml": ("a: &a {epochs: 3}\nb: {<<: *a}", "an alias"),
    "lists.yaml": ("name: " + "[" * 20_000, "nested more than 16 deep"),
    "maps.yaml": ("name: " + "{a: " * 300 + "}" * 300, "nested"),
    "lists.toml": ("name = " + "[" * 20_000, "nested without end"),
    "deep.toml": ("name = " + "[" * 40 + "]" * 40, "nested more than 16 deep"),
    "dots.toml": ("\na" + ".a" * 30_000 + " = 1", r"a key of more than 16 parts \(at line 2\)"),
    "quoted.toml": ("[a" + " . 'a'" * 30_000 + "]", "a key of more than 16 parts"),
    "large.toml": ("#" * (1 << 20), "is larger than 512 KiB"),
    "large.yaml": ("#" * (1 << 20), "is larger than 512 KiB"),
    "numbers.yaml": ("1: 2", "does not hold fields"),
    "nothing.yaml": ("", "does not hold fields"),
    "empty_int.yaml": ("epochs: !!int ''", "is not valid TOML or YAML"),
    "no_bool.yaml": ("epochs: !!bool foo", "is not valid TOML or YAML"),
    "no_time.yaml": ("epochs: !!timestamp foo", "is not valid TOML or YAML"),
    "object.yaml": ("epochs: !!python/object/apply:os.system [ls]", "is not valid TOML or YAML"),
    "long.toml": (f'epochs = "{"3" * 400_000}"', "is not a whole number"),
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
    error = KiyomeError(f"{'x' * 10**6} in line 3", remedy="Cut it.")
    assert len(str(error)) < 1_100
    assert "xxx ... xxx" in error.problem
    assert error.of("mine").problem.endswith("in line 3")


def test_a_photo_takes_the_memory_of_its_file(tmp_path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8" * 5_000)
    with bounded(megabytes=1):
        assert len(read_photo_file(tmp_path / "photo.jpg")) == 10_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_photo_that_grows_while_it_is_read_is_refused() -> None:
    """The kernel says of its files that they are empty, and then they are not."""
    with pytest.raises(UnreadablePhoto) as refused:
        read_photo_file(Path("/proc/self/status"))
    assert refused.value.reason == "a file that grows while it is read"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "digits"
    write_digits(folder, num_photos=60)
    return folder


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A block in which the system cuts every file at so many bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_model_that_finds_no_room_is_told_with_its_folder(tmp_path) -> None:
    pytest.importorskip("timm")
    from kiyome.models import build_model, save_timm_folder

    network = build_model("tiny", num_classes=2, pretrained=False, image_size=32)
    with files_of_at_most(2_000), pytest.raises(OSError, match="File too large") as refused:
        save_timm_folder(network, tmp_path / "model", class_names=["a", "b"], image_size=32)
    assert refused.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_file_and_what_is_free(digits, tmp_path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    command = ["find", str(digits), "--backbone", "tiny", "--folds", "3", "-o", str(small / "run")]
    try:
        came = CliRunner().invoke(app, command)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert came.exit_code == 2
    assert "No space left on device: " in came.stderr
    assert "small/run/" in came.stderr
    assert "MB are free there" in came.stderr


def header_of(length: int) -> bytes:
    return struct.pack("<Q", length) + b"{}"


def test_damaged_weights_are_named_without_foreign_advice(tmp_path) -> None:
    torch = pytest.importorskip("torch")
    from kiyome.models.timm_backbone import load_timm

    whole = tmp_path / "whole.pth"
    torch.save({"a": torch.zeros(1000)}, whole)
    damaged = {
        "long_header.safetensors": header_of(2**40),
        "short_header.safetensors": header_of(2),
        "empty.safetensors": b"",
        "cut.pth": whole.read_bytes()[:2_000],
        "empty.pth": b"",
        "text.pth": b"<html>not found</html>",
        "list.pth": b"\x80\x02]q\x00.",
        "code.pth": b"cos\nsystem\n(S'false'\ntR.",
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with (
            bounded(),
            pytest.raises(InputError, match=rf"The weights file .*{name} cannot be loaded") as refused,
        ):
            load_timm("resnet18", weights=tmp_path / name)
        assert "weights_only" not in str(refused.value)
        assert "safetensors.torch.save_file" in str(refused.value)


def test_a_damaged_model_folder_is_named(tmp_path) -> None:
    pytest.importorskip("timm")
    from kiyome.models import load_timm_folder

    config = '{"architecture": "kiyome_tiny", "pretrained_cfg": {"input_size": [3, 32, 32]}}'
    for text, content in [
        (config, header_of(2**40)),
        (config, b""),
        ("[]", header_of(2)),
        ("[" * 100_000, header_of(2)),
        ('{"architecture": {}}', header_of(2)),
    ]:
        (tmp_path / "config.json").write_text(text)
        (tmp_path / "model.safetensors").write_bytes(content)
        with bounded(), pytest.raises(StaleArtifact, match=r"must hold config\.json and model\.safetensors"):
            load_timm_folder(tmp_path)


TABLES = {
    "long_cell.csv": (b'image_id,label\na.jpg,"' + b"x" * 50_000_000, "Line 2 of {} has more than"),
    "many_lines.csv": (
        b'image_id,label\na.jpg,"' + b"x\n" * 1_000_000,
        "{} cannot be split.* a cell has at most 131,072 char",
    ),
    "long_header.csv": (b"a" * 50_000_000, "Line 1 of {} has more than"),
    "zeros.csv": (bytes(50_000_000), "Line 1 of {} has more than"),
    "no_lines.jsonl": (b'{"image_id": "' + b"a" * 50_000_000, "Line 1 of {} has more than"),
    "deep.jsonl": (b"[" * 1_000_000, "Line 1 of {} is no JSON object"),
    "utf16.csv": (b"\xff\xfe" + b"\x00\xd8" * 10, "{} is not UTF-8"),
    "text.parquet": (b"PAR1" + b"x" * 1_000 + b"PAR1", "{} is no whole Parquet file"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_file_that_is_no_table_is_told_before_it_fills_the_memory(name, tmp_path) -> None:
    content, message = TABLES[name]
    (tmp_path / name).write_bytes(content)
    with bounded(megabytes=250), pytest.raises(TableError, match=rf"^{message.format(name)}") as refused:
        read_records(tmp_path / name)
    assert len(str(refused.value)) < 3_200


def test_a_cell_of_more_than_the_memory_is_told(tmp_path) -> None:
    """1.5 GB, as F5 has it; the file has holes in place of bytes, so that it costs nothing to write."""
    path = tmp_path / "train.csv"
    path.write_bytes(b"image_id,label\n")
    os.truncate(path, 1_500_000_000)
    with bounded(megabytes=120):
        shown = CliRunner().invoke(app, ["find", str(path)])
    assert (shown.exit_code, "Line 2 of train.csv has more than" in shown.stderr) == (2, True)


def test_a_parquet_file_that_claims_rows_without_end_is_refused(tmp_path, monkeypatch) -> None:
    write_parquet(tmp_path / "a.parquet", {"image_id": ["a"] * 1_000})
    monkeypatch.setattr(records, "MOST_ROWS", 999)
    with pytest.raises(TableError, match=r"a\.parquet has 1,000 rows, more than 999"):
        read_records(tmp_path / "a.parquet")


def test_text_of_a_parquet_file_that_is_no_unicode_is_told(tmp_path) -> None:
    write_parquet(tmp_path / "a.parquet", {"image_id": pa.array([b"\xff"]).view(pa.string())})
    with pytest.raises(TableError, match=r"a\.parquet is no whole Parquet file"):
        read_records(tmp_path / "a.parquet")


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


ARRAYS = {
    "shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 2)}"),
    "overflow": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 9)}"),
    "negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2)}", bytes(24)),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", b"cos\nsystem\n(S'ls'\ntR."),
    "long header": npy("(" * 20_000),
    "deep header": npy("-" * 9_000 + "1"),
    "cut": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10, 2)}", bytes(8)),
    "pickle": b"\x80\x04]\x94.",
    "zip": b"PK\x03\x04" + bytes(100),
    "empty": b"",
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_a_lying_array_is_told_without_foreign_advice(kind, tmp_path, digits) -> None:
    (tmp_path / "lie.npy").write_bytes(ARRAYS[kind])
    with bounded(), pytest.raises(InputError, match=r"lie\.npy is no whole \.npy file of numbers") as refused:
        read_out_of_fold(tmp_path / "lie.npy", read_table(digits / "train.csv"))
    assert "allow_pickle" not in str(refused.value)
    assert "trust" not in str(refused.value)


def test_a_huge_tag_of_xml_is_refused_at_once() -> None:
    for tag in (b"<" + b"a" * 50_000_000, b"<a x='" + b">" * 50_000_000, b"<!--" + b"x" * 50_000_000):
        with bounded(seconds=5), pytest.raises(InputError, match="a tag of more than 1,048,576 bytes"):
            read_cvat(b"<annotations>" + tag)


def test_a_tag_at_the_seam_of_two_parts_is_read_whole() -> None:
    image = b'<image name="abc"><tag label="x"/></image>'
    assert len(read_cvat(b"<annotations>" + image * 60_000 + b"</annotations>").decisions) == 60_000
