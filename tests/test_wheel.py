"""What people get: a wheel, in an environment that holds nothing else."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from kiyome.testing import write_digits

ROOT = Path(__file__).parents[1]


def test_the_wheel_installs_and_finds_in_an_empty_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert "kiyome/py.typed" in names
    assert any(name.startswith("kiyome/report/templates/") for name in names)
    assert not any(name.startswith(("tests", "benchmarks")) for name in names)

    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = str(tmp_path / "env/bin/python")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(ROOT / "constraints.txt"),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)

    write_digits(tmp_path / "digits", num_photos=120)
    find = [
        str(tmp_path / "env/bin/kiyome"),
        "find",
        str(tmp_path / "digits"),
        "--json",
        "-o",
        str(tmp_path / "run"),
    ]
    environment = {**os.environ, "KIYOME_CACHE": str(tmp_path / "cache")}
    environment.pop("PYTHONPATH", None)
    tiny = subprocess.run(
        [*find, "--backbone", "tiny"], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(tiny.stdout)["rows"] == 120

    lite0 = subprocess.run(find, capture_output=True, text=True, env=environment, check=False)
    assert lite0.returncode == 2
    assert "pip install 'kiyome[lite]'" in lite0.stdout
