"""Photos as the page gets them: the model's pixels, of the table's files alone; thumbnails survive a kill."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.decisions.items import ReviewItems
from kiyome.errors import InputError, UnreadablePhoto
from kiyome.images.decode import decode_photo, read_photo_file
from kiyome.reviewing.thumbnails import ENTRY, HEAD_BYTES, SIDES, Thumbnails, built_in_background, photo_jpeg


def opened(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def scene(width: int, height: int) -> Image.Image:
    """A smooth picture whose corners differ, so that a turned one shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (255 * x / width, 255 * y / height, 128 + 0 * x)
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


@pytest.fixture
def of_files(items_of, tmp_path: Path):
    """A subject of files in one folder."""

    def made(names: list[str]) -> ReviewItems:
        paths = [str(tmp_path / name) if name else "" for name in names]
        return items_of(len(names), photo_paths=paths, photo_root=tmp_path)

    return made


def write_odd(folder: Path) -> list[str]:
    """Photos of every odd kind that browsers and decoders show differently."""
    turned = Image.Exif()
    turned[0x0112] = 6
    scene(120, 80).save(folder / "turned.jpg", exif=turned, quality=95)
    clear = scene(90, 60).convert("RGBA")
    clear.putalpha(Image.fromarray((np.arange(60)[:, None] * np.ones(90) * 4).astype(np.uint8)))
    clear.save(folder / "clear.png")
    deep = (np.arange(100 * 70).reshape(70, 100) * 9).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    scene(50, 40).save(
        folder / "frames.gif", save_all=True, append_images=[Image.new("RGB", (50, 40), "red")]
    )
    scene(50, 40).convert("CMYK").save(folder / "inks.jpg", quality=95)
    scene(60, 60).convert("P").save(folder / "palette.png")
    scene(300, 200).save(folder / "plain.webp", quality=95)
    return ["turned.jpg", "clear.png", "deep.png", "frames.gif", "inks.jpg", "palette.png", "plain.webp"]


def test_reviewers_see_the_pixels_that_the_model_sees(of_files, tmp_path: Path) -> None:
    names = write_odd(tmp_path)
    items = of_files(names)
    for row, name in enumerate(names):
        seen = opened(photo_jpeg(items, row, 1600)).astype(int)
        fed = decode_photo(read_photo_file(tmp_path / name)).pixels.astype(int)
        assert seen.shape == fed.shape, name
        assert np.abs(seen - fed).mean() < 2, name  # of 255: what JPEG loses
    assert opened(photo_jpeg(items, 0, 256)).shape == (120, 80, 3)  # upright


@pytest.mark.parametrize("side", SIDES)
def test_sides(of_files, tmp_path: Path, side: int) -> None:
    scene(4000, 1000).save(tmp_path / "wide.jpg", quality=80)
    scene(30, 20).save(tmp_path / "small.png")
    items = of_files(["wide.jpg", "small.png"])
    assert opened(photo_jpeg(items, 0, side)).shape[:2] == (side // 4, side)
    assert opened(photo_jpeg(items, 1, side)).shape[:2] == (20, 30)


def test_nothing_of_the_file_itself_is_handed_out(of_files, tmp_path: Path) -> None:
    secret = b"<script>alert(1)</script>"
    exif = Image.Exif()
    exif[0x010E] = secret.decode()
    scene(40, 40).save(tmp_path / "a.jpg", exif=exif, comment=secret)
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(secret)
    assert secret in (tmp_path / "a.jpg").read_bytes()
    assert secret not in photo_jpeg(of_files(["a.jpg"]), 0, 256)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no photo at hand"),
        ("gone.png", "no such file"),
        ("../outside.png", "leaves the data folder"),
        ("link.png", "leaves the data folder"),
        ("down/outside.png", "leaves the data folder"),
        ("folder", "a folder"),
        ("pipe.png", "a pipe"),
        ("page.png", "an HTML page"),
        ("loop.png", "a link"),
        ("a\0.png", "a file name that cannot be used"),
        ("x" * 300, "a file name that is too long"),
    ],
)
def test_only_photos_in_the_folder_are_opened(of_files, tmp_path: Path, name: str, reason: str) -> None:
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir(exist_ok=True)
    scene(20, 20).save(outside / "outside.png")
    scene(20, 20).save(tmp_path.parent / "outside.png")
    (tmp_path / "link.png").symlink_to(outside / "outside.png")
    (tmp_path / "down").symlink_to(outside)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "page.png").write_text("<html><script>alert(1)</script>")
    with pytest.raises(UnreadablePhoto) as error:
        photo_jpeg(of_files([name]), 0, 256)
    assert reason in error.value.reason


def test_a_name_that_is_not_text_is_opened(of_files, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    scene(20, 10).save(tmp_path / name)
    assert opened(photo_jpeg(of_files([name]), 0, 256)).shape == (10, 20, 3)


@pytest.mark.parametrize(
    ("row", "side", "message"),
    [
        (1, 256, "There is no row 1. Rows are"),
        (0, 500, "side=500 is not a size"),
    ],
)
def test_rows_and_sides_that_are_not_there(
    of_files, tmp_path: Path, row: int, side: int, message: str
) -> None:
    scene(20, 20).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        photo_jpeg(of_files(["a.png"]), row, side)


@pytest.fixture
def twenty(of_files, tmp_path: Path) -> ReviewItems:
    """Twenty photos, of which row 3 is none and row 4 is a link out of the folder."""
    for row in range(20):
        scene(300 + row, 200).save(tmp_path / f"{row}.png")
    (tmp_path / "3.png").write_text("<html>")
    (tmp_path / "4.png").unlink()
    (tmp_path / "4.png").symlink_to("/etc/hostname")
    return of_files([f"{row}.png" for row in range(20)])


def test_thumbnails_are_made_read_and_kept(twenty: ReviewItems, tmp_path: Path) -> None:
    path, heard = tmp_path / "thumbnails.bin", []
    made = Thumbnails(twenty, path)
    assert (made.num_made, made.read(0)) == (0, None)
    made.make(range(20), on_progress=lambda *news: heard.append(news))
    assert (made.num_made, heard[-1]) == (20, ("thumbnails", 20, 20))
    for row in range(20):
        jpeg = made.read(row)
        assert (jpeg is None) == (row in (3, 4))
        assert jpeg is None or jpeg == photo_jpeg(twenty, row, 256)
    made.close()
    size = path.stat().st_size
    again = Thumbnails(twenty, path)
    again.make(range(20))
    assert (again.num_made, path.stat().st_size) == (20, size)
    again.close()


def test_another_table_gets_its_own(twenty: ReviewItems, tmp_path: Path) -> None:
    path = tmp_path / "thumbnails.bin"
    made = Thumbnails(twenty, path)
    made.make(range(20))
    made.close()
    other = ReviewItems(**(vars(twenty) | {"image_ids": twenty.image_ids[::-1]}))
    with_other = Thumbnails(other, path)
    assert with_other.num_made == 0
    with_other.close()


def test_stopped_work_goes_on(twenty: ReviewItems, tmp_path: Path) -> None:
    made, stop = Thumbnails(twenty, tmp_path / "thumbnails.bin"), threading.Event()
    made.make(
        [7, 2, 9], stop=stop, on_progress=lambda _stage, done, _total: stop.set() if done == 2 else None
    )
    assert (made.num_made, made.read(9)) == (2, None)
    made.make([7, 2, 9])
    assert made.read(9) == photo_jpeg(twenty, 9, 256)
    made.close()


def test_damage_is_never_shown(twenty: ReviewItems, tmp_path: Path) -> None:
    path = tmp_path / "thumbnails.bin"
    made = Thumbnails(twenty, path)
    made.make(range(20), num_threads=1)
    made.close()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[HEAD_BYTES + 20 * ENTRY.itemsize + 40] ^= 1
    path.write_bytes(flipped)
    damaged = Thumbnails(twenty, path)
    assert damaged.read(0) is None
    assert damaged.read(1) == photo_jpeg(twenty, 1, 256)
    damaged.close()
    path.write_bytes(whole[:-100])  # the last one lost its end
    cut = Thumbnails(twenty, path)
    assert cut.read(19) is None
    cut.make(range(20))
    assert cut.read(19) == photo_jpeg(twenty, 19, 256)
    cut.close()


def test_one_process_makes_them_at_a_time(twenty: ReviewItems, tmp_path: Path) -> None:
    first, second = (Thumbnails(twenty, tmp_path / "thumbnails.bin") for _ in range(2))

    def meanwhile(_stage: str, done: int, _total: int) -> None:
        if done == 1:
            second.make([15])
            assert second.read(15) is None

    first.make([0, 1], on_progress=meanwhile)
    second.make([15])
    assert first.read(15) == second.read(15) == photo_jpeg(twenty, 15, 256)
    first.close()
    second.close()


def test_the_background_makes_all_and_stops_at_once(twenty: ReviewItems, tmp_path: Path) -> None:
    with built_in_background(twenty, tmp_path / "thumbnails.bin") as thumbnails:
        deadline = time.monotonic() + 30
        while thumbnails.num_made < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (thumbnails.num_made, thumbnails.problem) == (20, None)
    assert not [t for t in threading.enumerate() if t.name == "kiyome-thumbnails"]


MAKER = """
import sys
import numpy as np
from pathlib import Path
from kiyome.decisions.items import ReviewItems
from kiyome.reviewing.thumbnails import Thumbnails
folder, count = Path(sys.argv[1]), int(sys.argv[2])
ids = [f"{row}.png" for row in range(count)]
subject = ReviewItems(run="r", title="r", blind=True, audit=None, image_ids=ids, shown_ids=ids,
    class_names=("a", "b"), fingerprint="", table_content="", photo_root=folder,
    photo_paths=[f"{folder}/{row % 20}.png" for row in range(count)], ranking=np.arange(count))
made = Thumbnails(subject, folder / "thumbnails.bin")
print(made.num_made, sum(made.read(row) is None for row in range(made.num_made)), flush=True)
made.make(range(count), num_threads=1)
print(sum(made.read(row) is not None for row in range(count)), flush=True)
"""


def test_kills_lose_nothing_that_was_made(twenty: ReviewItems, tmp_path: Path) -> None:
    made_before, count = -1, 1000
    for _ in range(3):
        maker = subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path), str(count)], stdout=subprocess.PIPE, text=True
        )
        begun, unreadable = map(int, maker.stdout.readline().split())
        assert begun > made_before or made_before == -1
        assert unreadable == sum(row % 20 in (3, 4) for row in range(begun))  # what counts as made is whole
        size = (tmp_path / "thumbnails.bin").stat().st_size
        deadline = time.monotonic() + 60
        while (tmp_path / "thumbnails.bin").stat().st_size < size + 200_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        maker.send_signal(signal.SIGKILL)
        maker.communicate()  # also closes the pipe
        made_before = begun
    finished = subprocess.run(
        [sys.executable, "-c", MAKER, str(tmp_path), str(count)], capture_output=True, text=True, check=True
    )
    begun, whole = int(finished.stdout.split()[0]), int(finished.stdout.split()[-1])
    assert begun > made_before
    assert whole == count * 18 // 20
