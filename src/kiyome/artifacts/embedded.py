"""Photos that lie inside a Parquet file, unpacked once into a folder."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kiyome.artifacts.photo_files import suffix_of_photo
from kiyome.artifacts.storage import writing
from kiyome.progress import Progress, silent

BATCH_ROWS = 64
"""So many photos are in memory at once."""


def unpack_photos(
    source: Path, column: str, folder: Path, *, on_progress: Progress = silent
) -> tuple[list[str], list[str]]:
    """Put each row's photo into `folder`; return the file names and the paths that the file itself gives.

    A name is made of the row number and a digest of the bytes, so no text from the file becomes a name,
    and a photo that lies there already, byte for byte, is left alone. Rows without a photo give "".
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    total = pq.ParquetFile(source).metadata.num_rows
    names: list[str] = []
    own_paths: list[str] = []
    for photo, own_path in _photos(source, column):
        names.append(_unpack(photo, len(names), folder) if photo else "")
        own_paths.append(own_path)
        on_progress("unpack photos", len(names), total)
    return names, own_paths


def _photos(source: Path, column: str) -> Iterator[tuple[bytes, str]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source, page_checksum_verification=True)
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
        for value in batch.column(0).to_pylist():
            if isinstance(value, dict):
                yield value.get("bytes") or b"", value.get("path") or ""
            else:
                yield value or b"", ""


def _unpack(photo: bytes, row: int, folder: Path) -> str:
    name = f"{row:07d}-{hashlib.sha256(photo).hexdigest()[:12]}{suffix_of_photo(photo[:16]) or '.bin'}"
    path = folder / name
    if path.is_symlink() or not path.is_file() or path.read_bytes() != photo:
        with writing(path, durable=False) as file:
            file.write(photo)
    return name
