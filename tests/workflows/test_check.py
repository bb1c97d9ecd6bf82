import csv
import shutil
from pathlib import Path

from kiyome.testing import write_digits
from kiyome.workflows.check import check


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_and_every_file_is_counted(tmp_path: Path) -> None:
    write_digits(tmp_path / "data", num_photos=40)
    photos = tmp_path / "data/train_images"
    (photos / "digit_0005.png").write_bytes(b"")
    (photos / "notes.txt").write_text("not a photo")
    shutil.copy(photos / "digit_0001.png", photos / "digit_0002.png")
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    result = check(tmp_path / "data", output=tmp_path / "run")
    summary = result.summary()
    assert (summary["photos"], summary["readable"], summary["set_aside"]) == (40, 39, 1)
    assert summary["reasons"] == {"an empty file": 1}
    assert summary["photos_with_the_same_pixels"] == 2
    assert sum(c["readable"] + c["set_aside"] for c in summary["classes"].values()) == 40
    assert len(rows_of(result.folder / "photos.csv")) == 40
    same = [
        row["image_id"] for row in rows_of(result.folder / "duplicates.csv") if row["kind"] == "same pixels"
    ]
    assert same == ["digit_0001.png", "digit_0002.png"]
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_rows_of_a_named_column_are_groups(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", num_photos=20)
    table = (tmp_path / "digits/train.csv").read_text().splitlines()
    rows = [f"{line},{'lesion_id' if not number else f'L{number // 2}'}" for number, line in enumerate(table)]
    (tmp_path / "digits/train.csv").write_text("\n".join(rows) + "\n")
    plain = check(tmp_path / "digits", output=tmp_path / "plain", progress=False)
    assert plain.table.groups is None
    assert "--group-column lesion_id" in "".join(plain.table.notes)
    found = check(tmp_path / "digits", group_column="lesion_id", output=tmp_path / "run", progress=False)
    assert found.table.groups is not None
    assert found.table.notes == ()


def test_a_set_of_which_no_photo_can_be_read_is_listed(tmp_path: Path) -> None:
    write_digits(tmp_path / "data", num_photos=12)
    for path in (tmp_path / "data/train_images").iterdir():
        path.write_bytes(b"")
    summary = check(tmp_path / "data", output=tmp_path / "run").summary()
    assert (summary["readable"], summary["reasons"]) == (0, {"an empty file": 12})
