"""The cache of compiled kernels: used when it can be, missed when it cannot. Results are tested elsewhere."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")

COUNT = """
import shutil, sys, numpy as np
from pathlib import Path
from kiyome.noise import kernels
if "full" in sys.argv:  # the folder is there when it is chosen, and cannot be written later
    shutil.rmtree(sys.argv[1])
    Path(sys.argv[1]).touch()
for _ in range(2):
    counts = np.zeros((2, 2), dtype=np.int64)
    kernels.count_pairs(np.array([0, 1, -1], np.int32), np.array([[0, 1], [0, 1], [1, 0]], np.uint8), counts)
print(counts.tolist())
"""
COUNTED = "[[1, 0], [1, 0]]"


def count(cache, *words, **environment):
    """What another process prints that counts with this cache; a warning or an error there is one here."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment}
    command = [sys.executable, "-W", "error", "-c", COUNT, str(cache), *words]
    done = subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_kernel_is_compiled_once_a_machine(tmp_path):
    assert count(tmp_path) == COUNTED
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert {path.suffix for path in files} == {".nbi", ".nbc"}
    assert count(tmp_path) == COUNTED
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == files


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("left", [0, 50])
def test_torn_cache_files_do_no_harm(tmp_path, suffix, left):
    count(tmp_path)
    files = list(tmp_path.rglob(f"*{suffix}"))
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[:left])
    assert count(tmp_path) == COUNTED


def test_without_a_folder_that_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "below"
    assert count(below, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator") == COUNTED


def test_a_disk_that_fills_up(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    assert count(cache, "full") == COUNTED
    assert cache.is_file()


def test_what_a_kernel_cannot_take_is_said():
    from kiyome.noise import kernels

    with pytest.raises(Exception, match=r"No implementation of function|Failed in nopython mode"):
        kernels.count_pairs("no", np.zeros((1, 2), np.uint8), np.zeros((2, 2), np.int64))
