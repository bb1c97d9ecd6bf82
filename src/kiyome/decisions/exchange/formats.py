"""Every format by its name: how it is written, and how a file is parsed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kiyome.artifacts.storage import open_regular
from kiyome.decisions.exchange.answers import MAX_BYTES, ExportedFile, ParsedFile, ReviewedRows, parse_json
from kiyome.decisions.exchange.columns import (
    read_decisions,
    write_corrected_labels,
    write_decisions_csv,
    write_decisions_jsonl,
    write_decisions_parquet,
)
from kiyome.decisions.exchange.cvat import read_cvat, write_cvat
from kiyome.decisions.exchange.fiftyone import read_fiftyone, write_fiftyone
from kiyome.decisions.exchange.label_studio import (
    read_label_studio,
    read_label_studio_columns,
    write_label_studio,
)
from kiyome.errors import InputError, choose
from kiyome.reading.files import READERS, read_records


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file that decisions are exported as."""

    write: Callable[[ReviewedRows], ExportedFile]
    write_raw: Callable[[ReviewedRows], ExportedFile] | None = None
    """With exact cells, where `write` adds an apostrophe to those that a spreadsheet would run."""
    file_name: str
    """Of a download."""
    media_type: str


def format_named(name: str) -> Format:
    """Return the format of this name.

    >>> format_named("cvat").file_name
    'annotations.xml'
    """
    return FORMATS[choose("format", name, FORMATS)]


def format_of_file(path: Path) -> str:
    """Return the name of the one format that has a file's ending.

    >>> format_of_file(Path("answers.PARQUET"))
    'parquet'
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending not in ("csv", "parquet", "jsonl"):
        raise InputError(
            f"The ending of {path.name!r} does not tell the format.",
            expected="Expected .csv, .parquet or .jsonl.",
            remedy=f"Choose such an ending, or name the format: --format {' | '.join(FORMATS)}.",
        )
    return ending


def parse_file(path: Path, class_names: Sequence[str]) -> ParsedFile:
    """Return the decisions in a file of any of these formats, which ending and content tell apart."""
    ending = path.suffix.lower()
    if ending in READERS and ending != ".json":
        records = read_records(path)
        is_ours = "decision" in records.columns or "annotation_id" not in records.columns
        read = read_decisions if is_ours else read_label_studio_columns
        return read(records, class_names)
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    if ending in (".xml", ".zip"):
        return read_cvat(content)
    if ending != ".json":
        raise InputError(
            f"{path.name!r} is not a file of decisions.",
            expected="Expected .csv, .tsv, .parquet, .jsonl, .json (Label Studio, FiftyOne) or .xml (CVAT).",
            remedy="Export the decisions as one of these.",
        )
    document = parse_json(content, "Label Studio or FiftyOne")
    is_fiftyone = isinstance(document, dict) and "labels" in document
    return read_fiftyone(document) if is_fiftyone else read_label_studio(document, class_names)


FORMATS = {
    "csv": Format(
        write=write_decisions_csv,
        write_raw=partial(write_decisions_csv, raw=True),
        file_name="decisions.csv",
        media_type="text/csv",
    ),
    "parquet": Format(
        write=write_decisions_parquet,
        file_name="decisions.parquet",
        media_type="application/vnd.apache.parquet",
    ),
    "jsonl": Format(write=write_decisions_jsonl, file_name="decisions.jsonl", media_type="application/jsonl"),
    "corrected": Format(
        write=write_corrected_labels,
        write_raw=partial(write_corrected_labels, raw=True),
        file_name="corrected_labels.csv",
        media_type="text/csv",
    ),
    "label_studio": Format(
        write=write_label_studio, file_name="label_studio.json", media_type="application/json"
    ),
    "cvat": Format(write=write_cvat, file_name="annotations.xml", media_type="application/xml"),
    "fiftyone": Format(write=write_fiftyone, file_name="labels.json", media_type="application/json"),
}
"""How each is written; `parse_file` reads them all."""
