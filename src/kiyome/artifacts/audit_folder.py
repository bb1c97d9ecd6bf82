"""A sample of rows for people to check, in a folder under blind names. n of N rows."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.manifest import Manifest
from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import reading
from kiyome.artifacts.table import SPLITS
from kiyome.errors import InputError

AUDIT_FILE, DESIGN_FILE, FACTS_FILE, PHOTOS = "audit.csv", "design.parquet", "design.json", "photos"
UNSURE_WORD = "unsure"
NONE_WORD = "none_of_these"
"""The answer of people who cannot tell."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditFolder:
    """The sampled rows of a run, without their labels and predictions."""

    folder: Path
    manifest: Manifest
    facts: dict[str, Any]
    """The content of `design.json`."""
    rows: NDArray[np.intp]
    """(n,) indices into the run's table, in the blind order."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names of the run's table."""
        return tuple(self.manifest["table"]["classes"])

    @property
    def row_names(self) -> list[str]:
        """The n blind names, in the blind order."""
        return blind_names(self.facts["predictions"], self.rows)

    @property
    def photo_names(self) -> list[str]:
        """The n files below `PHOTOS`, in the blind order; empty for a row without a photo."""
        names = [Path(name) for name in self.manifest["files"] if Path(name).parent == Path(PHOTOS)]
        file_of = {name.stem: name.name for name in names}
        return [file_of.get(name, "") for name in self.row_names]


def blind_names(predictions: str, rows: NDArray[np.intp]) -> list[str]:
    """Return the names of sampled rows, in order; `predictions` is a digest, so each sample has its own.

    >>> blind_names("0" * 64, np.array([7, 3]))
    ['s275713-0001', 's275713-0002']
    """
    digest = hashlib.sha256(f"{predictions} {rows.tolist()}".encode()).hexdigest()
    return [f"s{digest[:6]}-{number:04d}" for number in range(1, len(rows) + 1)]


def is_audit_folder(folder: str | Path) -> bool:
    """Whether `kiyome audit-sample` wrote the folder.

    >>> is_audit_folder("no/such/folder")
    False
    """
    return (Path(folder) / DESIGN_FILE).is_file()


def read_audit_folder(folder: str | Path) -> AuditFolder:
    """Return the sample in a folder, with all sealed files verified; InputError for another folder."""
    import pyarrow.parquet as pq

    folder = Path(folder)
    manifest = verify_run(folder)
    if manifest["command"] != "audit-sample":
        raise InputError(
            f"{folder} holds a run of '{manifest['command']}', not an audit sample.",
            remedy=f"Draw a sample with `kiyome audit-sample {folder}`, or name the folder of one.",
        )
    with reading(folder / DESIGN_FILE):
        positions = pq.read_table(folder / DESIGN_FILE, columns=["place"])["place"].to_numpy()
        sampled = np.flatnonzero(positions)
        rows = sampled[np.argsort(positions[sampled])]
    with reading(folder / FACTS_FILE):
        facts = json.loads((folder / FACTS_FILE).read_text("utf-8"))
        str(facts["source"])
        if facts.get("split") not in (None, *SPLITS):
            raise ValueError(f"an unknown split: {facts['split']!r}")
    return AuditFolder(folder=folder, manifest=manifest, facts=facts, rows=rows)
