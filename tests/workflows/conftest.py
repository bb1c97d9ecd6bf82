"""Finished runs on a table whose truth is known, for what judges runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.table import Table
from kiyome.artifacts.table_files import write_table

N, K = 600, 3


def leaves_of(**columns: object) -> Table:
    """A tenth of the labels is wrong; the truth is known for the first half."""
    rng = np.random.default_rng(0)
    true = np.arange(N) % K
    given = np.where(rng.random(N) < 0.1, (true + 1) % K, true)
    return Table(
        root=Path(),
        image_ids=[f"{row:03d}.jpg" for row in range(N)],
        paths=[""] * N,
        class_names=("a", "b", "<b>c"),
        **{
            "given_labels": given,
            "true_labels": np.where(np.arange(N) < N // 2, true, -1),
            "folds": np.arange(N) % 5,
            **columns,
        },
    )


def write_run(
    place: Path,
    table: Table,
    *,
    right: float = 0.95,
    seed: int = 1,
    kind: str = "out_of_fold",
    **config: object,
) -> Path:
    """A finished run that finds this share of the truth; above one, all of the given labels."""
    rng = np.random.default_rng(seed)
    truth = np.arange(N) % K
    choice = np.where(rng.random(N) < right, truth, rng.integers(K, size=N))
    choice = table.given_labels if right > 1 else choice
    probs = np.full((N, K), 0.02) + 0.94 * np.eye(K)[choice]
    with RunFolder.create_or_reopen(place, command="train", config=config, table=table) as run:
        write_table(table, run.path / "table.parquet")
        Predictions(pred_probs=probs, kind=kind, source="test", table_fingerprint=table.fingerprint).save(
            run.path / "predictions"
        )
    return place


@pytest.fixture(scope="session")
def leaves() -> Callable[..., Table]:
    """Tables of 600 rows in three classes; row i truly is of class i % 3."""
    return leaves_of


@pytest.fixture(scope="session")
def run_of() -> Callable[..., Path]:
    """Finished runs on such a table."""
    return write_run
