"""What every kind of bad photo and bad table gives, through the same doors that users take.

    python benchmarks/bad_input.py

The photos are those of tests/images/test_bad_photos.py, the tables those of tests/artifacts/test_sources.py.
`find` runs over good scans with all bad photos among them; each table is read by itself.
"""

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import kiyome
from kiyome.errors import KiyomeError
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from measured import HERE, show

NUM_GOOD = 300


def report() -> Iterator[str]:
    """The lines to print."""
    with tempfile.TemporaryDirectory() as folder:
        yield from photos(Path(folder) / "photos")
        yield from tables(Path(folder) / "tables")


def photos(folder: Path) -> Iterator[str]:
    corpus = tests("images/test_bad_photos.py")
    write_digits(folder / "good", num_photos=NUM_GOOD)
    lines = (folder / "good/train.csv").read_text().splitlines()[1:]
    data = folder / "data"
    for name, label in (line.split(",") for line in lines):
        (data / label).mkdir(parents=True, exist_ok=True)
        (folder / "good/train_images" / name).rename(data / label / name)
    for name, (content, _) in corpus.BYTES.items():
        (data / "0" / name).write_bytes(content)
    for name, (make, _) in corpus.PLACES.items():
        if "/" not in name and "\0" not in name and len(name) < 200:
            make(data / "0" / name)
    before = digests(data)
    found = kiyome.find(data, backbone="tiny", output=folder / "run", cache_folder=folder)
    whole = found.scored.whole_table
    answers = found.scored.photos
    for record, image_id in zip(answers.records, whole.image_ids, strict=True):
        if "digit_" not in image_id:
            state = f"set aside: {record.reason}" if record.reason else "read"
            yield f"  {image_id!a:<34} {'; '.join([state, *record.findings])}"
    for name, reason in whole.skipped:
        yield f"  {name!a:<34} no row: {reason}"
    num_files = sum(len(names) for _, _, names in os.walk(data))
    num_folders_named_so = sum(path.is_dir() for path in (data / "0").iterdir())
    yield (
        f"{len(whole)} rows + {len(whole.skipped)} that are none, "
        f"of {num_files} files and {num_folders_named_so} folder"
    )
    yield f"{len(found.table)} scored, {len(answers.set_aside)} set aside, together {len(whole)} rows"
    yield f"source files changed: {sum(before[name] != digest for name, digest in digests(data).items())}"


def tables(folder: Path) -> Iterator[str]:
    corpus = tests("artifacts/test_sources.py")
    for name, (content, _) in corpus.BAD_TABLES.items():
        place = folder / hashlib.sha256(name.encode()).hexdigest()[:8]
        (place / "train_images").mkdir(parents=True)
        for photo in corpus.GOOD_PHOTOS:
            (place / "train_images" / photo).write_bytes(b"")
        (place / "train.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            read_table(place / "train.csv")
            answer = "read"
        except KiyomeError as error:
            answer = str(error).replace(str(place), ".")
        yield f"  {name:<34} {ascii(answer)[1:-1]}"


def digests(folder: Path) -> dict[str, str]:
    """Of every regular file, by its name."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tests(name: str) -> ModuleType:
    """A test file as a module."""
    spec = importlib.util.spec_from_file_location("corpus", HERE.parent / "tests" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    show(__file__, report(), "pillow", "simplejpeg")
