"""Archives and URLs: what is brought here is what they hold; nothing leaves its folder or fills the disk."""

import io
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from kiyome.errors import TableError
from kiyome.reading import copying
from kiyome.reading.elsewhere import bring_here, is_elsewhere
from kiyome.reading.read_table import read_table

NAMES = [f"{kind}/{number}.jpg" for kind in ("blight", "rust") for number in range(3)]


def zipped(path: Path, names: list[str], content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def photo() -> bytes:
    return b"\xff\xd8\xff\xe0 a photo as far as a table needs to know"


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.tgz", "p.tar.bz2", "p.tar.xz"])
@pytest.mark.parametrize("around", ["", "leaves/"])
def test_an_archive_is_its_folder(tmp_path: Path, photo: bytes, name: str, around: str) -> None:
    names = [f"{around}{inner}" for inner in NAMES]
    if name.endswith("zip"):
        source = zipped(tmp_path / name, names, photo)
    else:
        compression = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(
            name.rpartition(".")[2], "w"
        )
        source = tarred(tmp_path / name, dict.fromkeys(names, photo), compression)
    assert is_elsewhere(source)
    table = read_table(bring_here(source, tmp_path / "cache"))
    assert table.image_ids.tolist() == NAMES
    assert table.class_names == ("blight", "rust")


def test_an_archive_is_unpacked_once_and_again_when_it_changes(tmp_path: Path, photo: bytes) -> None:
    source = zipped(tmp_path / "p.zip", NAMES, photo)
    calls: list[tuple[str, int, int]] = []
    first = bring_here(source, tmp_path / "cache", on_progress=lambda *call: calls.append(call))
    assert calls[-1] == ("unpack", 6, 6)
    assert bring_here(source, tmp_path / "cache", on_progress=lambda *_: pytest.fail("again")) == first
    zipped(source, [*NAMES, "rust/3.jpg"], photo)
    assert bring_here(source, tmp_path / "cache") != first


def test_what_leaves_its_folder_is_left_out(tmp_path: Path, photo: bytes) -> None:
    hostile = ["../../out.jpg", "/etc/out.jpg", "a/../../out.jpg", "..\\out.jpg"]
    useless = [".hidden/1.jpg", "__MACOSX/1.jpg", "run.sh", "virus.exe"]
    source = zipped(tmp_path / "p.zip", [*NAMES, *hostile, *useless], photo)
    folder = bring_here(source, tmp_path / "cache")
    inside = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert inside == NAMES
    assert not list(tmp_path.rglob("out.jpg"))
    assert not Path("/etc/out.jpg").exists()


def test_links_and_devices_in_an_archive_are_left_out(tmp_path: Path, photo: bytes) -> None:
    source = tarred(tmp_path / "p.tar", dict.fromkeys(NAMES, photo))
    with tarfile.open(source, "a") as archive:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(f"rust/9{number}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as zip_file:
        link = zipfile.ZipInfo("rust/7.jpg")
        link.external_attr = 0o120777 << 16
        zip_file.writestr(link, "/etc/passwd")
        zip_file.writestr("rust/1.jpg", photo)
    assert len(list(bring_here(source, tmp_path / "cache").rglob("*.jpg"))) == 6
    assert [path.name for path in bring_here(tmp_path / "z.zip", tmp_path / "cache").rglob("*.jpg")] == [
        "1.jpg"
    ]


def test_what_does_not_fit_is_refused_before_a_byte_is_written(
    tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = zipped(tmp_path / "p.zip", NAMES, photo)
    monkeypatch.setattr(copying, "RESERVE_BYTES", 2**60)
    with pytest.raises(TableError, match=r"p\.zip takes 0\.0 GiB, and .* GiB are free in .*cache"):
        bring_here(source, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_bomb_is_stopped_by_what_it_promised(tmp_path: Path, photo: bytes) -> None:
    source = zipped(tmp_path / "p.zip", [*NAMES, "rust/bomb.jpg"], b"\0" * 1_000_000)
    data = source.read_bytes()
    lying = data.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    source.write_bytes(lying)
    with pytest.raises(TableError, match=r"larger than promised|cannot be unpacked"):
        bring_here(source, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive at all"])
@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz"])
def test_a_broken_archive_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=r"cannot be unpacked .* Expected a whole zip or tar archive"):
        bring_here(tmp_path / name, tmp_path / "cache")


def test_shards_of_a_webdataset_are_one_table(tmp_path: Path, photo: bytes) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for shard in range(2):
        files: dict[str, bytes] = {}
        for sample in range(3):
            files[f"{shard}{sample:03}.jpg"] = photo
            if shard:
                files[f"{shard}{sample:03}.json"] = b'{"label": %d}' % (sample % 2)
            else:
                files[f"{shard}{sample:03}.cls"] = b"%d" % (sample % 2)
        tarred(shards / f"train-{shard:06}.tar", files)
    table = read_table(bring_here(shards, tmp_path / "cache"))
    assert table.image_ids.tolist() == [
        "0000.jpg",
        "0001.jpg",
        "0002.jpg",
        "1000.jpg",
        "1001.jpg",
        "1002.jpg",
    ]
    assert table.given_labels.tolist() == [0, 1, 0, 0, 1, 0]


def test_the_shards_of_several_splits_are_told_apart(tmp_path: Path, photo: bytes) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, split in enumerate(("train", "val", "test")):
        files = {"0.jpg": photo, "0.cls": b"cat", "1.jpg": photo, "1.cls": b"dog"}
        tarred(shards / f"{split}-{number:06}.tar", files)
    table = read_table(bring_here(shards, tmp_path / "cache"))
    found = sorted(zip(table.splits, table.given_labels.tolist(), strict=True))
    assert found == [(split, label) for split in ("test", "train", "val") for label in (0, 1)]


def test_a_url_is_fetched_once(tmp_path: Path, photo: bytes) -> None:
    remote = fsspec.filesystem("memory")
    for name in NAMES:
        remote.pipe(f"/leaves/{name}", photo)
    remote.pipe("/leaves/../../etc/out.jpg", photo)
    folder = bring_here("memory://leaves", tmp_path / "cache")
    assert read_table(folder).image_ids.tolist() == NAMES
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    remote.pipe("/leaves/rust/3.jpg", photo)
    assert bring_here("memory://leaves", tmp_path / "cache") == folder
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jpg")}
    assert len(after) == 7
    assert before.items() <= after.items()
    with pytest.raises(TableError, match="There is nothing at memory://nowhere"):
        bring_here("memory://nowhere", tmp_path / "cache")


def test_an_archive_behind_http_is_fetched_and_unpacked(tmp_path: Path, photo: bytes) -> None:
    pytest.importorskip("aiohttp")
    served = tmp_path / "served"
    served.mkdir()
    zipped(served / "leaves.zip", NAMES, photo)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/leaves.zip"
        table = read_table(bring_here(url, tmp_path / "cache"))
        server.shutdown()
    assert table.image_ids.tolist() == NAMES


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"There is no folder or table at '.*none\.zip'\. Check the path"):
        bring_here(tmp_path / "none.zip", tmp_path / "cache")
