import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.artifacts.storage import (
    default_cache_folder,
    digest_of_file,
    is_temporary,
    sha256_of_file,
    write_bytes,
    write_csv,
    write_csv_columns,
    write_text,
    writing,
)

WRITER = """
import sys
from kiyome.artifacts.storage import writing
print("begin", flush=True)
for turn in range(10**9):
    with writing(sys.argv[1]) as file:
        for _ in range(64):
            file.write(bytes([65 + turn % 2]) * 65536)
"""


def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one_whole(tmp_path):
    path = tmp_path / "result"
    whole = {bytes([65 + turn]) * 65536 * 64 for turn in range(2)}
    write_bytes(path, bytes([65]) * 65536 * 64)
    for attempt in range(12):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"begin\n"
        time.sleep(0.003 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert path.read_bytes() in whole
    assert all(entry.name == "result" or is_temporary(entry) for entry in tmp_path.iterdir())


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def stop_halfway():
        with writing(path) as file:
            file.write(b"half of the n")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_halfway()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def fill_the_disk():
        with writing(path) as file:
            os.dup2(os.open("/dev/full", os.O_WRONLY), file.fileno())  # the real error of a real device
            file.write(b"new")

    with pytest.raises(OSError, match="No space left"):
        fill_the_disk()
    assert path.read_text() == "old"


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"source")
    (tmp_path / "out").symlink_to("photo.jpg")
    write_bytes(tmp_path / "out", b"result")
    assert (tmp_path / "photo.jpg").read_bytes() == b"source"
    assert (tmp_path / "out").read_bytes() == b"result"


def test_files_get_the_usual_permissions(tmp_path):
    write_bytes(tmp_path / "ours", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_digest_tells_files_apart(tmp_path):
    write_bytes(tmp_path / "a", b"a")
    write_bytes(tmp_path / "b", b"b")
    assert sha256_of_file(tmp_path / "a") != sha256_of_file(tmp_path / "b")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
numbers = st.floats(width=32) | st.integers(-3, 3).map(float)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data(), st.integers(1, 6))
def test_columns_are_written_as_the_rows_of_a_csv(data, length):
    def column(values, kind):
        array = np.empty(length, dtype=kind)
        array[:] = data.draw(st.lists(values, min_size=length, max_size=length))
        return array

    columns = {
        "id, quoted": column(st.none() | texts, object),
        "label": column(st.none() | texts, object),
        "float32": column(numbers, np.float32),
        "float64": column(st.floats(), np.float64),
        "whole": column(st.integers(-9, 9), np.int16),
        "is_issue": column(st.booleans(), bool),
    }
    rows = zip(*columns.values(), strict=True)
    plain = [["" if cell is None or cell != cell else cell for cell in row] for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        write_csv(Path(folder) / "rows.csv", [list(columns), *plain])
        write_csv_columns(Path(folder) / "columns.csv", columns)
        assert (Path(folder) / "columns.csv").read_bytes() == (Path(folder) / "rows.csv").read_bytes()


def test_a_digest_is_taken_again_when_the_file_changes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before = digest_of_file(path)
    times = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the clock of changes goes on all the same
    assert digest_of_file(path) == sha256_of_file(path) != before


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("KIYOME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "somewhere"))
    assert default_cache_folder() == tmp_path / "somewhere" / "kiyome"
    monkeypatch.setenv("KIYOME_CACHE", "/own")
    assert default_cache_folder() == Path("/own")
