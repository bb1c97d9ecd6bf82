"""A run from elsewhere may claim anything: it is not believed about where photos lie, nor about its maker."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kiyome.artifacts.manifest import MANIFEST, is_signed, photos_of_run, read_manifest
from kiyome.artifacts.run import verify_run
from kiyome.cli import app
from kiyome.decisions.items import read_items
from kiyome.errors import InputError, StaleArtifact
from kiyome.reading.finished_run import open_run
from kiyome.reviewing.thumbnails import photo_jpeg
from kiyome.testing import write_digits
from kiyome.workflows.audit_sample import audit_sample
from kiyome.workflows.find import find
from kiyome.workflows.review import review


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos/digits` and `runs/digits`, as somebody has it."""
    place = tmp_path_factory.mktemp("made")
    write_digits(place / "photos" / "digits", num_photos=100)
    find(
        place / "photos" / "digits",
        backbone="tiny",
        output=place / "runs" / "digits",
        cache_folder=place / "cache",
    )
    return place


def forged(run: Path, **changes: Any) -> None:
    """Change a manifest and seal it anew, as whoever made the run can."""
    manifest = json.loads((run / MANIFEST).read_text())
    del manifest["seal"]
    manifest = {**manifest, **changes}
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    sealed = manifest | {"seal": hashlib.sha256(text.encode()).hexdigest()}
    (run / MANIFEST).write_text(json.dumps(sealed, indent=2, ensure_ascii=False))


@pytest.fixture
def received(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run on another machine: in another folder, for a user with another key."""
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(made / "runs" / "digits", tmp_path / "received" / "digits"))


def test_ones_own_run_finds_its_photos_wherever_it_and_one_are(made, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy = shutil.copytree(made / "runs" / "digits", tmp_path / "elsewhere" / "digits")
    assert photos_of_run(copy) == (made / "photos" / "digits" / "train_images").resolve()


NEEDS_PHOTOS: dict[str, Callable[[Path], object]] = {
    "review": review,
    "audit-sample": audit_sample,
    "find": lambda run: find(run / "table.parquet", backbone="tiny"),
}


@pytest.mark.parametrize("verb", NEEDS_PHOTOS)
@pytest.mark.parametrize("photos", [None, "/", "/etc", "/tmp"])
def test_a_run_from_elsewhere_opens_no_folder_that_nobody_named(received, verb, photos, monkeypatch) -> None:
    if photos:
        table = read_manifest(received)["table"]
        forged(received, table=table | {"photos": photos})
    monkeypatch.chdir(received)
    with pytest.raises(InputError, match=r"was not made by this user.* If you trust .*: --images"):
        NEEDS_PHOTOS[verb](received)
    assert read_items(received).photo_root != Path(photos or "/")


def test_a_run_from_elsewhere_is_read_without_its_photos(received) -> None:
    assert len(open_run(received).table) == 100
    assert CliRunner().invoke(app, ["evaluate", str(received)]).exit_code == 0


def test_who_names_the_folder_gets_the_photos(received, made) -> None:
    named = made / "photos" / "digits" / "train_images"
    items = read_items(received, images=named)
    assert photo_jpeg(items, 0, 256).startswith(b"\xff\xd8")
    assert len(list((audit_sample(received, n=10, images=named).folder / "photos").iterdir())) == 10
    with pytest.raises(InputError, match="There is no folder at images='nowhere'"):
        read_items(received, images="nowhere")


@pytest.mark.parametrize("near", ["beside the run", "below the current folder"])
def test_photos_that_came_with_the_run_are_found(received, made, near, monkeypatch, tmp_path) -> None:
    home = received.parent if near == "beside the run" else tmp_path / "work"
    photos = shutil.copytree(made / "photos" / "digits" / "train_images", home / "photos")
    forged(received, table=read_manifest(received)["table"] | {"photos": str(photos)})
    monkeypatch.chdir(home)
    assert photos_of_run(received) == photos


def test_a_team_reads_runs_of_its_key_only(made, received, monkeypatch) -> None:
    monkeypatch.setenv("KIYOME_SEAL_KEY", "correct horse battery staple")
    with pytest.raises(StaleArtifact, match="was not sealed with the key in KIYOME_SEAL_KEY"):
        verify_run(received)
    place = {"output": received.parent / "ours", "cache_folder": made / "cache"}
    ours = find(made / "photos" / "digits", backbone="tiny", **place).folder
    assert verify_run(ours)["command"] == "find"
    forged(ours, config={"seed": 1})
    with pytest.raises(StaleArtifact, match="was not sealed with the key"):
        verify_run(ours)
    monkeypatch.setenv("KIYOME_SEAL_KEY", "another")
    with pytest.raises(StaleArtifact, match="was not sealed with the key"):
        verify_run(ours)


@pytest.mark.parametrize(
    "changes",
    [
        {"table": None},
        {"config": None},
        {"versions": []},
        {"files": None},
        {"files": {"a": 1}},
        {"table": {"photos": "/"}},
    ],
    ids=str,
)
def test_a_misshapen_manifest_is_no_run(received, changes) -> None:
    forged(received, **changes)
    with pytest.raises(StaleArtifact, match=r"has no sound run\.json, so it is not a finished run"):
        verify_run(received)


@pytest.mark.parametrize("signature", [None, 7, "", "\u00e9", "\udce9", "0" * 64], ids=ascii)
def test_no_signature_of_a_stranger_is_accepted(signature) -> None:
    assert not is_signed(b"manifest", signature)


def test_a_manifest_nested_without_end_is_no_run(received) -> None:
    (received / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(StaleArtifact, match=r"has no sound run\.json, so it is not a finished run"):
        verify_run(received)


def test_the_key_is_its_owners_alone(made, received, tmp_path) -> None:
    audit_sample(received, n=10, images=made / "photos" / "digits" / "train_images")
    key = tmp_path / "cache" / "signing" / "key"
    assert (oct(key.stat().st_mode & 0o777), oct(key.parent.stat().st_mode & 0o777)) == ("0o600", "0o700")
