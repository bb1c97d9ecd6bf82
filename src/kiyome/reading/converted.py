"""Arrays of photos in a `.npz` file, and folders of `save_to_disk`, as files that the rest reads.

    .npz with x_train and y_train          ─► photos, and metadata.csv with their labels and splits
    Arrow files of a Dataset, DatasetDict  ─► Parquet shards, one for each split

No pickled object is loaded, and no text in a file becomes a path.
"""

import csv
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import map_array
from kiyome.artifacts.table import TRAIN
from kiyome.errors import TableError
from kiyome.progress import Progress
from kiyome.reading.copying import MAX_MEMBER_BYTES, Member, check_space, copy_all
from kiyome.reading.splits import SPLIT_COLUMNS, WORDS, split_of_name

Array = NDArray[Any]
IMAGES = frozenset(["x", "image", "images", "img", "imgs", "photos", "data"])
LABELS = frozenset(["y", "label", "labels", "target", "targets"])
CLASS_NAMES = frozenset(["class_names", "classes", "label_names"])
CHANNELS = (1, 3, 4)
FILE_BYTES = 4096
"""That a photo takes on the disk beyond its pixels."""


class Conversion(NamedTuple):
    """Files, and the function that writes their content in another form."""

    files: list[Path]
    write: Callable[[Path, Progress], None]
    """Called with the folder to write into."""


def conversion_of(source: Path) -> Conversion | None:
    """Return the conversion of a `.npz` file or of a folder of `save_to_disk`; None for other data."""
    if source.suffix.lower() == ".npz" and source.is_file():
        return Conversion([source], partial(_write_photos, source))
    shards = _arrow_shards(source) if source.is_dir() else {}
    files = [file for each in shards.values() for file in each]
    return Conversion(files, partial(_write_parquet, source, shards)) if files else None


def _arrow_shards(folder: Path) -> dict[str, list[Path]]:
    """The Arrow files of each split in a folder of `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    if (folder / "state.json").is_file():
        return {"train": _arrow_files(folder)}
    if not (folder / "dataset_dict.json").is_file():
        return {}
    splits = sorted(path for path in folder.iterdir() if (path / "state.json").is_file())
    return {path.name: _arrow_files(path) for path in splits if not path.is_symlink()}


def _arrow_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.arrow") if path.is_file() and not path.is_symlink())


def _write_parquet(source: Path, shards: dict[str, list[Path]], folder: Path, on_progress: Progress) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_space(sum(file.stat().st_size for files in shards.values() for file in files), folder, source.name)
    for number, (split, files) in enumerate(shards.items(), start=1):
        for part, file in enumerate(files):
            name = f"{split}-{part:05d}-of-{len(files):05d}.parquet"
            try:
                with pa.memory_map(str(file)) as content:
                    schema, batches = _batches(content)
                    with pq.ParquetWriter(folder / name, schema) as writer:
                        for batch in batches:
                            batch.validate(full=True)
                            writer.write_batch(batch)
            except pa.ArrowException as error:
                raise TableError(
                    f"{file} is no whole Arrow file: {str(error).splitlines()[0]}.",
                    remedy="Write the data set again with save_to_disk.",
                ) from error
        on_progress("convert", number, len(shards))


def _batches(content: Any) -> tuple[Any, Iterator[Any]]:
    """The schema of an Arrow stream or file, and its batches."""
    import pyarrow as pa

    if content.read(6) == b"ARROW1":
        file = pa.ipc.open_file(content)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    content.seek(0)
    stream = pa.ipc.open_stream(content)
    return stream.schema, iter(stream)


def _write_photos(source: Path, folder: Path, on_progress: Progress) -> None:
    """Write each image as PNG into a folder of its split, and metadata.csv."""
    arrays = folder / ".arrays"
    arrays.mkdir()
    mapped = _mapped(source, arrays, on_progress)
    pairs, names = _pairs(mapped, source)
    promised = sum(len(images) * (images[0].nbytes + FILE_BYTES) for images, _ in pairs.values())
    check_space(promised, folder, source.name)
    total, done = sum(len(images) for images, _ in pairs.values()), 0
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        split_of_rows = _split_of_rows(mapped, len(pairs[""][0])) if pairs.keys() == {""} else []
        has_splits = any(pairs) or bool(split_of_rows)
        rows.writerow(["file_name", "label", *(["split"] if has_splits else [])])
        for split, (images, labels) in pairs.items():
            (folder / (split or "photos")).mkdir()
            for row, pixels in enumerate(images):
                name = f"{split or 'photos'}/{row:07d}.png"
                _write_png(pixels, folder / name)
                own = [split_of_rows[row] if split_of_rows else split]
                rows.writerow([name, _text_of(str(labels[row]), names), *own[:has_splits]])
                done += 1
                on_progress("unpack photos", done, total)
    for path in arrays.iterdir():
        path.unlink()
    arrays.rmdir()


def _text_of(label: str, names: list[str]) -> str:
    """The name of a label that is an index into the names, none for -1, else the label itself."""
    if names and label == "-1":
        return ""
    return names[int(label)] if label.isdecimal() and int(label) < len(names) else label


def _mapped(source: Path, folder: Path, on_progress: Progress) -> dict[str, Array]:
    """The arrays of a `.npz` file by name, mapped from copies that are numbered."""
    try:
        with zipfile.ZipFile(source) as archive:
            infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            members = [
                Member(f"{number}.npy", info.file_size, partial(archive.open, info))
                for number, info in enumerate(infos)
            ]
            paths = copy_all(members, folder, source.name, on_progress)
        return {
            info.filename.removesuffix(".npy"): map_array(path)
            for info, path in zip(infos, paths, strict=True)
        }
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise TableError(
            f"{source.name} cannot be read as arrays ({error}).",
            expected="Expected arrays of numbers or texts; pickled objects are not loaded.",
            remedy="Save it again with np.savez, labels as numbers or texts.",
        ) from error


def _pairs(arrays: dict[str, Array], source: Path) -> tuple[dict[str, tuple[Array, Array]], list[str]]:
    """The images (N, H, W) or (N, H, W, C) with labels (N,) of each split, and the names of the classes.

    Images of a split without labels have empty ones.
    """
    found: dict[str, dict[str, str]] = {}
    for name in arrays:
        words = _words(name)
        for kind, known in (("images", IMAGES), ("labels", LABELS)):
            if not known.isdisjoint(words):
                found.setdefault("_".join(word for word in words if word not in known), {})[kind] = name
    whole = {split: each for split, each in found.items() if each.keys() == {"images", "labels"}}
    if unknown := [split for split in whole if split and split_of_name(split) is None]:
        raise TableError(
            f"{source.name} has images and labels of {unknown[0]!r}, which names no split.",
            expected="Expected arrays of train, val and test, or of nothing else.",
            remedy="Rename these arrays, or leave them out.",
        )
    if not whole:
        shown = ", ".join(f"{name!r} {array.shape}" for name, array in list(arrays.items())[:5])
        raise TableError(
            f"{source.name} holds no images with labels: {shown or 'no array'}.",
            expected="Expected arrays such as images and labels, or x_train, y_train, x_test and y_test.",
            remedy="Save them under such names with np.savez.",
        )
    pairs = {
        split: (_as_images(arrays, each["images"]), _as_labels(arrays, each["labels"]))
        for split, each in whole.items()
    }
    for split, (images, labels) in pairs.items():
        if len(images) != len(labels):
            raise TableError(
                f"{source.name} has {len(images):,} images and {len(labels):,} labels in {split or 'all'!r}.",
                remedy="Save one label for each image.",
            )
    for split, each in found.items():
        if "labels" not in each and split_of_name(split) not in (None, TRAIN):
            images = _as_images(arrays, each["images"])
            pairs[split] = images, np.full(len(images), "")
    names: list[Any] = next((arrays[name].tolist() for name in arrays if name.lower() in CLASS_NAMES), [])
    return pairs, list(map(str, names))


def _words(name: str) -> list[str]:
    """The words in the name of an array, also where capital letters divide them, or x and y stand before.

    >>> _words("trainImages"), _words("xtrain")
    (['train', 'images'], ['x', 'train'])
    """
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    parts = [[word[0], word[1:]] if word[0] in "xy" and word[1:] in WORDS else [word] for word in words]
    return [word for each in parts for word in each]


def _split_of_rows(arrays: dict[str, Array], num_rows: int) -> list[str]:
    """The texts of an array of splits (N,); empty where there is none."""
    named = (arrays[name] for name in arrays if name.lower() in SPLIT_COLUMNS)
    texts = next((list(map(str, array)) for array in named if array.shape == (num_rows,)), [])
    return texts if all(map(split_of_name, set(texts))) else []


def _as_images(arrays: dict[str, Array], name: str) -> Array:
    """Images with the channels last; TableError unless they are bytes, 16 bits of grey or parts of one."""
    array = arrays[name]
    if array.ndim == 4 and array.shape[1] in CHANNELS and array.shape[3] not in CHANNELS:
        array = np.moveaxis(array, 1, 3)
    has_shape = array.ndim == 3 or (array.ndim == 4 and array.shape[3] in CHANNELS)
    is_byte = array.dtype == np.uint8 or array.dtype == np.bool_
    is_deep_grey = array.dtype == np.uint16 and (array.ndim == 3 or array.shape[-1] == 1)
    is_part = array.dtype.kind == "f" and array.size > 0 and array.min() >= 0 and array.max() <= 1
    has_size = 0 < array[:1].nbytes <= MAX_MEMBER_BYTES
    if not (has_shape and has_size and (is_byte or is_deep_grey or is_part)):
        raise TableError(
            f"The array {name!r} holds {array.dtype} of shape {array.shape}.",
            expected="Expected images of shape (N, H, W) or (N, H, W, C): bytes, 16 bits of grey, or numbers"
            " from 0 to 1.",
            remedy="Save them as bytes (uint8).",
        )
    return array


def _as_labels(arrays: dict[str, Array], name: str) -> Array:
    """Labels (N,), from (N,), (N, 1), or (N, K) with a single 1 in each row."""
    array = arrays[name]
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
        array = array.argmax(axis=1)
    is_whole = array.dtype.kind == "f" and bool((array == np.floor(array)).all())
    if array.ndim != 1 or not (array.dtype.kind in "iuUb" or is_whole):
        raise TableError(
            f"The array {name!r} holds {array.dtype} of shape {array.shape}.",
            expected="Expected one label for each image: a number or a text.",
            remedy="Save one label for each image.",
        )
    return array.astype(np.int64) if is_whole else array


def _write_png(pixels: Array, path: Path) -> None:
    from PIL import Image

    if pixels.dtype == np.bool_ or pixels.dtype.kind == "f":
        pixels = np.rint(255 * pixels.astype(np.float32)).astype(np.uint8)
    pixels = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, "PNG", compress_level=1)
