"""The score of a run on rows without a label, by an audit of them: nobody else can give one.

runs ─► their unlabeled rows ─► audits of these beside the first run ─► accuracy, class shares, differences
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kiyome.artifacts.table import UNLABELED
from kiyome.evaluation.audit import AuditedScore
from kiyome.evaluation.audited_difference import AuditedDifference
from kiyome.reading.finished_run import FinishedRun
from kiyome.workflows.audit import describe_shares, describe_unsure
from kiyome.workflows.audit_scores import AuditRecord, audits_on_rows_of


@dataclass(frozen=True, kw_only=True, eq=False)
class UnlabeledScore:
    """True accuracy and class shares of the unlabeled rows of a run, and what other runs differ there."""

    audit: AuditRecord
    score: AuditedScore
    against: Mapping[str, AuditedDifference]
    num_rows: int

    def describe(self) -> tuple[str, ...]:
        """Return the score in sentences."""
        score, names = self.score, self.audit.sample.class_names
        rows, accuracy = f"{self.num_rows:,} unlabeled rows", score.accuracy_on_true.as_percent()
        return (
            f"True accuracy on {rows} by audit ({self.audit.name}): {accuracy}.",
            *([describe_unsure(score)] if score.num_unsure else []),
            describe_shares(names, score.class_shares),
            *(
                f"Against {name}, on unlabeled rows: {each.describe()}."
                for name, each in self.against.items()
            ),
        )

    def findings(self) -> dict[str, Any]:
        """Return the score as JSON values."""
        shares = zip(self.audit.sample.class_names, self.score.class_shares, strict=True)
        return {
            **self.audit.summary(),
            "rows": self.num_rows,
            "accuracy_on_true": asdict(self.score.accuracy_on_true),
            "if_unsure_rows_are_all_wrong_or_all_right": {"accuracy_on_true": self.score.accuracy_bounds},
            "class_shares": {name: asdict(share) for name, share in shares},
            "against": {
                name: {**asdict(each), "verdict": each.verdict} for name, each in self.against.items()
            },
        }


def score_of_unlabeled(run: FinishedRun, others: Sequence[FinishedRun]) -> UnlabeledScore | None:
    """Return the score on the unlabeled rows of a run; None without such rows, or without an audit of them.

    An audit that was drawn for this run is preferred, then the one with most checked rows. Other runs are
    compared where they predict the same unlabeled rows.
    """
    if not run.table.in_split(UNLABELED).any():
        return None
    main = run.in_split(UNLABELED)
    audits = sorted(audits_on_rows_of(main), key=lambda each: not each.is_for(main))
    if not audits:
        return None
    audit = audits[0]
    parts = [each.in_split(UNLABELED) for each in others if each.table.in_split(UNLABELED).any()]
    return UnlabeledScore(
        audit=audit,
        score=audit.score_of(main),
        against={each.name: audit.difference(main, each) for each in parts if audit.covers(each)},
        num_rows=len(main.table),
    )
