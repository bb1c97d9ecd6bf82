"""What several verbs are told in the same words."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path,
    typer.Argument(
        help="A folder of class folders, a CSV or Parquet table, or a Hugging Face style metadata file."
    ),
]
Images = Annotated[
    Path | None, typer.Option(help="The folder of photos that a table speaks of; found by itself if near.")
]
ClassMap = Annotated[Path | None, typer.Option(help="JSON file: label number to class name.")]
IdColumn = Annotated[str | None, typer.Option(help="Column of photo names; found by itself if usual.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of labels; found by itself if usual.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run folder; runs/NAME if not given.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        help="A new split into folds, by this seed; else the folds of the oldest run of this table beside the"
        " output, else new ones by seed 0."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines, no words.")]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Exact cells in CSV lists: for programs, not for spreadsheets."),
]
Run = Annotated[Path, typer.Argument(help="The folder of a finished run of find or train, or made of such.")]
Runs = Annotated[list[Path], typer.Argument(help="Folders of finished runs on the same rows and folds.")]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where independent parts run: here, processes[:N], ray[://HOST:PORT] or slurm[:PARTITION].",
    ),
]
StopAfter = Annotated[
    str | None,
    typer.Option(
        help="Stop after the last whole epoch before this time, such as 8h, 30m or 90s, with exit code 75;"
        " the same command goes on."
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        envvar="KIYOME_GROUP",
        help="A group of this machine that may read and write it, too; you alone if not given.",
    ),
]
MaxLeftOut = Annotated[
    float,
    typer.Option(
        help="The largest share of a class that flags may take; where more are flagged, the surest stay."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        envvar="KIYOME_STORE",
        help="Where decisions are kept: sqlite:///PATH or postgresql://USER@HOST/DB; in the run if absent.",
    ),
]
