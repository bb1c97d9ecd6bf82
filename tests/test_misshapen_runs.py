"""A run from a stranger may hold anything under a right seal: each file of it, misshapen, is told by name."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.manifest import read_manifest, write_manifest
from kiyome.artifacts.storage import sha256_of_file, write_parquet
from kiyome.decisions.items import read_items
from kiyome.errors import KiyomeError
from kiyome.testing import write_digits
from kiyome.workflows.audit import audit
from kiyome.workflows.audit_sample import audit_sample
from kiyome.workflows.blend import blend
from kiyome.workflows.curate import curate
from kiyome.workflows.evaluate import evaluate
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `digits`, a run `found` and a sample `audited` of it."""
    place = tmp_path_factory.mktemp("place")
    write_digits(place / "digits", num_photos=60)
    find(place / "digits", backbone="tiny", num_folds=3, output=place / "found", cache_folder=place / "cache")
    sample = audit_sample(place / "found", n=20, output=place / "audited").folder
    assert sample == place / "audited"
    return place


def misshapen(path: Path) -> Iterator[bytes]:
    """Contents that a file of this kind may have, and none that kiyome writes."""
    if path.suffix == ".json":
        yield from (b"[]", b"{}", b"3", b'"\\ud800"', b"[" * 100_000)
        told = json.loads(path.read_bytes())
        for value in (None, -1, "x", [], {}) if isinstance(told, dict) else ():
            yield json.dumps(dict.fromkeys(told, value)).encode()
    elif path.suffix == ".npy":
        array = np.load(path)
        for other in (array[:3], array.astype("U4"), array * np.nan, array.ravel()):
            np.save(path, other)
            yield path.read_bytes()
        yield path.read_bytes()[:-1]
    elif path.suffix == ".parquet":
        for columns in ({"x": [1]}, {"image_id": [None], "place": ["x"], "is_label_issue": [None]}):
            write_parquet(path, columns)
            yield path.read_bytes()
        yield b"PAR1"
    else:
        yield from (b"", b"\xff", b"image_id,group\na,b\n", b"x\n" * 100)


def seal_anew(run: Path, file: Path) -> None:
    manifest = read_manifest(run)
    assert manifest is not None
    facts = {"size": file.stat().st_size, "sha256": sha256_of_file(file)}
    manifest["files"][str(file.relative_to(run))] = facts
    write_manifest(run, manifest)


VERBS: dict[str, Callable[[Path], object]] = {
    "evaluate": evaluate,
    "curate": curate,
    "review": read_items,
    "audit": audit,
    "blend": lambda run: blend([run, run]),
    "predict": lambda run: predict(run, run.parent / "digits" / "train_images", output=None),
}


def told_of_each_file(run: Path, verbs: list[str], tmp_path: Path) -> int:
    """How many misshapen files were tried; any other error than a KiyomeError ends the test."""
    tried = 0
    files = sorted(file for file in run.rglob("*") if file.suffix in (".json", ".npy", ".parquet", ".csv"))
    for file in files:
        if file.name == "run.json":
            continue
        whole = file.read_bytes()
        for content in misshapen(file):
            file.write_bytes(content)
            seal_anew(run, file)
            for verb in verbs:
                with suppress(KiyomeError):
                    VERBS[verb](run)
            tried += 1
            file.write_bytes(whole)
        seal_anew(run, file)
    return tried


@pytest.mark.slow
def test_each_misshapen_file_of_a_run_of_find_is_told(place, tmp_path) -> None:
    run = shutil.copytree(place / "found", tmp_path / "found")
    assert told_of_each_file(run, ["evaluate", "curate", "review", "blend"], tmp_path) > 20


def test_each_misshapen_file_of_a_sample_is_told(place, tmp_path) -> None:
    run = shutil.copytree(place / "audited", tmp_path / "audited")
    assert told_of_each_file(run, ["audit", "review"], tmp_path) > 10


@pytest.mark.slow
def test_each_misshapen_file_of_a_run_of_train_is_told(place, tmp_path) -> None:
    pytest.importorskip("timm")
    from kiyome.workflows.train import train

    changes = ["architecture=tiny", "pretrained=false", "image_size=32", "epochs=1", "num_folds=3"]
    run = train(
        place / "digits", changes=changes, output=tmp_path / "run", cache_folder=place / "cache"
    ).folder
    shutil.copytree(place / "digits", tmp_path / "digits")
    assert told_of_each_file(run, ["evaluate", "predict"], tmp_path) > 20
