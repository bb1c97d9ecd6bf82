"""The result of a training, and its files in the run folder. N rows, K classes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.predictions import Predictions, Probs
from kiyome.artifacts.storage import write_csv, write_parquet, write_text
from kiyome.artifacts.table import TRAIN, Table
from kiyome.evaluation.metrics import balanced_accuracy, confusion_counts
from kiyome.report.pages import TrainReport, write_train_report
from kiyome.training.recipe import Recipe
from kiyome.workflows.cleaning import kept_rows, leaks_of, notes_on_rows, num_training_rows
from kiyome.workflows.outputs import count_splits, write_scored_table
from kiyome.workflows.predict import PredictResult

if TYPE_CHECKING:
    from kiyome.training.cross_validate import CrossValidation
    from kiyome.training.member import FinishedMember, Member


MOST_NAMED = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainResult:
    """The result of a training, all of which is in the run folder, too. N rows, K classes."""

    folder: Path
    table: Table
    """The N rows that could be read, with folds."""
    predictions: Predictions | None
    """Out of fold; None where only some members were trained."""
    members: tuple[Mapping[str, Any], ...]
    """The content of each member.json."""
    scores: Mapping[str, Mapping[str, float]]
    """Of all members together and of each model, out of fold, on labels that may be wrong: of all rows of
    train, and beside it, where cleaning left rows out, of the others only."""
    num_training_rows: int
    """Rows that at least one member was trained on."""
    models: tuple[str, ...] = ()
    """Each model's name with the form of its labels; `global` means a leak."""
    leaks: tuple[str, ...] = ()
    """Ways in which the labels of scored rows reached the models, in words; also among the notes."""
    is_kept: NDArray[np.bool_] | None = None
    """(N,) rows that no member left out for their label."""
    submission: PredictResult | None = None
    notes: tuple[str, ...] = ()
    """Notes for people."""

    def summary(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "folder": str(self.folder),
            "rows": len(self.table),
            **({} if self.table.splits is None else {"splits": count_splits(self.table)}),
            "training_rows": self.num_training_rows,
            "models": list(self.models),
            "leaks": list(self.leaks),
            "members": [member["member"] for member in self.members],
            "scores": {name: dict(values) for name, values in self.scores.items()},
            "submission": None if self.submission is None else self.submission.summary(),
            "notes": list(self.notes),
        }


def result_of_training(
    folder: Path, recipes: Sequence[Recipe], trained: "CrossValidation", notes: list[str]
) -> TrainResult:
    """Return the result of all members, with their scores added."""
    members = [each.member for each in trained.members]
    table = members[0].data.table
    scores = {"all members": _scores(trained.members, trained.pred_probs)}
    for recipe in recipes if len(recipes) > 1 else ():
        own = [each for each in trained.members if each.member.recipe.name == recipe.name]
        scores[recipe.title] = _scores(own, trained.by_recipe[recipe.name])
    models = tuple(recipe.title for recipe in recipes)
    return TrainResult(
        folder=folder,
        table=table,
        predictions=Predictions(
            pred_probs=trained.pred_probs,
            kind="out_of_fold",
            source=f"{len(members)} members of {', '.join(models)}",
            table_fingerprint=table.fingerprint,
        ),
        members=tuple(member.facts for member in trained.members),
        scores=scores,
        num_training_rows=num_training_rows(members),
        models=models,
        leaks=leaks_of(recipes, table),
        is_kept=kept_rows(members),
        notes=(
            *notes,
            *leaks_of(recipes, table),
            *notes_on_rows(members),
            *notes_on_classes(table, trained.pred_probs),
            *(f"{m.member.label}: {note}" for m in trained.members for note in m.facts["notes"]),
        ),
    )


def result_of_some(
    folder: Path,
    recipes: Sequence[Recipe],
    trained: Sequence["FinishedMember"],
    members: Sequence["Member"],
    notes: Sequence[str],
) -> TrainResult:
    """Return the result where only some members were trained, which has no scores yet."""
    return TrainResult(
        folder=folder,
        table=members[0].data.table,
        predictions=None,
        members=tuple(member.facts for member in trained),
        scores={},
        num_training_rows=num_training_rows(members),
        models=tuple(recipe.title for recipe in recipes),
        notes=(
            *notes,
            "only some members were trained; the same command without --members puts all together",
            *notes_on_rows([each.member for each in trained if not each.member.is_pair]),
        ),
    )


def _scores(trained: Sequence["FinishedMember"], probs: Probs) -> dict[str, float]:
    """Out-of-fold agreement with given labels, of all rows and of those that no member left out."""
    from kiyome.training.member import agreement

    members = [each.member for each in trained]
    table, kept = members[0].data.table, kept_rows(members)
    is_train = table.in_split(TRAIN)
    labels, probs, kept = table.given_labels[is_train], probs[is_train], kept[is_train]
    confusion = confusion_counts(labels.astype(np.int64), probs.argmax(axis=1), probs.shape[1])
    scores = {
        **agreement(probs, labels, "out_of_fold"),
        "out_of_fold_balanced_accuracy_on_labels": round(balanced_accuracy(confusion), 6),
    }
    if kept.all() or not kept.any():
        return scores
    return {
        **scores,
        **agreement(probs[kept], labels[kept], "out_of_fold_rows_not_flagged_only"),
        "rows_not_flagged": int(kept.sum()),
    }


def notes_on_classes(table: Table, pred_probs: Probs) -> list[str]:
    """Return a note on the classes that have labels in train and are never the likeliest one."""
    counts = np.bincount(table.given_labels[table.in_split(TRAIN)], minlength=table.num_classes)
    predicted = np.bincount(pred_probs.argmax(axis=1), minlength=table.num_classes)
    never = np.flatnonzero((predicted == 0) & (counts > 0))
    if not len(never):
        return []
    shown = ", ".join(f"{table.class_names[k]!r} ({counts[k]:,} labels)" for k in never[:MOST_NAMED])
    more = f" and {len(never) - MOST_NAMED} more" if len(never) > MOST_NAMED else ""
    return [f"never predicted out of fold: {shown}{more}"]


def write_result(
    result: TrainResult, trained: "CrossValidation", recipes: Sequence[Recipe], *, title: str
) -> None:
    """Write a training of every member into its run folder."""
    folder, table = result.folder, result.table
    assert result.predictions is not None  # noqa: S101
    write_scored_table(folder, table, result.predictions)
    metrics = [line for member in trained.members for line in member.metrics()]
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics))
    _write_dynamics(trained, table, folder)
    write_text(folder / "train.json", json.dumps(result.summary(), indent=2))
    curves: dict[str, list[dict[str, Any]]] = {}
    for line in metrics:
        curves.setdefault(line["member"], []).append(line)
    report = TrainReport(
        title=title,
        num_rows=int(table.in_split(TRAIN).sum()),
        num_folds=len(table.fold_numbers),
        scores=result.scores,
        by_number_of_views={m["member"]: m["by_number_of_views"] for m in result.members},
        curves=curves,
        notes=result.notes,
        recipes={recipe.title: recipe.as_dict() for recipe in recipes},
    )
    write_train_report(report, folder / "report.html")


def _write_dynamics(trained: "CrossValidation", table: Table, folder: Path) -> None:
    """Write the training dynamics of each row as CSV and Parquet, in the table's order."""
    import pyarrow as pa

    names = np.array([*table.class_names, None], object)
    columns: dict[str, NDArray[Any]] = {
        "image_id": table.image_ids,
        "label": names[table.labels],
        "area_under_margin": trained.dynamics.area_under_margin,
        "mean_loss": trained.dynamics.mean_loss,
        "wrong_share": trained.dynamics.wrong_share,
        "passes": trained.dynamics.passes,
    }
    write_parquet(
        folder / "training_dynamics.parquet", {name: pa.array(values) for name, values in columns.items()}
    )
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    write_csv(folder / "training_dynamics.csv", [list(columns), *rows])
