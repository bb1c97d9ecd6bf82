"""The folder of rows that were drawn for people to check, under names that say nothing. n of N rows."""

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
from kiyome.errors import InputError

AUDIT_FILE, DESIGN_FILE, FACTS_FILE, PHOTOS = "audit.csv", "design.parquet", "design.json", "photos"
UNSURE_WORD = "unsure"
"""What people write where they cannot tell."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditFolder:
    """Which rows of which run were drawn; no label and no guess is among it."""

    folder: Path
    manifest: Manifest
    facts: dict[str, Any]
    """What `design.json` says."""
    rows: NDArray[np.intp]
    """(n,) places in the run's table, in the blind order."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the run's table."""
        return tuple(self.manifest["table"]["classes"])

    @property
    def row_names(self) -> list[str]:
        """The n blind names, in the blind order."""
        return blind_names(self.facts["predictions"], self.rows)

    @property
    def photo_names(self) -> list[str]:
        """The n files below `PHOTOS`, in the blind order; empty where the photo was not at hand."""
        names = [Path(name) for name in self.manifest["files"] if Path(name).parent == Path(PHOTOS)]
        file_of = {name.stem: name.name for name in names}
        return [file_of.get(name, "") for name in self.row_names]


def blind_names(predictions: str, rows: NDArray[np.intp]) -> list[str]:
    """Names of drawn rows, in their order; no other sample has the same.

    Parameters
    ----------
    predictions
        Digest of the probabilities that are judged.
    rows
        (n,) the drawn rows.

    Examples
    --------
    >>> blind_names("0" * 64, np.array([7, 3]))
    ['s275713-0001', 's275713-0002']
    """
    digest = hashlib.sha256(f"{predictions} {rows.tolist()}".encode()).hexdigest()
    return [f"s{digest[:6]}-{place:04d}" for place in range(1, len(rows) + 1)]


def is_audit_folder(folder: str | Path) -> bool:
    """Whether `kiyome audit-sample` wrote there.

    >>> is_audit_folder("no/such/folder")
    False
    """
    return (Path(folder) / DESIGN_FILE).is_file()


def read_audit_folder(folder: str | Path) -> AuditFolder:
    """The rows that were drawn into a folder, once all that was sealed is as it was.

    Raises
    ------
    StaleArtifact
        When a sealed file changed.
    InputError
        When the folder holds something else.
    """
    import pyarrow.parquet as pq

    folder = Path(folder)
    manifest = verify_run(folder)
    if manifest["command"] != "audit-sample":
        raise InputError(
            "An audit is about a sample that kiyome audit-sample drew from a run.",
            came=f"{folder}, a run of '{manifest['command']}'",
            remedy=f"Draw one with `kiyome audit-sample {folder}`, or name the folder that it wrote.",
        )
    with reading(folder / DESIGN_FILE):
        places = pq.read_table(folder / DESIGN_FILE, columns=["place"])["place"].to_numpy()
        drawn = np.flatnonzero(places)
        rows = drawn[np.argsort(places[drawn])]
    with reading(folder / FACTS_FILE):
        facts = json.loads((folder / FACTS_FILE).read_text("utf-8"))
        str(facts["source"])
    return AuditFolder(folder=folder, manifest=manifest, facts=facts, rows=rows)
