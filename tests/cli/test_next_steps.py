"""Every next step that a verb prints can be taken, as it is printed."""

import re
import shlex
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from kiyome.cli import app
from kiyome.testing import write_digits

SMALL = "architecture=tiny pretrained=false image_size=32 epochs=1 batch_size=32"
STEP = re.compile(r"^(?:Then|Or|Correct|To know) +kiyome ([^\n,]+)", re.MULTILINE)


def emit(command: str) -> str:
    """What the command line prints in this process."""
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, f"kiyome {command}\n{done.output}"
    return done.stdout


def next_steps(command: str) -> list[str]:
    """What the command's answer says can come next."""
    steps = STEP.findall(emit(command))
    assert steps, f"no next step after kiyome {command}"
    return [step.strip() for step in steps]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on photos of digits: one found, two found by predictions alone, two trained with its folds."""
    place = tmp_path_factory.mktemp("steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("KIYOME_CACHE", str(place / "cache"))
        write_digits("digits", num_photos=100, side=32)
        emit("find digits --backbone tiny -o runs/found")
        probs = pq.read_table("runs/found/oof.parquet")
        pyarrow.csv.write_csv(probs.drop_columns(["fold"]), "oof.csv")
        Path("labels.csv").write_bytes(Path("digits/train.csv").read_bytes())
        for name in ("a", "b"):
            emit(f"find labels.csv --pred-probs oof.csv -o runs/{name}")
            emit(f"train runs/found/table.parquet {SMALL} --seed {ord(name)} -o runs/trained-{name}")
    return place


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KIYOME_CACHE", str(folder / "cache"))


@pytest.mark.parametrize(
    ("command", "step"),
    [
        (f"train runs/found/table.parquet {SMALL} --seed {ord('a')} -o runs/trained-a", "find"),
        ("blend runs/trained-a runs/trained-b", "predict"),
        ("stack runs/trained-a runs/trained-b", "predict"),
        ("calibrate runs/trained-a", "predict"),
        ("calibrate runs/trained-a-blend -o runs/again", "predict"),
        ("correct runs/trained-a --direction true", "predict"),
        ("correct runs/trained-a --direction true --rows flagged -o runs/flagged", "evaluate"),
        ("blend runs/found runs/trained-a -o runs/mixed", "predict"),
        ("blend runs/a runs/b", "evaluate"),
        ("calibrate runs/found", "predict"),
        ("correct runs/found --direction true", "predict"),
        ("evaluate runs/trained-a", "audit-sample"),
        ("evaluate runs/a", "audit-sample"),
        ("evaluate runs/a-blend", "audit-sample"),
        ("curate runs/found", "train"),
        ("curate runs/found --action soften -o runs/soft", "train"),
        ("curate runs/a", "train"),
    ],
)
def test_the_next_step_can_be_taken(command: str, step: str) -> None:
    (then,) = next_steps(command)
    assert then.split()[0] == step
    assert ("--images PHOTOS" in then) == command.startswith("curate runs/a")
    then = then.replace("DATA", "digits").replace("PHOTOS", "digits/train_images")
    emit(then + f" {SMALL}" * (step == "train"))


def test_soft_labels_without_folds_are_no_step_of_train() -> None:
    said = emit("curate runs/a --action soften -o runs/soft-a")
    assert not STEP.findall(said)
    assert "Targets   runs/soft-a/predictions" in said


@pytest.mark.parametrize("run", ["found", "a", "trained-a"])
def test_a_sample_that_was_filled_is_audited(run: str) -> None:
    (review, audit) = next_steps(f"audit-sample runs/{run} -n 40 -o runs/{run}-sample")
    assert review == f"review runs/{run}-sample"
    sheet = Path(f"runs/{run}-sample/audit.csv")
    head, *rows = sheet.read_text().splitlines()
    place = head.split(",").index("true_label")
    filled = [
        ",".join([*cells[:place], "3", *cells[place + 1 :]]) for cells in (row.split(",") for row in rows)
    ]
    sheet.write_text("\n".join([head, *filled, ""]))
    emit(audit)


def test_imported_decisions_are_curated() -> None:
    Path("decisions.csv").write_text("image_id,decision,label,reviewer\ndigit_0003.png,relabel,7,Ann\n")
    (then,) = next_steps("decisions import runs/found decisions.csv")
    assert "1 rows decided by people" in emit(then)


@pytest.mark.parametrize(
    "command", ["find digits --backbone tiny -o runs/found", "find labels.csv --pred-probs oof.csv -o runs/a"]
)
def test_what_was_found_is_reviewed(command: str) -> None:
    from kiyome.decisions.items import read_items

    (then,) = next_steps(command)
    verb, run = then.split()
    assert verb == "review"
    assert len(read_items(Path(run))) == 100
