"""Data sets as the public ones are laid out: read right, or refused with a remedy."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table

N = range(8)
TWO = [n % 2 for n in N]
LEAF = ("rust", "healthy")


def lines(header: str, rows: Sequence[object], text: str) -> str:
    written = [text.format(n=n, k=n % 2, row=row) for n, row in zip(N, rows, strict=True)]
    return "".join(f"{line}\n" for line in [header, *written] if line)


class Layout(NamedTuple):
    """The photos, the texts beside them, what is given, and the classes or the message that must come."""

    photos: Sequence[str]
    texts: dict[str, str]
    source: str
    outcome: tuple[str, ...] | str
    options: dict[str, str] = {}  # noqa: RUF012


COCO = {
    "images": [{"id": n, "file_name": f"train_val/Plants/{400 + n % 2}/x{n}.jpg"} for n in N],
    "annotations": [{"id": n, "image_id": n, "category_id": 400 + n % 2} for n in N],
    "categories": [{"id": 400, "name": "Rosa"}, {"id": 401, "name": "Acer"}],
}
COCO_PHOTOS = [image["file_name"] for image in COCO["images"]]
HAM = lines("lesion_id,image_id,dx,age", TWO, "HAM_{n},ISIC_{n:07},m{k},45.0")
HAM_PHOTOS = [f"HAM_part_{n % 2}/ISIC_{n:07}.jpg" for n in N]
ISIC = lines("image,MEL,NV,UNK", TWO, "ISIC_{n:07},{k}.0,{row}.0,0.0").replace("0.0,0.0,0.0", "0.0,1.0,0.0")
ISIC = ISIC.replace("1.0,1.0,0.0", "1.0,0.0,0.0")
PIES = {f"pie{k}": [f"pie{k}/1{n}" for n in N if n % 2 == k] for k in (0, 1)}
NIH = lines("Image Index,Finding Labels", ["A", "B", "A|B", *5 * ["A"]], "0000{n}_00.png,{row}")
GTSRB = lines("Width,ClassId,Path", TWO, "96,{k},Train/{k}/0_{n}.png")
VAL = lines("", TWO, "v_{n}.JPEG\tn0{k}\t0\t0\t62\t62")
CHEXPERT = lines("Path,Sex,No Finding,Edema,Devices", TWO, "CheXpert/train/p{n}/v.jpg,Male,{k}.0,-1.0,{k}.0")
RSNA = lines("patientId,x,Target", TWO, "{n:08x},,{k}")
LAYOUTS = {
    "Food-101": Layout(
        [f"images/pie{n % 2}/1{n}.jpg" for n in N],
        {"meta/classes.txt": "pie0\npie1\n"},
        "images",
        ("pie0", "pie1"),
    ),
    "Food-101, its list": Layout(
        [f"images/pie{n % 2}/1{n}.jpg" for n in N],
        {"meta/train.json": json.dumps(PIES)},
        "meta/train.json",
        ("pie0", "pie1"),
        {"images": "images"},
    ),
    "CUB": Layout(
        [f"images/00{n % 2}.Bird/B_{n}.jpg" for n in N],
        {"images.txt": lines("", TWO, "{n} 00{k}.Bird/B_{n}.jpg")},
        ".",
        "If its folders are the classes, give .*images",
    ),
    "CUB, its list": Layout(
        [f"images/00{n % 2}.Bird/B_{n}.jpg" for n in range(12)],
        {"images.txt": "".join(f"{n + 1} 00{n % 2}.Bird/B_{n}.jpg\n" for n in range(12))},
        "images.txt",
        ("000.Bird", "001.Bird"),
    ),
    "Caltech-256": Layout([f"00{n % 2}.ak/00{n % 2}_{n}.jpg" for n in N], {}, ".", ("000.ak", "001.ak")),
    "HAM10000": Layout(HAM_PHOTOS, {"HAM_metadata.csv": HAM}, "HAM_metadata.csv", ("m0", "m1")),
    "HAM10000, its folder": Layout(
        HAM_PHOTOS,
        {"HAM_metadata.csv": HAM},
        ".",
        r"no class by the folders 'HAM_part_0', 'HAM_part_1'.*: .*HAM_metadata.csv",
    ),
    "ISIC 2019": Layout(
        [f"Input/ISIC_{n:07}.jpg" for n in N], {"Truth.csv": ISIC}, "Truth.csv", ("MEL", "NV")
    ),
    "ISIC 2019, its folder": Layout(
        [f"Input/ISIC_{n:07}.jpg" for n in N], {"Truth.csv": ISIC}, ".", r"Give the table: .*Truth.csv"
    ),
    "APTOS": Layout(
        [f"train_images/0c{n}.png" for n in N],
        {"train.csv": lines("id_code,diagnosis", TWO, "0c{n},{k}")},
        ".",
        ("0", "1"),
    ),
    "RSNA": Layout([f"stage/{n:08x}.dcm" for n in N], {"labels.csv": RSNA}, "labels.csv", "--id-column"),
    "RSNA, with its option": Layout(
        [f"stage/{n:08x}.dcm" for n in N],
        {"labels.csv": RSNA},
        "labels.csv",
        ("0", "1"),
        {"id_column": "patientId"},
    ),
    "CheXpert": Layout(
        [f"train/p{n}/v.jpg" for n in N], {"train.csv": CHEXPERT}, ".", "1 in several of the columns"
    ),
    "CheXpert, one finding": Layout(
        [f"train/p{n}/v.jpg" for n in N],
        {"train.csv": CHEXPERT},
        ".",
        ("0.0", "1.0"),
        {"label_column": "No Finding"},
    ),
    "NIH": Layout(
        [f"images_00{n % 2}/images/0000{n}_00.png" for n in N],
        {"Data.csv": lines("Image Index,Finding Labels,Patient ID", TWO, "0000{n}_00.png,Mass{k},{n}")},
        ".",
        r"no class by the folders 'images_000', 'images_001'",
    ),
    "NIH, several labels": Layout(
        [f"images_00{n % 2}/images/0000{n}_00.png" for n in N],
        {"Data.csv": NIH},
        "Data.csv",
        r"join several others: 'A\|B'",
        {"label_column": "Finding Labels"},
    ),
    "PlantVillage": Layout(
        [f"{kind}/Tomato___{LEAF[n % 2]}/{n}.JPG" for n in N for kind in ("color", "gray")],
        {},
        ".",
        r"same folders below several others .* such as .*color",
    ),
    "iNaturalist": Layout(COCO_PHOTOS, {"train.json": json.dumps(COCO)}, "train.json", ("Acer", "Rosa")),
    "iNaturalist, its folder": Layout(
        COCO_PHOTOS, {"train2019.json": json.dumps(COCO)}, ".", r"Give the table: .*train2019.json"
    ),
    "GTSRB": Layout([f"Train/{n % 2}/0_{n}.png" for n in N], {"Train.csv": GTSRB}, "Train.csv", ("0", "1")),
    "Tiny ImageNet, validation": Layout(
        [f"val/images/v_{n}.JPEG" for n in N],
        {"val/val_annotations.txt": VAL},
        "val/val_annotations.txt",
        "'column 2'.*--label-column",
    ),
    "Tiny ImageNet, with its option": Layout(
        [f"val/images/v_{n}.JPEG" for n in N],
        {"val/val_annotations.txt": VAL},
        "val/val_annotations.txt",
        ("n00", "n01"),
        {"label_column": "column 2"},
    ),
    "Oxford pets": Layout(
        [f"images/Abyssinian_{n}.jpg" for n in N],
        {"trainval.txt": lines("", TWO, "Abyssinian_{n} 1 1 1")},
        "trainval.txt",
        "begins with 'Abyssinian_0', '1', '1', '1', which looks like a row",
    ),
    "Stanford cars": Layout(
        [f"cars_train/{n:05}.jpg" for n in N],
        {"annos.mat": "MATLAB 5.0"},
        "annos.mat",
        r"Expected .csv.* Save it as CSV",
    ),
    "dog breeds": Layout(
        [f"train/0f{n}.jpg" for n in N],
        {"labels.csv": lines("id,breed", TWO, "0f{n},dog{k}")},
        ".",
        ("dog0", "dog1"),
    ),
    "humpback": Layout(
        [f"train/0f{n}.jpg" for n in N],
        {"train.csv": lines("Image,Id", TWO, "0f{n}.jpg,w_{k}")},
        ".",
        ("w_0", "w_1"),
    ),
    "MVTec": Layout(
        [
            *(f"train/good/{n}.png" for n in N),
            *(f"{place}/broken/{n}.png" for n in N for place in ("test", "truth")),
            "test/good/9.png",
        ],
        {},
        ".",
        r"such as .*test\.",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_public_layout_is_read_or_refused_with_its_remedy(lay, tmp_path: Path, layout: Layout):
    lay(tmp_path, *layout.photos)
    for name, text in layout.texts.items():
        lay(tmp_path, name, content=text.encode())
    options = dict(layout.options)
    if "images" in options:
        options["images"] = str(tmp_path / options["images"])
    if isinstance(layout.outcome, str):
        with pytest.raises(TableError, match=layout.outcome):
            read_table(tmp_path / layout.source, **options)
    else:
        table = read_table(tmp_path / layout.source, **options)
        assert table.class_names == layout.outcome
        assert len(table) == len(layout.photos)
        assert all(table.paths)


def test_photos_called_by_numbers_are_not_named_by_any_table_of_numbers(lay, tmp_path: Path):
    lay(tmp_path, *(f"{'ab'[n % 2]}/{n}.jpg" for n in N))
    (tmp_path / "log.csv").write_text(lines("epoch,loss", TWO, "{n},0.{k}"))
    assert read_table(tmp_path).class_names == ("a", "b")


def test_a_table_that_names_the_folders_agrees_with_them(lay, tmp_path: Path):
    lay(tmp_path, *(f"{'ab'[n % 2]}/x{n}.jpg" for n in N))
    (tmp_path / "boxes.csv").write_text(lines("file,class,x", TWO, "x{n}.jpg,a,{n}"))
    assert read_table(tmp_path).class_names == ("a", "b")
