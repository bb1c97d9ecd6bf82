"""Photo -> flagged?: on digits where one kind of photo is mislabeled, and where mistakes are accidents."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kiyome.cli import app
from kiyome.cli.render import show_noise_classifier
from kiyome.errors import InputError
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.workflows.find import find
from kiyome.workflows.noise_classifier import noise_classifier

TINY = ("architecture=tiny", "image_size=32", "epochs=4", "num_folds=3", "augment={}", "learning_rate=0.01")


@pytest.fixture(scope="module")
def mislabeled_by_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of which dark photos carry another label: what is flagged shows in the photo."""
    place = tmp_path_factory.mktemp("kind")
    rng = np.random.default_rng(0)
    (place / "photos").mkdir()
    lines = ["image_id,label"]
    for row in range(240):
        label, dark = row % 2, rng.random() < 0.25
        pixels = np.full((32, 32, 3), 60 if dark else 200, np.uint8)
        pixels[:, :16] //= 1 + label
        noise = rng.integers(0, 20, pixels.shape, dtype=np.uint8)
        Image.fromarray(pixels + noise).save(place / "photos" / f"{row:03d}.png")
        lines.append(f"{row:03d}.png,{label ^ (dark and rng.random() < 0.8)}")
    (place / "labels.csv").write_text("\n".join(lines))
    probs = np.array([[0.9, 0.1] if row % 2 == 0 else [0.1, 0.9] for row in range(240)], np.float32)
    np.save(place / "oof.npy", probs)
    table = place / "labels.csv"
    return find(table, images=place / "photos", pred_probs=place / "oof.npy", output=place / "run").folder


def test_what_shows_in_photos_is_found_out_of_fold(
    mislabeled_by_kind: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = noise_classifier(
        mislabeled_by_kind,
        changes=[*TINY, "loss=ce"],
        output=tmp_path / "out",
        cache_folder=tmp_path / "cache",
    )
    assert result.by_photo.average_precision.low > 2 * result.by_photo.chance.value
    assert result.gain.low > 0
    assert result.trained.table.class_names == ("not flagged", "flagged")
    show_noise_classifier(result)
    said = capsys.readouterr().out
    [note] = result.summary()["notes"]
    assert note.startswith("label_smoothing = 0.1 of the recipe stays for cross_entropy")
    assert f"note: {note}\n" in said
    assert f"average precision by photo           {result.by_photo.average_precision.as_percent()}" in said


def test_a_run_that_flagged_nothing_is_told(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", num_photos=60)
    given = read_table(tmp_path / "digits").given_labels
    np.save(tmp_path / "oof.npy", 0.01 + 0.9 * np.eye(10)[given])
    run = find(tmp_path / "digits", pred_probs=tmp_path / "oof.npy", output=tmp_path / "run", method="both")
    with pytest.raises(InputError, match="0 of 60 rows are of the kind"):
        noise_classifier(run.folder)
    answer = CliRunner().invoke(app, ["noise-classifier", str(run.folder)])
    assert answer.exit_code == 2
