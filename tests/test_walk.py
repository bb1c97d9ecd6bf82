"""README and docs, walked as a newcomer would: commands and Python blocks run as written, in order.

Each page has a fresh folder with a small contest: scanned digits, a tenth of their labels wrong.
"""

import csv
import http.cookiejar
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from kiyome.testing import write_digits

ROOT = Path(__file__).parents[1]
WALKED_ELSEWHERE = ("scaling.md", "offline.md", "reference.md")
"""By tests of their own; the reference is the help of verbs and the docstrings of functions."""
NUM_PHOTOS = 240
TRAINING = ("train", "clean-and-retrain", "noise-classifier")
SMALL = "architecture=tiny pretrained=false image_size=32 learning_rate=0.01"
"""Added to each line that trains: as written it takes minutes, and the pages have twenty of them."""

NOT_RUN = {
    "./run demo": "needs a package index; tests/workflows/test_demo.py runs the demo",
    "./run test": "this very suite",
    "pip install 'kiyome[torch]'": "needs a package index",
    "pip install 'kiyome[lite,review,torch]'": "needs a package index",
    "kiyome find photos --backbone vit_small_patch14_dinov2.lvd142m@224": "needs the hub",
    "kiyome find photos --backbone resnet50 --weights resnet50.safetensors": "needs a file of the hub",
    "kiyome train train.csv --recipe talk-best-public resnext50.weights=resnext50.safetensors "
    "efficientnet-b3.weights=b3.safetensors": "needs files of the hub",
    "torchrun --nproc-per-node 2 -m kiyome train photos/ --recipe quick": "tests/test_scaling_page.py",
    "accelerate launch --multi_gpu --num_processes 2 -m kiyome train photos/ --recipe quick": (
        "tests/test_scaling_page.py"
    ),
    "kiyome review runs/photos --store postgresql://kiyome@db/reviews": "needs a server of one's own",
}
"""Line -> why it is not run; a line that no page has any more is an error."""

TAKEN_FOR_GRANTED = {
    ".venv/bin/kiyome find photos/ --with runs/photos-train": [
        "kiyome train photos/ --recipe quick -o runs/photos-train"
    ],
    "kiyome blend runs/effnet runs/resnext runs/vit --how weights": [
        f"kiyome train train.csv loss={loss} -o runs/{name}"
        for loss, name in (("ce", "effnet"), ("sce", "resnext"), ("gce", "vit"), ("ce", "leaves-train"))
    ],
    "kiyome evaluate runs/leaves-train --against runs/vit --against runs/effnet": [
        f"kiyome train train.csv loss={loss} -o runs/{name}"
        for loss, name in (("sce", "vit"), ("gce", "effnet"))
    ],
    "kiyome evaluate runs/leaves-train": ["kiyome train train.csv -o runs/leaves-train"],
    "kiyome evaluate runs/leaves-train --public-rows 4650": [
        f"kiyome diary --note runs/{name} public=0.9" for name in ("leaves-train", "vit")
    ],
    "kiyome audit runs/leaves-train-audit": ["fill runs/leaves-train-audit/audit.csv"],
    "kiyome evaluate runs/next --against runs/leaves-train": ["kiyome train train.csv loss=elr -o runs/next"],
    "kiyome decisions import runs/photos annotations.xml --as cvat": [
        "kiyome decisions export runs/photos annotations.xml --format cvat"
    ],
}
"""Line -> what a reader has done by then, as the page says: commands, or answers to an audit."""

PRELUDE = """
import numpy as np
pred_probs = np.loadtxt("oof.csv", delimiter=",", skiprows=1, usecols=range(1, 11))
labels = np.loadtxt("train.csv", delimiter=",", skiprows=1, usecols=1, dtype=int)
"""
"""What README's Python block calls arrays at hand."""


def steps_of(page: Path) -> list[str]:
    """Lines of shell blocks without comments, and whole Python blocks, in the page's order."""
    blocks = re.findall(r"```(sh|python)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        step
        for kind, text in blocks
        for step in ([text] if kind == "python" else map(_without_comment, text.splitlines()))
        if step
    ]


def _without_comment(line: str) -> str:
    return line.partition("#")[0].strip()


PAGES = {
    page.name: steps
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if page.name not in WALKED_ELSEWHERE and (steps := steps_of(page))
}


def test_what_is_not_run_is_on_some_page() -> None:
    written = {step for steps in PAGES.values() for step in steps}
    assert set(NOT_RUN) <= written
    assert set(TAKEN_FOR_GRANTED) <= written
    assert {"README.md", "tutorial.md", "training.md", "combining.md", "honest_score.md", "review.md"} <= set(
        PAGES
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_a_page_runs(page: str, tmp_path: Path) -> None:
    lay_contest(tmp_path)
    if page == "data.md":
        lay_formats(tmp_path)
    for step in PAGES[page]:
        for command in TAKEN_FOR_GRANTED.get(step, ()):
            take(command, tmp_path)
        if step not in NOT_RUN:
            take(step, tmp_path)


def lay_contest(folder: Path) -> None:
    """A training table with its photos, one folder a class, test photos, a sample, and predictions."""
    write_digits(folder, num_photos=NUM_PHOTOS)
    head, *rows = csv.reader((folder / "train.csv").read_text().splitlines())
    for image_id, label in rows:
        of_class = folder / "photos" / f"digit {label}"
        of_class.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "train_images" / image_id, of_class)
    tested = [image_id for image_id, _ in rows[::12]]
    (folder / "test_images").mkdir()
    for image_id in tested:
        shutil.copy(folder / "train_images" / image_id, folder / "test_images")
    for name, labels in (("sample_submission", dict.fromkeys(tested, 0)), ("test", dict(rows[::12]))):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([head, *labels.items()])
    for split, some in (("train", rows[60:]), ("test", rows[:60])):
        for image_id, label in some:
            of_class = folder / "data" / split / f"digit {label}"
            of_class.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "train_images" / image_id, of_class)
    np.save(folder / "emb.npy", np.random.default_rng(0).normal(size=(len(rows), 16)).astype(np.float32))
    with (folder / "oof.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["image_id", *range(10)], *((image_id, *_sure_of(int(label))) for image_id, label in rows)]
        )


def lay_formats(folder: Path) -> None:
    """The same digits in each form that docs/data.md names, under the names in its lines."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    head, *rows = csv.reader((folder / "train.csv").read_text().splitlines())
    shutil.copytree(folder / "train_images", folder / "images")
    photos = {image_id: (folder / "images" / image_id).read_bytes() for image_id, _ in rows}
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    numbers = [int(label) for _, label in rows]
    wrong = np.array([_sure_of(number) for number in numbers])

    def write(name: str, columns: list[str], lines: Iterable[Sequence[object]]) -> None:
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([columns, *lines])

    with zipfile.ZipFile(folder / "leaves.zip", "w") as archive:
        for image_id, label in rows:
            archive.writestr(f"leaves/digit {label}/{image_id}", photos[image_id])
    write("metadata.csv", ["image_id", "dx", "lesion_id"], [(*row, n // 2) for n, row in enumerate(rows)])
    write("table.csv", head, rows)
    (folder / "list.txt").write_text("".join(f"images/{image_id} {label}\n" for image_id, label in rows))
    (folder / "annotations.json").write_text(json.dumps({name: words[int(label)] for name, label in rows}))
    write(
        "one_hot.csv",
        ["image_id", "blight", "healthy", "rust"],
        [(name, *(int(int(label) % 3 == k) for k in range(3))) for name, label in rows],
    )
    for name, label in rows:
        for path in ("pets/{word}_{name}", "pool/{name}", "scans/{word}/{name}.dcm"):
            file = folder / path.format(word=words[int(label)], name=name.removeprefix("digit_"))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_as_dicom(photos[name]) if file.suffix == ".dcm" else photos[name])
        link = folder / "snapshot" / words[int(label)] / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder / "pool" / name.removeprefix("digit_"))
    for name in ("hub", "saved", "shards"):
        (folder / name).mkdir()
    content = pa.table(
        {"image": [{"bytes": each, "path": name} for name, each in photos.items()], "label": numbers}
    )
    pq.write_table(content, folder / "hub/train-00000-of-00001.parquet")
    with (
        pa.OSFile(str(folder / "saved/data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, content.schema) as writer,
    ):
        writer.write_table(content)
    (folder / "saved/state.json").write_text("{}")
    (folder / "saved/dataset_info.json").write_text("{}")
    with tarfile.open(folder / "shards/train-000000.tar", "w") as archive:
        for name, label in rows:
            for member, data in ((name, photos[name]), (Path(name).stem + ".cls", label.encode())):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in photos.values()])
    np.savez(folder / "arrays.npz", images=pixels, labels=numbers)
    ids = np.array([name for name, _ in rows])
    np.savez(folder / "embeddings.npz", features=np.load(folder / "emb.npy"), ids=ids)
    columns = ["image_id", *range(10)]
    turned = [(name, probs, end) for name, probs in zip(ids, wrong, strict=True) for end in ("orig", "flip")]
    write("tta.csv", columns, [(f"{Path(name).stem}_{end}.png", *probs) for name, probs, end in turned])
    write("logits.csv", columns, [(name, *np.log(probs)) for name, probs in zip(ids, wrong, strict=True)])
    np.savez(folder / "percent.npz", probs=100 * wrong)
    np.save(folder / "net.npy", wrong)


def _as_dicom(photo: bytes) -> bytes:
    """The photo as a grey DICOM file."""
    import pydicom
    from PIL import Image

    values = np.asarray(Image.open(io.BytesIO(photo)).convert("L"))
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = pydicom.dataset.Dataset()
    file.file_meta = meta
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.PixelData = values.tobytes()
    written = io.BytesIO()
    file.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _sure_of(label: int) -> list[float]:
    return [0.82 if number == label else 0.02 for number in range(10)]


def take(step: str, folder: Path) -> None:
    """Run one step as a newcomer would, on fewer and smaller photos where it would take long."""
    environment = {**os.environ, "KIYOME_CACHE": str(folder / "cache")}
    if step.startswith("fill "):
        fill_sheet(folder / step.removeprefix("fill "))
        return
    words = [sys.executable, "-c", PRELUDE + step] if "\n" in step else words_of(step)
    if "review" in words:
        review([*words, "--no-browser", "--port", "0"], folder, environment)
        return
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, f"{step}\n{done.stderr[-2000:]}"


def words_of(line: str) -> list[str]:
    """The program and its arguments."""
    program, *words = shlex.split(line.replace("noise_rate=0.1", f"noise_rate=0.1, num_photos={NUM_PHOTOS}"))
    if Path(program).name == "python":
        return [sys.executable, *words]
    assert Path(program).name == "kiyome"
    return [sys.executable, "-m", "kiyome", *words, *(SMALL.split() if words[0] in TRAINING else ())]


def review(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Open the page, decide in each class, and stop with Ctrl-C; in an audit every row, as it has no gaps."""
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = ""
            while "Stop" not in said:
                line = server.stdout.readline()
                assert line, f"{command} ended\n{said}"
                said += line
            decide(re.search(r"^Open +(\S+)$", said, re.MULTILINE)[1].replace("0.0.0.0", "127.0.0.1"))
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)
            assert server.returncode == 0
        finally:
            server.kill()


def decide(address: str) -> None:
    """What a visitor with a name does: say of rows what they show."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.open(address).read()
    base = address.partition("?")[0]
    about = json.load(browser.open(f"{base}api/review"))
    rows = range(about["rows"] if about["audit"] else 20)
    classes = about["classes"]
    entries = [
        {"row": row, "version": 0, "verdict": "relabel", "label": classes[row % len(classes)]} for row in rows
    ]
    name = about["reviewer_suggested"] or "Ben"
    request = urllib.request.Request(
        f"{base}api/decisions",
        data=json.dumps({"key": os.urandom(8).hex(), "reviewer": name, "entries": entries}).encode(),
        headers={
            "X-CSRF-Token": about["csrf"],
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/json",
        },
    )
    assert len(json.load(browser.open(request))["decisions"]) == len(entries)


def fill_sheet(sheet: Path) -> None:
    """Answer every row of a sample."""
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "true_label": number % 10} for number, row in enumerate(rows))
