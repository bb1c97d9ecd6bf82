"""Data in archives and behind URLs, brought into the cache once.

Only photos and files that describe them are taken. A name that leaves its folder, a link or a device is left
out. What would not fit on the disk is refused before the first byte, by what the other side promises, and no
file may grow beyond its promise.
"""

import csv
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from kiyome.artifacts.escapes import stays_inside
from kiyome.artifacts.storage import cache_errors, sha256_of_file
from kiyome.artifacts.table import TRAIN
from kiyome.errors import InputError, MissingExtra, TableError
from kiyome.progress import Progress, no_progress
from kiyome.reading.converted import conversion_of
from kiyome.reading.copying import COPY_BYTES, MAX_MEMBER_BYTES, Member, appearing, copy_all
from kiyome.reading.photos import PHOTO_SUFFIXES
from kiyome.reading.splits import split_of_name

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CONVERSION_FORM = "2"
"""Another text wherever the same arrays become other files, so that those in the cache are not used."""
DESCRIPTIONS = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".gz", ".cls", ".txt")


def is_elsewhere(source: str | Path) -> bool:
    """Return whether data are an archive, a folder of archives, or behind a URL.

    >>> is_elsewhere("photos.ZIP"), is_elsewhere("s3://leaves/train"), is_elsewhere("photos")
    (True, True, False)
    """
    path = Path(source)
    return bool(url_of(source) or is_archive(source) or _shards(path) or conversion_of(path))


def url_of(source: str | Path) -> str:
    """Return the URL that a text or a path means, whose slashes a path has joined; empty where it means none.

    >>> url_of(Path("s3://leaves/train")), url_of("C:/leaves"), url_of("leaves")
    ('s3://leaves/train', '', '')
    """
    match = re.fullmatch(r"([a-z][a-z0-9+]+):/+(.+)", str(source))
    return f"{match[1]}://{match[2]}" if match and match[1] != "file" else ""


def is_archive(source: str | Path) -> bool:
    """Return whether a name has the ending of an archive."""
    return str(source).lower().endswith(ARCHIVES)


def bring_here(source: str | Path, cache: Path, *, on_progress: Progress = no_progress) -> Path:
    """Return the folder in the cache, or the file, that holds what an archive or a URL holds.

    The same source is brought once: an archive is known by its bytes, a URL by its text and the sizes there.

    Raises
    ------
    TableError
        Where the archive is broken or encrypted, or does not fit on the disk.
    MissingExtra
        With the pip line, where a URL's protocol needs a package that is absent.
    """
    if not url_of(source) and not Path(source).exists():
        raise TableError(f"There is no folder or table at {str(source)!r}.", remedy="Check the path.")
    with cache_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        if url := url_of(source):
            return _fetch(url, cache, on_progress)
        path = Path(source)
        if conversion := conversion_of(path):
            contents = [CONVERSION_FORM, *map(sha256_of_file, conversion.files)]
            digest = hashlib.sha256("".join(contents).encode()).hexdigest()
            folder = cache / f"converted-{digest[:32]}"
            if not folder.is_dir():
                with appearing(folder) as growing:
                    conversion.write(growing, on_progress)
            return folder
        shards = _shards(path) or [path]
        named = {shard: split_of_name(shard.name.partition(".")[0]) or "" for shard in shards}
        has_splits = len(set(named.values())) > 1
        contents = [sha256_of_file(shard) + named[shard] * has_splits for shard in shards]
        digest = hashlib.sha256("".join(contents).encode()).hexdigest()
        folder = cache / f"unpacked-{digest[:32]}"
        if not folder.is_dir():
            with appearing(folder) as growing:
                split_of: dict[Path, str] = {}
                for shard, split in named.items():
                    with _opened(shard) as opened:
                        members = list(opened)
                        if has_splits and not _are_in_split(members):
                            members = [each._replace(name=f"{split or '.'}/{each.name}") for each in members]
                        paths = copy_all(members, growing, shard.name, on_progress)
                    split_of |= dict.fromkeys(paths, split)
                _describe_samples(growing, split_of)
        return _only_folder(folder)


def _shards(folder: Path) -> list[Path]:
    """The archives in a folder that holds nothing else, such as the shards of a WebDataset."""
    if not folder.is_dir():
        return []
    archives = []
    for path in folder.iterdir():  # one other file decides: a folder may hold a million photos
        if is_archive(path.name) and path.is_file():
            archives.append(path)
        elif not path.name.startswith("."):
            return []
    return sorted(archives)


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[Member]]:
    """The files in an archive that are taken."""
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                yield _taken(_zip_members(archive))
        else:
            with tarfile.open(path) as archive:
                yield _taken(_tar_members(archive))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise TableError(
            f"{path} cannot be unpacked ({reason}).",
            expected="Expected a whole zip or tar archive without a password.",
            remedy="Fetch it again, or unpack it and give the folder.",
        ) from error


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        is_link = (info.external_attr >> 28) == 0o12
        if not info.is_dir() and not is_link:
            yield Member(info.filename, info.file_size, partial(archive.open, info))


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.isreg():
            yield Member(info.name, info.size, partial(_content, archive, info))


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return archive.extractfile(info) or io.BytesIO()


def _taken(members: Iterator[Member]) -> Iterator[Member]:
    """Those that are photos or describe photos, by names that stay in the folder they are put in."""
    for member in members:
        name = member.name.replace("\\", "/").removeprefix("./")
        parts = name.split("/")
        is_safe = stays_inside(name) and "\0" not in name and all(part not in ("", ".") for part in parts)
        is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        is_wanted = PurePosixPath(name).suffix.lower() in (*PHOTO_SUFFIXES, *DESCRIPTIONS)
        if is_safe and is_wanted and not is_hidden and (member.size or 0) <= MAX_MEMBER_BYTES:
            yield member._replace(name=name)


def _are_in_split(members: Sequence[Member]) -> bool:
    """Return whether all files of an archive are in one folder that is named for a split."""
    uppers = {member.name.partition("/")[0] for member in members}
    return len(uppers) == 1 and split_of_name(min(uppers)) is not None


def _only_folder(folder: Path) -> Path:
    """The innermost folder that holds all, as archives often have one folder around everything."""
    while True:
        inside = list(folder.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            return folder
        folder = inside[0]


def _describe_samples(folder: Path, split_of: Mapping[Path, str]) -> None:
    """Write metadata.csv where photos have a file of the same name with their class, as in a WebDataset.

    Where the shards are of several splits, a column says so.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    labels = {path.with_suffix(""): label for path in files if (label := _label_beside(path))}
    photos = [
        path for path in files if path.suffix.lower() in PHOTO_SUFFIXES and path.with_suffix("") in labels
    ]
    if not photos or (folder / "metadata.csv").exists():
        return
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        has_splits = len({split_of[path] for path in photos}) > 1
        rows.writerow(["file_name", "label", *(["split"] if has_splits else [])])
        for path in photos:
            cells = [path.relative_to(folder).as_posix(), labels[path.with_suffix("")]]
            rows.writerow([*cells, split_of[path] or TRAIN] if has_splits else cells)


def _label_beside(path: Path) -> str:
    """The class in a small file beside a photo: the text of .cls, or the label in .json; empty otherwise."""
    if path.suffix not in (".cls", ".json") or path.stat().st_size > COPY_BYTES:
        return ""
    text = path.read_text("utf-8", "replace").strip()
    if path.suffix == ".cls":
        return text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    found = content if isinstance(content, dict) else {}
    return next((str(found[key]) for key in ("label", "cls", "class") if key in found), "")


def _fetch(url: str, cache: Path, on_progress: Progress) -> Path:
    """Fetch a file, or all photos and tables below a folder, that is not in the cache yet."""
    files, path = _file_system(url)
    digest = hashlib.sha256(url.encode()).hexdigest()[:32]
    folder = cache / f"fetched-{digest}"
    try:
        is_file = files.isfile(path)
        found = {path: files.info(path)} if is_file else files.find(path, detail=True)
    except (OSError, ValueError) as error:
        raise TableError(
            f"{url} cannot be read ({error}).", remedy="Check the address and your access to it."
        ) from error
    if not found:
        raise TableError(f"There is nothing at {url}.", remedy="Check the address.")
    base = path.rpartition("/")[0] if is_file else path.rstrip("/")
    members = [
        Member(name[len(base) :].lstrip("/"), info.get("size"), partial(files.open, name, "rb"))
        for name, info in sorted(found.items())
    ]
    name = PurePosixPath(urlsplit(url).path).name
    wanted = (
        members if is_file and name.lower().endswith((*ARCHIVES, ".npz")) else list(_taken(iter(members)))
    )
    folder.mkdir(exist_ok=True)
    missing = [member for member in wanted if not _is_here(folder / member.name, member.size)]
    for member in missing:
        (folder / member.name).unlink(missing_ok=True)
    copy_all(missing, folder, url, on_progress)
    here = folder / name if is_file else folder
    return bring_here(here, cache, on_progress=on_progress) if is_elsewhere(here) else here


def _is_here(path: Path, size: int | None) -> bool:
    return path.is_file() and size in (None, path.stat().st_size)


def _file_system(url: str) -> tuple[Any, str]:
    """The file system behind a URL's protocol, and the path there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtra("Data behind a URL", extra="remote") from error
    try:
        files, path = url_to_fs(url)
    except ImportError as error:
        raise MissingExtra(f"{url.partition(':')[0]}://", extra="remote") from error
    except ValueError as error:
        raise InputError(
            f"{url} cannot be opened ({error}).",
            expected="Expected a protocol that fsspec knows, such as https, s3, gs or hf.",
            remedy="Check the address.",
        ) from error
    return files, path
