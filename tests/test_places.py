"""Where kiyome runs: without a home, without an entry of the user, in a folder that cannot be written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from kiyome.artifacts.storage import default_cache_folder
from kiyome.errors import KiyomeError
from kiyome.testing import write_digits

KIYOME = ("-m", "kiyome")
STRANGER = 54321
"""A user without an entry in the list of users."""
PREDICTIONS = """
import numpy as np, sys
from pathlib import Path
rows = [line.split(",") for line in Path("data/train.csv").read_text().split()[1:]]
probs = 0.02 + 0.8 * np.eye(10)[[int(label) for _, label in rows]]
np.save("oof.npy", probs / probs.sum(axis=1, keepdims=True))
"""
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become a user without entry"
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user can read and only its owner can write."""
    place = Path(mkdtemp())
    place.chmod(0o755)
    write_digits(place / "data", num_photos=80)
    subprocess.run([sys.executable, "-c", PREDICTIONS], cwd=place, check=True)
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)
    yield place
    shutil.rmtree(place)


def as_stranger(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    user = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    command = [*user, sys.executable, "-B", *words]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(place / "tmp"), **environment}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=300)


@as_root
@pytest.mark.parametrize("environment", [{}, {"HOME": "/"}, {"HOME": "/nowhere"}])
def test_predictions_need_no_home(place: Path, environment: dict[str, str]) -> None:
    output = str(place / "tmp" / f"predictions-{len(environment.get('HOME', ''))}")
    done = as_stranger(
        place, *KIYOME, "find", "data/train.csv", "--pred-probs", "oof.npy", "-o", output, **environment
    )
    assert done.returncode == 0, done.stderr
    assert "the cache is" not in done.stdout


@as_root
def test_photos_are_cached_in_a_private_temporary_folder_with_a_note(place: Path) -> None:
    words = [
        *KIYOME,
        "find",
        "data",
        "--backbone",
        "tiny",
        "--folds",
        "3",
        "-o",
        str(place / "tmp" / "photos"),
    ]
    done = as_stranger(place, *words)
    assert done.returncode == 0, done.stderr
    cache = place / "tmp" / f"kiyome-{STRANGER}"
    assert f"the cache is {cache}; KIYOME_CACHE moves it" in " ".join(done.stdout.split())
    assert cache.stat().st_mode & 0o777 == 0o700
    assert cache.stat().st_uid == STRANGER


@as_root
def test_a_folder_that_cannot_be_written_names_the_option(place: Path) -> None:
    done = as_stranger(place, *KIYOME, "find", "data", "--backbone", "tiny", "--folds", "3")
    assert done.returncode == 2
    assert "The run folder runs/data cannot be made" in done.stderr
    assert "--output (-o)" in done.stderr
    assert not (place / "runs").exists()


@as_root
def test_kernels_are_compiled_once_without_a_home(place: Path) -> None:
    pytest.importorskip("numba")
    folder = place / "tmp" / f"kiyome-{STRANGER}" / f"kernels-{STRANGER}"
    code = """if True:
        import numpy as np
        from kiyome.noise import kernels
        counts, top = np.zeros((2, 2), np.int64), np.array([[0, 1], [0, 1], [1, 0]], np.uint8)
        kernels.count_pairs(np.array([0, 1, -1], np.int32), top, counts)
    """
    times = []
    for _ in range(2):
        done = as_stranger(place, "-c", code)
        assert done.returncode == 0, done.stderr
        times.append({path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")})
    assert times[0]
    assert times[0] == times[1]


def test_a_planted_cache_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KIYOME_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("kiyome.artifacts.storage.gettempdir", lambda: str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"kiyome-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KiyomeError, match=r"is a link, or belongs to another user\. Set KIYOME_CACHE"):
        default_cache_folder()
