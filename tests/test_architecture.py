"""What import-linter cannot see: which packages are loaded when a room is used, and what a wheel holds."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "openvino", "numba")
LATE = ("sklearn", "scipy", "pyarrow", "PIL", "jinja2")


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sorted(name for name in sys.modules if '.' not in name))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(shown.stdout.split())


def test_the_front_door_loads_nothing_heavy() -> None:
    assert not loaded_after("import kiyome, kiyome.cli") & {*HEAVY, *LATE}


@pytest.mark.parametrize(
    "room",
    [
        *("reading.read_table", "curation", "ensemble", "estimates", "evaluation.audit"),
        *("experiments", "folds", "images.check", "noise", "report"),
    ],
)
def test_array_rooms_load_no_framework(room: str) -> None:
    assert not loaded_after(f"import kiyome.{room}") & set(HEAVY)
